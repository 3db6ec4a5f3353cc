"""Final performance against one hyper-parameter: which runs differ in it alone, and what they reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lop_lightning.analysis.labels import LENGTHS, flat, without_folders
from lop_lightning.analysis.runs import Run

FEWEST_VALUES = 3
"""A sweep of fewer values is no curve."""

SECTIONS = ("model", "algo", "optimizer")
"""Where a hyper-parameter is looked for; seeds, hardware and what is recorded may differ in a sweep."""

NO_SWEEP = tuple(f"task.{key}" for key in LENGTHS)
"""Keys of the task whose value is no condition of the experiment: final performance is not drawn against them."""


@dataclass(frozen=True)
class Sweep:
    """Runs of one method that differ in one number only, sorted by it.

    ``key``: its full name (``optimizer.lr``; ``task.max_length`` where the streams differ in it alone).
    ``label``: the method, and what tells this sweep from others of the key.
    """

    key: str
    label: str
    algo: str
    values: tuple[float, ...]
    runs: tuple[Run, ...]


def sweeps(runs: Sequence[Run]) -> list[Sweep]:
    """Every set of at least three runs of one method that differ in one numeric key alone, or in one of their stream.

    A grid of two keys gives a sweep of the one for each value of the other. Of runs equal in all keys (they differ in
    their seeds) the first counts. Keys come in the order of the configurations.
    """
    settings = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one if key not in NO_SWEEP)
    found: list[Sweep] = []
    for key in keys:
        groups: dict[str, dict[float, int]] = {}
        for i, one in enumerate(settings):
            value = one.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = repr(sorted((k, repr(v)) for k, v in one.items() if k != key))
                groups.setdefault(rest, {}).setdefault(float(value), i)
        whole = [dict(sorted(group.items())) for group in groups.values() if len(group) >= FEWEST_VALUES]
        whole.sort(key=lambda group: _order(settings[next(iter(group.values()))]))
        labels = _labels([settings[next(iter(group.values()))] for group in whole], key)
        for label, group in zip(labels, whole):
            members = tuple(runs[i] for i in group.values())
            found.append(Sweep(key, label, members[0].algo, tuple(group), members))
    return found


def final_performance(run: Run, metric: str, window: int | None = None) -> pd.Series:
    """Mean of a metric over the last ``window`` tasks of each seed, by default a tenth of the tasks, at least one.

    NaN for a seed with a number that is not finite among them. Raises ValueError when the metric is not in the record
    or has fewer tasks than ``window``.
    """
    table = run.series(metric)
    tasks = table.shape[1]
    window = max(1, tasks // 10) if window is None else window
    if window > tasks:
        raise ValueError(f"{run.directory}: {window} last tasks are more than the {tasks} it has of {metric}")
    last = table.to_numpy()[:, -window:].mean(axis=1)
    return pd.Series(np.where(np.isfinite(last), last, np.nan), table.index, name=metric)


def _settings(run: Run) -> dict[str, object]:
    found = without_folders(flat(run.config))
    return {key: value for key, value in found.items() if key.split(".")[0] in (*SECTIONS, "task")}


def _order(setting: dict[str, object]) -> list[tuple[str, float, str]]:
    """Sorts configurations: numbers by size, all else by its text."""
    return [
        (key, float(value), "") if isinstance(value, int | float) else (key, float("inf"), str(value))
        for key, value in sorted(setting.items())
    ]


def _labels(settings: Sequence[dict[str, object]], key: str) -> list[str]:
    """The method's name, then every other value in which sweeps of that method differ."""
    labels = []
    for one in settings:
        same = [other for other in settings if other["algo.name"] == one["algo.name"]]
        words = [
            f"{name.rsplit('.', 1)[-1]}={value}"
            for name, value in one.items()
            if name != key and len({repr(other.get(name)) for other in same}) > 1
        ]
        labels.append(" ".join([str(one["algo.name"]), *words]))
    return labels
