"""The target network of slowly-changing regression: one hidden layer of linear threshold units, never trained."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class LTUNetwork(NamedTuple):
    """y = W₂·1[W₁x + b₁ > τ] + b₂, as plain tensors; every weight and bias is +1 or -1.

    All numbers are small integers (but for τ), so that float32 results are exact in any order of summation.

    Attributes:
        input_weight: W₁ ``[units, inputs]``.
        input_bias: b₁ ``[units]``.
        output_weight: W₂ ``[1, units]``.
        output_bias: b₂ ``[1]``.
        threshold: τ ``[units]``, see :func:`thresholds`.

    Source: Dohare et al. (2024), Methods, "slowly-changing regression"; Sutton & Whitehead (1993) for the thresholds.
    """

    input_weight: Tensor
    input_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor
    threshold: Tensor

    def hidden(self, x: Tensor) -> Tensor:
        """The units' outputs, 0 or 1, ``[..., units]`` for ``x [..., inputs]``."""
        return (F.linear(x, self.input_weight, self.input_bias) > self.threshold).to(x.dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """The target y ``[..., 1]`` for ``x [..., inputs]``."""
        return F.linear(self.hidden(x), self.output_weight, self.output_bias)


def thresholds(weight: Tensor, bias: Tensor, beta: float, reference: bool = False) -> Tensor:
    """τ_i = β(m + 1) - S_i, with S_i the number of -1 among the m weights and the bias of unit i.

    S_i = (m + 1 - Σ_j W_ij - b_i)/2. A unit then fires when more than a fraction β of its m + 1 terms, counted from
    their least possible sum, are on.

    Args:
        weight: W₁ ``[units, m]``.
        bias: b₁ ``[units]``.
        beta: β.
        reference: The published code has S_i = (m - Σ_j W_ij + b_i)/2, a slip of sign that shifts τ by -0.5 or +1.5.
    """
    inputs = weight.shape[1]
    negative = (inputs - weight.sum(1) + bias) / 2 if reference else (inputs + 1 - weight.sum(1) - bias) / 2
    return beta * (inputs + 1) - negative


def draw_ltu_network(
    rng: np.random.Generator, inputs: int, units: int, beta: float, reference_threshold: bool = False
) -> LTUNetwork:
    """An LTU network whose weights and biases are ±1 with equal probability, float32."""

    def signs(*shape: int) -> Tensor:
        return torch.from_numpy((2 * rng.integers(0, 2, shape) - 1).astype(np.float32))

    weight, bias, output_weight, output_bias = signs(units, inputs), signs(units), signs(1, units), signs(1)
    tau = thresholds(weight, bias, beta, reference_threshold)
    return LTUNetwork(weight, bias, output_weight, output_bias, tau)
