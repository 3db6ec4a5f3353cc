"""Runs on disk: finding them, and their series as seeds × tasks tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from lop_lightning.analysis.labels import run_labels, same_task
from lop_lightning.analysis.record import read_record, task_means


@dataclass(frozen=True)
class Run:
    """One run directory. ``label`` names it among the runs it was found with; the record is read when first needed."""

    directory: Path
    config: dict[str, Any]
    label: str

    @cached_property
    def record(self) -> pd.DataFrame:
        """The long table, one row a measured value (see :func:`~lop_lightning.analysis.record.read_record`)."""
        return read_record(self.directory / "record.csv")

    @property
    def seeds(self) -> list[int]:
        """The seeds that the run was asked for."""
        return [int(seed) for seed in self.config.get("seeds", [])]

    @property
    def done(self) -> bool:
        """Whether the run came to its end and wrote its summary."""
        return (self.directory / "summary.json").is_file()

    @property
    def task(self) -> str:
        """Name of the task family."""
        return str(self.config["task"]["name"])

    @property
    def algo(self) -> str:
        """Name of the method."""
        return str(self.config["algo"]["name"])

    @cached_property
    def _layers_of(self) -> dict[str, list[str]]:
        """Metric -> its layers, both in the order of first appearance."""
        pairs = self.record[["metric", "layer"]].drop_duplicates()
        layers: dict[str, list[str]] = {}
        for metric, layer in zip(pairs["metric"], pairs["layer"]):
            layers.setdefault(str(metric), []).append(str(layer))
        return layers

    def metrics(self) -> list[str]:
        """Metrics that are recorded for the whole network, in the order of first appearance."""
        return [metric for metric, layers in self._layers_of.items() if "" in layers]

    def layer_metrics(self) -> list[str]:
        """Metrics that are recorded for hidden layers, in the order of first appearance."""
        return [metric for metric in self._layers_of if self.layers(metric)]

    def layers(self, metric: str) -> list[str]:
        """Hidden layers for which a metric is recorded, in the order of first appearance (input side first)."""
        return [layer for layer in self._layers_of.get(metric, []) if layer]

    def series(self, metric: str, layer: str = "") -> pd.DataFrame:
        """Seeds × tasks: the mean of the rows (bins) of each task; NaN where there is none or a row is NaN.

        ``layer=""`` is the whole network. Raises ValueError naming a metric or layer that is not in the record.
        """
        return task_means(self._rows(metric, layer))[0]

    def rows_per_task(self, metric: str, layer: str = "") -> pd.DataFrame:
        """Seeds × tasks: the number of rows, 0 where a seed did not reach a task; errors as in :meth:`series`."""
        return task_means(self._rows(metric, layer))[1]

    def layer_mean(self, metric: str) -> pd.DataFrame:
        """Seeds × tasks: a layer metric averaged over the hidden layers, each counted once whatever its width."""
        layers = self.layers(metric)
        if not layers:
            raise ValueError(f"{self.directory}: metric {metric!r} is recorded for no hidden layer")
        return sum((self.series(metric, layer) for layer in layers[1:]), self.series(metric, layers[0])) / len(layers)

    def _rows(self, metric: str, layer: str) -> pd.DataFrame:
        rows = self.record[(self.record["metric"] == metric) & (self.record["layer"] == layer)]
        if rows.empty:
            of_layer = f" of layer {layer!r}" if layer else ""
            raise ValueError(f"{self.directory}: metric {metric!r}{of_layer} is not in the record")
        return rows


def read_run(directory: str | Path) -> Run:
    """The run in one directory, labelled by its method. Raises ValueError naming the path when it is no run."""
    directory = Path(directory)
    try:
        config = OmegaConf.to_container(OmegaConf.load(directory / "config.yaml"))
    except OSError:
        raise ValueError(f"{directory}: is no run directory (no config.yaml)") from None
    except Exception as error:  # whatever the YAML reader raises
        raise ValueError(f"{directory / 'config.yaml'}: is no YAML ({str(error).splitlines()[0]})") from None
    for key in ("task", "algo"):
        if not isinstance(config, dict) or "name" not in (config.get(key) or {}):
            raise ValueError(f"{directory / 'config.yaml'}: has no {key}.name, so it is no config of a run")
    return Run(directory, config, str(config["algo"]["name"]))  # type: ignore[index, call-overload, arg-type]


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """All runs at or below the paths, sorted by directory, each once, labelled by what tells them apart.

    A run is a directory with ``config.yaml`` and ``record.csv``. Raises ValueError in one line naming the first path
    that does not exist or below which there is no run.
    """
    directories: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"{path}: no such file or directory")
        found = {record.parent for record in path.rglob("record.csv") if (record.parent / "config.yaml").is_file()}
        if not found:
            raise ValueError(f"{path}: no run here (a run is a directory with config.yaml and record.csv)")
        directories |= {directory.resolve() for directory in found}
    return relabelled([read_run(directory) for directory in sorted(directories)])


def relabelled(runs: list[Run]) -> list[Run]:
    """The same runs, labelled among those of the same task configuration (see :func:`run_labels`)."""
    labels: dict[Path, str] = {}
    for group in group_by_task(runs):
        labels |= zip([run.directory for run in group], run_labels([(r.config, r.directory.name) for r in group]))
    return [replace(run, label=labels[run.directory]) for run in runs]


def group_by_task(runs: list[Run]) -> list[list[Run]]:
    """Runs of one stream together: those whose ``task`` configurations are equal, in the order of first appearance."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(same_task(run.config), []).append(run)
    return list(groups.values())
