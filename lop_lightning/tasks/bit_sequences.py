"""Random bit sequences as inputs of a network: drawn, written as numbers, and drawn out in continuous time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import ConfigError, check_choice, check_number

VALUES = {"zero_one": (0.0, 1.0), "plus_minus": (-1.0, 1.0)}
"""What the network sees of a bit 0 and of a bit 1."""


class BitSequences:
    """Draws bits, and writes them as inputs.

    In continuous time (``repeats``) batch number u shows every bit k = ``repeats[u mod len(repeats)]`` times, and each
    step's second feature is its duration Δt = 1/k: a bit always lasts one unit of time.

    Args:
        values: ``zero_one`` or ``plus_minus``, what a bit looks like.
        probability: Probability of a one; ``uniform``: each sequence draws its own from U(0, 1).
        repeats: Numbers k; none: there is but one step a bit, and one feature.

    Raises:
        ConfigError: a value is out of its range.
    """

    def __init__(self, values: str, probability: str | float, repeats: Sequence[int]) -> None:
        check_choice("values", values, VALUES)
        if isinstance(probability, str):
            if probability != "uniform":
                raise ConfigError("probability", probability, "uniform, or a number in (0, 1)", ["uniform"])
        else:
            check_number("probability", probability, 0.0, 1.0, open_low=True, open_high=True)
        listed = isinstance(repeats, Sequence) and not isinstance(repeats, str)
        if not listed or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in repeats):
            raise ConfigError("repeats", repeats, "a list of whole numbers of at least 1 as [7,8,9,10], or []")
        self.values, self.probability, self.repeats = values, probability, tuple(repeats)

    @property
    def features(self) -> int:
        """Features of a step: the bit, and in continuous time Δt."""
        return 2 if self.repeats else 1

    @property
    def rounds(self) -> int:
        """Updates that one step of the discrete stream becomes: one for each k."""
        return max(1, len(self.repeats))

    def repeats_of(self, number: int) -> int:
        """How often batch ``number`` shows each bit."""
        return self.repeats[number % len(self.repeats)] if self.repeats else 1

    def longest(self, high: int) -> int:
        """Steps of a sequence at most, where the largest N is ``high``."""
        return (4 * high + 1) * max(self.repeats, default=1)

    def draw(self, rng: np.random.Generator, high: int, count: int) -> Tensor:
        """Bits ``[count, T]``, uint8, with one length T, uniform in {N+2, …, 4N+1} for N = ``high``."""
        length = int(rng.integers(high + 2, 4 * high + 2))
        uniform = self.probability == "uniform"
        chance = rng.random((count, 1), dtype=np.float32) if uniform else np.float32(self.probability)
        ones = rng.random((count, length), dtype=np.float32) < chance
        return torch.from_numpy(ones.view(np.uint8))

    def inputs(self, drawn: Sequence[Sequence[Tensor]], numbers: Sequence[int]) -> Tensor:
        """Inputs of K batches of S seeds ``[K, S, B, T_pad, features]``, NaN after the end of each sequence.

        Args:
            drawn: K lists of S tensors of bits ``[B, T]``; T may differ, and T_pad is as long as the longest needs.
            numbers: The K batches' numbers, which say how often each bit is shown.
        """
        repeats = [self.repeats_of(number) for number in numbers]
        longest = max(bits.shape[1] * k for k, own in zip(repeats, drawn) for bits in own)
        inputs = torch.empty(len(drawn), len(drawn[0]), len(drawn[0][0]), longest, self.features)
        low, high = VALUES[self.values]
        for batches, k, own in zip(inputs, repeats, drawn):
            for place, bits in zip(batches, own):
                steps = bits.repeat_interleave(k, dim=1) if k > 1 else bits
                length = steps.shape[1]
                place[:, :length, 0] = steps
                place[:, :length, 1:] = 1.0 / k
                place[:, length:] = float("nan")
        if (low, high) != (0.0, 1.0):
            inputs[..., 0].mul_(high - low).add_(low)
        return inputs
