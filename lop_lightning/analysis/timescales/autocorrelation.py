"""Autocovariances of long simulations, for which no series need ever be held whole."""

from __future__ import annotations

import torch
from torch import Tensor

from lop_lightning.errors import ConfigError, check_count

_ROWS = 128  # steps at a time: what is multiplied lag by lag then stays in the processor's cache


class Autocovariance:
    """c(l) = Σ_{t<n-l} y_t y_{t+l} / (n - l), y = x - mean over t, from a series that comes piece after piece.

    The mean is known only at the end. With x counted from a provisional mean, S its sum, F_l and L_l the sums of its
    first and last l steps and m = S / n,

        Σ y_t y_{t+l} = Σ x_t x_{t+l} - m (S - L_l) - m (S - F_l) + (n - l) m²,

    so that the lag products, the sums and max_lag steps at either end are all that is kept. In float64; the pieces may
    be cut anywhere. A constant series has exactly zero covariance; one with a NaN or an infinity has NaN.

    Args:
        max_lag: Largest lag.
        reference_compat: Divides by n - 1 - l, as the code of the paper does.

    Raises:
        ConfigError: ``max_lag`` is no count.

    Source: spec of the time-scale system, section 4.1 and B7 (Khajehabdollahi et al. 2024).
    """

    def __init__(self, max_lag: int = 30, reference_compat: bool = False) -> None:
        check_count("max_lag", max_lag, 0)
        self.max_lag, self.lost = max_lag, int(reference_compat)
        self.steps = 0

    def add(self, piece: Tensor) -> None:
        """The next steps ``[trials, t, units]`` of every trial.

        Raises:
            ValueError: they are no series, or not of the trials and units that came before.
        """
        if piece.ndim != 3 or not piece.is_floating_point():
            raise ValueError(f"expected a floating-point series [trials, t, units], got {list(piece.shape)}")
        if not piece.shape[1]:
            return
        if self.steps == 0:
            self._begin(piece)
        if (len(piece), piece.shape[2]) != (len(self.offset), self.offset.shape[2]):
            raise ValueError(f"expected the next steps of {list(self.sum.shape)} series, got {list(piece.shape)}")
        for rows in piece.split(_ROWS, 1):
            self._add(rows.double() - self.offset)

    def _begin(self, piece: Tensor) -> None:
        first = piece[:, :1].double()
        # Counted from the first step, so that a constant series gives exact zeros.
        self.offset = first + (piece.double() - first).mean(1, keepdim=True)
        trials, _, units = piece.shape
        self.sum = self.offset.new_zeros(trials, units)
        self.products = self.offset.new_zeros(trials, self.max_lag + 1, units)
        self.head = self.offset.new_zeros(trials, 0, units)
        # Before the first step there are zeros, which add nothing to any product.
        self.tail = self.offset.new_zeros(trials, self.max_lag, units)

    def _add(self, x: Tensor) -> None:
        t, together = x.shape[1], torch.cat([self.tail, x], 1)
        for lag in range(self.max_lag + 1):
            self.products[:, lag] += (x * together.narrow(1, self.max_lag - lag, t)).sum(1)
        self.sum += x.sum(1)
        self.head = torch.cat([self.head, x[:, : self.max_lag - self.head.shape[1]]], 1)
        self.tail = together[:, t:].clone()
        self.steps += t

    def of_trials(self) -> Tensor:
        """The autocovariances of every trial, ``[trials, max_lag + 1, units]``.

        Raises:
            ConfigError: there came no more steps than lags.
        """
        n, lags = self.steps, self.max_lag
        if n - self.lost <= lags:
            raise ConfigError("max_lag", lags, f"less than the {n - self.lost} steps of the series")
        mean = self.sum[:, None] / n
        first = _sums_of_first(self.head)
        last = _sums_of_first(self.tail.flip(1))
        left = torch.arange(n, n - lags - 1, -1, device=mean.device, dtype=mean.dtype)[:, None]
        # Twice the sum less both edges, because each of the two factors misses the steps of one edge.
        edges = 2 * self.sum[:, None] - first - last
        return (self.products - mean * edges + left * mean.square()) / (left - self.lost)

    def result(self) -> Tensor:
        """Their mean over trials, ``[max_lag + 1, units]``; raises as :meth:`of_trials`."""
        return self.of_trials().mean(0)


def _sums_of_first(x: Tensor) -> Tensor:
    """Sums of the first l = 0 … t steps, ``[trials, t, units] -> [trials, t + 1, units]``."""
    return torch.cat([x.new_zeros(len(x), 1, x.shape[2]), x.cumsum(1)], 1)


def autocovariance(x: Tensor, max_lag: int = 30, reference_compat: bool = False) -> Tensor:
    """Autocovariance of series ``[trials, T, units] -> [max_lag + 1, units]``, float64: see :class:`Autocovariance`.

    >>> autocovariance(torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]]]), 1).flatten().tolist()
    [1.0, -1.0]
    """
    whole = Autocovariance(max_lag, reference_compat)
    whole.add(x)
    return whole.result()


def autocorrelation(covariance: Tensor) -> Tensor:
    """c(l) / c(0), lags first: ``[lags, units]``; NaN for a series that does not vary."""
    return covariance / covariance[:1]
