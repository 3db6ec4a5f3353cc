"""A plot of means with every seed's own line behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lop_lightning.report.figures import Plot, house_style, panel_figure


@dataclass(frozen=True)
class SeedPlot(Plot):
    """A plot with each seed's own line, thin, behind the means.

    Attributes:
        seeds: Label of a line -> seeds × points.
        crosses: Label of a line -> points (x, y) to be marked.
        staircase: Whether values are whole numbers, a seed's holding since the point before.
    """

    seeds: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    crosses: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    staircase: bool = False

    def figure(self) -> Figure:
        """See :class:`Plot`."""
        figure = panel_figure(self.panel, f"{self.source} · thin: single seeds", self.legend_title)
        axes = figure.axes[0]
        if self.staircase:
            handles = [handle for legend in figure.legends for handle in legend.legend_handles]
            for drawn in (*axes.lines, *handles):
                if isinstance(drawn, Line2D):
                    drawn.set_marker("")  # points are where somebody goes on, and nothing that was measured
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        style = "steps-pre" if self.staircase else "default"
        with house_style():
            for line in self.panel.lines:
                for _, own in self.seeds[line.label].iterrows():
                    values = own.dropna()
                    axes.plot(values.index.to_numpy(dtype=float), values.to_numpy(), drawstyle=style,
                              color=line.colour, linewidth=0.6, alpha=0.5, zorder=1.5)  # fmt: skip
                for x, y in self.crosses.get(line.label, ()):
                    axes.plot(x, y, "X", color=line.colour, markeredgecolor="white", markersize=7, zorder=4)
        return figure
