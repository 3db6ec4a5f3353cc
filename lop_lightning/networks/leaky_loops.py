"""Leaky networks step by step, forwards and backwards, in place; see :mod:`lop_lightning.networks.leaky_steps`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SLOPE = 0.01
"""Of the leaky rectifier."""
HEAVY = 2**21
"""Multiplications b·n² in a step of one network from which networks are taken one by one on a CPU."""

_aten = torch.ops.aten
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu_(z, SLOPE),
    "relu": torch.relu_,
    "tanh": torch.tanh_,
    "sigmoid": torch.sigmoid_,
}
"""f, in place."""
SLOPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "leaky_relu": lambda dy, y, dz: _aten.leaky_relu_backward.grad_input(dy, y, SLOPE, True, grad_input=dz),
    "relu": lambda dy, y, dz: _aten.threshold_backward.grad_input(dy, y, 0, grad_input=dz),
    "tanh": lambda dy, y, dz: _aten.tanh_backward.grad_input(dy, y, grad_input=dz),
    "sigmoid": lambda dy, y, dz: _aten.sigmoid_backward.grad_input(dy, y, grad_input=dz),
}
"""∂L/∂z from ∂L/∂y and y, into a tensor that is there."""


class Weights(NamedTuple):
    """D networks: P ``[D, n, n]``, then v, c, g and d ``[D, n]``; the backward pass needs neither v nor c."""

    p: Tensor
    v: Tensor
    c: Tensor
    g: Tensor
    d: Tensor


class Group(NamedTuple):
    """Networks that are taken together.

    Attributes:
        at: Which they are.
        active: How many of them, the first ones, are not at their end at each step.
        write: ``write(out, h, w)`` is out ← h wᵀ of every network.
        add: ``add(out, h, w)`` is out ← out + h wᵀ.
    """

    at: slice
    active: list[int]
    write: Callable[[Tensor, Tensor, Tensor], object]
    add: Callable[[Tensor, Tensor, Tensor], object]


def forwards(
    x: Tensor, weights: Weights, h0: Tensor, ends: Sequence[int], f: str, form: str, states: Tensor, ys: Tensor
) -> None:
    """Fills the states ``[D, T, b, n]`` and, unless the form is plain, y; both are 0 after a network's end."""
    activate, made = ACTIVATIONS[f], states if form == "plain" else ys
    for group in _groups(h0, ends):
        at, active = group.at, group.active
        p, v, c, gain, keep = (own[at] for own in weights)
        read = x[: len(active), at].transpose(0, 1)[..., None]
        torch.addcmul(c[:, None, None], read, v[:, None, None], out=made[at, : len(active)])
        before, drawn, after = h0[at], made[at].unbind(1), states[at].unbind(1)
        for t, m in enumerate(active):
            y = drawn[t][:m]
            group.add(y, before[:m], p[:m])
            activate(y)
            if form != "plain":
                now = torch.mul(before[:m], keep[:m, None], out=after[t][:m])
                now.add_(y) if form == "leaky" else now.addcmul_(y, gain[:m, None])
            before = after[t]
    for i, end in enumerate(ends):
        for every in (states,) if form == "plain" else (states, ys):
            every[i, end:] = 0


def backwards(
    dlast: Tensor,
    dstates: Tensor | None,
    x: Tensor,
    weights: Weights,
    h0: Tensor,
    ends: Sequence[int],
    states: Tensor,
    ys: Tensor,
    f: str,
    form: str,
    gradients: Weights,
    dh0: Tensor | None,
) -> None:
    """Fills the gradients of the weights and (if there is a place for it) of h0; ``dstates``: of all states, if any."""
    slope, drawn = SLOPES[f], states if form == "plain" else ys
    for group in _groups(h0, ends):
        at, active = group.at, group.active
        p, gain, keep, start = weights.p[at], weights.g[at, None], weights.d[at, None], h0[at]
        flow, dz = dlast[at].clone(), h0.new_empty((len(p), len(active), *h0.shape[1:]))
        # Of the gain and of what is kept there are sums over time of tensors like the state.
        sums = [torch.zeros_like(flow) for _ in range({"plain": 0, "leaky": 1, "scaled": 2}[form])]
        flows, made, after = dz.unbind(1), drawn[at].unbind(1), states[at].unbind(1)
        coming = None if dstates is None else dstates[at].unbind(1)
        for t in range(len(active) - 1, -1, -1):
            m = active[t]
            now, own, before = flow[:m], flows[t][:m], (after[t - 1] if t else start)[:m]
            if m < len(p):
                flows[t][m:] = 0
            if coming is not None:
                now.add_(coming[t][:m])
            if form == "scaled":
                sums[1][:m].addcmul_(now, made[t][:m])
                slope(now * gain[:m], made[t][:m], own)
            else:
                slope(now, made[t][:m], own)
            if form != "plain":
                sums[0][:m].addcmul_(now, before)
            if t == 0 and dh0 is None:
                break
            if form == "plain":
                group.write(now, own, p[:m].mT)
            else:
                group.add(now.mul_(keep[:m]), own, p[:m].mT)
        if dh0 is not None:
            dh0[at] = flow
        for total, by in zip(sums, (gradients.d, gradients.g)):
            by[at] = total.sum(1)
        _gather(group, dz, x[: len(active), at], start, states[at], gradients)


def _gather(group: Group, dz: Tensor, x: Tensor, start: Tensor, states: Tensor, gradients: Weights) -> None:
    """Gradients of P, v and c from those of z, ``dz [k, T, b, n]``: sums over time and examples, each one product."""
    at, steps = group.at, dz.shape[1]
    group.write(gradients.p[at], dz[:, 0].mT, start.mT)
    if steps > 1:
        group.add(gradients.p[at], dz[:, 1:].flatten(1, 2).mT, states[:, : steps - 1].flatten(1, 2).mT)
    read = x.transpose(0, 1).flatten(1)
    entered = torch.stack([read, torch.ones_like(read)], 1)
    gradients.v[at], gradients.c[at] = (entered @ dz.flatten(1, 2)).unbind(1)


def apart(h0: Tensor) -> bool:
    """Whether networks are taken one by one: large ones on a CPU."""
    return h0.device.type == "cpu" and h0[0].numel() * h0.shape[2] >= HEAVY


def _groups(h0: Tensor, ends: Sequence[int]) -> Iterator[Group]:
    """Large networks on a CPU one by one, each just as long as its own sequences are; else all together.

    Then the longest must be first, so that those that have ended are the last ones.
    """
    if not apart(h0):
        yield Group(slice(None), [sum(end > t for end in ends) for t in range(ends[0])], _write, _add)
        return
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # it is not public
    quick = there and h0.dtype == torch.float32
    write, add = (_write_quickly, _add_quickly) if quick else (_write, _add)
    for i, end in enumerate(ends):
        yield Group(slice(i, i + 1), [1] * end, write, add)


def _write(out: Tensor, h: Tensor, w: Tensor) -> None:
    torch.bmm(h, w.mT, out=out)


def _add(out: Tensor, h: Tensor, w: Tensor) -> None:
    out.baddbmm_(h, w.mT)


# Of one network. On AMD's processors with AVX-512 oneDNN is twice as quick as MKL, which the two above use.


def _write_quickly(out: Tensor, h: Tensor, w: Tensor) -> None:
    out[0].copy_(_linear(h[0], w[0]))


def _add_quickly(out: Tensor, h: Tensor, w: Tensor) -> None:
    out[0].add_(_linear(h[0], w[0]))


def _linear(h: Tensor, w: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(h, w, None, "none", [], "")
