"""Accuracy over the stream as rows: for ``accuracy.csv``, the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from lop_lightning.analysis.accuracy_measures import ACCURACIES, accuracy_measures, accuracy_metric
from lop_lightning.analysis.runs import Run
from lop_lightning.report.table import default_reference, number, with_interval

ACCURACY_HEADER = ("run", "metric", "mean accuracy", "degradation %", "relative gain %", "n")
SHOWN = ("mean_accuracy", "degradation", "relative_gain")


def accuracy_rows(
    runs: Sequence[Run], metrics: Sequence[str] | None = None, level: float = 0.95, reference: Run | None = None
) -> list[dict[str, Any]]:
    """One row for every run with an accuracy (among ``metrics``) and every measure of :mod:`accuracy_measures`.

    The accuracy is the first that all these runs recorded, else each run's own. The gain is relative to ``reference``,
    by default that of :func:`~lop_lightning.report.table.default_reference`.
    """
    among = ACCURACIES if metrics is None else metrics
    runs = [run for run in runs if accuracy_metric([run], among) is not None]
    if not runs:
        return []
    if reference not in runs:
        reference = default_reference(runs)
    common, rows = accuracy_metric(runs, among), []
    for run in runs:
        metric = common or accuracy_metric([run], among) or ""
        for measure in accuracy_measures(run, metric, reference, level):
            interval = measure.interval
            rows.append(
                {
                    "task": run.task,
                    "label": run.label,
                    "metric": metric,
                    "measure": measure.name,
                    "estimate": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "unit": measure.unit,
                    "level": level,
                    "n": interval.n,
                    "seeds": int(run.record["seed"].nunique()),
                    "kind": interval.kind,
                    "tasks": measure.tasks,
                    "against": measure.against,
                    "done": run.done,
                    "run": str(run.directory),
                }
            )
    return rows


def accuracy_cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line of text for each run, a cell for each name in :data:`ACCURACY_HEADER`."""
    runs: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["run"], {})[row["measure"]] = row
    cells = []
    for measures in runs.values():
        first = measures["mean_accuracy"]
        label = first["label"] if first["done"] else f"{first['label']} (unfinished)"
        n = str(first["n"]) if first["n"] == first["seeds"] else f"{first['n']} of {first['seeds']}"
        numbers = [_cell(measures.get(name), "" if name == "mean_accuracy" else "+") for name in SHOWN]
        cells.append([label, first["metric"], *numbers, n])
    return cells


def accuracy_footnote(rows: Sequence[dict[str, Any]]) -> str:
    """What the numbers are, and which of them mislead."""
    kinds = " or ".join(sorted({row["kind"] for row in rows if row["measure"] in SHOWN}))
    gains = [row["against"] for row in rows if row["measure"] == "relative_gain"]
    gain = f"; relative gain of the mean accuracy: over {gains[0]}, on the tasks that both have" if gains else ""
    return (
        f"mean over tasks, then over n seeds; {100 * rows[0]['level']:g} % {kinds} interval; degradation: 100 (first − "
        f"last) / first task, of two tasks only{gain}"
    )


def accuracy_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """The lines for the terminal; the metric is in the title."""
    metrics = " or ".join(dict.fromkeys(row["metric"] for row in rows))
    table = Table(
        title=f"{title} · accuracy over the stream · {metrics}", caption=accuracy_footnote(rows),
        title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    lines = accuracy_cells(rows)
    shown = [i for i, name in enumerate(ACCURACY_HEADER) if name != "metric" and any(cells[i] for cells in lines)]
    for i in shown:
        table.add_column(ACCURACY_HEADER[i], justify="right" if i else "left")
    for cells in lines:
        table.add_row(*(escape(cells[i]) for i in shown))
    return table


def _cell(row: dict[str, Any] | None, sign: str) -> str:
    if row is None:
        return ""
    if sign:
        return with_interval(row["estimate"], row["low"], row["high"])
    bounds = "" if row["low"] != row["low"] else f" [{number(row['low'])}, {number(row['high'])}]"
    return number(row["estimate"]) + bounds
