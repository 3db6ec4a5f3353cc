"""Drawing: the house style, a panel of lines with bands, and saving as PNG and SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lop_lightning.report.bands import Band, caption
from lop_lightning.report.colours import FRESH
from lop_lightning.report.output import OutputFolder

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "lop-lightning",  # the same figure gives the same file
}
WIDTH, HEIGHT = 6.4, 3.4
FEW_POINTS = 15
MOST_DARK_BANDS = 6


@dataclass(frozen=True)
class Line:
    """One line with its band."""

    label: str
    band: Band
    colour: str
    style: str = "-"


@dataclass(frozen=True)
class Panel:
    """One pair of axes: lines against the task. ``fresh`` is the fresh reference network, drawn behind in grey."""

    title: str
    axis_label: str
    lines: Sequence[Line]
    fresh: Band | None = None
    log: bool = False
    fraction: bool = False
    bands: list[Band] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bands", [line.band for line in self.lines] + ([self.fresh] if self.fresh else []))


def house_style() -> AbstractContextManager[None]:
    """The style, for the time of a ``with``; nothing global is left changed."""
    return matplotlib.rc_context(STYLE)


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw a panel: bands below, lines above, a legend is left to the figure."""
    shade = 0.18 if len(panel.lines) <= MOST_DARK_BANDS else 0.08
    if panel.fresh is not None:
        _draw_band(axes, Line("fresh network", panel.fresh, FRESH, "--"), shade, zorder=1)
    for line in panel.lines:
        _draw_band(axes, line, shade, zorder=2)
    axes.set_title(panel.title)
    axes.set_xlabel("task")
    axes.set_ylabel(panel.axis_label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    axes.margins(x=0.02)
    if panel.log:
        axes.set_yscale("log")
    elif panel.fraction:
        _fraction_limits(axes, panel)


def panel_figure(panel: Panel, source: str, legend_title: str | None = None) -> Figure:
    """A figure of one panel, its legend to the right, in small print below the ``source`` and what was drawn."""
    with house_style():
        legend = len(panel.lines) > 1 or panel.fresh is not None
        figure = Figure(figsize=(WIDTH + (1.2 if legend else 0), HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        draw_panel(axes, panel)
        if legend:
            add_legend(figure, [axes], legend_title)
        add_caption(figure, f"{source} · {caption(panel.bands)}")
    return figure


def grid_figure(panels: Sequence[Panel], source: str, columns: int = 3) -> Figure:
    """Several panels in one figure, one legend for all to the right."""
    with house_style():
        rows = -(-len(panels) // columns)
        figure = Figure(figsize=(3.7 * columns + 1.2, 2.9 * rows), layout="constrained")
        for i, panel in enumerate(panels):
            draw_panel(figure.add_subplot(rows, columns, i + 1), panel)
        add_legend(figure, figure.axes)
        add_caption(figure, f"{source} · {caption([band for panel in panels for band in panel.bands])}")
    return figure


def add_legend(figure: Figure, axes: Sequence[Axes], title: str | None = None) -> None:
    """One legend outside the axes, so that it covers no data; labels that occur in several axes once."""
    handles: dict[str, Artist] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    if len(handles) > 1:
        legend = figure.legend(
            list(handles.values()), list(handles), loc="outside right upper", title=title, ncols=1 + len(handles) // 18
        )
        legend.set_alignment("left")


def add_caption(figure: Figure, text: str) -> None:
    """Small print at the bottom: the interval's kind, the number of seeds, the bins."""
    lines = textwrap.fill(text.replace(" · ", "\u00a0· "), width=int(18 * figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=7, color="#666666", x=0.01, ha="left")


def save(figure: Figure, folder: OutputFolder, name: str) -> list[Path]:
    """Write ``name.png`` (200 dpi) and ``name.svg`` into a folder and return their paths.

    Raises FileExistsError when a file of that name is there that the report did not make.
    """
    paths = [folder.claim(f"{name}.png"), folder.claim(f"{name}.svg")]
    with house_style():
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def _draw_band(axes: Axes, line: Line, shade: float, zorder: float) -> None:
    band, colour = line.band, line.colour
    marker: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(band.task) <= FEW_POINTS else {}
    if np.isfinite(band.low).any():
        axes.fill_between(band.task, band.low, band.high, color=colour, alpha=shade, linewidth=0, zorder=zorder)
    axes.plot(band.task, band.mean, color=colour, linestyle=line.style, label=line.label, zorder=zorder + 1, **marker)


def _fraction_limits(axes: Axes, panel: Panel) -> None:
    """From 0 to 1 where the lines fill half of that, else just around them; never beyond what a fraction can be."""
    means = np.concatenate([band.mean for band in panel.bands])
    means = means[np.isfinite(means)]
    if len(means) == 0 or means.max() > 1 or means.min() < 0:
        return  # counted in another unit: leave it to matplotlib
    low, high = axes.get_ylim()
    if np.ptp(means) > 0.5:
        low, high = 0.0, 1.0
    axes.set_ylim(max(low, -0.01), min(max(high, low + 0.05), 1.01))
