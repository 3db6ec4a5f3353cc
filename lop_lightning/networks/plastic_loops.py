"""The loop over time of plastic layers, forwards and backwards, a chunk of frames at a time.

Written out, P(t) = η ∘ R(t) with R(t) = Σ_{s<t} Λ^{t-1-s} h(s) x(s)ᵀ, Λ = diag(λ), so that a unit i meets its own past
alone:

    a_i(t) = a0_i(t) + Σ_{s<t} λ_i^{t-1-s} [η (x(s) ∘ x(t))]_i h_i(s)

Of the frames of a chunk that begins at t₀ those before it are seen through R(t₀), by one product of matrices, and those
of the chunk itself through the coefficients in square brackets, by another. What is left to be done frame by frame is
a nonlinearity and one multiplication of vectors. The same holds backwards. Only R at the chunks' starts is kept.

The gradient by λ needs no state either. With m(t) = a(t) - a0(t), and g(s) what flows into h(s) through P,
λ ∂L/∂λ = Σ_t t·m(t) ∂L/∂a(t) - Σ_s (s+1)·h(s) g(s), since each pair (s, t) counts with its exponent t-1-s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor

CHUNK = 8
"""Frames of a chunk: longer ones mean fewer calls and, in proportion, more products for the pairs of frames within."""

_aten: Any = torch.ops.aten
FORWARD: dict[str, Callable[..., Any]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": lambda a, out: torch.clamp(a, min=0, out=out),
    "linear": lambda a, out: out.copy_(a),
}
BACKWARD: dict[str, Callable[..., Any]] = {
    "tanh": lambda d, h, out: _aten.tanh_backward.grad_input(d, h, grad_input=out),
    "sigmoid": lambda d, h, out: _aten.sigmoid_backward.grad_input(d, h, grad_input=out),
    "relu": lambda d, h, out: _aten.threshold_backward.grad_input(d, h, 0, grad_input=out),
    "linear": lambda d, h, out: out.copy_(d),
}
"""f(a), and ∂L/∂a from ∂L/∂h and h, into a tensor given."""


def chunk_frames(truncation: int) -> int:
    """Frames of a chunk, so that gradients can be cut at multiples of ``truncation``; 0: they are not cut."""
    return gcd(CHUNK, truncation) if truncation else CHUNK


@dataclass
class Pairs:
    """The pairs of frames s < t of a chunk of C, in the order of t.

    Attributes:
        s: First frames ``[P]``.
        t: Second frames ``[P]``.
        lags: t-1-s ``[P]``.
    """

    s: Tensor
    t: Tensor
    lags: Tensor

    @classmethod
    def of(cls, frames: int, device: torch.device, by_first: bool) -> Pairs:
        """All pairs, sorted by s or by t: those of one frame then lie side by side."""
        pairs = [(s, t) for t in range(frames) for s in range(t)]
        if by_first:
            pairs.sort()
        s, t = torch.tensor(pairs, dtype=torch.int64, device=device).reshape(-1, 2).unbind(1)
        return cls(s, t, t - 1 - s)

    def products(self, x: Tensor) -> Tensor:
        """x(s) ∘ x(t) ``[D, P·b, F]``, of a chunk's ``x [D, C, b, F]``."""
        return x.index_select(1, self.s).mul_(x.index_select(1, self.t)).flatten(1, 2)


class Powers:
    """λ^0 … λ^C of D networks, shaped for the tensors that they multiply; from ``log_decay [D, H]``."""

    def __init__(self, log_decay: Tensor, frames: int, pairs: Pairs) -> None:
        exponents = torch.arange(frames + 1, device=log_decay.device, dtype=log_decay.dtype)
        powers = (log_decay[:, None] * exponents[:, None]).exp()  # [D, C+1, H]
        self.by_frame = powers[:, :frames, None]  # [D, C, 1, H]
        self.to_end = self.by_frame.flip(1)
        self.by_pair = powers.index_select(1, pairs.lags)[:, :, None]
        self.whole = powers[:, frames, None, :, None]  # [D, 1, H, 1]


def active(ends: list[int], frames: int, chunks: int) -> list[int]:
    """How many networks, the longest first, are still in their sequence at the start of each chunk."""
    return [sum(end > number * frames for end in ends) for number in range(chunks)]


def by_movie(t: Tensor, scale: Tensor, out: Tensor) -> Tensor:
    """``t [k, C, b, n]`` times ``scale``, movie by movie ``[k·b, C, n]``, in the memory of ``out [k, b, C, n]``."""
    return torch.mul(t.transpose(1, 2), scale.transpose(1, 2), out=out).flatten(0, 1)


def through(read: Tensor, matrices: Tensor) -> Tensor:
    """What movies' matrices ``[k, b, H, F]`` make of frames ``[k·b, C, F]``: ``[k, C, b, H]``."""
    return torch.bmm(read, matrices.flatten(0, 1).transpose(1, 2)).unflatten(0, matrices.shape[:2]).transpose(1, 2)


def forwards(
    a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, ends: list[int], f: str, frames: int,
    h: Tensor, a: Tensor, starts: Tensor,
) -> None:  # fmt: skip
    """Fills h and a ``[D, J·C, b, H]`` and R at the start of each chunk, ``starts [J, D, b, H, F]``.

    ``a0`` and ``x`` are padded with zeros to J chunks of C = ``frames``; sequences are sorted, the longest first. Of
    chunks that begin after a sequence's end nothing is filled.
    """
    apply, pairs = FORWARD[f], Pairs.of(frames, x.device, by_first=True)
    powers = Powers(log_decay, frames, pairs)
    turned, counts = eta.transpose(1, 2), active(ends, frames, len(starts))
    steps: list[tuple[Tensor, ...]] = []
    movies, units = a0.shape[2:]
    starts[0].zero_()
    for number, k in enumerate(counts):
        if not k:
            break
        if not steps or k != counts[number - 1]:
            local_a, local_h, local_k = (a0.new_empty(k, n, movies, units) for n in (frames, frames, len(pairs.s)))
            steps, sent = list(_pushes(local_a, local_h, local_k)), a0.new_empty(k, movies, frames, units)
        place = slice(number * frames, (number + 1) * frames)
        own, state = x[:k, place], starts[number, :k]
        read = own.transpose(1, 2).flatten(0, 1)
        if number:
            seen = through(read, eta[:k, None] * state)
            torch.addcmul(a0[:k, place], seen, powers.by_frame[:k], out=local_a)
        else:
            local_a.copy_(a0[:k, place])
        torch.bmm(pairs.products(own), turned[:k], out=local_k.flatten(1, 2))
        local_k.mul_(powers.by_pair[:k])
        for at, made, made_too, later, coefficients in steps:
            apply(at, out=made)
            later.addcmul_(coefficients, made_too)
        a[:k, place], h[:k, place] = local_a, local_h
        if number + 1 < len(starts):
            written, after = by_movie(local_h, powers.to_end[:k], sent), starts[number + 1, :k]
            torch.mul(state, powers.whole[:k], out=after)
            after.flatten(0, 1).baddbmm_(written.transpose(1, 2), read)


def _pushes(a: Tensor, h: Tensor, k: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """For each frame of a chunk a(s), h(s) (twice), the sums of later frames, and the coefficients of h(s) there."""
    begin, frames = 0, a.shape[1]
    for s in range(frames):
        yield a[:, s], h[:, s], h[:, s : s + 1], a[:, s + 1 :], k[:, begin : begin + frames - 1 - s]
        begin += frames - 1 - s


def _pulls(dh: Tensor, h: Tensor, da: Tensor, k: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """For each frame, the last first: ∂h(t), h(t), ∂a(t) (twice), ∂h of earlier frames, and their coefficients."""
    end = k.shape[1]
    for t in reversed(range(h.shape[1])):
        yield dh[:, t], h[:, t], da[:, t], da[:, t : t + 1], dh[:, :t], k[:, end - t : end]
        end -= t


@dataclass
class Gradients:
    """∂L/∂a ``[D, J·C, b, H]``, which is that by a0, ∂L/∂x (or nothing), and ∂L/∂η and ∂L/∂log λ, zeros at first."""

    a: Tensor
    x: Tensor | None
    eta: Tensor
    log_decay: Tensor


class DecayGradient:
    """Σ_t t·m(t) ∂a(t) - Σ_s (s+1)·h(s) g(s), chunk by chunk; t and s count from the last frame of a cut.

    Args:
        frames: C, frames of a chunk.
        truncation: See :func:`~lop_lightning.networks.plastic_steps.run`.
        like: ``[D, J·C, b, H]``, for the shape.
    """

    def __init__(self, frames: int, truncation: int, like: Tensor) -> None:
        self.frames, self.period = frames, truncation // frames
        networks, _, movies, units = like.shape
        # Of m ∂a and of h g: by the frame within the chunk, and the same times the chunk's number.
        self.sums = [like.new_zeros(networks, frames, movies, units) for _ in range(4)]

    def add(self, number: int, m: Tensor, da: Tensor, h: Tensor, g: Tensor) -> None:
        """Those of chunk ``number``, ``[k, C, b, H]`` of the first k networks."""
        count, k = number % self.period if self.period else number, len(m)
        for plain, counted, one, other in zip(self.sums[:2], self.sums[2:], (m, h), (da, g)):
            plain[:k].addcmul_(one, other)
            if count:
                counted[:k].addcmul_(one, other, value=count)

    def total(self) -> Tensor:
        """``[D, H]``."""
        reached, left, reached_late, left_late = (each.sum(2) for each in self.sums)  # [D, C, H]
        within = torch.arange(self.frames, device=reached.device, dtype=reached.dtype)[:, None]
        return (within * reached - (within + 1) * left + self.frames * (reached_late - left_late)).sum(1)


def backwards(
    coming: Tensor, a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, ends: list[int], f: str, frames: int,
    truncation: int, h: Tensor, a: Tensor, starts: Tensor, into: Gradients,
) -> None:  # fmt: skip
    """Fills ``into`` from ``coming`` = ∂L/∂h ``[D, J·C, b, H]`` and what :func:`forwards` made."""
    apply, pairs = BACKWARD[f], Pairs.of(frames, x.device, by_first=False)
    powers, turned = Powers(log_decay, frames, pairs), eta.transpose(1, 2)
    decay = DecayGradient(frames, truncation, a0)
    carried = torch.zeros_like(starts[0])  # ∂L/∂R at the end of the chunk
    by_pairs = torch.zeros_like(turned, memory_format=torch.contiguous_format)  # their share of ∂L/∂ηᵀ
    counts, (movies, units) = active(ends, frames, len(starts)), a0.shape[2:]
    steps: list[tuple[Tensor, ...]] = []
    for number in reversed(range(len(counts))):
        k = counts[number]
        if not k:
            continue
        if not steps or k != counts[number + 1]:
            d_h, l_h, d_a = (a0.new_empty(k, frames, movies, units) for _ in range(3))
            l_k, sent = a0.new_empty(k, len(pairs.s), movies, units), a0.new_empty(k, movies, frames, units)
            steps = list(_pulls(d_h, l_h, d_a, l_k))
        place = slice(number * frames, (number + 1) * frames)
        own, direct, start, flow = x[:k, place], coming[:k, place], starts[number, :k], carried[:k]
        read = own.transpose(1, 2).flatten(0, 1)
        torch.addcmul(direct, through(read, flow), powers.to_end[:k], out=d_h)
        l_h.copy_(h[:k, place])
        products = pairs.products(own)
        torch.bmm(products, turned[:k], out=l_k.flatten(1, 2))
        l_k.mul_(powers.by_pair[:k])
        for at, made, given, given_too, earlier, coefficients in steps:
            apply(at, made, given)
            earlier.addcmul_(coefficients, given_too)
        into.a[:k, place] = d_a
        decay.add(number, a[:k, place] - a0[:k, place], d_a, l_h, d_h - direct)
        # Through the pairs within the chunk, then through R at its start.
        paired = l_h.index_select(1, pairs.s).mul_(d_a.index_select(1, pairs.t)).mul_(powers.by_pair[:k]).flatten(1, 2)
        by_pairs[:k].baddbmm_(products.transpose(1, 2), paired)
        entered = by_movie(d_a, powers.by_frame[:k], sent)
        outer = torch.bmm(entered.transpose(1, 2), read).unflatten(0, (k, movies))
        if into.x is not None:
            d_x = into.x[:k, place]
            d_x.copy_(through(entered, (eta[:k, None] * start).transpose(2, 3)))
            d_x.add_(through(by_movie(l_h, powers.to_end[:k], sent), flow.transpose(2, 3)))
            by_pair = torch.bmm(paired, eta[:k]).unflatten(1, (-1, movies))
            d_x.index_add_(1, pairs.s, by_pair * own.index_select(1, pairs.t))
            d_x.index_add_(1, pairs.t, by_pair * own.index_select(1, pairs.s))
        into.eta[:k].add_((outer * start).sum(1))
        flow.mul_(powers.whole[:k]).addcmul_(eta[:k, None], outer)
        if truncation and place.start % truncation == 0:
            flow.zero_()
    into.eta.add_(by_pairs.transpose(1, 2))
    into.log_decay.copy_(decay.total())
