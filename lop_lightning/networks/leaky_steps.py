"""The loop over time of leaky networks, forwards and backwards, as one operator.

One step of one network on states h ``[b, n]``:  z = h Pᵀ + x vᵀ + c;  y = f(z);  h ← g·y + d·h.  The forms
are ``plain`` (g = 1, d = 0), ``leaky`` (g = 1) and ``scaled``; what a form does not have is not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lop_lightning.networks.leaky_loops import Weights, apart, backwards, forwards
from lop_lightning.networks.sequences import folding
from lop_lightning.networks.written_out import detached, gradient_of

FORMS = ("plain", "leaky", "scaled")
FORWARD_AXES, BACKWARD_AXES = (1, 0, 0, 0, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
"""Where the networks are in the arguments of the two passes."""


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
        f: Key of :data:`lop_lightning.networks.leaky_loops.ACTIVATIONS`.
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
        return forward_pass(*detached(inputs[:-1]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, p, _, _, g, d, h0, lengths, ctx.f, ctx.form, ctx.every = inputs
        ctx.save_for_backward(x, p, g, d, h0, lengths, *output[1:])
        ctx.mark_non_differentiable(output[2], output[0 if ctx.every else 1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, dlast: Tensor | None, dstates: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        h0, wanted = ctx.saved_tensors[4], bool(ctx.needs_input_grad[6])
        empty = h0.new_empty((len(h0), 0))
        flows = dstates if ctx.every and dstates is not None else empty
        last = torch.zeros_like(h0) if ctx.every or dlast is None else dlast
        *given, dh0 = _Gradient.apply(last, flows, *ctx.saved_tensors, ctx.f, ctx.form, wanted)
        return None, *given, dh0 if wanted else None, None, None, None, None


@torch.library.custom_op("lop::leaky_forward", mutates_args=())
def forward_pass(
    x: Tensor, p: Tensor, v: Tensor, c: Tensor, g: Tensor, d: Tensor, h0: Tensor, lengths: Tensor, f: str, form: str
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`run`."""
    if (order := _longest_first(h0, lengths)) is not None:
        return _in_order(forward_pass, order, FORWARD_AXES, (x, p, v, c, g, d, h0, lengths, f, form))  # type: ignore[return-value]
    last, states, ys = _like_forward(x, p, v, c, g, d, h0, lengths, f, form)
    ends = lengths.tolist()
    forwards(x, Weights(p, v, c, g, d), h0, ends, f, form, states, ys)
    for i, end in enumerate(ends):
        last[i] = states[i, end - 1]
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
    start_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of P, v, c, g, d and h0 (if wanted, else something empty).

    Given are those of the last states and, where they are not empty, of all states.
    """
    if (order := _longest_first(h0, lengths)) is not None:
        arguments = dlast, dstates, x, p, g, d, h0, lengths, states, ys, f, form, start_too
        return _in_order(backward_pass, order, BACKWARD_AXES, arguments)  # type: ignore[return-value]
    dp, dv, dc, dg, dd, dh0 = _like_backward(dlast, dstates, x, p, g, d, h0, lengths, states, ys, f, form, start_too)
    weights, gradients = Weights(p, g, g, g, d), Weights(dp, dv, dc, dg.zero_(), dd.zero_())
    coming, start = dstates if dstates.ndim == 4 else None, dh0 if start_too else None
    backwards(dlast, coming, x, weights, h0, lengths.tolist(), states, ys, f, form, gradients, start)
    return dp, dv, dc, dg, dd, dh0


def _longest_first(h0: Tensor, lengths: Tensor) -> Tensor | None:
    """The order in which networks must be taken; ``None``: as they are."""
    if apart(h0) or len(h0) == 1 or bool((lengths[1:] <= lengths[:-1]).all()):
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
    start_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dv, dc, dg, dd = (g.new_empty(g.shape) for _ in range(4))
    dh0 = h0.new_empty(h0.shape if start_too else (len(h0), 0))
    return p.new_empty(p.shape), dv, dc, dg, dd, dh0


_Gradient = gradient_of(backward_pass, "a leaky network")
forward_pass.register_vmap(folding(forward_pass, FORWARD_AXES, (0, 0, 0)))
backward_pass.register_vmap(folding(backward_pass, BACKWARD_AXES, (0, 0, 0, 0, 0, 0)))
