"""Batch normalisation as a pure function: the running statistics are returned, never written."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lop_lightning.errors import RunError


class BatchNorm(nn.Module):
    """Normalises every channel: y = γ·(x - μ)/√(σ² + ε) + β.

    In training mode μ and σ² are the batch's own mean and biased variance over examples and places. In evaluation mode
    they are the running statistics, which move as r ← (1 - m)·r + m·(batch value), the variance with the unbiased
    batch value. The numbers are those of ``torch.nn.BatchNorm2d``.

    Args:
        width: Number of channels.
        momentum: m.
        eps: ε.

    Raises:
        RunError: a channel has a single number in training mode, so no variance.

    Source: Ioffe & Szegedy (2015).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The normalised ``x [B, C, H, W]``, and the new running statistics by name (none in evaluation mode)."""
        if not self.training:
            y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
            return y, {}
        count = x.numel() // x.shape[1]
        if count == 1:
            raise RunError("batch normalisation of maps of one place needs a batch_size of at least 2")
        # The fused operator gives back the statistics it normalised by, so that no second pass over x is needed.
        y, mean, inverse_deviation = torch.native_batch_norm(
            x, self.weight, self.bias, None, None, True, self.momentum, self.eps
        )
        variance = (inverse_deviation**-2 - self.eps).clamp_min(0) * (count / (count - 1))
        return y, {
            "running_mean": torch.lerp(self.running_mean, mean, self.momentum),
            "running_var": torch.lerp(self.running_var, variance, self.momentum),
        }
