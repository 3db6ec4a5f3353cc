"""Gaussian noise for every parameter at every update: a pure function of (seed, purpose, update), made in blocks.

Drawn outside the compiled update, one generator a seed and block of updates. Drawing inside it, from a hash of the
counter, was tried: as fast to run, but the compiler needs half a minute for every use of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lop_lightning.optimizers.base import Params
from lop_lightning.randomness import stable_hash

_BLOCK_NUMBERS = 2**18


class Noise:
    """Standard normal numbers ``[n, S, size]`` for n consecutive updates.

    Args:
        seeds: The seeds; each has a stream of its own.
        size: Numbers an update.
        like: Gives type and device.
        purpose: Keeps different uses apart.
    """

    def __init__(self, seeds: list[int], size: int, like: Tensor, *purpose: object) -> None:
        self.seeds, self.size, self.purpose = seeds, size, purpose
        self.dtype, self.device = like.dtype, like.device
        self.block = max(1, min(256, _BLOCK_NUMBERS // size))
        self._number, self._values = -1, torch.empty(0)

    def at(self, update: int, most: int) -> Tensor:
        """The noise of ``update`` and of those after it in its block, at most ``most`` of them."""
        number, place = divmod(update, self.block)
        if number != self._number:
            values = [self._draw(seed, number) for seed in self.seeds]
            self._number, self._values = number, torch.stack(values, dim=1)
        return self._values[place : place + most]

    def _draw(self, seed: int, number: int) -> Tensor:
        source = torch.Generator(self.device).manual_seed(stable_hash(seed, "noise", *self.purpose, number))
        return torch.randn(self.block, self.size, generator=source, dtype=self.dtype, device=self.device)


def parameter_noise(seeds: list[int], params: Params, *purpose: object) -> Noise:
    """Noise for every parameter of S networks, whose stacked ``params`` give the size."""
    return Noise(seeds, sum(p[0].numel() for p in params.values()), next(iter(params.values())), *purpose)


def split(noise: Tensor, params: Params) -> Params:
    """Noise ``[size]`` of one update as a tensor for each parameter, in their order."""
    parts = noise.split([p.numel() for p in params.values()])
    return {name: part.reshape(p.shape) for part, (name, p) in zip(parts, params.items())}
