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

    def products(self, x: Tensor, frames: int) -> Tensor:
        """x(s) ∘ x(t) of every chunk ``[D, J, P, b, F]``, of ``x [D, J·C, b, F]``."""
        chunks = x.unflatten(1, (-1, frames))
        return chunks.index_select(2, self.s).mul_(chunks.index_select(2, self.t))


class Powers:
    """λ^0 … λ^C of D networks, shaped for the tensors that they multiply; from ``log_decay [D, H]``."""

    def __init__(self, log_decay: Tensor, frames: int, pairs: Pairs) -> None:
        exponents = torch.arange(frames + 1, device=log_decay.device, dtype=log_decay.dtype)
        powers = (log_decay[:, None] * exponents[:, None]).exp()  # [D, C+1, H]
        self.by_frame = powers[:, :frames, None]  # [D, C, 1, H]
        self.to_end = self.by_frame.flip(1)
        self.by_pair = powers.index_select(1, pairs.lags)[:, :, None]
        self.whole = powers[:, frames, None, :, None]  # [D, 1, H, 1]


def _by_movie(x: Tensor, frames: int) -> Tensor:
    """``x [D, J·C, b, F]`` as ``[J, D, b, C, F]``, each chunk in one piece."""
    return x.unflatten(1, (-1, frames)).permute(1, 0, 3, 2, 4).contiguous()


def active(ends: list[int], frames: int, chunks: int) -> list[int]:
    """How many networks, the longest first, are still in their sequence at the start of each chunk."""
    return [sum(end > number * frames for end in ends) for number in range(chunks)]


def forwards(
    a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, ends: list[int], f: str, frames: int,
    h: Tensor, a: Tensor, starts: Tensor,
) -> None:  # fmt: skip
    """Fills h and a ``[D, J·C, b, H]`` and R at the start of each chunk, ``starts [D, J, b, H, F]``.

    ``a0`` and ``x`` are padded with zeros to J chunks of C = ``frames``; sequences are sorted, the longest first.
    """
    apply, pairs = FORWARD[f], Pairs.of(frames, x.device, by_first=True)
    powers, products = Powers(log_decay, frames, pairs), pairs.products(x, frames)
    by_movie = _by_movie(x, frames)
    chunks, turned = starts.shape[1], eta.transpose(1, 2)
    counts, now = active(ends, frames, chunks), torch.zeros_like(starts[:, 0])  # R
    steps: list[tuple[Tensor, ...]] = []
    many, movies = len(pairs.s), a0.shape[2]
    starts[:, 0].zero_()
    for number, k in enumerate(counts):
        if not k:
            break
        if not steps or k != counts[number - 1]:
            sizes = (frames, frames, many)
            local_a, local_h, local_k = (a0.new_empty(size, k, *a0.shape[2:]) for size in sizes)
            steps = list(_pushes(local_a, local_h, local_k))
        place = slice(number * frames, (number + 1) * frames)
        read, begun, state = by_movie[number, :k].flatten(0, 1), a0[:k, place].transpose(0, 1), now[:k]
        if number:
            seen = torch.bmm(read, (eta[:k, None] * state).flatten(0, 1).transpose(1, 2))
            seen = seen.unflatten(0, (k, movies)).permute(2, 0, 1, 3)  # [C, k, b, H]
            torch.addcmul(begun, seen, powers.by_frame[:k].transpose(0, 1), out=local_a)
        else:
            local_a.copy_(begun)
        raw = torch.bmm(products[:k, number].flatten(1, 2), turned[:k]).unflatten(1, (many, movies))
        torch.mul(raw.transpose(0, 1), powers.by_pair[:k].transpose(0, 1), out=local_k)
        for at, made, made_too, later, coefficients in steps:
            apply(at, out=made)
            later.addcmul_(coefficients, made_too)
        a[:k, place], h[:k, place] = local_a.transpose(0, 1), local_h.transpose(0, 1)
        if number + 1 < chunks:
            written = (local_h.permute(1, 2, 0, 3) * powers.to_end[:k].transpose(1, 2)).flatten(0, 1)
            state.mul_(powers.whole[:k]).flatten(0, 1).baddbmm_(written.transpose(1, 2), read)
            starts[:k, number + 1] = state


def _pushes(a: Tensor, h: Tensor, k: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """For each frame of a chunk a(s), h(s) (twice), the sums of later frames, and the coefficients of h(s) there."""
    begin, frames = 0, len(a)
    for s in range(frames):
        yield a[s], h[s], h[s : s + 1], a[s + 1 :], k[begin : begin + frames - 1 - s]
        begin += frames - 1 - s


def _pulls(dh: Tensor, h: Tensor, da: Tensor, k: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """For each frame, the last first: ∂h(t), h(t), ∂a(t) (twice), ∂h of earlier frames, and their coefficients."""
    end = len(k)
    for t in reversed(range(len(h))):
        yield dh[t], h[t], da[t], da[t : t + 1], dh[:t], k[end - t : end]
        end -= t


@dataclass
class Gradients:
    """∂L/∂a ``[D, J·C, b, H]``, which is that by a0, ∂L/∂x (or nothing), ∂L/∂η and ∂L/∂log λ; all zeros at first."""

    a: Tensor
    x: Tensor | None
    eta: Tensor
    log_decay: Tensor


def backwards(
    coming: Tensor, a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, ends: list[int], f: str, frames: int,
    truncation: int, h: Tensor, a: Tensor, starts: Tensor, into: Gradients,
) -> None:  # fmt: skip
    """Fills ``into`` from ``coming`` = ∂L/∂h ``[D, J·C, b, H]`` and what :func:`forwards` made."""
    apply, pairs = BACKWARD[f], Pairs.of(frames, x.device, by_first=False)
    powers, products = Powers(log_decay, frames, pairs), pairs.products(x, frames)
    by_movie, turned = _by_movie(x, frames), eta.transpose(1, 2)
    flowing = coming.clone()  # becomes ∂L/∂h with what comes through P
    carried = torch.zeros_like(starts[:, 0])  # ∂L/∂R at the end of the chunk
    by_pairs = torch.zeros_like(turned, memory_format=torch.contiguous_format)  # their share of ∂L/∂ηᵀ
    counts, many, movies = active(ends, frames, starts.shape[1]), len(pairs.s), a0.shape[2]
    steps: list[tuple[Tensor, ...]] = []
    for number in reversed(range(len(counts))):
        k = counts[number]
        if not k:
            continue
        if not steps or k != counts[number + 1]:
            d_h, l_h, d_a, l_k = (a0.new_empty(size, k, *a0.shape[2:]) for size in (frames, frames, frames, many))
            steps = list(_pulls(d_h, l_h, d_a, l_k))
        place = slice(number * frames, (number + 1) * frames)
        read, start, flow = by_movie[number, :k].flatten(0, 1), starts[:k, number], carried[:k]
        seen = torch.bmm(read, flow.flatten(0, 1).transpose(1, 2)).unflatten(0, (k, movies)).permute(2, 0, 1, 3)
        torch.addcmul(flowing[:k, place].transpose(0, 1), seen, powers.to_end[:k].transpose(0, 1), out=d_h)
        l_h.copy_(h[:k, place].transpose(0, 1))
        raw = torch.bmm(products[:k, number].flatten(1, 2), turned[:k]).unflatten(1, (many, movies))
        torch.mul(raw.transpose(0, 1), powers.by_pair[:k].transpose(0, 1), out=l_k)
        for at, made, given, given_too, earlier, coefficients in steps:
            apply(at, made, given)
            earlier.addcmul_(coefficients, given_too)
        flowing[:k, place], into.a[:k, place] = d_h.transpose(0, 1), d_a.transpose(0, 1)
        # Through the pairs within the chunk, then through R at its start.
        paired = l_h.index_select(0, pairs.s).mul_(d_a.index_select(0, pairs.t)).transpose(0, 1)
        paired = (paired * powers.by_pair[:k]).flatten(1, 2)  # [k, P·b, H]
        by_pairs[:k].baddbmm_(products[:k, number].flatten(1, 2).transpose(1, 2), paired)
        entered = (d_a.permute(1, 2, 0, 3) * powers.by_frame[:k].transpose(1, 2)).flatten(0, 1)
        outer = torch.bmm(entered.transpose(1, 2), read).unflatten(0, (k, movies))
        if into.x is not None:
            written = (l_h.permute(1, 2, 0, 3) * powers.to_end[:k].transpose(1, 2)).flatten(0, 1)
            through = torch.bmm(entered, (eta[:k, None] * start).flatten(0, 1)).baddbmm_(written, flow.flatten(0, 1))
            d_x = into.x[:k, place]
            d_x.copy_(through.unflatten(0, (k, movies)).transpose(1, 2))
            by_pair, own = torch.bmm(paired, eta[:k]).unflatten(1, (many, movies)), x[:k, place]
            d_x.index_add_(1, pairs.s, by_pair * own.index_select(1, pairs.t))
            d_x.index_add_(1, pairs.t, by_pair * own.index_select(1, pairs.s))
        into.eta[:k].add_((outer * start).sum(1))
        flow.mul_(powers.whole[:k]).addcmul_(eta[:k, None], outer)
        if truncation and place.start % truncation == 0:
            flow.zero_()
    into.eta.add_(by_pairs.transpose(1, 2))
    time = torch.arange(a0.shape[1], device=x.device)
    time = (time % truncation if truncation else time).to(a0.dtype)
    reached, left = ((a - a0) * into.a).sum(2), ((flowing - coming) * h).sum(2)  # [D, T, H]
    into.log_decay.copy_(torch.einsum("dth,t->dh", reached, time) - torch.einsum("dth,t->dh", left, time + 1))
