"""A panel, one pair of axes: lines with bands, horizontal levels of other runs, a fresh network behind."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lop_lightning.analysis.statistics import Interval
from lop_lightning.report.bands import Band
from lop_lightning.report.colours import FRESH

FEW_POINTS = 15
FEW_FACTORS = 8
MOST_DARK_BANDS = 6
LONGEST_TITLE = 58
"""Letters in a line of a title, so that it does not run into the legend."""


@dataclass(frozen=True)
class Line:
    """One line with its band."""

    label: str
    band: Band
    colour: str
    style: str = "-"


@dataclass(frozen=True)
class Level:
    """A horizontal line: one number of a run, and its interval."""

    label: str
    interval: Interval
    colour: str


@dataclass(frozen=True)
class Panel:
    """Lines against the task, or what else their bands count.

    ``fresh`` is the fresh reference network, drawn behind in grey; ``levels`` are horizontal lines; ``zero`` marks
    where two runs are equal. Of the ``limits`` for the vertical axis the first that hold all lines are taken.
    ``log_x``: what is counted goes by factors. ``ends``: where a task ends, marked by thin lines.
    """

    title: str
    axis_label: str
    lines: Sequence[Line]
    fresh: Band | None = None
    log: bool = False
    fraction: bool = False
    levels: Sequence[Level] = ()
    zero: bool = False
    limits: Sequence[tuple[float, float]] = ()
    log_x: bool = False
    ends: Sequence[float] = ()
    bands: list[Band] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", [line.band for line in self.lines] + ([self.fresh] if self.fresh else []))

    @property
    def has_legend(self) -> bool:
        """Whether there is anything to tell apart."""
        return len(self.lines) > 1 or self.fresh is not None or bool(self.levels)


def ends_note(ends: Sequence[float]) -> str:
    """For the small print: what the thin lines are, where there are some."""
    return " · dashed: a task ends" if ends else ""


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw a panel: bands below, lines above, a legend is left to the figure."""
    shade = 0.18 if len(panel.lines) <= MOST_DARK_BANDS else 0.08
    if panel.zero:
        axes.axhline(0, color="#666666", linewidth=0.9, zorder=1)
    for end in panel.ends:
        axes.axvline(end, color="#b5b5b5", linestyle="--", linewidth=0.6, zorder=0.8)
    for level in panel.levels:
        _draw_level(axes, level)
    if panel.fresh is not None:
        _draw_band(axes, Line("fresh network", panel.fresh, FRESH, "--"), shade, zorder=1)
    for line in panel.lines:
        _draw_band(axes, line, shade, zorder=2)
    axes.set_title(textwrap.fill(panel.title, LONGEST_TITLE))
    counts = panel.bands[0].counts if panel.bands else "task"
    axes.set_xlabel(counts)
    axes.set_ylabel(panel.axis_label)
    if panel.log_x:
        _factors(axes, np.concatenate([band.x for band in panel.bands]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
        if counts == "update":
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.02)
    if panel.log:
        axes.set_yscale("log")
    elif panel.fraction:
        _fraction_limits(axes, panel)
    means = _means(panel)
    for low, high in panel.limits:
        if len(means) and low <= means.min() and means.max() <= high:
            axes.set_ylim(low, high)
            break


def _draw_band(axes: Axes, line: Line, shade: float, zorder: float) -> None:
    band, colour = line.band, line.colour
    if not len(band.x):
        return  # the run is shorter than one bin
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(band.x) <= FEW_POINTS else {}
    if np.isfinite(band.low).any():
        axes.fill_between(band.x, band.low, band.high, color=colour, alpha=shade, linewidth=0, zorder=zorder)
    axes.plot(band.x, band.mean, color=colour, linestyle=line.style, label=line.label, zorder=zorder + 1, **marker)


def _draw_level(axes: Axes, level: Level) -> None:
    mean, low, high = (float(x) for x in (level.interval.estimate, level.interval.low, level.interval.high))
    axes.axhline(mean, color=level.colour, linestyle=":", linewidth=1.4, label=level.label, zorder=1.5)
    if np.isfinite(low):
        axes.axhspan(low, high, color=level.colour, alpha=0.12, linewidth=0, zorder=1)


def _factors(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic horizontal axis with a tick at every value, if they are few; zero is left of the smallest."""
    positive = np.unique(values[values > 0])
    if (values <= 0).any():
        axes.set_xscale("symlog", linthresh=positive.min(), linscale=0.5)
    else:
        axes.set_xscale("log")
    shown = np.unique(values)
    if len(shown) > FEW_FACTORS:  # their names would run into each other: those of the powers of ten are enough
        shown = shown[(shown <= 0) | np.isclose(np.log10(np.where(shown > 0, shown, 0.5)) % 1, [[0], [1]]).any(0)]
    axes.set_xticks(shown, [f"{value:g}" for value in shown])
    axes.minorticks_off()


def _means(panel: Panel) -> np.ndarray:
    levels = [np.atleast_1d(np.asarray(level.interval.estimate, dtype=np.float64)) for level in panel.levels]
    means = np.concatenate([*(band.mean for band in panel.bands), *levels])
    return means[np.isfinite(means)]


def _fraction_limits(axes: Axes, panel: Panel) -> None:
    """From 0 to 1 where the lines fill half of that, else just around them; never beyond what a fraction can be."""
    means = _means(panel)
    if len(means) == 0 or means.max() > 1 or means.min() < 0:
        return  # counted in another unit: leave it to matplotlib
    low, high = axes.get_ylim()
    if np.ptp(means) > 0.5:
        low, high = 0.0, 1.0
    axes.set_ylim(max(low, -0.01), min(max(high, low + 0.05), 1.01))
