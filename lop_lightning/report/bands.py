"""From a table of seeds × points to a line with a pointwise band, binned where the stream is long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lop_lightning.analysis.statistics import seed_interval, unpaired_difference

Array = NDArray[np.float64]
LONGEST_UNBINNED = 200
POINTS = 100


@dataclass(frozen=True)
class Band:
    """Mean over seeds against ``x``, each array [points].

    ``counts``: what x counts: ``task`` (from 1), ``update``, or what else a figure is drawn against. ``bin_width``: how
    many ``bins_of`` (tasks, or rows of the record) were averaged into a point. ``n``: seeds at each point.
    ``geometric``: mean and interval were taken of the logarithm. ``floored``: how many values that were not positive
    were set to the smallest positive one.
    """

    x: Array
    mean: Array
    low: Array
    high: Array
    n: NDArray[np.int64]
    level: float
    kind: str
    bin_width: int
    geometric: bool
    floored: int
    counts: str
    bins_of: str


def binned(series: pd.DataFrame, longest: int = LONGEST_UNBINNED, points: int = POINTS) -> tuple[pd.DataFrame, int]:
    """Average a table of more than ``longest`` columns over consecutive columns, to about ``points`` of them.

    Returns the table, its columns the mean task (or the last update) of each bin, and the number of columns to a bin
    (1: left as it is). The last bin may be shorter. Tasks that a seed did not finish do not count in its bin.
    """
    if series.shape[1] <= longest:
        return series, 1
    width = -(-series.shape[1] // points)
    part = np.arange(series.shape[1]) // width
    table = series.T.groupby(part).mean().T
    places = series.columns.to_series().groupby(part)
    at = places.last() if series.columns.name == "update" else places.mean()
    table.columns = pd.Index(at.to_numpy(), name=series.columns.name)
    return table, width


def band(series: pd.DataFrame, level: float = 0.95, log: bool = False, bin_width: int | None = None) -> Band:
    """The line and pointwise band of a table of seeds × points.

    The columns' name says what they count; tasks (or no name) are counted from 0 in the table and drawn from 1.
    ``log``: for a logarithmic axis, the geometric mean and its interval; an arithmetic mean over decades would show
    only the largest seed, and its band would reach below zero. ``bin_width``: the table is drawn as it is, its points
    being bins of that many tasks; None bins a long one. Interval: see
    :func:`~lop_lightning.analysis.statistics.seed_interval`.
    """
    table, width = binned(series) if bin_width is None else (series, bin_width)
    values, floored = table.to_numpy(dtype=np.float64), 0
    if log:
        positive = values[np.isfinite(values) & (values > 0)]
        floor = positive.min() if len(positive) else 1.0
        floored = int((values <= 0).sum())
        values = np.log(np.where(values <= 0, floor, values))
    counts = str(table.columns.name or "task")
    x = table.columns.to_numpy(dtype=np.float64) + (counts == "task")
    of = "rows" if bin_width is None and counts == "update" else "tasks"
    if not len(x):
        return Band(x, x, x, x, np.zeros(0, np.int64), level, "t", width, log, floored, counts, of)
    interval = seed_interval(values, level)
    mean, low, high = (np.asarray(y) for y in (interval.estimate, interval.low, interval.high))
    if log:
        mean, low, high = np.exp(mean), np.exp(low), np.exp(high)
    return Band(x, mean, low, high, np.asarray(interval.n), level, interval.kind, width, log, floored, counts, of)


def unpaired_band(table: pd.DataFrame, reference: pd.DataFrame, level: float, bin_width: int | None = None) -> Band:
    """A line of mean − mean of a reference whose seeds had another stream, at the points that both have.

    Interval: :func:`~lop_lightning.analysis.statistics.unpaired_difference`; the rest as in :func:`band`.
    """
    points = table.columns.intersection(reference.columns)
    own, width = binned(table[points]) if bin_width is None else (table[points], bin_width)
    other = binned(reference[points])[0] if bin_width is None else reference[points]
    blank = band(own * float("nan"), level, bin_width=width)
    if not len(points):
        return blank
    interval = unpaired_difference(own.to_numpy(), other.to_numpy(), level)
    mean, low, high = (np.asarray(y) for y in (interval.estimate, interval.low, interval.high))
    return replace(blank, mean=mean, low=low, high=high, n=np.asarray(interval.n), kind=interval.kind)


def caption(bands: Sequence[Band]) -> str:
    """One line that says what was drawn: the mean, the seeds, the kind of interval, and the bins."""
    counts = np.concatenate([b.n[b.n > 0] for b in bands] or [np.zeros(1, int)])
    if not len(counts):
        return "no finite value"
    fewest, most = int(counts.min()), int(counts.max())
    means = sorted({"geometric mean" if b.geometric else "mean" for b in bands}, reverse=True)
    seeds = f"n = {fewest}" if fewest == most else f"n = {fewest}–{most}"
    parts = [f"line: {' or '.join(means)} over seeds ({seeds})"]
    if most > 1:
        kinds = " or ".join(sorted({b.kind for b in bands if (b.n > 1).any()}))
        parts.append(f"band: {100 * bands[0].level:g}\u00a0% {kinds} interval, pointwise")
    else:
        parts.append("one seed: no interval")
    for of in sorted({b.bins_of for b in bands}):
        widths = sorted({b.bin_width for b in bands if b.bin_width > 1 and b.bins_of == of and len(b.x)})
        if widths:
            parts.append(f"each point: mean of {' or '.join(map(str, widths))} {of}")
    floored = sum(b.floored for b in bands)
    if floored:
        parts.append(f"{floored} values ≤ 0 drawn at the smallest positive one")
    return " · ".join(parts)
