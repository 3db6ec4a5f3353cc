"""The loop over time of leaky networks, forwards and backwards, as one operator.

One step of one network on states h ``[b, n]``:  z = h Pᵀ + x vᵀ + c;  y = f(z);  h ← g·y + d·h.  The forms
are ``plain`` (g = 1, d = 0), ``leaky`` (g = 1) and ``scaled``; what a form does not have is not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lop_lightning.networks.sequences import folding

FORMS = ("plain", "leaky", "scaled")
SLOPE = 0.01
"""Of the leaky rectifier."""
CROWD = 2**15
"""Numbers in the states of one network up to which networks are taken together on a CPU."""

FORWARD_AXES, BACKWARD_AXES = (1, 0, 0, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
"""Where the networks are in the arguments of the two passes."""

_aten = torch.ops.aten
IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
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


@torch.compiler.allow_in_graph
def run(
    x: Tensor, p: Tensor, v: Tensor, c: Tensor, g: Tensor, d: Tensor, h0: Tensor, lengths: Tensor, f: str, form: str,
    every: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """D networks, each over b sequences of its own length.

    Args:
        x: Inputs ``[T, D, b]``.
        p: P ``[D, n, n]``.
        v: ``[D, n]``.
        c: ``[D, n]``.
        g: ``[D, n]``.
        d: ``[D, n]``.
        h0: States before the first step ``[D, b, n]``.
        lengths: Steps of each network's sequences ``[D]``, int64, from 1 to T.
        f: Key of :data:`IN_PLACE`.
        form: One of :data:`FORMS`.
        every: Whether it is all states that have a derivative, or the last ones.

    Returns:
        The last states ``[D, b, n]``; the states after each step ``[D, T, b, n]``, 0 after a network's end; and y of
        each step (of the plain form, where it is the state, nothing). P, v, c, g, d and h0 get gradients.
    """
    return _Steps.apply(x, p, v, c, g, d, h0, lengths, f, form, every)


class _Steps(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        return forward_pass(*(t.detach() if isinstance(t, Tensor) else t for t in inputs[:-1]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, p, _, _, g, d, h0, lengths, ctx.f, ctx.form, ctx.every = inputs
        ctx.save_for_backward(x, p, g, d, h0, lengths, *output[1:])
        ctx.mark_non_differentiable(output[2], output[0 if ctx.every else 1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, dlast: Tensor | None, dstates: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        h0 = ctx.saved_tensors[4]
        if ctx.every:
            dlast = torch.zeros_like(h0)
        empty = h0.new_empty((*h0.shape[:1], 0))
        flows = dstates if ctx.every and dstates is not None else empty
        last = torch.zeros_like(h0) if dlast is None else dlast
        return None, *_Gradient.apply(last, flows, *ctx.saved_tensors, ctx.f, ctx.form), None, None, None, None


class _Gradient(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        return backward_pass(*(t.detach() if isinstance(t, Tensor) else t for t in inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("a leaky network's second derivative is not defined: use network.unrolled, which has it")


@torch.library.custom_op("lop::leaky_forward", mutates_args=())
def forward_pass(
    x: Tensor, p: Tensor, v: Tensor, c: Tensor, g: Tensor, d: Tensor, h0: Tensor, lengths: Tensor, f: str, form: str
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`run`."""
    if (order := _longest_first(h0, lengths)) is not None:
        return _in_order(forward_pass, order, FORWARD_AXES, (x, p, v, c, g, d, h0, lengths, f, form))  # type: ignore[return-value]
    last, states, ys = _like_forward(x, p, v, c, g, d, h0, lengths, f, form)
    activate, made = IN_PLACE[f], states if form == "plain" else ys
    for at, active in _groups(h0, lengths):
        across, gain, keep = p[at].mT, g[at, None], d[at, None]
        read = x[: len(active), at].transpose(0, 1)[..., None]
        torch.addcmul(c[at, None, None], read, v[at, None, None], out=made[at, : len(active)])
        before, drawn, after = h0[at], made[at].unbind(1), states[at].unbind(1)
        for t, m in enumerate(active):
            y = drawn[t][:m]
            y.baddbmm_(before[:m], across[:m])
            activate(y)
            if form != "plain":
                now = torch.mul(before[:m], keep[:m], out=after[t][:m])
                now.add_(y) if form == "leaky" else now.addcmul_(y, gain[:m])
            before = after[t]
    for i, end in enumerate(lengths.tolist()):
        last[i] = states[i, end - 1]
        states[i, end:] = 0
        if form != "plain":
            ys[i, end:] = 0
    return last, states, ys


@torch.library.custom_op("lop::leaky_backward", mutates_args=())
def backward_pass(
    dlast: Tensor,
    dstates: Tensor,
    x: Tensor,
    p: Tensor,
    g: Tensor,
    d: Tensor,
    h0: Tensor,
    lengths: Tensor,
    states: Tensor,
    ys: Tensor,
    f: str,
    form: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of P, v, c, g, d and h0, given those of the last states and (where there are any) of all states."""
    if (order := _longest_first(h0, lengths)) is not None:
        arguments = dlast, dstates, x, p, g, d, h0, lengths, states, ys, f, form
        return _in_order(backward_pass, order, BACKWARD_AXES, arguments)  # type: ignore[return-value]
    dp, dv, dc, dg, dd, dh0 = _like_backward(dlast, dstates, x, p, g, d, h0, lengths, states, ys, f, form)
    slope, wants_all = SLOPES[f], dstates.ndim == 4
    for at, active in _groups(h0, lengths):
        count, recurrent, gain, keep = len(active), p[at], g[at, None], d[at, None]
        flow, dz = dlast[at].clone(), h0.new_zeros((len(recurrent), len(active), *h0.shape[1:]))
        by_gain, by_keep = torch.zeros_like(flow), torch.zeros_like(flow)
        drawn, after, flows = (ys if form != "plain" else states)[at].unbind(1), states[at].unbind(1), dz.unbind(1)
        coming = dstates[at].unbind(1) if wants_all else ()
        for t in range(count - 1, -1, -1):
            m = active[t]
            now, y, before = flow[:m], drawn[t][:m], (after[t - 1] if t else h0[at])[:m]
            if wants_all:
                now.add_(coming[t][:m])
            if form == "scaled":
                by_gain[:m].addcmul_(now, y)
            slope(now * gain[:m] if form == "scaled" else now, y, flows[t][:m])
            if form == "plain":
                torch.bmm(flows[t][:m], recurrent[:m], out=now)
            else:
                by_keep[:m].addcmul_(now, before)
                now.mul_(keep[:m]).baddbmm_(flows[t][:m], recurrent[:m])
        dh0[at], dg[at], dd[at] = flow, by_gain.sum(1), by_keep.sum(1)
        torch.bmm(flows[0].mT, h0[at], out=dp[at])
        if count > 1:
            dp[at].baddbmm_(dz[:, 1:].flatten(1, 2).mT, states[at, : count - 1].flatten(1, 2))
        read = x[:count, at].transpose(0, 1).flatten(1)
        entered = torch.stack([read, torch.ones_like(read)], 1)
        dv[at], dc[at] = (entered @ dz.flatten(1, 2)).unbind(1)
    return dp, dv, dc, dg, dd, dh0


def _groups(h0: Tensor, lengths: Tensor) -> Iterator[tuple[slice, list[int]]]:
    """Which networks are taken together, and how many of them are not at their end at each step.

    Large networks on a CPU one after another, each just as long as its own sequences are; else all together, the
    longest first, so that those that have ended are the last ones.
    """
    ends = lengths.tolist()
    if _apart(h0):
        yield from ((slice(i, i + 1), [1] * end) for i, end in enumerate(ends))
    else:
        yield slice(None), [sum(end > t for end in ends) for t in range(ends[0])]


def _apart(h0: Tensor) -> bool:
    return h0.device.type == "cpu" and h0[0].numel() > CROWD


def _longest_first(h0: Tensor, lengths: Tensor) -> Tensor | None:
    """The order in which networks must be taken; ``None``: as they are."""
    if _apart(h0) or len(h0) == 1 or bool((lengths[1:] <= lengths[:-1]).all()):
        return None
    return lengths.argsort(descending=True, stable=True)


def _in_order(
    operator: Callable[..., tuple[Tensor, ...]], order: Tensor, axes: Sequence[int], arguments: tuple[Any, ...]
) -> tuple[Tensor, ...]:
    """The operator on networks in another order, its results in the old one; ``axes``: where they are."""
    moved = (t.index_select(axis, order) for t, axis in zip(arguments, axes))
    back = order.argsort()
    return tuple(t.index_select(0, back) for t in operator(*moved, *arguments[len(axes) :]))


@forward_pass.register_fake
def _like_forward(
    x: Tensor, p: Tensor, v: Tensor, c: Tensor, g: Tensor, d: Tensor, h0: Tensor, lengths: Tensor, f: str, form: str
) -> tuple[Tensor, Tensor, Tensor]:
    states = h0.new_empty((len(h0), len(x), *h0.shape[1:]))
    return torch.empty_like(h0), states, h0.new_empty((len(h0), 0)) if form == "plain" else torch.empty_like(states)


@backward_pass.register_fake
def _like_backward(
    dlast: Tensor,
    dstates: Tensor,
    x: Tensor,
    p: Tensor,
    g: Tensor,
    d: Tensor,
    h0: Tensor,
    lengths: Tensor,
    states: Tensor,
    ys: Tensor,
    f: str,
    form: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    of_units = [g.new_empty(g.shape) for _ in range(4)]
    return torch.empty_like(p, memory_format=torch.contiguous_format), *of_units, torch.empty_like(h0)  # type: ignore[return-value]


forward_pass.register_vmap(folding(forward_pass, FORWARD_AXES, (0, 0, 0)))
backward_pass.register_vmap(folding(backward_pass, BACKWARD_AXES, (0, 0, 0, 0, 0, 0)))
