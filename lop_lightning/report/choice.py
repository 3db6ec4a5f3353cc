"""What is reported, and how: the options of ``lop-report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from lop_lightning.analysis.curves import Axis
from lop_lightning.analysis.over_epochs import is_online, rule_of
from lop_lightning.analysis.runs import Run
from lop_lightning.report.bands import Band, band

MOST_ROWS_APART = 2000
"""Rows of a record that are drawn as they are where the ends of tasks are marked: 60 tasks of 30 epochs."""


@dataclass(frozen=True)
class Choice:
    """The metrics (None: all), the coverage of the intervals, the tasks at either end, and what figures are drawn.

    ``axis``: what lines are drawn against, and in which bins. ``horizontal``: a run drawn as its mean. ``relative_to``:
    a run that the performance of the others is also drawn relative to. ``figures``: a paper whose figures are drawn in
    place of all others. Runs are named by their label, method or network.
    """

    metrics: list[str] | None = None
    level: float = 0.95
    window: int | None = None
    axis: Axis = field(default_factory=Axis)
    horizontal: str | None = None
    relative_to: str | None = None
    figures: str | None = None

    def wants(self, metric: str) -> bool:
        """Whether a metric is reported."""
        return self.metrics is None or metric in self.metrics

    def band(self, table: pd.DataFrame, log: bool = False, ends: Sequence[float] = ()) -> Band:
        """The line and band of a table on the axis; where the ``ends`` of tasks are marked, its rows stay apart."""
        apart = bool(ends) and table.shape[1] <= MOST_ROWS_APART
        return band(table, self.level, log, 1 if apart else self.axis.bin)

    def note(self, runs: Sequence[Run], metric: str, over: str | None = None) -> str:
        """For the small print: what stands for a task of which the metric has several rows; empty where none has."""
        asked = over or runs[0].over_epochs
        if is_online(metric) or (self.axis == Axis("update") and asked is None):
            return ""
        several = any(int(run.rows_per_task(metric).to_numpy().max()) > 1 for run in runs if metric in run.metrics())
        words = {"last": "last", "max": "largest", "min": "smallest", "mean": "mean"}
        return f" · each task: the {words[rule_of(metric, asked)]} of its epochs" if several else ""


ALL = Choice()
