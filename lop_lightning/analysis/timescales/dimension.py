"""How many directions the states of a population use: principal components of a series that is never held whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lop_lightning.errors import check_number

Array = NDArray[np.float64]


class Covariance:
    """Σ_t (x_t - x̄)(x_t - x̄)ᵀ / (n - 1) of every trial, in float64, from a series that comes piece after piece."""

    def __init__(self) -> None:
        self.steps = 0

    def add(self, piece: Tensor) -> None:
        """The next steps ``[trials, t, units]`` of every trial."""
        if piece.ndim != 3 or not piece.is_floating_point():
            raise ValueError(f"expected a floating-point series [trials, t, units], got {list(piece.shape)}")
        if not piece.shape[1]:
            return
        if self.steps == 0:
            self._begin(piece)
        x = piece.double() - self.offset
        self.sum += x.sum(1)
        self.products.baddbmm_(x.transpose(1, 2), x)
        self.steps += x.shape[1]

    def _begin(self, piece: Tensor) -> None:
        first = piece[:, :1].double()
        # Near the mean, so that little is cancelled; from the first step, so that constant units give exact zeros.
        self.offset = first + (piece.double() - first).mean(1, keepdim=True)
        trials, _, units = piece.shape
        self.sum = self.offset.new_zeros(trials, units)
        self.products = self.offset.new_zeros(trials, units, units)

    def result(self) -> Tensor:
        """``[trials, units, units]``.

        Raises:
            ValueError: fewer than two steps.
        """
        if self.steps < 2:
            raise ValueError(f"a covariance needs at least 2 steps, got {self.steps}")
        together = self.sum[:, :, None] * self.sum[:, None, :] / self.steps
        return (self.products - together) / (self.steps - 1)


def principal_variances(covariance: ArrayLike) -> Array:
    """Variances along the principal components, descending: ``[..., n, n] -> [..., n]``.

    What rounding leaves below zero is zero; NaN for a matrix that holds a NaN or an infinity.
    """
    c = np.asarray(covariance, dtype=np.float64)
    finite = np.asarray(np.isfinite(c).all((-1, -2)))
    c = np.where(finite[..., None, None], c, 0.0)
    # PyTorch's, because it follows torch's number of threads.
    variances = torch.linalg.eigvalsh(torch.from_numpy(c)).flip(-1).clamp(min=0).numpy()
    return np.where(finite[..., None], variances, np.nan)


def explained(variances: ArrayLike) -> Array:
    """Shares λᵢ / Σλ of the variance, ``[..., n]``; NaN where there is none.

    >>> explained([6.0, 2.0, 0.0]).tolist()
    [0.75, 0.25, 0.0]
    """
    v = np.asarray(variances, dtype=np.float64)
    total = v.sum(-1, keepdims=True)
    return np.divide(v, total, out=np.full_like(v, np.nan), where=total > 0)


def dimension(variances: ArrayLike, threshold: float = 0.9, reference_compat: bool = False) -> Array:
    """Number of leading components that together explain more than ``threshold``: ``[..., n] -> [...]``.

    As float, NaN where the states do not vary or are not finite. ``reference_compat`` gives what the paper's code does:
    the index, from 0, of the last of them, one less.

    Raises:
        ConfigError: ``threshold`` outside (0, 1).

    Source: spec of the time-scale system, sections 4.2 and B6 (Khajehabdollahi et al. 2024).

    >>> dimension([6.0, 2.0, 1.5, 0.5]).item(), dimension([6.0, 2.0, 1.5, 0.5], reference_compat=True).item()
    (3.0, 2.0)
    """
    check_number("threshold", threshold, 0, 1, open_low=True, open_high=True)
    reached = explained(variances).cumsum(-1)
    # The last one reaches all of it, whatever rounding says.
    index = (reached[..., :-1] <= threshold).sum(-1).astype(np.float64)
    return np.where(np.isnan(reached[..., -1]), np.nan, index if reference_compat else index + 1)


@dataclass(frozen=True)
class Dimensionality:
    """Dimensions of a network's states.

    Attributes:
        trials: Of every trial, ``[trials]``: those with an extreme share of ones differ much from the others.
        mean: Mean over trials (those that are NaN left out).
        std: Standard deviation over trials (÷ n).
        threshold: Share of the variance.
    """

    trials: Array
    mean: float
    std: float
    threshold: float


def dimensionality(covariance: ArrayLike, threshold: float = 0.9, reference_compat: bool = False) -> Dimensionality:
    """:func:`dimension` of the covariances ``[trials, n, n]`` of every trial."""
    trials = np.atleast_1d(dimension(principal_variances(covariance), threshold, reference_compat))
    there = trials[~np.isnan(trials)]
    mean, std = (float(there.mean()), float(there.std())) if len(there) else (float("nan"),) * 2
    return Dimensionality(trials, mean, std, threshold)
