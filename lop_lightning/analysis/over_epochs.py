"""Several rows a task, one number: by which rule, and the seeds × tasks tables that it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lop_lightning.errors import nearest

RULES = ("last", "max", "min", "best", "mean")
"""What can stand for a task's rows. ``best`` is the largest accuracy and the smallest loss or error."""


def is_online(metric: str) -> bool:
    """Whether a metric's rows are means over bins of updates that together are the task (``online_loss``)."""
    return metric.removeprefix("fresh_").startswith("online_")


def rule_of(metric: str, asked: str | None = None) -> str:
    """The rule for a metric: ``mean`` for online series, for all others what was ``asked``, by default ``last``.

    Dohare et al. (2024) take the last epoch's test accuracy (Continual ImageNet), or the largest accuracy and the
    smallest loss over a task's epochs (incremental CIFAR-100, ``best``). An online series has no epochs to choose from:
    its bins are parts of one mean. ``best`` is ``last`` for a metric that is no performance.
    Raises ValueError for an unknown rule.
    """
    if asked is not None and asked not in RULES:
        raise ValueError(f"rule {asked!r} is none of {', '.join(RULES)}{nearest(str(asked), RULES)}")
    if is_online(metric):
        return "mean"
    if asked == "best":
        return "max" if metric.endswith("accuracy") else "min" if metric.endswith(("loss", "error")) else "last"
    return asked or "last"


def over_epochs(rows: pd.DataFrame, rule: str, by_updates: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Value and number of rows for each seed and task, both seeds × tasks.

    ``rows``: record rows of one metric and layer, in the order in which they were written. ``rule``: ``last`` (the row
    written last), ``max``, ``min`` or ``mean``; the last three are NaN when a row of the task is NaN (the network
    diverged there). A task without a row is NaN with count 0 (not reached, or not measured).
    ``by_updates``: for ``mean``, weigh a row by the updates made since the seed's row before it.
    """
    seed_of, seeds = pd.factorize(rows["seed"].to_numpy(), sort=True)
    task_of, tasks = pd.factorize(rows["task"].to_numpy(), sort=True)
    cell, cells = seed_of * len(tasks) + task_of, len(seeds) * len(tasks)
    value, count = rows["value"].to_numpy(), np.bincount(cell, minlength=cells)
    if rule == "mean":
        weight = _updates(rows["update"].to_numpy(), seed_of, cell, cells) if by_updates else np.ones(len(rows))
        total = np.bincount(cell, weights=weight * value, minlength=cells)
        shares = np.bincount(cell, weights=weight, minlength=cells)
        result = np.divide(total, shares, out=np.full(cells, np.nan), where=count > 0)
    elif rule == "last":
        result, last = np.full(cells, np.nan), np.full(cells, -1)
        np.maximum.at(last, cell, np.arange(len(rows)))
        result[count > 0] = value[last[count > 0]]
    else:
        result = np.full(cells, -np.inf if rule == "max" else np.inf)
        with np.errstate(invalid="ignore"):
            (np.maximum if rule == "max" else np.minimum).at(result, cell, value)  # both pass NaN on
        result[count == 0] = np.nan
    index, columns = pd.Index(seeds, name="seed"), pd.Index(tasks, name="task")
    shape = (len(seeds), len(tasks))
    return pd.DataFrame(result.reshape(shape), index, columns), pd.DataFrame(count.reshape(shape), index, columns)


def row_by_row(rows: pd.DataFrame) -> pd.DataFrame:
    """Seeds × updates: every row of a metric and layer where it was written, after that many updates of the stream.

    Of several rows of a seed at one update the last is taken; NaN where a seed has none.
    """
    last = rows.drop_duplicates(["seed", "update"], keep="last")
    return last.pivot(index="seed", columns="update", values="value").sort_index(axis=1)


def _updates(update: NDArray[np.int64], seed_of: NDArray[Any], cell: NDArray[Any], cells: int) -> NDArray[np.float64]:
    """Updates that each row covers: since the row of its seed before it; 1 in tasks where that is not positive."""
    order = np.argsort(seed_of, kind="stable")
    ordered = update[order]
    begin = np.where(np.diff(seed_of[order], prepend=-1) != 0, 0, np.concatenate(([0], ordered[:-1])))
    weight = np.empty(len(update))
    weight[order] = ordered - begin
    odd = np.bincount(cell, weights=weight <= 0, minlength=cells) > 0
    return np.where(odd[cell], 1.0, weight)
