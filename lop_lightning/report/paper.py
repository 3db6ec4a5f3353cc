"""Drawing the figures of a paper from runs of its streams (see :mod:`lop_lightning.report.paper_figures`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from lop_lightning.analysis.curves import (
    Axis,
    curve,
    fitting_bin,
    layer_mean_curve,
    level_of,
    named_run,
    reference_among,
    relative,
)
from lop_lightning.analysis.loss_of_plasticity import headline_metric
from lop_lightning.analysis.runs import Run
from lop_lightning.report.bands import band
from lop_lightning.report.choice import ALL, Choice
from lop_lightning.report.class_figure import class_plot
from lop_lightning.report.colours import method_colours, method_styles
from lop_lightning.report.figures import Plot
from lop_lightning.report.panels import Level, Line, Panel
from lop_lightning.report.paper_figures import PAPERS, PaperFigure
from lop_lightning.report.sensitivity_figure import sensitivity_plots

Made = tuple[str, Callable[[], Plot]]


def paper_plots(runs: Sequence[Run], choice: Choice) -> tuple[list[Made], list[str]]:
    """Name and maker of every figure that the paper ``choice.figures`` has of these runs' stream, and what is missing.

    To the paper's own are added the accuracy of single classes and the sensitivity to a hyper-parameter, where the
    runs have them. What is missing is a line each, for the terminal. Raises ValueError when the paper has no figure of
    this stream, when none of them can be drawn, or when a run that one is relative to cannot be told or paired.
    """
    paper = choice.figures or ""
    if runs[0].task not in PAPERS[paper]:
        raise ValueError(f"{paper} has no figures of {runs[0].task!r}: it has those of {', '.join(PAPERS[paper])}")
    plots: list[Made] = []
    missing: list[str] = []
    for figure in PAPERS[paper][runs[0].task]:
        lengths = {str(run.config["task"].get("task_length")) for run in runs}
        if not any(map(choice.wants, figure.metrics)) or (figure.bin_updates and len(lengths) == 1):
            continue
        shown = [run for run in runs if _metric(run, figure) is not None]
        against = (choice.relative_to or figure.against) if figure.against else None
        if not shown:
            missing.append(f"{figure.name}: no run recorded {' or '.join(figure.metrics)}")
        elif against is not None and named_run(shown, against) is None:
            missing.append(f"{figure.name}: no run is called {against!r}")
        else:
            if against is not None:
                reference_among(shown, against)
            plots.append((figure.name, partial(paper_plot, shown, figure, choice)))
    classes = dict.fromkeys(metric for run in runs for metric in run.class_metrics())
    plots += [(f"{metric}_by_class", partial(class_plot, runs, metric, choice)) for metric in classes]
    if not plots:
        raise ValueError(
            f"{paper}: none of its figures can be drawn{'; left out ' if missing else ''}{'; '.join(missing)}"
        )
    headline = headline_metric(runs)
    return plots + list(sensitivity_plots(runs, headline, choice) if headline else []), missing


def paper_plot(runs: Sequence[Run], figure: PaperFigure, choice: Choice = ALL) -> Plot:
    """One figure of a paper, a line for each run; ``choice`` may name other runs to be relative to or drawn as levels.

    A published bin that hardly fits into the stream is made smaller (see
    :func:`~lop_lightning.analysis.curves.fitting_bin`).
    """
    shortest = min(int(run.record["task"].max()) + 1 for run in runs)
    common = choice.axis.bin or fitting_bin(figure.bin, shortest)
    widths = {run.label: _tasks_in(run, figure) or common for run in runs}
    whole = figure.unit == "% of width" and all(_knows_widths(run, figure) for run in runs)
    tables = {run.label: _table(run, figure, widths[run.label], whole) for run in runs}
    against = reference_among(runs, choice.relative_to or figure.against) if figure.against else None
    if against is not None:
        base = tables.pop(against.label)
        tables = {label: relative(table, base) for label, table in tables.items()}
    horizontal = choice.horizontal or figure.horizontal
    flat = named_run(runs, horizontal) if horizontal and len(runs) > 1 else None
    colours, styles = method_colours(runs), method_styles(runs)
    lines, levels = [], []
    for label, table in tables.items():
        if flat is not None and label == flat.label:
            levels.append(Level(f"{label} (mean)", level_of(table, choice.level), colours[label]))
        else:
            lines.append(Line(label, band(table, choice.level, bin_width=widths[label]), colours[label], styles[label]))
    label = figure.axis_label if figure.unit != "% of width" or whole else "directions"
    heading = figure.title if against is None else f"{figure.title}, minus {against.label}"
    panel = Panel(heading, label, lines, levels=levels, zero=against is not None, limits=figure.limits)
    paired = "" if against is None else f" · minus {against.label}, paired by seed and task"
    metric = _metric(runs[0], figure) or ""
    epochs = "" if figure.layers else choice.note(runs, metric, figure.over)
    return Plot(panel, f"{runs[0].task}{epochs}{paired}")


def _metric(run: Run, figure: PaperFigure) -> str | None:
    recorded = run.layer_metrics() if figure.layers else run.metrics()
    return next((metric for metric in figure.metrics if metric in recorded), None)


def _tasks_in(run: Run, figure: PaperFigure) -> int | None:
    """Tasks of this run that a point's updates are, where the figure counts those."""
    if figure.bin_updates is None:
        return None
    return max(1, figure.bin_updates // int(run.last_updates(_metric(run, figure) or "").iloc[0]))


def _knows_widths(run: Run, figure: PaperFigure) -> bool:
    return bool(run.widths) and (not figure.layers or set(run.layers(_metric(run, figure) or "")) <= set(run.widths))


def _table(run: Run, figure: PaperFigure, width: int, share: bool) -> pd.DataFrame:
    """Seeds × points of a run in the figure's unit."""
    metric = _metric(run, figure)
    assert metric is not None
    axis = Axis("update" if figure.x == "update" else "task", None if width == 1 else width)
    table = layer_mean_curve(run, metric, axis) if figure.layers else curve(run, metric, "", axis, figure.over)
    if figure.unit == "%":
        table = 100 * table
    elif share:
        table = _share(run, metric, axis, table, figure.layers)
    return _classes(run, table) if figure.x == "classes" else table


def _share(run: Run, metric: str, axis: Axis, table: pd.DataFrame, layers: bool) -> pd.DataFrame:
    """Per cent of the layers' widths, or of the last hidden layer's, which is the representation."""
    if not layers:
        return 100 * table / list(run.widths.values())[-1]
    names = run.layers(metric)
    shares = [100 * curve(run, metric, name, axis) / run.widths[name] for name in names]
    return sum(shares[1:], shares[0]) / len(names)


def _classes(run: Run, table: pd.DataFrame) -> pd.DataFrame:
    """Columns count the classes that are known, where the task says how many each brings; else tasks."""
    step = next((n for key, n in run.config["task"].items() if str(key).startswith("classes_per_")), None)
    if not isinstance(step, int):
        return table
    return table.set_axis(step * (np.asarray(table.columns) + 1), axis=1).rename_axis(columns="number of classes")
