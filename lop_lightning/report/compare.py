"""Figures that set the methods of one stream side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lop_lightning.analysis.loss_of_plasticity import (
    EarlyLate,
    early_late,
    has_two_ends,
    headline_metric,
    higher_is_better,
    in_decades,
)
from lop_lightning.analysis.runs import Run
from lop_lightning.report.bands import band
from lop_lightning.report.colours import method_colours, method_styles
from lop_lightning.report.figures import Line, Panel, add_caption, house_style, panel_figure
from lop_lightning.report.vocabulary import axis_label, is_fraction, title, wants_log


def comparison_figures(
    runs: Sequence[Run], metrics: list[str] | None = None, level: float = 0.95, window: int | None = None
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Name and maker of every figure that compares runs of one stream.

    First the headline metric and its loss of plasticity, then every metric that at least two runs recorded: of the
    whole network, and averaged over layers (``<metric>_layer_mean``). ``metrics`` restricts all of them.
    """
    headline = headline_metric(runs)
    if headline is not None and (metrics is None or headline in metrics):
        yield headline, partial(network_figure, runs, headline, level)
        if any(has_two_ends(run, headline) for run in runs):
            yield f"loss_of_plasticity_{headline}", partial(loss_figure, runs, headline, level, window)
    for metric in _shared([run.metrics() for run in runs]):
        if metric != headline and not metric.startswith("fresh_") and (metrics is None or metric in metrics):
            yield metric, partial(network_figure, runs, metric, level)
    for metric in _shared([run.layer_metrics() for run in runs]):
        if metrics is None or metric in metrics:
            yield f"{metric}_layer_mean", partial(layer_mean_figure, runs, metric, level)


def network_figure(runs: Sequence[Run], metric: str, level: float = 0.95) -> Figure:
    """A whole-network metric against the task, a line for each run that recorded it."""
    tables = {run.label: run.series(metric) for run in runs if metric in run.metrics()}
    return panel_figure(_panel(runs, tables, metric, title(metric), level), runs[0].task)


def layer_mean_figure(runs: Sequence[Run], metric: str, level: float = 0.95) -> Figure:
    """A layer metric averaged over the hidden layers against the task, a line for each run that recorded it."""
    tables = {run.label: run.layer_mean(metric) for run in runs if metric in run.layer_metrics()}
    return panel_figure(_panel(runs, tables, metric, f"{title(metric)}, mean over hidden layers", level), runs[0].task)


def loss_figure(runs: Sequence[Run], metric: str, level: float = 0.95, window: int | None = None) -> Figure:
    """Loss of plasticity of the runs with two tasks or more: the mean with its interval, each seed a faint point."""
    colours, runs = method_colours(runs), [run for run in runs if has_two_ends(run, metric)]
    results = [early_late(run, metric, window, level) for run in runs]
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
        axes.set_title("Loss of plasticity")
        names = "first − last" if higher_is_better(metric) else "last − first"
        unit = " (decades)" if results[0].decades else ""
        axes.set_xlabel(f"{metric.replace('_', ' ')}, {names} tasks{unit}   (right of 0: worse →)")
        add_caption(figure, f"{runs[0].task} · {_loss_caption(results, level)}")
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
        f"dot: mean over seeds (n = {n}), faint: each seed · bar: {100 * level:g} % {kinds} interval, paired by seed · "
        f"first and last {width} tasks"
    )


def _panel(runs: Sequence[Run], tables: dict[str, pd.DataFrame], metric: str, heading: str, level: float) -> Panel:
    """Colours follow all ``runs``, so that a method keeps its own where another has no such metric."""
    colours, styles = method_colours(runs), method_styles(runs)
    log = in_decades(runs[0], metric) or wants_log(metric, tables.values())
    lines = [Line(label, band(table, level, log), colours[label], styles[label]) for label, table in tables.items()]
    return Panel(heading, axis_label(metric), lines, None, log, is_fraction(metric))


def _shared(names: Sequence[list[str]]) -> list[str]:
    """Names that occur in at least two lists, in the order of first appearance."""
    return [name for name in dict.fromkeys(n for one in names for n in one) if sum(name in one for one in names) > 1]
