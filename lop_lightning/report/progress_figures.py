"""How far runs on movies have come with R: the way through the curriculum, and the greatest R."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lop_lightning.analysis.statistics import seed_interval
from lop_lightning.report.bands import band
from lop_lightning.report.colours import SPARE
from lop_lightning.report.figures import add_caption, house_style
from lop_lightning.report.panels import Line, Panel
from lop_lightning.report.seed_plot import SeedPlot

RUNS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", *SPARE)
"""Hues of runs, one after another; Okabe and Ito's, then the house's spare ones."""
LABEL_WIDTH = 34
"""Letters of a run's label in a line beside its bars."""
DOTS = 0.1
"""How far the dots of seeds are from the middle of their bar, at most."""


def progress_plot(staircases: Mapping[str, pd.DataFrame], stages: Mapping[str, pd.DataFrame]) -> SeedPlot:
    """The R that is trained against updates: the mean over seeds of each run, and every seed's staircase.

    Args:
        staircases: Run -> :func:`lop_lightning.analysis.hebbian.progress.trained_over_updates`.
        stages: Run -> :func:`lop_lightning.analysis.hebbian.progress.stages`.
    """
    lines = [
        Line(label, band(table, bin_width=1), hue)
        for (label, table), hue in zip(staircases.items(), hues(len(staircases)))
    ]
    crosses = {
        label: list(own.loc[own["capped"], ["total", "R"]].itertuples(index=False, name=None))
        for label, own in stages.items()
    }
    given_up = " · cross: an R was given up" if any(crosses.values()) else ""
    most = max(table.to_numpy(dtype=float).max() for table in staircases.values())
    panel = Panel("R in training", "repeat interval R", lines, limits=[(0, most + 1)])
    return SeedPlot(panel, f"curriculum over R{given_up}", seeds=staircases, crosses=crosses, staircase=True)


def reached_figure(reached: Mapping[str, pd.DataFrame]) -> Figure:
    """Bars of each run: the greatest R solved (full) and trained (empty), with intervals over seeds and a dot a seed.

    Args:
        reached: Run -> :func:`lop_lightning.analysis.hebbian.progress.reached`.
    """
    with house_style():
        figure = Figure(figsize=(7.0, 0.62 * len(reached) + 1.5), layout="constrained")
        axes = figure.add_subplot()
        for place, (table, colour) in enumerate(zip(reached.values(), hues(len(reached)))):
            for column, shift, full in (("solved", -0.19, True), ("attempted", 0.19, False)):
                found = seed_interval(table[column].to_numpy(dtype=float))
                face = colour if full else "white"
                axes.barh(place + shift, float(found.estimate), 0.34, facecolor=face, edgecolor=colour, alpha=0.75)
                axes.hlines(place + shift, float(found.low), float(found.high), color="#333333", linewidth=1.3)
                heights = place + shift + np.linspace(-DOTS, DOTS, len(table))
                for capped, marker in ((0, "o"), (1, "X")):
                    own = (table["capped"] == capped).to_numpy()
                    axes.plot(table[column][own], heights[own], marker, color="#333333", markersize=4, alpha=0.7,
                              markeredgewidth=0)  # fmt: skip
        axes.set_yticks(range(len(reached)), [fill(label, LABEL_WIDTH) for label in reached])
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
        most = max(table["attempted"].max() for table in reached.values())
        right = 1.15 * most + 0.5  # the interval of two seeds would stretch the axis too far
        axes.set_xlim(-0.02 * right, right)
        axes.set_xlabel("greatest repeat interval R")
        axes.set_title("R solved (full) and R trained (empty)")
        kinds = "–".join(sorted({str(len(table)) for table in reached.values()}))
        crosses = " · cross: a seed that gave an R up" if any(t["capped"].any() for t in reached.values()) else ""
        add_caption(figure, f"bar: mean over seeds (n = {kinds}) · line: 95 % interval · dots: seeds{crosses}")
    return figure


def reached_numbers(reached: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What :func:`reached_figure` draws.

    Returns:
        Columns ``line``; ``quantity``, ``solved`` or ``attempted``; ``mean``, ``low``, ``high``, ``n``, ``kind``;
        ``capped``, how many seeds gave an R up.
    """
    rows = []
    for label, table in reached.items():
        for quantity in ("solved", "attempted"):
            found = seed_interval(table[quantity].to_numpy(dtype=float))
            numbers = (float(found.estimate), float(found.low), float(found.high), int(found.n), found.kind)
            rows.append((label, quantity, *numbers, int(table["capped"].sum())))
    return pd.DataFrame(rows, columns=["line", "quantity", "mean", "low", "high", "n", "kind", "capped"])


def hues(count: int) -> list[str]:
    """Colours of so many runs, each its own."""
    if count <= len(RUNS):
        return list(RUNS[:count])
    ramp = matplotlib.colormaps["turbo"]
    return [to_hex(ramp(0.05 + 0.9 * number / (count - 1))) for number in range(count)]
