"""What is reported, and how: the options of ``lop-report``."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from lop_lightning.analysis.curves import Axis
from lop_lightning.report.bands import Band, band


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

    def band(self, table: pd.DataFrame, log: bool = False) -> Band:
        """The line and band of a table on the axis."""
        return band(table, self.level, log, self.axis.bin)


ALL = Choice()
