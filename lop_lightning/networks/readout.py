"""Readouts: one linear layer from the last hidden units to the outputs, or several, of which some are asked."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lop_lightning.errors import ConfigError


class Readout(nn.Module):
    """Linear readouts (heads) of equally many outputs, side by side: rows ``kC … kC+C-1`` belong to head k.

    They are drawn one after another, weight and then bias, U(±1/√width) as PyTorch's ``nn.Linear`` has them: a readout
    with more heads begins with the same ones, so heads can be added later as if they had been there.

    Args:
        width: Units that are read.
        output_size: Outputs of all heads together.
        heads: Number of heads K.

    Attributes:
        asked: First head and number of heads that are computed; ``None``: all.

    Raises:
        ConfigError: the outputs cannot be shared out equally.
    """

    def __init__(self, width: int, output_size: int, heads: int = 1) -> None:
        super().__init__()
        if heads < 1 or output_size % heads:
            raise ConfigError("heads", heads, f"a divisor of {output_size}, the number of outputs")
        self.outputs_per_head = output_size // heads
        self.asked: tuple[int, int] | None = None
        bound, weights, biases = 1 / math.sqrt(width), [], []
        for _ in range(heads):
            weights.append(torch.empty(self.outputs_per_head, width).uniform_(-bound, bound))
            biases.append(torch.empty(self.outputs_per_head).uniform_(-bound, bound))
        self.weight, self.bias = nn.Parameter(torch.cat(weights)), nn.Parameter(torch.cat(biases))

    def forward(self, h: Tensor) -> Tensor:
        """Outputs ``[..., asked·C]`` of units ``h [..., width]``, one head after another."""
        if self.asked is None:
            return F.linear(h, self.weight, self.bias)
        first, count = (number * self.outputs_per_head for number in self.asked)
        return F.linear(h, self.weight.narrow(0, first, count), self.bias.narrow(0, first, count))
