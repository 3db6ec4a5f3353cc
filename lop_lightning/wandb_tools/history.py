"""From rows of the record to rows of W&B's history: each seed, the mean over seeds and its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lop_lightning.analysis.over_epochs import is_online, over_epochs, rule_of
from lop_lightning.analysis.runs import CLASSES, LAGS, MEMORIES
from lop_lightning.analysis.statistics import FEWEST_FOR_BOOTSTRAP, seed_interval

PER_SEED = ("none", "network", "all")
"""Of which metrics each seed is shown: of none, of the whole network's, of each layer's too."""

AXES = {
    **dict.fromkeys(("performance/", "plasticity/", "layers/", "classes/", "lags/", "seeds/"), "task"),
    "updates/": "update",
}
"""Beginnings of the names in the history, and what they are drawn against."""

PERFORMANCE = ("accuracy", "loss", "error", "return", "reward")
"""Endings of the names of metrics that say how well a task is learned."""

Row = dict[str, float]
Place = tuple[int, int, int]
"""Task, 0 within it or 1 for the whole of it, updates made so far: the order of the history."""


def history(rows: pd.DataFrame, tasks: Sequence[int], seeds: int, per_seed: str = "network") -> list[Row]:
    """The history of some tasks, a row a task, in order, a function of the record alone.

    A row has ``task`` and ``update`` (those made so far), and for every metric, under :func:`name_of`, the mean over
    seeds, with ``_low`` and ``_high`` the bounds of the house's 95 % interval, and ``seeds/<metric>/<seed>``. Several
    rows a task are one by the metric's own rule (:func:`~lop_lightning.analysis.over_epochs.rule_of`), as in the
    reports; besides they are shown one by one, as ``updates/<metric>`` in rows of their own before the task's. What is
    not finite is left out.

    Args:
        rows: Of the record, of these tasks and the one before them (see :class:`RecordTail`).
        tasks: The tasks.
        seeds: Number of seeds of the run, which decides between t interval and bootstrap.
        per_seed: One of :data:`PER_SEED`.
    """
    result: dict[Place, Row] = {place: {} for place in places_of(rows, tasks)}
    last = rows.groupby("task")["update"].max()
    parts: Any = rows.groupby(["metric", "layer"], sort=False, observed=True)
    for (metric, layer), part in parts:
        values, counts = over_epochs(part, rule_of(metric), by_updates=is_online(metric))
        shown = [task for task in tasks if task in values.columns]
        table, name = values[shown], name_of(metric, layer)
        places: list[Place] = [(task, 1, int(last[task])) for task in shown]
        _put(result, places, name, table, seeds)
        if per_seed == "all" or (per_seed == "network" and not layer):
            _put_seeds(result, places, f"seeds/{name.partition('/')[2]}", table)
        several = [task for task in shown if counts[task].max() > 1]
        if several:
            table = _one_by_one(part[part["task"].isin(several)])
            columns: Any = table.columns
            updates: list[Place] = [(task, 0, update) for task, update in columns]
            _put(result, updates, f"updates/{name.partition('/')[2]}", table, seeds)
    return [{"task": place[0], "update": place[2], **result[place]} for place in sorted(result)]


def places_of(rows: pd.DataFrame, tasks: Sequence[int]) -> list[Place]:
    """Where the rows of :func:`history` are, which is quick to tell."""
    rows = rows[rows["task"].isin(list(tasks))]
    several = rows[rows.duplicated(["metric", "layer", "seed", "task"], keep=False)]
    within, whole = several[["task", "update"]].drop_duplicates(), rows.groupby("task")["update"].max()
    places: list[Place] = [
        (task, 0, update) for task, update in zip(within["task"].tolist(), within["update"].tolist())
    ]
    return sorted([*places, *((task, 1, update) for task, update in zip(whole.index.tolist(), whole.tolist()))])


def name_of(metric: str, layer: str) -> str:
    """What a metric is called at W&B, its section before the first slash.

    ``performance/<metric>`` or ``plasticity/<metric>`` of the whole network, ``layers/<layer>/<metric>``,
    ``classes/<number>/<metric>``, ``lags/<steps>/<metric>`` and ``memories/<N>/<metric>``.
    """
    if layer.startswith(CLASSES):
        return f"classes/{layer.removeprefix(CLASSES)}/{metric}"
    if layer.startswith(LAGS):
        return f"lags/{layer.removeprefix(LAGS)}/{metric}"
    if layer.startswith(MEMORIES):
        return f"memories/{layer.removeprefix(MEMORIES)}/{metric}"
    if layer:
        return f"layers/{layer}/{metric}"
    return f"{'performance' if metric.endswith(PERFORMANCE) else 'plasticity'}/{metric}"


def _one_by_one(part: pd.DataFrame) -> pd.DataFrame:
    """Seeds × (task, update): every row of a metric, the last of several at one place."""
    last = part.drop_duplicates(["seed", "task", "update"], keep="last")
    return last.pivot(index="seed", columns=["task", "update"], values="value")


def _put(result: dict[Place, Row], places: Sequence[Place], name: str, table: pd.DataFrame, seeds: int) -> None:
    if not places:
        return
    interval = seed_interval(table.to_numpy(), method="bca" if seeds >= FEWEST_FOR_BOOTSTRAP else "t")
    for ending, numbers in (("", interval.estimate), ("_low", interval.low), ("_high", interval.high)):
        for place, number in _finite(places, np.asarray(numbers)):
            result[place][name + ending] = number


def _put_seeds(result: dict[Place, Row], places: Sequence[Place], name: str, table: pd.DataFrame) -> None:
    for seed, numbers in zip(table.index, table.to_numpy()):
        for place, number in _finite(places, numbers):
            result[place][f"{name}/{seed}"] = number


def _finite(places: Sequence[Place], numbers: np.ndarray) -> Iterator[tuple[Place, float]]:
    return ((place, number) for place, number in zip(places, numbers.tolist()) if np.isfinite(number))
