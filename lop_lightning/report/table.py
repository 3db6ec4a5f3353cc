"""Loss of plasticity as rows: for a CSV, the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from lop_lightning.analysis.loss_of_plasticity import contrast, early_late, has_two_ends, performance_metrics
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.statistics import unpaired_difference

COLUMNS = (
    "task", "label", "metric", "first_tasks", "last_tasks", "difference", "low", "high", "level", "n", "seeds",
    "kind", "unit", "window", "tasks", "done", "verdict",
)  # fmt: skip
"""Columns of a summary row. ``difference`` is the loss of plasticity: positive when performance got worse. ``unit`` is
``decades`` where a loss is compared by its decimal logarithm; the means of the tasks then are geometric.
"""

HEADER = ("run", "metric", "first", "last", "loss of plasticity", "n", "verdict")
NUMERIC = ("first", "last", "loss of plasticity", "n")
VERDICT_STYLES = {"lost": "bold red", "kept": "default", "improved": "green", "undecided": "dim"}


def summary_rows(
    run: Run, metrics: Sequence[str] | None = None, level: float = 0.95, window: int | None = None
) -> list[dict[str, Any]]:
    """One row of :data:`COLUMNS` for every performance metric of a run (or those among ``metrics``).

    ``first_tasks``, ``last_tasks``: means over seeds; ``low``, ``high``: interval of ``difference``, paired by seed;
    ``n`` of ``seeds`` have finite numbers at both ends. A metric with fewer than two tasks gives no row. Raises
    ValueError when ``window`` is given and too wide for the stream.
    """
    rows = []
    for metric in performance_metrics(run):
        if metrics is not None and metric not in metrics:
            continue
        if not has_two_ends(run, metric):
            continue
        result = early_late(run, metric, window, level)
        both = result.loss.index[np.isfinite(result.loss)]
        first, last = float(result.early[both].mean()), float(result.late[both].mean())
        first, last = (10**first, 10**last) if result.decades else (first, last)
        values = (
            run.task, run.label, metric, first, last,
            result.interval.estimate, result.interval.low, result.interval.high, level, result.interval.n,
            len(result.loss), result.interval.kind, "decades" if result.decades else "", result.window, result.tasks,
            run.done, result.verdict,
        )  # fmt: skip
        rows.append(dict(zip(COLUMNS, values)))
    return rows


def contrast_rows(
    runs: Sequence[Run], metric: str, level: float = 0.95, window: int | None = None, reference: Run | None = None
) -> list[dict[str, Any]]:
    """How much less plasticity each run lost than the reference run, paired by the seeds that both ran.

    ``reference`` is by default that of :func:`default_reference`. ``difference`` is the loss of plasticity minus the
    reference's: negative when the method lost less. A run with the same tasks that shares no seed with it gives no row.
    A run of other tasks is not paired, as its ``kind`` says; one whose loss has another unit gives no row.
    """
    runs = [run for run in runs if has_two_ends(run, metric)]
    if len(runs) < 2:
        return []
    if reference not in runs:
        reference = default_reference(runs)
    base = early_late(reference, metric, window, level)
    rows = []
    for run in runs:
        result = early_late(run, metric, window, level)
        paired = run.same_tasks(reference)
        if run is reference or result.decades != base.decades:
            continue
        if paired and not len(result.loss.index.intersection(base.loss.index)):
            continue
        interval = contrast(result, base, level) if paired else unpaired_difference(result.loss, base.loss, level)
        low, high = float(interval.low), float(interval.high)
        verdict = "lost less" if high < 0 else "lost more" if low > 0 else "no difference shown"
        rows.append(
            {
                "task": run.task,
                "label": run.label,
                "against": reference.label,
                "metric": metric,
                "difference": interval.estimate,
                "low": low,
                "high": high,
                "level": level,
                "n": interval.n,
                "kind": interval.kind,
                "verdict": verdict,
            }
        )
    return rows


def default_reference(runs: Sequence[Run]) -> Run:
    """The first run of plain backpropagation (``bp``), not of a linear network, else the first run."""
    return next((run for run in runs if run.algo == "bp" and run.model != "linear"), runs[0])


def write_csv(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows as a CSV with their keys as the header (:data:`COLUMNS` when there is none)."""
    pd.DataFrame(list(rows), columns=list(rows[0]) if rows else list(COLUMNS)).to_csv(path, index=False)


def run_table(run: Run) -> Table:
    """What a finished run shows: its performance at both ends of the stream and the verdict on its plasticity."""
    return summary_table(summary_rows(run), run.task)


def summary_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Summary rows for the terminal. What is the same in all rows (the run or the metric) goes into the title."""
    constant = [i for i in (0, 1) if len({row_cells(row)[i] for row in rows}) == 1]
    title = " · ".join([title, *(row_cells(rows[0])[i] for i in constant)])
    table = Table(title=title, caption=footnote(rows), title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    shown = [i for i in range(len(HEADER)) if i not in constant]
    for i in shown:
        table.add_column(HEADER[i], justify="right" if HEADER[i] in NUMERIC else "left", no_wrap=i > 0)
    for row in rows:
        cells = [escape(cell) for cell in row_cells(row)]
        cells[-1] = f"[{VERDICT_STYLES[row['verdict']]}]{cells[-1]}[/]"
        table.add_row(*(cells[i] for i in shown))
    return table


def row_cells(row: dict[str, Any]) -> list[str]:
    """A summary row as text, a cell for each name in :data:`HEADER`."""
    label = row["label"] if row["done"] else f"{row['label']} (unfinished)"
    n = str(row["n"]) if row["n"] == row["seeds"] else f"{row['n']} of {row['seeds']}"
    loss = with_interval(row["difference"], row["low"], row["high"]) + (f" {row['unit']}" if row["unit"] else "")
    return [label, row["metric"], number(row["first_tasks"]), number(row["last_tasks"]), loss, n, row["verdict"]]


def footnote(rows: Sequence[dict[str, Any]]) -> str:
    """What the numbers of summary rows are."""
    if not rows:
        return "no performance metric with two tasks or more"
    kinds = " or ".join(sorted({row["kind"] for row in rows}))
    windows = " or ".join(str(w) for w in sorted({row["window"] for row in rows}))
    text = (
        f"first and last {windows} tasks; {100 * rows[0]['level']:g} % {kinds} interval over n seeds, paired by seed; "
    )
    text += "loss of plasticity is positive when performance got worse"
    return text + (", in decades of the loss" if any(row["unit"] for row in rows) else "")


def with_interval(estimate: float, low: float, high: float) -> str:
    """``+0.276 [+0.273, +0.280]``, without the brackets when there is no interval."""
    interval = "" if np.isnan(low) or np.isnan(high) else f" [{number(low, '+')}, {number(high, '+')}]"
    return number(estimate, "+") + interval


def number(value: float, sign: str = "") -> str:
    """Three significant digits, a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:{sign}#.3g}".removesuffix(".")
