"""The figures of one run, and the CSV of the Gaussian-mixture reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lop_lightning.analysis.curves import curve, layer_mean_curve, task_ends
from lop_lightning.analysis.loss_of_plasticity import in_decades
from lop_lightning.analysis.runs import Run
from lop_lightning.report.choice import ALL, Choice
from lop_lightning.report.class_figure import class_plot
from lop_lightning.report.colours import METHODS, layer_colours
from lop_lightning.report.figures import Plot, grid_figure, panel_figure, save
from lop_lightning.report.lag_figure import lag_plot
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.panels import Line, Panel, ends_note
from lop_lightning.report.vocabulary import axis_label, is_fraction, title, wants_log

FRESH = "fresh_"
"""A metric of this prefix is the fresh reference network's; it is drawn in the figure of the metric it refers to."""

REFERENCE_CSV = {"min_CE": "min_loss", "final_CE": "final_loss", "sat": "saturation_2", "grad_norm": "gradient_norm"}
REFERENCE_CSV_LAYERS = {"eff_rank": "preactivation_covariance_rank", "dup_frac": "feature_duplication"}


def figures_of(run: Run, choice: Choice = ALL) -> Iterator[tuple[str, Callable[[], Figure | Plot]]]:
    """Name and maker of every figure of a run: of the network, by layer, class and lag, and the reference's six.

    ``choice.metrics`` restricts them to some metrics (the six are then left out). Names are the metrics', with
    ``_by_layer``, ``_by_class`` or ``_by_lag`` for what is recorded of these.
    """
    if run.task == "gmm" and choice.metrics is None and "min_loss" in run.metrics():
        yield "gmm_reference", partial(reference_figure, run, choice)
    for metric in run.metrics():
        alone = metric.startswith(FRESH) and metric.removeprefix(FRESH) not in run.metrics()
        if (alone or not metric.startswith(FRESH)) and choice.wants(metric):
            yield metric, partial(network_figure, run, metric, choice)
    for metric in run.layer_metrics():
        if choice.wants(metric):
            yield f"{metric}_by_layer", partial(layer_figure, run, metric, choice)
    for metric in run.class_metrics():
        if choice.wants(metric):
            yield f"{metric}_by_class", partial(class_plot, [run], metric, choice)
    for metric in run.lag_metrics():
        if choice.wants(metric):
            yield f"{metric}_by_lag", partial(lag_plot, [run], metric, choice)


def save_run_figures(run: Run, choice: Choice = ALL) -> list[Path]:
    """Make all figures of a run in ``<run>/figures`` as PNG and SVG, and for ``gmm`` the reference's CSVs."""
    folder = OutputFolder(run.directory / "figures")
    paths = [path for name, make in figures_of(run, choice) for path in save(make(), folder, name)]
    return paths + save_reference_csv(run, folder)


def network_figure(run: Run, metric: str, choice: Choice = ALL) -> Figure:
    """The figure of a whole-network metric."""
    panel = network_panel(run, metric, choice)
    return panel_figure(panel, f"{_source(run)}{choice.note([run], metric)}{ends_note(panel.ends)}")


def layer_figure(run: Run, metric: str, choice: Choice = ALL) -> Figure:
    """The figure of a layer metric."""
    return panel_figure(layer_panel(run, metric, choice), _source(run), legend_title="hidden layer")


def reference_figure(run: Run, choice: Choice = ALL) -> Figure:
    """The six figures of the Gaussian-mixture reference as one."""
    return grid_figure(reference_panels(run, choice), _source(run))


def network_panel(run: Run, metric: str, choice: Choice = ALL) -> Panel:
    """A whole-network metric against the task, with the fresh reference where it was recorded.

    Where every epoch is a point (``--x update``), thin lines mark the ends of tasks.
    """
    series = curve(run, metric, axis=choice.axis)
    fresh = curve(run, FRESH + metric, axis=choice.axis) if FRESH + metric in run.metrics() else None
    tables = [series] if fresh is None else [series, fresh]
    log, ends = _log(run, metric, tables), task_ends(run, metric, choice.axis)
    line = Line(run.label, choice.band(series, log, ends), METHODS.get(run.algo, METHODS["cbp"]))
    reference = None if fresh is None else choice.band(fresh, log, ends)
    return Panel(title(metric), axis_label(metric), [line], reference, log, is_fraction(metric), ends=ends)


def layer_panel(run: Run, metric: str, choice: Choice = ALL) -> Panel:
    """A metric of every hidden layer against the task, a line a layer."""
    tables = {layer: curve(run, metric, layer, choice.axis) for layer in run.layers(metric)}
    log, colours = _log(run, metric, list(tables.values())), layer_colours(list(tables))
    lines = [Line(layer, choice.band(table, log), colours[layer]) for layer, table in tables.items()]
    return Panel(f"{title(metric)} by layer", axis_label(metric), lines, None, log, is_fraction(metric))


def layer_mean_panel(run: Run, metric: str, choice: Choice = ALL) -> Panel:
    """A layer metric averaged over the hidden layers against the task."""
    series = layer_mean_curve(run, metric, choice.axis)
    log = _log(run, metric, [series])
    line = Line(run.label, choice.band(series, log), METHODS.get(run.algo, METHODS["cbp"]))
    return Panel(f"{title(metric)}, mean over layers", axis_label(metric), [line], None, log, is_fraction(metric))


def reference_panels(run: Run, choice: Choice = ALL) -> list[Panel]:
    """The six figures of the Gaussian-mixture reference, those whose metric is in the record.

    Smallest and final loss (logarithmic, the fresh network behind), saturation, gradient norm, and for each layer the
    effective rank of the covariance and the duplicated units.
    """
    whole, layered = run.metrics(), run.layer_metrics()
    panels = [network_panel(run, metric, choice) for metric in ("min_loss", "final_loss") if metric in whole]
    panels += [layer_mean_panel(run, "saturation_2", choice)] if "saturation_2" in layered else []
    panels += [network_panel(run, "gradient_norm", choice)] if "gradient_norm" in whole else []
    return panels + [layer_panel(run, m, choice) for m in REFERENCE_CSV_LAYERS.values() if m in layered]


def reference_table(run: Run, seed: int) -> pd.DataFrame:
    """The reference's table of one seed: ``task`` from 1, ``min_CE``, …, ``eff_rank_L0``, …, ``dup_frac_L0``, ….

    ``sat`` is the mean of ``saturation_2`` over layers, ``eff_rank`` the ``preactivation_covariance_rank``; a metric
    that was not recorded is an empty column.
    """
    columns: dict[str, pd.Series | pd.DataFrame] = {}
    for column, metric in REFERENCE_CSV.items():
        if metric in run.metrics():
            columns[column] = run.series(metric).loc[seed]
        elif metric in run.layer_metrics():
            columns[column] = run.layer_mean(metric).loc[seed]
        else:
            columns[column] = pd.Series(dtype=np.float64)
    layers = max((run.layers(metric) for metric in run.layer_metrics()), key=len, default=[])
    for column, metric in REFERENCE_CSV_LAYERS.items():
        for i, layer in enumerate(layers):
            there = layer in run.layers(metric)
            columns[f"{column}_L{i}"] = run.series(metric, layer).loc[seed] if there else pd.Series(dtype=np.float64)
    table = pd.DataFrame(columns).sort_index()
    table.insert(0, "task", table.index + 1)
    return table


def save_reference_csv(run: Run, folder: OutputFolder) -> list[Path]:
    """Write ``gmm_reference_seed_<seed>.csv`` for every seed of a ``gmm`` run; nothing for other tasks."""
    if run.task != "gmm":
        return []
    paths = []
    for seed in run.record["seed"].unique():
        paths.append(folder.claim(f"gmm_reference_seed_{seed}.csv"))
        reference_table(run, seed).to_csv(paths[-1], index=False)
    return paths


def _source(run: Run) -> str:
    return f"{run.task}, {run.label}{'' if run.done else ' (unfinished)'}"


def _log(run: Run, metric: str, tables: list[pd.DataFrame]) -> bool:
    return in_decades(run, metric) or wants_log(metric, tables)
