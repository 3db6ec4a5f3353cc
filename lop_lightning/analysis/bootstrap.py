"""The bootstrap itself: replicates, jackknife, and Efron's bias-corrected and accelerated tails, for many columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]


def iqm(values: ArrayLike, axis: int = 0) -> Array:
    """Interquartile mean: the mean of what is left when ⌊n/4⌋ values are cut at either end, along ``axis``.

    Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
    NaN is not treated here: :func:`bootstrap_interval` leaves such seeds out before.
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, dtype=np.float64), axis, 0), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(axis=0)


STATISTICS: dict[str, Callable[..., Array]] = {"mean": np.mean, "iqm": iqm, "median": np.median}


def bootstrap_bounds(
    sample: Array, statistic: str, level: float, resamples: int, method: str, generator: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Estimate, lower and upper bound, each [T], of a sample [n, T] without gaps; ``method`` bca or percentile."""
    n = len(sample)
    estimate = np.asarray(STATISTICS[statistic](sample, axis=0))
    if n < 2:
        return estimate, np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    drawn = generator.integers(0, n, size=(resamples, n))
    replicates = _replicates(sample, statistic, drawn)
    tails = np.array([[(1 - level) / 2], [(1 + level) / 2]])
    probabilities = np.broadcast_to(tails, (2, len(estimate)))
    if method == "bca":
        probabilities = _accelerated(tails, replicates, estimate, _jackknife(sample, statistic))
    low, high = _quantiles(np.sort(replicates, axis=0), probabilities)
    equal = np.ptp(sample, axis=0) == 0
    return estimate, np.where(equal, estimate, low), np.where(equal, estimate, high)


def ratio_bounds(
    sample: Array, level: float, resamples: int, generator: np.random.Generator
) -> tuple[float, float, float]:
    """Estimate, lower and upper bound (BCa) of the ratio of the two columns' means; rows [n, 2] are drawn as pairs."""

    def ratio(means: Array) -> Array:
        return means[..., :1] / means[..., 1:]

    drawn = generator.integers(0, len(sample), size=(resamples, len(sample)))
    replicates, estimate = ratio(_replicates(sample, "mean", drawn)), ratio(sample.mean(axis=0))
    tails = np.array([[(1 - level) / 2], [(1 + level) / 2]])
    probabilities = _accelerated(tails, replicates, estimate, ratio(_jackknife(sample, "mean")))
    low, high = _quantiles(np.sort(replicates, axis=0), probabilities)
    return float(estimate[0]), float(low[0]), float(high[0])


def _replicates(sample: Array, statistic: str, drawn: NDArray[np.int64]) -> Array:
    """The statistic of every resample, [resamples, T]."""
    resamples, n = drawn.shape
    if statistic == "mean":  # one matrix product in place of a gather of [resamples, n, T]
        flat = drawn + n * np.arange(resamples)[:, None]
        counts = np.bincount(flat.reshape(-1), minlength=resamples * n).reshape(resamples, n)
        return counts @ sample / n
    width = max(1, 10_000_000 // drawn.size)  # columns at a time, so that the gather stays below 80 MB
    pieces = [sample[:, start : start + width][drawn] for start in range(0, sample.shape[1], width)]
    return np.concatenate([STATISTICS[statistic](piece, axis=1) for piece in pieces], axis=1)


def _jackknife(sample: Array, statistic: str) -> Array:
    """The statistic with one seed left out, [n, T]."""
    n = len(sample)
    if statistic == "mean":
        return (sample.sum(axis=0) - sample) / (n - 1)
    return np.stack([STATISTICS[statistic](np.delete(sample, i, axis=0), axis=0) for i in range(n)])


def _accelerated(tails: Array, replicates: Array, estimate: Array, jackknife: Array) -> Array:
    """Efron's corrected tail probabilities, [2, T]: bias z₀ from the replicates, acceleration from the jackknife."""
    below = (replicates < estimate).mean(axis=0) + 0.5 * (replicates == estimate).mean(axis=0)
    edge = 1 / (len(replicates) + 1)
    z0 = special.ndtri(np.clip(below, edge, 1 - edge))
    deviation = jackknife.mean(axis=0) - jackknife
    scale = 6 * (deviation**2).sum(axis=0) ** 1.5
    acceleration = np.divide((deviation**3).sum(axis=0), scale, out=np.zeros_like(scale), where=scale > 0)
    shifted = z0 + special.ndtri(tails)
    return special.ndtr(z0 + shifted / (1 - acceleration * shifted))


def _quantiles(ordered: Array, probabilities: Array) -> Array:
    """Linear interpolation in sorted columns [B, T] at probabilities [2, T]."""
    position = probabilities * (len(ordered) - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, len(ordered) - 1)
    left, right = np.take_along_axis(ordered, below, axis=0), np.take_along_axis(ordered, above, axis=0)
    return left + (position - below) * (right - left)
