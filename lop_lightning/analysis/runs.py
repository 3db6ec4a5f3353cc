"""A run on disk, and its series as seeds × tasks tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from lop_lightning.analysis.labels import LENGTHS, same_task
from lop_lightning.analysis.over_epochs import is_online, over_epochs, row_by_row, rule_of
from lop_lightning.analysis.record import read_record

CLASSES = "class."
"""A layer of this prefix is no layer: ``class.07`` is the eighth class that was presented."""

LAGS = "lag."
"""A layer of this prefix is no layer: ``lag.07`` is seven time steps back from the loss."""

MEMORIES = "N."
"""A layer of this prefix is no layer: ``N.007`` is the readout that has to remember seven steps."""


@dataclass(frozen=True)
class Run:
    """One run directory. ``label`` names it among the runs it was found with; the record is read when first needed.

    ``over_epochs``: what stands for a task of which a metric has several rows (see
    :func:`~lop_lightning.analysis.over_epochs.rule_of`); None for each metric's own rule.
    """

    directory: Path
    config: dict[str, Any]
    label: str
    over_epochs: str | None = None

    def changed(self, **fields: Any) -> Run:
        """A copy with other fields; a record that was read is not read again."""
        copy = replace(self, **fields)
        if "record" in vars(self):
            vars(copy)["record"] = self.record
        return copy

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

    @property
    def model(self) -> str:
        """Name of the network."""
        return str((self.config.get("model") or {}).get("name", ""))

    def same_tasks(self, other: Run) -> bool:
        """Whether both learn the same tasks, so that what equal seeds did can be paired.

        True when their ``task`` configurations are equal but for the number of tasks and how long one lasts: the
        shorter stream is then the longer's beginning.
        """
        return same_task(self.config, LENGTHS) == same_task(other.config, LENGTHS)

    @cached_property
    def widths(self) -> dict[str, int]:
        """Hidden layer -> number of units, input side first; empty where ``run.json`` does not say."""
        try:
            layers = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))["layers"]
            return {str(name): int(layer["width"]) for name, layer in layers.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    @cached_property
    def _places(self) -> dict[tuple[str, str], NDArray[np.int64]]:
        """(metric, layer) -> positions of its rows in the record, the pairs in the order of first appearance."""
        metric, layer = self.record["metric"].cat, self.record["layer"].cat
        code = metric.codes.to_numpy(np.int64) * len(layer.categories) + layer.codes.to_numpy()
        which, pairs = pd.factorize(code)
        rows = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which, minlength=len(pairs)))[:-1])
        names = [divmod(int(pair), len(layer.categories)) for pair in pairs]
        return {(str(metric.categories[m]), str(layer.categories[n])): r for (m, n), r in zip(names, rows)}

    @cached_property
    def _tables(self) -> dict[tuple[str, str, str], tuple[pd.DataFrame, pd.DataFrame]]:
        return {}

    def metrics(self) -> list[str]:
        """Metrics that are recorded for the whole network, in the order of first appearance."""
        return [metric for metric, layer in self._places if not layer]

    def layer_metrics(self) -> list[str]:
        """Metrics that are recorded for hidden layers, in the order of first appearance."""
        return list(dict.fromkeys(m for m, layer in self._places if is_hidden_layer(layer)))

    def class_metrics(self) -> list[str]:
        """Metrics that are recorded for single classes, in the order of first appearance."""
        return list(dict.fromkeys(m for m, layer in self._places if layer.startswith(CLASSES)))

    def lag_metrics(self) -> list[str]:
        """Metrics that are recorded for lags back in time, in the order of first appearance."""
        return list(dict.fromkeys(m for m, layer in self._places if layer.startswith(LAGS)))

    def layers(self, metric: str) -> list[str]:
        """Hidden layers for which a metric is recorded, in the order of first appearance (input side first)."""
        return [layer for m, layer in self._places if m == metric and is_hidden_layer(layer)]

    def series(self, metric: str, layer: str = "", over_epochs: str | None = None) -> pd.DataFrame:
        """Seeds × tasks: one value a task, by the metric's rule where it has several rows; NaN where it has none.

        ``layer=""`` is the whole network. ``over_epochs`` is another rule than the run's. Raises ValueError naming a
        metric or layer that is not in the record, or an unknown rule.
        """
        return self._table(metric, layer, over_epochs)[0]

    def rows_per_task(self, metric: str, layer: str = "") -> pd.DataFrame:
        """Seeds × tasks: the number of rows, 0 where a seed did not reach a task; errors as in :meth:`series`."""
        return self._table(metric, layer)[1]

    def rows(self, metric: str, layer: str = "") -> pd.DataFrame:
        """Seeds × updates: every row, in the column of the updates made before it; errors as in :meth:`series`."""
        return row_by_row(self._rows(metric, layer))

    def last_updates(self, metric: str, layer: str = "") -> pd.Series:
        """Task -> updates of the stream made when its last row was written; errors as in :meth:`series`."""
        return self._rows(metric, layer).groupby("task")["update"].max()

    def layer_mean(self, metric: str) -> pd.DataFrame:
        """Seeds × tasks: a layer metric averaged over the hidden layers, each counted once whatever its width."""
        layers = self.layers(metric)
        if not layers:
            raise ValueError(f"{self.directory}: metric {metric!r} is recorded for no hidden layer")
        return sum((self.series(metric, layer) for layer in layers[1:]), self.series(metric, layers[0])) / len(layers)

    def by_class(self, metric: str) -> pd.DataFrame:
        """Seeds × classes in the order of presentation, from 0: the last value of a metric of single classes.

        Raises ValueError when there is no such metric in the record.
        """
        places = self._numbered(metric, CLASSES)
        last = {number: self._rows(metric, layer).drop_duplicates("seed", keep="last") for number, layer in places}
        columns = {number: rows.set_index("seed")["value"] for number, rows in last.items()}
        return pd.DataFrame(columns).rename_axis(columns="class").sort_index()

    def by_lag(self, metric: str, tasks: Sequence[int] | None = None) -> pd.DataFrame:
        """Seeds × lags (time steps back from the loss): a metric of single lags, its mean over ``tasks`` (None: all).

        NaN for a seed without a number in one of them. Raises ValueError when there is no such metric in the record.
        """
        tables = {number: self.series(metric, layer) for number, layer in self._numbered(metric, LAGS)}
        means = {
            number: (table if tasks is None else table.reindex(columns=list(tasks))).mean(axis=1, skipna=False)
            for number, table in tables.items()
        }
        return pd.DataFrame(means).rename_axis(columns="lag").sort_index()

    def lag_tasks(self, metric: str) -> list[int]:
        """The tasks for which a metric of single lags was measured; errors as in :meth:`by_lag`."""
        tasks = [self.series(metric, layer).columns for _, layer in self._numbered(metric, LAGS)]
        return sorted({int(task) for columns in tasks for task in columns})

    def _numbered(self, metric: str, prefix: str) -> list[tuple[int, str]]:
        """(number, its place in the record) for a metric of single classes or lags, sorted."""
        places = [layer for m, layer in self._places if m == metric and layer.startswith(prefix)]
        if not places:
            raise ValueError(f"{self.directory}: metric {metric!r} is recorded for no {prefix.rstrip('.')}")
        return sorted((int(layer.removeprefix(prefix)), layer) for layer in places)

    def _table(self, metric: str, layer: str, asked: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
        rule = rule_of(metric, asked or self.over_epochs)
        key = (metric, layer, rule)
        if key not in self._tables:
            self._tables[key] = over_epochs(self._rows(metric, layer), rule, by_updates=is_online(metric))
        return self._tables[key]

    def _rows(self, metric: str, layer: str) -> pd.DataFrame:
        if (metric, layer) not in self._places:
            of_layer = f" of layer {layer!r}" if layer else ""
            raise ValueError(f"{self.directory}: metric {metric!r}{of_layer} is not in the record")
        return self.record.iloc[self._places[metric, layer]]


def is_hidden_layer(layer: str) -> bool:
    """Whether a name in the record's column ``layer`` is that of a hidden layer, and neither empty nor a number's."""
    return bool(layer) and not layer.startswith((CLASSES, LAGS, MEMORIES))


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
