"""What a line of a figure is made of: seeds × points, against task or update, binned, relative, or as one level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.statistics import Interval, seed_interval
from lop_lightning.errors import nearest

AXES = ("task", "update")

MOST_TASKS_MARKED = 60
"""With more tasks than this their ends are not marked, so that the lines stay visible."""


@dataclass(frozen=True)
class Axis:
    """How a run's rows become points.

    ``x``: ``task``, counted from 0, one point a task; or ``update``, the updates of the stream made before the row was
    written (for a mean over updates, its end), one point a row. ``bin``: tasks averaged into a point, see
    :func:`consecutive_means`; None leaves them.
    """

    x: str = "task"
    bin: int | None = None


def curve(run: Run, metric: str, layer: str = "", axis: Axis | None = None, over: str | None = None) -> pd.DataFrame:
    """Seeds × points of a metric; the columns' name, ``task`` or ``update``, says what they count.

    Against the update every row is a point; with bins, or a rule for the epochs, a task is one number, and its point
    is at the update where its last task ended. ``over``: rule for a task's rows, by default the run's. Raises
    ValueError when the metric or layer is not in the record.
    """
    axis = axis or Axis()
    if axis.x == "update" and axis.bin is None and over is None and run.over_epochs is None:
        return run.rows(metric, layer)
    return _on_axis(run, metric, layer, run.series(metric, layer, over), axis)


def layer_mean_curve(run: Run, metric: str, axis: Axis | None = None) -> pd.DataFrame:
    """Seeds × points of a layer metric averaged over the hidden layers; otherwise as :func:`curve`."""
    return _on_axis(run, metric, run.layers(metric)[0], run.layer_mean(metric), axis or Axis())


def consecutive_means(table: pd.DataFrame, width: int) -> pd.DataFrame:
    """Means over consecutive bins of ``width`` tasks, the remainder dropped: seeds × tasks -> seeds × ⌊T / width⌋.

    Bins are of task numbers (0 to width − 1, …), so that a metric measured on every n-th task falls into the same
    bins; T is the last task of the table plus one. Columns are the mean task of a bin. A seed with a NaN in a bin (it
    diverged, or did not get so far) is NaN there. Raises ValueError when ``width`` is no positive number.
    """
    if width < 1:
        raise ValueError(f"bins of {width} tasks: expected 1 or more")
    number = table.columns.to_numpy(dtype=np.int64) // width
    whole = table.loc[:, number < (int(table.columns.max()) + 1) // width]
    groups = whole.T.groupby(number[: whole.shape[1]])
    means = groups.mean().where(groups.count() == groups.size().to_numpy()[:, None]).T
    means.columns = pd.Index(means.columns.to_numpy() * width + (width - 1) / 2, name="task")
    return means


def fitting_bin(width: int, tasks: int) -> int:
    """A published bin width, or a tenth of the stream (at least one task) where fewer than two such bins fit."""
    return width if tasks >= 2 * width else max(1, tasks // 10)


def relative(table: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """A run minus a reference, paired by seed and point; the seeds and points that both have."""
    seeds, points = table.index.intersection(reference.index), table.columns.intersection(reference.columns)
    return table.loc[seeds, points] - reference.loc[seeds, points]


def task_ends(run: Run, metric: str, axis: Axis) -> tuple[float, ...]:
    """The updates at which each task but the last ended, where a figure shows what happens within tasks.

    That is where every row is a point against the update, and a task has several of them; otherwise, and for more than
    :data:`MOST_TASKS_MARKED` tasks, there are none.
    """
    if axis != Axis("update") or run.over_epochs is not None or run.rows_per_task(metric).to_numpy().max() < 2:
        return ()
    ends = run.last_updates(metric)
    return tuple(float(end) for end in ends.iloc[:-1]) if len(ends) <= MOST_TASKS_MARKED else ()


def level_of(table: pd.DataFrame, level: float = 0.95, log: bool = False) -> Interval:
    """One number for a run: each seed's mean over its finite values, their mean over seeds and its interval.

    ``log``: all of it of the logarithm of the positive values, given back as values.
    """
    finite = table.where(np.isfinite(table))
    if not log:
        return seed_interval(finite.mean(axis=1).to_numpy(), level)
    interval = seed_interval(np.log(finite.where(finite > 0)).mean(axis=1).to_numpy(), level)
    bounds = {name: float(np.exp(getattr(interval, name))) for name in ("estimate", "low", "high")}
    return replace(interval, **bounds)  # type: ignore[arg-type]


def named_run(runs: Sequence[Run], name: str) -> Run | None:
    """The run whose label is ``name``, else the only one of that method or that network; None when there is none.

    Raises ValueError when several are of that method or network.
    """
    for name_of in (lambda run: run.label, lambda run: run.algo, lambda run: run.model):
        found = [run for run in runs if name_of(run) == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{name!r} could be any of {', '.join(repr(run.label) for run in found)}")
    return None


def reference_among(runs: Sequence[Run], name: str) -> Run:
    """The run that :func:`named_run` finds, checked to share a seed with every other that has the same tasks.

    Raises ValueError in one line when there is none, or when a run with the same tasks shares no seed with it.
    """
    reference = named_run(runs, name)
    if reference is None:
        labels = [run.label for run in runs]
        raise ValueError(f"no run is called {name!r}: there are {', '.join(labels)}{nearest(name, labels)}")
    for run in filter(reference.same_tasks, runs):
        if not set(run.record["seed"].unique()) & set(reference.record["seed"].unique()):
            raise ValueError(f"{run.label!r} and {reference.label!r} share no seed, so they cannot be paired")
    return reference


def _on_axis(run: Run, metric: str, layer: str, table: pd.DataFrame, axis: Axis) -> pd.DataFrame:
    if axis.bin is not None:
        table = consecutive_means(table, axis.bin)
    if axis.x == "task":
        return table
    last = run.last_updates(metric, layer)
    if axis.bin is None:
        return table.set_axis(last.loc[table.columns].to_numpy(), axis=1).rename_axis(columns="update")
    ends = table.columns.to_numpy() + (axis.bin - 1) / 2
    return table.set_axis([last.loc[:end].iloc[-1] for end in ends], axis=1).rename_axis(columns="update")
