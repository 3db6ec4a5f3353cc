"""Loss of plasticity of a run: its performance on the last tasks against that on the first, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.statistics import Interval, paired_difference

PERFORMANCE = (
    "test_accuracy",
    "online_accuracy",
    "online_loss",
    "test_loss",
    "validation_accuracy",
    "validation_loss",
    "post_accuracy",
    "post_loss",
    "val_accuracy",
    "val_loss",
    "min_loss",
    "final_loss",
)
"""Metrics that say how well a task was learned, the headline first: the accuracy on a test set, where there is one."""

DECADES_OF_LOSS = ("gmm",)
"""Tasks on which a loss falls through tens of decades. There losses are compared, and drawn, on a logarithmic scale: an
arithmetic mean would see nothing but the largest seed."""


@dataclass(frozen=True)
class EarlyLate:
    """Performance at the two ends of a stream.

    ``early``, ``late``: mean over the first and the last ``window`` tasks of each seed, in the metric's unit.
    ``loss``: the change for the worse of each seed. ``interval``: that of its mean over seeds. With ``decades``, all of
    them are of the metric's decimal logarithm.
    """

    metric: str
    decades: bool
    window: int
    tasks: int
    early: pd.Series
    late: pd.Series
    loss: pd.Series
    interval: Interval

    @property
    def verdict(self) -> str:
        """``lost`` or ``improved`` when the interval lies on one side of zero, ``kept`` when it has zero in it.

        ``undecided`` when there is no interval: fewer than two seeds reached both ends with finite numbers.
        """
        low, high = float(self.interval.low), float(self.interval.high)
        if np.isnan(low) or np.isnan(high):
            return "undecided"
        return "lost" if low > 0 else "improved" if high < 0 else "kept"


def higher_is_better(metric: str) -> bool:
    """Direction of a performance metric, told by its name. Raises ValueError for a metric that is no performance."""
    if metric.endswith(("accuracy", "return", "reward")):
        return True
    if metric.endswith(("loss", "error")):
        return False
    raise ValueError(f"metric {metric!r} is no performance: its name ends in none of accuracy, return, loss, error")


def in_decades(run: Run, metric: str) -> bool:
    """Whether a metric of this run is compared on a logarithmic scale: a loss on a task of :data:`DECADES_OF_LOSS`."""
    return run.task in DECADES_OF_LOSS and metric.endswith("loss")


def performance_metrics(run: Run) -> list[str]:
    """The performance metrics in a run's record, the headline first."""
    recorded = run.metrics()
    return [metric for metric in PERFORMANCE if metric in recorded]


def headline_metric(runs: Sequence[Run]) -> str | None:
    """The first of :data:`PERFORMANCE` (test accuracy, else online accuracy, …) that all runs recorded, or None."""
    return next((metric for metric in PERFORMANCE if all(metric in run.metrics() for run in runs)), None)


def has_two_ends(run: Run, metric: str) -> bool:
    """Whether every seed reached a second task, so that a first and a last one can be told apart."""
    return bool((run.rows_per_task(metric) > 0).sum(axis=1).min() > 1)


def early_late(run: Run, metric: str, window: int | None = None, level: float = 0.95) -> EarlyLate:
    """Loss of plasticity of each seed: mean performance on its first ``window`` tasks against its last ``window``.

    early − late where more is better (accuracy), late − early where less is (loss): **positive when performance got
    worse**. ``window`` defaults to a tenth of the tasks, at least one. A seed's last tasks are the last that it
    reached; a seed with a number that is not finite in either window (it diverged) is left out, and the interval's
    ``n`` says so. Losses of :func:`in_decades` are compared by their decimal logarithm (a loss of 0, underflown, counts
    as the smallest positive one of the run). Raises ValueError when the metric is not in the record or no performance,
    or when the two windows would overlap.
    """
    sign = 1.0 if higher_is_better(metric) else -1.0
    values, rows = run.series(metric), run.rows_per_task(metric).to_numpy()
    tasks = int((rows > 0).sum(axis=1).min())
    window = max(1, tasks // 10) if window is None else window
    if window < 1 or tasks < 2 * window:
        raise ValueError(
            f"{run.directory}: {window} tasks at either end need {max(2, 2 * window)} with {metric}, it has {tasks}"
        )
    decades = in_decades(run, metric)
    if decades:
        positive = values.where(values > 0, values[values > 0].min().min()).where(values.notna())
        values = positive.apply(np.log10)
    reached = [row[there] for row, there in zip(values.to_numpy(), rows > 0)]
    early = pd.Series([row[:window].mean() for row in reached], values.index, name="early")
    late = pd.Series([row[-window:].mean() for row in reached], values.index, name="late")
    interval = paired_difference(sign * early, sign * late, level)
    return EarlyLate(metric, decades, window, tasks, early, late, (sign * (early - late)).rename("loss"), interval)


def contrast(method: EarlyLate, reference: EarlyLate, level: float = 0.95) -> Interval:
    """Interval of a method's loss of plasticity minus the reference's, paired by the seeds that both ran.

    Negative: the method lost less. Raises ValueError when they share no seed or measure different metrics.
    """
    if method.metric != reference.metric:
        raise ValueError(f"{method.metric} and {reference.metric} are not the same metric")
    return paired_difference(method.loss, reference.loss, level)
