"""Figures that set the runs of one stream side by side, or, if asked to, those of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lop_lightning.analysis.curves import (
    curve,
    layer_mean_curve,
    level_of,
    named_run,
    reference_among,
    relative,
    task_ends,
)
from lop_lightning.analysis.loss_of_plasticity import (
    EarlyLate,
    early_late,
    has_two_ends,
    headline_metric,
    higher_is_better,
    in_decades,
    performance_metrics,
)
from lop_lightning.analysis.runs import Run
from lop_lightning.report.bands import unpaired_band
from lop_lightning.report.choice import ALL, Choice
from lop_lightning.report.class_figure import class_plot
from lop_lightning.report.colours import method_colours, method_styles
from lop_lightning.report.figures import Plot, add_caption, house_style
from lop_lightning.report.lag_figure import lag_plot
from lop_lightning.report.panels import Level, Line, Panel, ends_note
from lop_lightning.report.sensitivity_figure import sensitivity_plots
from lop_lightning.report.streams import heading, stream_of
from lop_lightning.report.vocabulary import axis_label, is_fraction, title, wants_log


def comparison_figures(runs: Sequence[Run], choice: Choice = ALL) -> Iterator[tuple[str, Callable[[], Figure | Plot]]]:
    """Name and maker of every figure that compares runs, of one stream or of several.

    First the headline metric and its loss of plasticity, then every metric that at least two runs recorded: of the
    whole network, averaged over layers (``<metric>_layer_mean``), of single classes (``<metric>_by_class``), by lag
    (``<metric>_by_lag``), relative to a run (``relative_<metric>``); last what the runs say of a hyper-parameter
    (``sensitivity_<key>``). ``choice.metrics`` restricts all of them. Raises ValueError when a run that ``choice``
    names is not there or cannot be paired.
    """
    headline = headline_metric(runs)
    if headline is not None and choice.wants(headline):
        yield headline, partial(network_plot, runs, headline, choice)
        one_unit = len({in_decades(run, headline) for run in runs}) == 1
        if one_unit and any(has_two_ends(run, headline) for run in runs):
            yield f"loss_of_plasticity_{headline}", partial(loss_figure, runs, headline, choice)
    for metric in _shared([run.metrics() for run in runs]):
        if metric != headline and not metric.startswith("fresh_") and choice.wants(metric):
            yield metric, partial(network_plot, runs, metric, choice)
    for metric in _shared([run.layer_metrics() for run in runs]):
        if choice.wants(metric):
            yield f"{metric}_layer_mean", partial(layer_mean_plot, runs, metric, choice)
    for metric in _shared([run.class_metrics() for run in runs]):
        if choice.wants(metric):
            yield f"{metric}_by_class", partial(class_plot, runs, metric, choice)
    for metric in _shared([run.lag_metrics() for run in runs]):
        if choice.wants(metric):
            yield f"{metric}_by_lag", partial(lag_plot, runs, metric, choice)
    if choice.relative_to is not None and named_run(runs, choice.relative_to) is not None:
        for metric in _shared([performance_metrics(run) for run in runs]):
            if choice.wants(metric):
                yield f"relative_{metric}", partial(relative_plot, runs, metric, choice.relative_to, choice)
    if headline is not None and choice.wants(headline):
        yield from sensitivity_plots(runs, headline, choice)


def network_plot(runs: Sequence[Run], metric: str, choice: Choice = ALL) -> Plot:
    """A whole-network metric against the task, a line for each run that recorded it.

    Where every epoch is a point and all runs have their tasks' ends at the same updates, thin lines mark them.
    """
    shown = [run for run in runs if metric in run.metrics()]
    tables = {run.label: curve(run, metric, axis=choice.axis) for run in shown}
    every = sorted((task_ends(run, metric, choice.axis) for run in shown), key=len)
    ends = every[-1] if all(set(some) <= set(every[-1]) for some in every) else ()
    panel = panel_of(runs, tables, metric, title(metric), choice, ends)
    return Plot(panel, f"{stream_of(runs)}{choice.note(runs, metric)}{ends_note(ends)}")


def layer_mean_plot(runs: Sequence[Run], metric: str, choice: Choice = ALL) -> Plot:
    """A layer metric averaged over the hidden layers against the task, a line for each run that recorded it."""
    tables = {run.label: layer_mean_curve(run, metric, choice.axis) for run in runs if metric in run.layer_metrics()}
    return Plot(panel_of(runs, tables, metric, f"{title(metric)}, mean over hidden layers", choice), stream_of(runs))


def relative_plot(runs: Sequence[Run], metric: str, reference: str, choice: Choice = ALL) -> Plot:
    """A performance metric minus that of a reference run, paired by seed and task, a line for each other run.

    A run of other tasks is not paired: its line is the difference of the means. Raises ValueError when there is no such
    run, or one with the same tasks shares no seed with it.
    """
    of = reference_among(runs, reference)
    base = curve(of, metric, axis=choice.axis)
    colours, styles = method_colours(runs), method_styles(runs)
    others = [run for run in runs if run is not of and metric in run.metrics()]
    lines = []
    for run in others:
        table = curve(run, metric, axis=choice.axis)
        if run.same_tasks(of):
            drawn = choice.band(relative(table, base))
        else:
            drawn = unpaired_band(table, base, choice.level, choice.axis.bin)
        lines.append(Line(run.label, drawn, colours[run.label], styles[run.label]))
    better = "above" if higher_is_better(metric) else "below"
    words = heading(runs, f"{title(metric)}, relative to {of.label}")
    panel = Panel(words, f"difference ({better} 0: better)", lines, zero=True)
    unpaired = "" if all(map(of.same_tasks, others)) else ", runs of other tasks unpaired"
    pairs = f"minus {of.label}, paired by seed and task{unpaired}"
    return Plot(panel, f"{stream_of(runs)}{choice.note(runs, metric)} · {pairs}")


def loss_figure(runs: Sequence[Run], metric: str, choice: Choice = ALL) -> Figure:
    """Loss of plasticity of the runs with two tasks or more: the mean with its interval, each seed a faint point."""
    colours, runs = method_colours(runs), [run for run in runs if has_two_ends(run, metric)]
    results = [early_late(run, metric, choice.window, choice.level) for run in runs]
    with house_style():
        figure = Figure(figsize=(6.4, 1.3 + 0.36 * len(runs)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="#666666", linewidth=0.9, zorder=1)
        for row, (run, result) in enumerate(zip(runs, results)):
            _draw_loss(axes, row, result, colours[run.label])
        axes.set_yticks(range(len(runs)), [run.label for run in runs])
        axes.set_ylim(len(runs) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.spines["left"].set_visible(False)
        axes.set_title(heading(runs, "Loss of plasticity"))
        names = "first − last" if higher_is_better(metric) else "last − first"
        unit = " (decades)" if results[0].decades else ""
        axes.set_xlabel(f"{metric.replace('_', ' ')}, {names} tasks{unit}   (right of 0: worse →)")
        add_caption(figure, f"{stream_of(runs)} · {_loss_caption(results, choice.level)}")
    return figure


def _draw_loss(axes: Axes, row: int, result: EarlyLate, colour: str) -> None:
    seeds = result.loss.to_numpy()
    spread = 0.14 * np.where(np.arange(len(seeds)) % 2, 1, -1)  # above and below the bar, so that it stays readable
    mean, low, high = (float(x) for x in (result.interval.estimate, result.interval.low, result.interval.high))
    axes.scatter(seeds, row + spread, s=9, color=colour, alpha=0.35, linewidth=0, zorder=2)
    if np.isfinite(low):
        axes.plot([low, high], [row, row], color=colour, linewidth=2.2, zorder=3)
    axes.plot([mean], [row], "o", color=colour, markersize=6.5, markeredgecolor="white", zorder=4)


def _loss_caption(results: Sequence[EarlyLate], level: float) -> str:
    counts = sorted({int(result.interval.n) for result in results})
    windows = sorted({result.window for result in results})
    kinds = " or ".join(sorted({result.interval.kind for result in results}))
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    width = " or ".join(map(str, windows))
    return (
        f"dot: mean over seeds (n = {n}), faint: each seed · "
        f"bar: {100 * level:g}\u00a0% {kinds} interval, paired by seed · first and last {width} tasks"
    )


def panel_of(
    runs: Sequence[Run],
    tables: dict[str, pd.DataFrame],
    metric: str,
    words: str,
    choice: Choice = ALL,
    ends: Sequence[float] = (),
) -> Panel:
    """Lines of some runs' tables, and the run that is drawn as its mean as a horizontal line; ``words``: the title.

    Colours follow all ``runs``, so that a method keeps its own where another has no such metric.
    """
    colours, styles = method_colours(runs), method_styles(runs)
    log = in_decades(runs[0], metric) or wants_log(metric, tables.values())
    flat = None if choice.horizontal is None else named_run(runs, choice.horizontal)
    lines, levels = [], []
    for label, table in tables.items():
        if flat is not None and label == flat.label:
            levels.append(Level(f"{label} (mean)", level_of(table, choice.level, log), colours[label]))
        else:
            lines.append(Line(label, choice.band(table, log, ends), colours[label], styles[label]))
    words = heading(runs, words)
    return Panel(words, axis_label(metric), lines, None, log, is_fraction(metric), levels, ends=ends)


def _shared(names: Sequence[list[str]]) -> list[str]:
    """Names that occur in at least two lists, in the order of first appearance."""
    return [name for name in dict.fromkeys(n for one in names for n in one) if sum(name in one for one in names) > 1]
