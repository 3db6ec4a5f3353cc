"""What Lightning's loggers are shown of a run: each task's mean over seeds. The record stays the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from lop_lightning.records import Follower

Rows = dict[int, dict[str, list[Tensor]]]
"""By task, then by ``metric`` or ``layer/metric``: the values ``[S]`` of each row."""


class Mirror:
    """Collects the rows of tasks until the tasks end."""

    def __init__(self) -> None:
        self._rows: Rows = {}

    def add(self, task: int, metric: str, layer: str, values: Tensor) -> None:
        """One row of all seeds, ``values [S]``."""
        name = f"{layer}/{metric}" if layer else metric
        self._rows.setdefault(task, {}).setdefault(name, []).append(values.detach().cpu().double())

    def log(self, loggers: Sequence[Logger], kept: Sequence[bool]) -> None:
        """Gives every logger the mean of each metric over the seeds that are ``kept``; the step is the task.

        One that reads the record is only told the task.
        Of several rows a task an online series is averaged, and of any other metric the last one counts.
        """
        chosen = torch.tensor(kept)
        for task, metrics in self._rows.items():
            means = {name: _of_task(name, rows)[chosen].mean().item() for name, rows in metrics.items()}
            for logger in loggers:
                if isinstance(logger, Follower):
                    logger.follow(task)
                else:
                    logger.log_metrics(means, step=task)
        self._rows = {}

    def state(self) -> dict[str, Any]:
        """The rows of the task that has not ended."""
        return {"rows": {task: dict(metrics) for task, metrics in self._rows.items()}}

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state."""
        self._rows = state["rows"]


def _of_task(name: str, rows: list[Tensor]) -> Tensor:
    return torch.stack(rows).mean(0) if "online" in name else rows[-1]
