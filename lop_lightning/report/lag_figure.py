"""What is left of a signal so many time steps back from the loss, early and late in the stream."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lop_lightning.analysis.runs import Run
from lop_lightning.report.bands import Band, band
from lop_lightning.report.choice import ALL, Choice
from lop_lightning.report.colours import METHODS, method_colours, method_styles
from lop_lightning.report.figures import Plot
from lop_lightning.report.panels import Line, Panel
from lop_lightning.report.streams import heading, stream_of
from lop_lightning.report.vocabulary import axis_label, title

COUNTED = "time steps back from the loss"
EARLY = "#56b4e9"


def lag_plot(runs: Sequence[Run], metric: str, choice: Choice = ALL) -> Plot:
    """A metric of single lags against the lag, on a logarithmic scale.

    Of one run the mean over the first and that over the last tenth of the tasks for which it was measured (or
    ``choice.window`` of them); of several that over the last, a line for each run that recorded it.
    """
    shown = [run for run in runs if metric in run.lag_metrics()]
    lines = _early_and_late(shown[0], metric, choice) if len(runs) == 1 else _last(shown, runs, metric, choice)
    panel = Panel(heading(shown, f"{title(metric)}, by lag"), axis_label(metric), lines, log=True)
    which = "the tasks named" if len(runs) == 1 else f"the last {_widths(shown, metric, choice)} tasks"
    return Plot(panel, f"{stream_of(shown)} · mean over {which} for which it was measured")


def _early_and_late(run: Run, metric: str, choice: Choice) -> list[Line]:
    tasks, width = run.lag_tasks(metric), _width(run, metric, choice)
    colour = METHODS.get(run.algo, METHODS["cbp"])
    late = Line(_named(tasks[-width:]), _band(run, metric, tasks[-width:], choice), colour)
    if len(tasks) < 2:
        return [late]
    return [Line(_named(tasks[:width]), _band(run, metric, tasks[:width], choice), EARLY, "--"), late]


def _last(shown: Sequence[Run], runs: Sequence[Run], metric: str, choice: Choice) -> list[Line]:
    colours, styles = method_colours(runs), method_styles(runs)
    return [
        Line(run.label, _band(run, metric, run.lag_tasks(metric)[-_width(run, metric, choice) :], choice),
             colours[run.label], styles[run.label])
        for run in shown
    ]  # fmt: skip


def _band(run: Run, metric: str, tasks: Sequence[int], choice: Choice) -> Band:
    table: pd.DataFrame = run.by_lag(metric, tasks).rename_axis(columns=COUNTED)
    return band(table, choice.level, log=True, bin_width=1)


def _width(run: Run, metric: str, choice: Choice) -> int:
    return choice.window or max(1, len(run.lag_tasks(metric)) // 10)


def _widths(runs: Sequence[Run], metric: str, choice: Choice) -> str:
    return " or ".join(map(str, sorted({_width(run, metric, choice) for run in runs})))


def _named(tasks: Sequence[int]) -> str:
    """``tasks 1–4``, counted from 1."""
    first, last = tasks[0] + 1, tasks[-1] + 1
    return f"task {first}" if first == last else f"tasks {first}–{last}"
