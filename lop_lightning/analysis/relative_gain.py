"""By how many per cent the mean of one run is above that of another, with an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from lop_lightning.analysis.bootstrap import Array, ratio_bounds
from lop_lightning.analysis.statistics import FEWEST_FOR_BOOTSTRAP, Interval

RESAMPLES = 4000


def paired_gain(method: pd.Series, base: pd.Series, level: float = 0.95, seed: int = 0) -> Interval:
    """100 · (mean of method − mean of base) / mean of base, in per cent, over the seeds that both have.

    ``method``, ``base``: a positive number for each seed, indexed by seed. It is the ratio of means, not the mean of
    ratios. Fewer than ten seeds: Fieller's interval (see :func:`fieller_bounds`); from ten on the BCa bootstrap, which
    draws pairs. A pair of which one side is not finite drops out, and ``n`` counts the pairs that are left.
    Raises ValueError when no seed is shared.
    """
    shared = method.index.intersection(base.index)
    if not len(shared):
        raise ValueError("nothing to pair: no seed is shared")
    sample = np.column_stack([method.loc[shared], base.loc[shared]]).astype(np.float64)
    sample = sample[np.isfinite(sample).all(axis=1)]
    n = len(sample)
    if n >= FEWEST_FOR_BOOTSTRAP:
        return _percent(
            ratio_bounds(sample, level, RESAMPLES, np.random.default_rng(seed)), n, level, "paired BCa bootstrap"
        )
    if n == 0:
        return _percent((np.nan,) * 3, n, level, "paired Fieller")
    spread = np.cov(sample.T) / n if n > 1 else np.full((2, 2), np.nan)
    return _percent(fieller_bounds(sample.mean(axis=0), spread, n - 1, level), n, level, "paired Fieller")


def unpaired_gain(method: pd.Series, base: pd.Series, level: float = 0.95) -> Interval:
    """The same for seeds that cannot be paired (other streams, other seeds): Fieller's interval without covariance.

    Its degrees of freedom are those of the smaller of the two, which is conservative, and ``n`` is its size.
    """
    sides = [side.to_numpy(np.float64) for side in (method, base)]
    sides = [side[np.isfinite(side)] for side in sides]
    n = min(len(side) for side in sides)
    if n == 0:
        return _percent((np.nan,) * 3, n, level, "unpaired Fieller")
    spread = np.diag([side.var(ddof=1) / len(side) if n > 1 else np.nan for side in sides])
    means = np.array([side.mean() for side in sides])
    return _percent(fieller_bounds(means, spread, n - 1, level), n, level, "unpaired Fieller")


def fieller_bounds(means: Array, spread: Array, freedom: int, level: float) -> tuple[float, float, float]:
    """Estimate m / b, lower and upper bound of the ratio of two expectations.

    ``means``: [m, b]; ``spread``: [2, 2], the covariance of these means; ``freedom``: its degrees of freedom. Bounds
    are the roots in R of (m − R b)² = t² (s_mm − 2 R s_mb + R² s_bb): no ratio between them is rejected. NaN bounds
    when b is not certainly different from zero (no bounded interval exists), or without a spread.

    Source: Fieller 1954, "Some problems in interval estimation".
    """
    m, b = (float(mean) for mean in means)
    estimate = m / b if b else np.nan
    if not np.isfinite(spread).all():
        return estimate, np.nan, np.nan
    t2 = float(special.stdtrit(freedom, 0.5 + level / 2)) ** 2
    quadratic, linear, constant = b**2 - t2 * spread[1, 1], m * b - t2 * spread[0, 1], m**2 - t2 * spread[0, 0]
    if quadratic <= 0:
        return estimate, np.nan, np.nan
    root = np.sqrt(max(0.0, linear**2 - quadratic * constant))
    return estimate, float((linear - root) / quadratic), float((linear + root) / quadratic)


def _percent(ratios: tuple[float, float, float], n: int, level: float, kind: str) -> Interval:
    estimate, low, high = (100 * (ratio - 1) for ratio in ratios)
    return Interval(estimate, low, high, n, level, kind)
