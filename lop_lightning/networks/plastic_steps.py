"""Plastic layers over whole sequences, forwards and backwards, as one operator; see :mod:`.plastic_loops`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lop_lightning.networks.plastic_loops import Gradients, backwards, chunk_frames, forwards
from lop_lightning.networks.sequences import folding
from lop_lightning.networks.written_out import detached, gradient_of

FORWARD_AXES, BACKWARD_AXES = (0,) * 5, (0,) * 8 + (1,)
"""Where the networks are in the arguments of the two passes."""


@torch.compiler.allow_in_graph
def run(
    a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, lengths: Tensor, f: str, truncation: int = 0
) -> tuple[Tensor, Tensor]:
    """D layers, each over b sequences of its own length T.

    With P(0) = 0, frame by frame, a(t) = a0(t) + P(t) x(t); h(t) = f(a(t)); P(t+1) = diag(λ) P(t) + η ∘ h(t) x(t)ᵀ.

    Args:
        a0: What the sums are without plasticity, W x + b, ``[D, T, b, H]``.
        x: Inputs ``[D, T, b, F]``, finite.
        eta: η ``[D, H, F]``.
        log_decay: log λ ``[D, H]``, one λ a unit; finite.
        lengths: Frames of each layer's sequences ``[D]``, int64, from 1 to T.
        f: ``tanh``, ``sigmoid``, ``relu`` or ``linear``.
        truncation: Gradients by h, x and λ are not followed from a frame to those before the last multiple of this: of
            P(t) = η ∘ R(t), R is a constant there. 0: they are followed to the beginning.

    Returns:
        h and a ``[D, T, b, H]``, 0 from the end of a sequence on. h is differentiable.
    """
    return _Plastic.apply(a0, x, eta, log_decay, lengths, f, truncation)[:2]


class _Plastic(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        return forward_pass(*detached(inputs))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.f, ctx.truncation = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # zeros for each output that has none

    @staticmethod
    def backward(ctx: Any, dh: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        wanted = bool(ctx.needs_input_grad[1])
        da, dx, deta, ddecay = _Gradient.apply(dh, *ctx.saved_tensors, ctx.f, ctx.truncation, wanted)
        return da, dx if wanted else None, deta, ddecay, None, None, None


@torch.library.custom_op("lop::plastic_forward", mutates_args=())
def forward_pass(
    a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, lengths: Tensor, f: str, truncation: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`run`; third is R at the start of each chunk, ``[J, D, b, H, F]``."""
    order, back = _longest_first(lengths)
    ends, frames = lengths[order].tolist(), chunk_frames(truncation)
    a0, x, eta, log_decay = (t[order] for t in (a0, x, eta, log_decay))
    steps = a0.shape[1]
    begun, read = _padded(a0, frames), _padded(x, frames)
    h, a = torch.empty_like(begun), torch.empty_like(begun)
    starts = _like_starts(a0, eta, frames)
    forwards(begun, read, eta, log_decay, ends, f, frames, h, a, starts)
    for row, end in enumerate(ends):
        h[row, end:], a[row, end:] = 0, 0
    return h[:, :steps][back].contiguous(), a[:, :steps][back].contiguous(), starts[:, back]


@torch.library.custom_op("lop::plastic_backward", mutates_args=())
def backward_pass(
    dh: Tensor, a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, lengths: Tensor, h: Tensor, a: Tensor,
    starts: Tensor, f: str, truncation: int, inputs_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of a0, x (if wanted, else something empty), η and log λ, given that of h."""
    order, back = _longest_first(lengths)
    ends, frames, steps = lengths[order].tolist(), chunk_frames(truncation), a0.shape[1]
    if ends[-1] < steps:  # what is after the end is no function of anything
        dh = dh.clone()
        for row, end in zip(torch.arange(len(dh), device=dh.device)[order].tolist(), ends):
            dh[row, end:] = 0
    dh, begun, read, h, a = (_padded(t[order], frames) for t in (dh, a0, x, h, a))
    into = Gradients(
        torch.empty_like(h), torch.empty_like(read) if inputs_too else None, torch.zeros_like(eta),
        torch.zeros_like(log_decay),
    )  # fmt: skip
    decay = log_decay[order]
    backwards(dh, begun, read, eta[order], decay, ends, f, frames, truncation, h, a, starts[:, order], into)
    for row, end in enumerate(ends):
        into.a[row, end:] = 0
        if into.x is not None:
            into.x[row, end:] = 0
    dx = x.new_empty((len(x), 0)) if into.x is None else into.x[:, :steps][back].contiguous()
    return into.a[:, :steps][back].contiguous(), dx, into.eta[back], into.log_decay[back]


def _longest_first(lengths: Tensor) -> tuple[Any, Any]:
    """An index that puts networks in order, the longest first, and one that puts them back."""
    if len(lengths) == 1 or bool((lengths[1:] <= lengths[:-1]).all()):
        return slice(None), slice(None)
    order = lengths.argsort(descending=True, stable=True)
    return order, order.argsort()


def _padded(t: Tensor, frames: int) -> Tensor:
    """``[D, T, …]`` with zeros after T up to a whole number of chunks; memory of its own."""
    missing = -t.shape[1] % frames
    return F.pad(t, (0, 0, 0, 0, 0, missing)) if missing else t.contiguous()


def _like_starts(a0: Tensor, eta: Tensor, frames: int) -> Tensor:
    networks, steps, movies = a0.shape[:3]
    return a0.new_empty(-(-steps // frames), networks, movies, *eta.shape[1:])


@forward_pass.register_fake
def _like_forward(
    a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, lengths: Tensor, f: str, truncation: int
) -> tuple[Tensor, Tensor, Tensor]:
    return a0.new_empty(a0.shape), a0.new_empty(a0.shape), _like_starts(a0, eta, chunk_frames(truncation))


@backward_pass.register_fake
def _like_backward(
    dh: Tensor, a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, lengths: Tensor, h: Tensor, a: Tensor,
    starts: Tensor, f: str, truncation: int, inputs_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    dx = x.new_empty(x.shape if inputs_too else (len(x), 0))
    return a0.new_empty(a0.shape), dx, eta.new_empty(eta.shape), log_decay.new_empty(log_decay.shape)


_Gradient = gradient_of(backward_pass, "a plastic layer")
forward_pass.register_vmap(folding(forward_pass, FORWARD_AXES, (0, 0, 1)))
backward_pass.register_vmap(folding(backward_pass, BACKWARD_AXES, (0, 0, 0, 0)))
