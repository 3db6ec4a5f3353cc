"""One search and its end: the trials that are missing, the best by the rule, and its run on the seeds of the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from lop_lightning.analysis.best import final, seed_scores
from lop_lightning.analysis.loss_of_plasticity import PERFORMANCE, headline_metric, higher_is_better
from lop_lightning.analysis.runs import Run, read_run
from lop_lightning.analysis.statistics import Interval
from lop_lightning.callbacks.continual import Diverged
from lop_lightning.errors import ConfigError, LopError
from lop_lightning.experiment import prepare
from lop_lightning.records import RunDirectory
from lop_lightning.records.files import write_atomically
from lop_lightning.records.run_directory import identity
from lop_lightning.search import Search, Trial
from lop_lightning.tasks.seeds import seed_list

FOLDER = "tuning"
"""Beside the runs: one folder a search, named by the hash of what was searched."""

Train = Callable[[DictConfig], RunDirectory]
Say = Callable[[str], None]


class Tuning:
    """One search: the configuration it varies, its trials, and the run of the best.

    Args:
        config: The configuration; its ``seeds`` are those of the report.
        search: What is varied.
        train: Trains what a configuration describes, unless that is done.
        say: Takes a line for the person who asked.
    """

    def __init__(self, config: DictConfig, search: Search, train: Train, say: Say) -> None:
        self.config, self.search, self.train, self.say = config, search, train, say
        self.metric, self.window = search.metric, search.window
        self.trials: list[Trial] = []
        self.runs: list[Path] = []

    def check(self) -> None:
        """Builds what the search may come to at its corners, and the final run.

        Raises:
            LopError: a key or an end of the space is wrong, seeds are in both sets, or it is to be sent elsewhere.
        """
        seeds = seed_list(OmegaConf.to_container(self.config, resolve=True)["seeds"])  # type: ignore[index, call-overload, arg-type]
        if common := sorted(set(seeds) & set(self.search.seeds)):
            raise ConfigError("tune.seeds", self.search.seeds, f"other seeds than those of the report ({common[0]} is)")
        if self.config.hardware.get("launcher") is not None:
            raise LopError(
                f"hardware={self.config.hardware.name} does not go with +tune: each trial follows from those before"
            )
        if self.metric is not None and self.metric not in PERFORMANCE:
            raise ConfigError("tune.metric", self.metric, choices=PERFORMANCE)
        for values in self.search.corners():
            prepare(OmegaConf.merge(self._with(values), {"seeds": 1}))  # type: ignore[arg-type]
        prepare(self.config)

    def run(self) -> dict[str, Any]:
        """Makes the trials that are missing and the run of the best; what is found goes to ``tuning/`` too.

        Raises:
            LopError: every trial diverged, or a run failed otherwise.
        """
        for trial in self.search.run(self._goodness):
            self.trials.append(trial)
        best = max(self.trials, key=lambda trial: (trial.goodness, -trial.number))
        if best.goodness == float("-inf") or self.metric is None:
            raise LopError(f"all {len(self.trials)} trials diverged: search elsewhere")
        searched = read_run(self.runs[best.number])
        self.say(f"best of {len(self.trials)} trials: {words(best.values)}; now on the seeds of the report")
        report = self._trained(self._with(best.values))
        result = self._result(best, searched, report, self.metric)
        self._write(result)
        return result

    def _goodness(self, number: int, values: dict[str, Any]) -> float:
        self.say(f"trial {number + 1}/{self.search.trials}: {words(values)}")
        config = OmegaConf.merge(self._with(values), {"seeds": self.search.seeds})
        try:
            run = self._trained(config)  # type: ignore[arg-type]
        except LopError as error:
            if not isinstance(error, Diverged) and not isinstance(error.__cause__, Diverged):
                raise
            self.say(str(error))
            self.runs.append(Path())
            return float("-inf")
        self.runs.append(run.directory)
        self.metric = self.metric or headline_metric([run])
        if self.metric is None or self.metric not in run.metrics():
            raise LopError(f"{run.directory} has recorded no {self.metric or 'performance'}: set tune.metric")
        try:
            scores = seed_scores(run, self.metric, self.window)
        except ValueError as error:
            raise LopError(str(error)) from None
        mean = float(scores.mean(skipna=False))
        return mean if higher_is_better(self.metric) else -mean

    def _trained(self, config: DictConfig) -> Run:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
        directory = RunDirectory({**plain, "seeds": seed_list(plain["seeds"])})
        if not directory.done:
            self.train(config)
        return read_run(directory.path)

    def _with(self, values: dict[str, Any]) -> DictConfig:
        config = self.config.copy()
        for key, value in values.items():
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            if not OmegaConf.is_dict(node) or last not in node:
                raise LopError(f"{key} is no key of this configuration, so +tune cannot vary it")
            node[last] = value
        return config

    def _result(self, best: Trial, searched: Run, report: Run, metric: str) -> dict[str, Any]:
        tasks = searched.series(metric).shape[1]
        window = self.window or max(1, tasks // 10)
        end = "largest" if higher_is_better(metric) else "smallest"
        seeds = ", ".join(map(str, self.search.seeds))
        rule = (
            f"rule: of {len(self.trials)} trials the {end} mean of {metric} on the last {window} tasks over seeds "
            f"{seeds}; ties: the earlier. Its value on those seeds is optimistic: report the other."
        )
        return {
            "rule": rule,
            "method": f"{report.algo} {report.model} {self.config.optimizer.name}",
            "best": best.values,
            "metric": metric,
            "trials": [
                {"values": one.values, "goodness": one.goodness, "run": str(run)}
                for one, run in zip(self.trials, self.runs)
            ],
            "search": {"seeds": self.search.seeds, **_numbers(final(searched, metric, window=self.window))},
            "report": {"seeds": report.seeds, **_numbers(final(report, metric, window=self.window))},
            "run": str(report.directory),
        }

    def _write(self, result: dict[str, Any]) -> None:
        plain: dict[str, Any] = OmegaConf.to_container(self.config, resolve=True)  # type: ignore[assignment]
        searched = {**plain, "seeds": seed_list(plain["seeds"]), "tune": vars(self.search)}
        folder = Path(plain["runs_dir"]) / FOLDER / identity(searched)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {"trial": i, **one["values"], "goodness": one["goodness"], "run": one["run"]}
            for i, one in enumerate(result["trials"])
        ]
        write_atomically(folder / "trials.csv", pd.DataFrame(rows).to_csv(index=False))
        write_atomically(
            folder / "best.json", json.dumps({key: value for key, value in result.items() if key != "trials"}, indent=1)
        )
        self.say(f"written: {folder}")


def _numbers(interval: Interval) -> dict[str, Any]:
    names = ("estimate", "low", "high", "level", "n", "kind")
    return {name: getattr(interval, name) if name == "kind" else float(getattr(interval, name)) for name in names}


def words(values: dict[str, Any]) -> str:
    """``key=value`` of each."""
    return " ".join(f"{key}={value}" for key, value in values.items())
