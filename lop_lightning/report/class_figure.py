"""Accuracy of single classes after the last task, in the order in which they were presented."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lop_lightning.analysis.runs import Run
from lop_lightning.report.bands import band
from lop_lightning.report.choice import ALL, Choice
from lop_lightning.report.colours import method_colours, method_styles
from lop_lightning.report.figures import Plot
from lop_lightning.report.panels import Line, Panel
from lop_lightning.report.streams import heading, stream_of
from lop_lightning.report.vocabulary import axis_label, is_fraction, title

COUNTED = "class in order of presentation"


def class_plot(runs: Sequence[Run], metric: str, choice: Choice = ALL) -> Plot:
    """A metric of single classes against their position, counted from 1: a line for each run that recorded it."""
    colours, styles = method_colours(runs), method_styles(runs)
    lines = []
    for run in runs:
        if metric in run.class_metrics():
            table = run.by_class(metric)
            table = table.set_axis(np.asarray(table.columns) + 1, axis=1).rename_axis(columns=COUNTED)
            drawn = band(table, choice.level, bin_width=1)
            lines.append(Line(run.label, drawn, colours[run.label], styles[run.label]))
    panel = Panel(heading(runs, title(metric)), axis_label(metric), lines, fraction=is_fraction(metric))
    return Plot(panel, f"{stream_of(runs)}, after the last task")
