"""Intervals over seeds: bootstrap and t, pointwise along a series, paired by seed, always from a seeded generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lop_lightning.analysis.bootstrap import STATISTICS, Array, bootstrap_bounds, iqm

__all__ = [
    "Interval", "bootstrap_interval", "iqm", "paired_difference", "seed_interval", "t_interval", "unpaired_difference",
]  # fmt: skip

Statistic = Literal["mean", "iqm", "median"]
Method = Literal["auto", "bca", "percentile", "t"]

UNPAIRED = "unpaired t (Welch)"
"""Kind of the intervals between seeds that were not paired."""

FEWEST_FOR_BOOTSTRAP = 10
"""Below this many seeds a bootstrap interval is too narrow, and ``method="auto"`` takes the t interval."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; floats, or arrays over the extra axes of the values.

    ``estimate``, ``low``, ``high`` in the unit of the values; ``n`` the seeds that count; ``level`` the nominal
    coverage; ``kind`` how it was made, for a figure's caption. ``low`` and ``high`` are NaN where ``n < 2``.
    """

    estimate: float | Array
    low: float | Array
    high: float | Array
    n: int | NDArray[np.int64]
    level: float
    kind: str


def bootstrap_interval(
    values: ArrayLike,
    statistic: Statistic = "mean",
    level: float = 0.95,
    resamples: int = 4000,
    method: Literal["bca", "percentile"] = "bca",
    seed: int = 0,
) -> Interval:
    """Bootstrap confidence interval of a statistic over seeds.

    ``values``: [S] or [S, ...], seeds first; every further axis gets its own (pointwise) interval. Values that are not
    finite are seeds that dropped out: they are left out, and ``n`` says how many remain. All-equal values give an
    interval of width zero, ``n = 1`` NaN bounds. The numbers depend on ``seed`` alone, and a column's interval does not
    depend on the other columns.

    Source: Efron 1987, "Better bootstrap confidence intervals" (bias-corrected and accelerated).
    Raises ValueError for an unknown statistic or method and for a level outside (0, 1).
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic {statistic!r} is none of {', '.join(STATISTICS)}")
    if method not in ("bca", "percentile"):
        raise ValueError(f"bootstrap method {method!r} is none of bca, percentile")

    def bounds(sample: Array) -> tuple[Array, Array, Array]:
        return bootstrap_bounds(sample, statistic, level, resamples, method, np.random.default_rng(seed))

    name = {"bca": "BCa bootstrap", "percentile": "percentile bootstrap"}[method]
    return _pointwise(values, level, name if statistic == "mean" else f"{name} ({statistic})", bounds)


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of the mean over seeds: mean ± t_{n−1} · s / √n.

    Shapes, dropped seeds and ``n = 1`` as in :func:`bootstrap_interval`. Raises ValueError for a level outside (0, 1).
    """

    def bounds(sample: Array) -> tuple[Array, Array, Array]:
        n, mean = len(sample), sample.mean(axis=0)
        if n < 2:
            return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
        half = special.stdtrit(n - 1, 0.5 + level / 2) * sample.std(axis=0, ddof=1) / np.sqrt(n)
        return mean, mean - half, mean + half

    return _pointwise(values, level, "t", bounds)


def seed_interval(
    values: ArrayLike, level: float = 0.95, method: Method = "auto", statistic: Statistic = "mean", seed: int = 0
) -> Interval:
    """The interval over seeds that the reports use: t for fewer than ten seeds, BCa bootstrap from ten on.

    ``method`` other than ``auto`` forces one. The t interval knows the mean only, so another ``statistic`` is
    bootstrapped whatever the number of seeds. Shapes and errors as in :func:`bootstrap_interval`.
    """
    if method == "auto":
        most = np.isfinite(np.asarray(values, dtype=np.float64)).sum(axis=0).max()
        method = "t" if statistic == "mean" and most < FEWEST_FOR_BOOTSTRAP else "bca"
    if method == "t":
        if statistic != "mean":
            raise ValueError(f"the t interval is of the mean, not of the {statistic}")
        return t_interval(values, level)
    return bootstrap_interval(values, statistic, level, method=method, seed=seed)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    level: float = 0.95,
    method: Method = "auto",
    statistic: Statistic = "mean",
    seed: int = 0,
) -> Interval:
    """Interval of a − b, paired by seed: the same seed has the same stream, so the difference is taken first.

    ``a``, ``b``: [S, ...] of the same shape with the same seeds in the same order, or pandas objects indexed by seed,
    which are matched on the seeds that both have. A pair of which one side is not finite drops out.
    Raises ValueError when the shapes differ or no seed is shared.
    """
    if isinstance(a, (pd.Series, pd.DataFrame)) and isinstance(b, (pd.Series, pd.DataFrame)):
        shared = a.index.intersection(b.index)
        a, b = a.loc[shared], b.loc[shared]
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or len(left) == 0:
        raise ValueError(f"nothing to pair: values of shape {left.shape} and {right.shape}")
    return seed_interval(left - right, level, method, statistic, seed)


def unpaired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Welch's interval of mean a − mean b for seeds that cannot be paired: they had different streams.

    ``a``: [S, ...], ``b``: [R, ...] with the same further axes, each of which has its own interval. What is not finite
    drops out. mean a − mean b ± t_ν · √(u + v), with u = s_a² / n_a, v = s_b² / n_b and
    ν = (u + v)² / (u² / (n_a − 1) + v² / (n_b − 1)). ``n`` is the smaller of both; below 2 there are no bounds. Equal
    seeds may share their initial weights, which this ignores: it is then wider than it need be.

    Source: Welch 1947, "The generalization of Student's problem when several different population variances are
    involved". Raises ValueError for a level outside (0, 1).
    """
    left, right = t_interval(a, level), t_interval(b, level)
    n, m = np.asarray(left.n), np.asarray(right.n)
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = (_variance(values) / count for values, count in ((a, n), (b, m)))
        freedom = np.where(u + v > 0, (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1)), 1.0)
    half = special.stdtrit(freedom, 0.5 + level / 2) * np.sqrt(u + v)
    difference, fewest = np.asarray(left.estimate) - np.asarray(right.estimate), np.minimum(n, m)
    half = np.where(fewest < 2, np.nan, half)
    low, high = difference - half, difference + half
    if difference.ndim == 0:
        return Interval(float(difference), float(low), float(high), int(fewest), level, UNPAIRED)
    return Interval(difference, low, high, fewest, level, UNPAIRED)


def _variance(values: ArrayLike) -> Array:
    """s² over the finite seeds, NaN for fewer than two."""
    table = np.asarray(values, dtype=np.float64)
    finite = pd.DataFrame(np.where(np.isfinite(table), table, np.nan).reshape(len(table), -1))
    return finite.var(ddof=1).to_numpy().reshape(table.shape[1:])


def _pointwise(
    values: ArrayLike, level: float, kind: str, bounds: Callable[[Array], tuple[Array, Array, Array]]
) -> Interval:
    """Apply ``bounds`` ([n, T] without gaps -> estimate, low, high [T]) to the columns that miss the same seeds."""
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or len(array) == 0:
        raise ValueError("an interval needs at least one seed")
    table = array.reshape(len(array), -1)
    low, high, estimate = (np.full(table.shape[1], np.nan) for _ in range(3))
    n = np.isfinite(table).sum(axis=0)
    for rows, columns in _missing_patterns(table):
        estimate[columns], low[columns], high[columns] = bounds(table[np.ix_(rows, columns)])
    if array.ndim == 1:
        return Interval(float(estimate[0]), float(low[0]), float(high[0]), int(n[0]), level, kind)
    shape = array.shape[1:]
    return Interval(estimate.reshape(shape), low.reshape(shape), high.reshape(shape), n.reshape(shape), level, kind)


def _missing_patterns(table: Array) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows that are finite and the columns that share them; columns without any finite row are left out."""
    patterns, which = np.unique(np.isfinite(table), axis=1, return_inverse=True)
    for k in range(patterns.shape[1]):
        rows = np.flatnonzero(patterns[:, k])
        if len(rows):
            yield rows, np.flatnonzero(which.reshape(-1) == k)
