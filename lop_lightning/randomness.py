"""Counter-based randomness: every draw is a pure function of who asks (seed, purpose, index) and nothing else.

Two forms. :func:`generator` gives a NumPy generator for data made on the host. :func:`uniform` and :func:`normal`
are arithmetic on tensors: they hash (key, clock, position) into numbers on the device, so that a rare draw (the fresh
weights of a unit) needs no state and no order, and is the same for one seed alone and for a hundred together.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
# Multipliers below 2^31, so that a 32-bit number times one of them never leaves a signed 64-bit integer.
_MIX_A, _MIX_B, _STEP = 0x7FEB352D, 0x45D9F3B, 0x3C6EF372


def stable_hash(*parts: object) -> int:
    """A 63-bit integer that is a function of the parts' text alone: the same in every process and version."""
    text = "\x1f".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """The NumPy generator (Philox, counter-based) that belongs to ``seed`` and ``purpose``, for data on the host."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(stable_hash(seed, *purpose))))


def key(seed: int, *purpose: object) -> int:
    """A 32-bit key for :func:`uniform` and :func:`normal`."""
    return stable_hash(seed, *purpose) & _MASK


def _scramble(x: Tensor) -> Tensor:
    """Three rounds of xor-shift and multiply on 32-bit numbers held in int64: every input bit reaches every output."""
    x = ((x ^ (x >> 16)) * _MIX_A) & _MASK
    x = ((x ^ (x >> 15)) * _MIX_B) & _MASK
    x = ((x ^ (x >> 13)) * _MIX_A) & _MASK
    return x ^ (x >> 16)


def _bits(key: Tensor, clock: Tensor | int, channel: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """32 random bits for each element of ``[*key.shape, *shape]``, as int64: a hash of (key, clock, channel, place)."""
    low, high = clock & _MASK, clock >> 32
    stream = _scramble(_scramble(_scramble(_scramble(key) ^ channel) ^ low) + high & _MASK)
    position = torch.arange(math.prod(shape), device=key.device, dtype=torch.int64).reshape(shape)
    if key.ndim:
        stream = stream.reshape(*key.shape, *[1] * len(shape))
    return _scramble(_scramble(position + _STEP & _MASK) ^ stream)


def uniform(
    key: Tensor, clock: Tensor | int, channel: int, shape: torch.Size | tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Independent U(0, 1) numbers, strictly inside the interval; 23 bits each, so that float32 holds k + 0.5 exactly.

    Args:
        key: int64 tensor (see :func:`key`): a scalar for one seed; several keys give a leading axis each.
        clock: The update number, scalar int64 tensor or int.
        channel: What the numbers are for, so that two uses at one update do not share numbers.
        shape: Shape of the result, for each key.
        dtype: Floating type of the result.
    """
    return ((_bits(key, clock, channel, shape) >> 9).to(dtype) + 0.5) * (1.0 / (1 << 23))


def normal(
    key: Tensor, clock: Tensor | int, channel: int, shape: torch.Size | tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Independent N(0, 1) numbers by the Box-Muller transform; arguments as in :func:`uniform`."""
    radius = torch.sqrt(-2.0 * torch.log(uniform(key, clock, 2 * channel, shape, dtype)))
    return radius * torch.cos((2.0 * math.pi) * uniform(key, clock, 2 * channel + 1, shape, dtype))
