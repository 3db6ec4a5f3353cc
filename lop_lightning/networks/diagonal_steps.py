"""Plastic layers whose trace is one frame deep, over whole sequences, as one operator.

With P(t) = η ∘ h(t-1) x(t-1)ᵀ, P(t) x(t) = g(t) ∘ h(t-1) where g(t) = η (x(t-1) ∘ x(t)): there is no matrix to be kept,
and g is one product for all frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lop_lightning.networks.plastic_loops import BACKWARD, FORWARD
from lop_lightning.networks.sequences import folding
from lop_lightning.networks.written_out import detached, gradient_of


@torch.compiler.allow_in_graph
def run(a0: Tensor, g: Tensor, f: str) -> tuple[Tensor, Tensor]:
    """D layers over b sequences: a(t) = a0(t) + g(t) ∘ h(t-1); h(t) = f(a(t)); before the first frame h is 0.

    Args:
        a0: ``[D, T, b, H]``.
        g: ``[D, T, b, H]``; of the first frame it is of no account.
        f: ``tanh``, ``sigmoid``, ``relu`` or ``linear``.

    Returns:
        h and a ``[D, T, b, H]``; h is differentiable.
    """
    return _Diagonal.apply(a0, g, f)


class _Diagonal(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        return forward_pass(*detached(inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(inputs[1], output[0])
        ctx.f = inputs[2]
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # zeros for each output that has none

    @staticmethod
    def backward(ctx: Any, dh: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        return *_Gradient.apply(dh, *ctx.saved_tensors, ctx.f), None


@torch.library.custom_op("lop::diagonal_forward", mutates_args=())
def forward_pass(a0: Tensor, g: Tensor, f: str) -> tuple[Tensor, Tensor]:
    """See :func:`run`."""
    apply, a = FORWARD[f], a0.transpose(0, 1).clone(memory_format=torch.contiguous_format)  # written to
    h, gates = torch.empty_like(a), g.transpose(0, 1).contiguous()
    before: Tensor | None = None
    for sums, made, gate in zip(a.unbind(), h.unbind(), gates.unbind()):
        if before is not None:
            sums.addcmul_(gate, before)
        apply(sums, out=made)
        before = made
    return h.transpose(0, 1).contiguous(), a.transpose(0, 1).contiguous()


@torch.library.custom_op("lop::diagonal_backward", mutates_args=())
def backward_pass(dh: Tensor, g: Tensor, h: Tensor, f: str) -> tuple[Tensor, Tensor]:
    """Gradients of a0 and g, given that of h."""
    apply, (made, gates) = BACKWARD[f], (t.transpose(0, 1).contiguous() for t in (h, g))
    flowing = dh.transpose(0, 1).clone(memory_format=torch.contiguous_format)
    da, dg = torch.empty_like(made), torch.zeros_like(g)
    into, given, states, gate = flowing.unbind(), da.unbind(), made.unbind(), gates.unbind()
    for t in range(len(into) - 1, -1, -1):
        apply(into[t], states[t], given[t])
        if t:
            into[t - 1].addcmul_(gate[t], given[t])
    da = da.transpose(0, 1).contiguous()
    torch.mul(da[:, 1:], h[:, :-1], out=dg[:, 1:])
    return da, dg


@forward_pass.register_fake
def _like_forward(a0: Tensor, g: Tensor, f: str) -> tuple[Tensor, Tensor]:
    return a0.new_empty(a0.shape), a0.new_empty(a0.shape)


@backward_pass.register_fake
def _like_backward(dh: Tensor, g: Tensor, h: Tensor, f: str) -> tuple[Tensor, Tensor]:
    return g.new_empty(g.shape), g.new_empty(g.shape)


_Gradient = gradient_of(backward_pass, "a plastic layer")
forward_pass.register_vmap(folding(forward_pass, (0, 0), (0, 0)))
backward_pass.register_vmap(folding(backward_pass, (0, 0, 0), (0, 0)))
