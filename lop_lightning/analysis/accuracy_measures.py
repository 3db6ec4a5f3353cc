"""Accuracy over a stream as single numbers: mean, first, last, degradation, lowest, slope, speed, relative gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop_lightning.analysis.bootstrap import Array
from lop_lightning.analysis.over_epochs import is_online, over_epochs
from lop_lightning.analysis.relative_gain import paired_gain, unpaired_gain
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.statistics import Interval, seed_interval

ACCURACIES = ("test_accuracy", "online_accuracy")
"""What A_t is, the first that the runs recorded: accuracy on the task's test set after its last epoch, else the mean
accuracy before each update of the task."""

DROPPED = "dropped_at_update"
"""The metric that a run writes for a seed that diverged; what it writes of that seed afterwards means nothing."""

SLOPE_TASKS = 100

UNITS = {
    "mean_accuracy": "fraction",
    "first_accuracy": "fraction",
    "last_accuracy": "fraction",
    "lowest_accuracy": "fraction",
    "degradation": "%",
    "slope": f"fraction per {SLOPE_TASKS} tasks",
    "first_epoch_first_fifth": "fraction",
    "first_epoch_last_fifth": "fraction",
    "relative_gain": "%",
}
"""Measure -> unit."""


@dataclass(frozen=True)
class Measure:
    """One measure of a run, its mean over seeds with the interval; ``against``: the label of the base of a gain."""

    name: str
    interval: Interval
    tasks: int
    against: str = ""

    @property
    def unit(self) -> str:
        """See :data:`UNITS`."""
        return UNITS[self.name]


def accuracy_metric(runs: Sequence[Run], among: Sequence[str] = ACCURACIES) -> str | None:
    """The first of :data:`ACCURACIES` that all runs recorded, or None; ``among`` restricts them."""
    return next((m for m in ACCURACIES if m in among and all(m in run.metrics() for run in runs)), None)


def accuracy_measures(run: Run, metric: str, base: Run | None = None, level: float = 0.95) -> list[Measure]:
    """The measures of :func:`seed_measures` with their intervals over seeds, and the gain relative to ``base``.

    The interval is :func:`~lop_lightning.analysis.statistics.seed_interval`; its ``n`` counts the seeds that are
    finite. A base that is the run itself, or that did not record the metric, gives no gain. Raises ValueError when the
    metric is not in the record.
    """
    table, tasks = seed_measures(run, metric), int((run.rows_per_task(metric) > 0).sum(axis=1).min())
    found = [Measure(name, seed_interval(table[name].to_numpy(), level), tasks) for name in map(str, table)]
    if base is not None and base.directory != run.directory and metric in base.metrics():
        found.append(relative_gain(run, base, metric, level))
    return found


def seed_measures(run: Run, metric: str) -> pd.DataFrame:
    """Seeds × measures, with A_t the accuracy of task t of the T that the seed reached.

    ``mean_accuracy``: Σ A_t / T. ``first_accuracy``: A_1. ``last_accuracy``: A_T. ``lowest_accuracy``: min A_t.
    ``degradation``: 100 · (A_1 − A_T) / A_1, in per cent. It sees two tasks only, and misleads where tasks differ in
    difficulty or accuracy recovers at the end. ``slope``: of the line through A_t by least squares, per 100 tasks.
    ``first_epoch_first_fifth``, ``first_epoch_last_fifth``: mean over the first and last ⌊T/5⌋ tasks (at least one) of
    the accuracy after a task's first epoch, where the record has it and a task has several: how fast a task is learnt.

    With fewer than two tasks there is neither degradation nor slope. NaN for a seed that diverged: it was dropped, or
    has an accuracy that is not finite. Raises ValueError when the metric is not in the record.
    """
    values, first_epoch = accuracies(run, metric), _first_epoch(run, metric)
    reached = run.rows_per_task(metric) > 0
    rows = {}
    for seed in values.index:
        there = reached.loc[seed].to_numpy()
        tasks, accuracy = values.columns.to_numpy(np.float64)[there], values.loc[seed].to_numpy()[there]
        rows[seed] = _curve_measures(tasks, accuracy)
        if first_epoch is not None:
            width, speed = max(1, len(tasks) // 5), first_epoch.loc[seed].to_numpy()[there]
            rows[seed] |= {
                "first_epoch_first_fifth": speed[:width].mean() if len(tasks) else np.nan,
                "first_epoch_last_fifth": speed[-width:].mean() if len(tasks) else np.nan,
            }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="seed")
    numbers = table.to_numpy(np.float64)
    return table.where(np.isfinite(numbers) & np.isfinite(numbers[:, [0]]))


def accuracies(run: Run, metric: str) -> pd.DataFrame:
    """Seeds × tasks: A_t; all NaN for a seed that was dropped. Raises ValueError as :meth:`Run.series`."""
    values = run.series(metric).copy()
    record = run.record
    values.loc[values.index.isin(record.loc[record["metric"] == DROPPED, "seed"])] = np.nan
    return values


def relative_gain(run: Run, base: Run, metric: str, level: float = 0.95) -> Measure:
    """100 · (mean A of the run − mean A of the base) / mean A of the base, in per cent ("IAA" of the reference).

    Mean A is over the tasks that all seeds reached. Where both learn the same tasks, it is over those that both have,
    and seeds are paired; where they do not, or share no seed, it is over all of each, and the interval is an unpaired
    one, as its ``kind`` says. Raises ValueError when one of them did not record the metric.
    """
    own, other = _of_all_seeds(run, metric), _of_all_seeds(base, metric)
    paired = run.same_tasks(base) and bool(len(own.index.intersection(other.index)))
    if paired:
        common = own.columns.intersection(other.columns)
        own, other = own[common], other[common]
    method, reference = own.mean(axis=1, skipna=False), other.mean(axis=1, skipna=False)
    interval = paired_gain(method, reference, level) if paired else unpaired_gain(method, reference, level)
    return Measure("relative_gain", interval, min(own.shape[1], other.shape[1]), base.label)


def _of_all_seeds(run: Run, metric: str) -> pd.DataFrame:
    """Seeds × the tasks that all seeds reached."""
    return accuracies(run, metric).loc[:, (run.rows_per_task(metric) > 0).all(axis=0)]


def _curve_measures(tasks: Array, accuracy: Array) -> dict[str, float]:
    """The measures of one seed from A_t [T] at the task numbers [T]."""
    if not len(accuracy):
        return {"mean_accuracy": np.nan}
    found = {
        "mean_accuracy": float(accuracy.mean()),
        "first_accuracy": float(accuracy[0]),
        "last_accuracy": float(accuracy[-1]),
        "lowest_accuracy": float(accuracy.min()),
    }
    if len(accuracy) > 1:
        with np.errstate(invalid="ignore", divide="ignore"):
            found["degradation"] = float(100 * (accuracy[0] - accuracy[-1]) / accuracy[0])
        centred = tasks - tasks.mean()
        found["slope"] = float(SLOPE_TASKS * (centred * (accuracy - accuracy.mean())).sum() / (centred**2).sum())
    return found


def _first_epoch(run: Run, metric: str) -> pd.DataFrame | None:
    """Seeds × tasks: accuracy after a task's first epoch; None where no task has another, or it was not measured."""
    if is_online(metric) or int(run.rows_per_task(metric).to_numpy().max()) < 2:
        return None
    record = run.record
    rows = record[(record["metric"] == metric) & (record["layer"] == "") & (record["epoch"] == 0)]
    if not len(rows):
        return None
    series = run.series(metric)
    return over_epochs(rows, "last")[0].reindex(index=series.index, columns=series.columns)
