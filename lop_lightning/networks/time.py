"""Sequences that end at different times: reading them backwards, and which of a unit's states a consumer reads."""

from __future__ import annotations

import torch
from torch import Tensor

READS = ("every", "earlier", "final", "first")
"""What a consumer reads of a unit's states: all of them; all but the last (what feeds back); the last; the first."""


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of ``x [T, k, F, b]`` in reverse; padding stays at its end. ``lengths [k, b]``, None: all T."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device).view(-1, 1, 1)
    mirrored = lengths[None] - 1 - steps
    order = torch.where(mirrored < 0, steps, mirrored)
    return x.gather(0, order[:, :, None].expand_as(x))


def pick(states: Tensor, reads: str, lengths: Tensor | None) -> Tensor:
    """The ``final`` or ``first`` state ``[B, H]`` of each of ``states [B, T, H]``."""
    if reads == "first":
        return states[:, 0]
    if lengths is None:
        return states[:, -1]
    at = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.shape[2])
    return states.gather(1, at)[:, 0]


def in_sequence(lengths: Tensor, steps: int) -> Tensor:
    """Which of ``steps`` steps are no padding, ``[..., steps]``, in sequences of ``lengths [...]``."""
    return torch.arange(steps, device=lengths.device) < lengths[..., None]


def ended(h: Tensor, lengths: Tensor | None) -> Tensor:
    """States ``[T, B, H]`` of sequences of one length ``[]`` (None: T), 0 from their end on."""
    return h if lengths is None else h * in_sequence(lengths, len(h))[:, None, None]


def reading_weights(reads: str, lengths: Tensor | None, like: Tensor) -> Tensor:
    """The share ``[B, T]`` of each state of ``like [B, T, H]`` in the mean of those that a consumer reads.

    Padding is never read. The shares sum to 1, or to 0 where nothing is read (``earlier`` in sequences of one step).
    """
    batch, steps = like.shape[:2]
    place = torch.arange(steps, device=like.device).expand(batch, -1)
    ends = torch.full_like(place[:, :1], steps) if lengths is None else lengths[:, None]
    read = {
        "every": place < ends,
        "earlier": place < ends - 1,
        "final": place == ends - 1,
        "first": place == 0,
    }[reads].to(like.dtype)
    return read / read.sum().clamp(min=1)
