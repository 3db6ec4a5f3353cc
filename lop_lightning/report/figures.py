"""Drawing: the house style, figures of one or several panels, and saving as PNG and SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lop_lightning.report.bands import caption
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.panels import Panel, draw_panel

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


def house_style() -> AbstractContextManager[None]:
    """The style, for the time of a ``with``; nothing global is left changed."""
    return matplotlib.rc_context(STYLE)


def panel_figure(panel: Panel, source: str, legend_title: str | None = None) -> Figure:
    """A figure of one panel, its legend to the right, in small print below the ``source`` and what was drawn."""
    with house_style():
        legend = panel.has_legend
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


@dataclass(frozen=True)
class Plot:
    """A figure of one panel that can also be written as numbers."""

    panel: Panel
    source: str
    legend_title: str | None = None

    def figure(self) -> Figure:
        """The figure."""
        return panel_figure(self.panel, self.source, self.legend_title)

    def numbers(self) -> pd.DataFrame:
        """What is drawn, a row a point: ``line``, what x counts, ``mean``, ``low``, ``high``, ``n``, ``kind``.

        ``kind`` is that of the interval. A horizontal line is one row without an x.
        """
        counts = self.panel.bands[0].counts if self.panel.bands else "task"
        rows = [
            (line.label, x, mean, low, high, n, line.band.kind)
            for line in self.panel.lines
            for x, mean, low, high, n in zip(*(getattr(line.band, name) for name in ("x", "mean", "low", "high", "n")))
        ]
        for level in self.panel.levels:
            one = level.interval
            rows.append((level.label, float("nan"), one.estimate, one.low, one.high, one.n, one.kind))
        return pd.DataFrame(rows, columns=["line", counts.replace(" ", "_"), "mean", "low", "high", "n", "kind"])


def save(drawn: Figure | Plot, folder: OutputFolder, name: str) -> list[Path]:
    """Write ``name.png`` (200 dpi) and ``name.svg`` into a folder, for a plot also ``name.csv``; return their paths.

    Raises FileExistsError when a file of that name is there that the report did not make.
    """
    paths = [folder.claim(f"{name}.png"), folder.claim(f"{name}.svg")]
    if isinstance(drawn, Plot):
        paths.append(folder.claim(f"{name}.csv"))
        drawn.numbers().to_csv(paths[-1], index=False, float_format="%.10g")
    figure = drawn.figure() if isinstance(drawn, Plot) else drawn
    with house_style():
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths
