"""Which of several settings of a method is the best, by one rule that is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lop_lightning.analysis.labels import flat, same_task
from lop_lightning.analysis.loss_of_plasticity import higher_is_better, in_decades
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.sensitivity import SECTIONS, final_performance
from lop_lightning.analysis.statistics import Interval, seed_interval

RULE = (
    "best: the {end} mean over seeds of {metric} on the last {window} tasks, of finished runs with the same seeds none "
    "of which diverged; ties: the narrower interval, then the label"
)
CAVEAT = (
    "The best was chosen on the seeds that its value is of, so the value is optimistic: run it on other seeds before "
    "you report it."
)


@dataclass(frozen=True)
class Best:
    """The best run of a method on some seeds, and among which.

    ``settings``: the values that differ among the candidates, as the chosen run has them. ``interval``: its final
    performance. ``candidates``: how many finished runs it was chosen from, ``diverged``: those of them with a seed that
    has no finite number. ``unfinished``: runs that may come to be candidates.
    """

    run: Run
    metric: str
    window: int
    settings: dict[str, object]
    interval: Interval
    candidates: int
    diverged: int
    unfinished: int

    @property
    def rule(self) -> str:
        """How it was chosen, in words."""
        end = "largest" if higher_is_better(self.metric) else "smallest"
        return RULE.format(end=end, metric=self.metric, window=self.window)


def best_runs(runs: Sequence[Run], metric: str, level: float = 0.95, window: int | None = None) -> list[Best]:
    """The best run of every stream, method (with its network and optimiser) and seeds with at least two settings.

    The rule, :data:`RULE`: the mean over seeds of :func:`final_performance`, among finished runs that have the same
    seeds. A run with a seed that diverged is not chosen.
    """
    found = []
    sign = -1.0 if higher_is_better(metric) else 1.0
    for group in _by_method_and_seeds([run for run in runs if metric in run.metrics()]):
        done = [run for run in group if run.done]
        settings = _differing(done)
        finals = [(run, final(run, metric, level, window)) for run in done]
        whole = [(run, interval) for run, interval in finals if interval.n == len(run.seeds)]
        if not settings or not whole:
            continue
        best, interval = min(whole, key=lambda one: (sign * float(one[1].estimate), _width(one[1]), one[0].label))
        length = window or max(1, best.series(metric).shape[1] // 10)
        own = {key: value for key, value in flat(best.config).items() if key in settings}
        counts = len(done), len(done) - len(whole), len(group) - len(done)
        found.append(Best(best, metric, length, own, interval, *counts))
    return found


def final(run: Run, metric: str, level: float = 0.95, window: int | None = None) -> Interval:
    """Final performance of a run: its mean over seeds with an interval; a geometric one where losses are in decades.

    ``n`` is the number of seeds with a finite number. Raises ValueError as :func:`final_performance`.
    """
    values = seed_scores(run, metric, window)
    interval = seed_interval(values.to_numpy(), level)
    if not in_decades(run, metric):
        return interval
    bounds = {name: float(10 ** getattr(interval, name)) for name in ("estimate", "low", "high")}
    return replace(interval, **bounds)  # type: ignore[arg-type]


def seed_scores(run: Run, metric: str, window: int | None = None) -> pd.Series:
    """Each seed's :func:`final_performance`, its decimal logarithm where losses are compared in decades."""
    values = final_performance(run, metric, window)
    return np.log10(values.clip(lower=np.finfo(np.float64).tiny)) if in_decades(run, metric) else values


def _width(interval: Interval) -> float:
    width = float(interval.high) - float(interval.low)
    return width if np.isfinite(width) else np.inf


def _by_method_and_seeds(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        optimizer = (run.config.get("optimizer") or {}).get("name")
        stream = same_task(run.config)
        groups.setdefault((stream, run.algo, run.model, optimizer, *sorted(run.seeds)), []).append(run)
    return list(groups.values())


def _differing(runs: Sequence[Run]) -> list[str]:
    """Keys of the model, the method and the optimiser of which runs have several values."""
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config if key.split(".")[0] in SECTIONS)
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
