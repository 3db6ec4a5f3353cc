"""The best setting of each method as rows: for ``best.csv``, the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from lop_lightning.analysis.best import CAVEAT, best_runs
from lop_lightning.analysis.runs import Run
from lop_lightning.report.table import number

BEST_HEADER = ("best run", "its settings", "metric", "last tasks", "n", "chosen from")


def best_rows(runs: Sequence[Run], metric: str, level: float = 0.95, window: int | None = None) -> list[dict[str, Any]]:
    """One row for every method and set of seeds with runs that differ in their settings, see :func:`best_runs`.

    ``estimate``, ``low``, ``high``: performance on the last ``window`` tasks, mean over ``n`` seeds. ``candidates``:
    runs that it was chosen from, of which ``diverged`` could not be; ``unfinished``: runs that may come to be some.
    """
    return [
        {
            "task": best.run.task,
            "label": best.run.label,
            "settings": " ".join(f"{key}={value}" for key, value in best.settings.items()),
            "metric": best.metric,
            "estimate": best.interval.estimate,
            "low": best.interval.low,
            "high": best.interval.high,
            "level": level,
            "n": best.interval.n,
            "kind": best.interval.kind,
            "window": best.window,
            "candidates": best.candidates,
            "diverged": best.diverged,
            "unfinished": best.unfinished,
            "rule": best.rule,
            "caveat": CAVEAT,
            "run": str(best.run.directory),
        }
        for best in best_runs(runs, metric, level, window)
    ]


def best_cells(row: dict[str, Any]) -> list[str]:
    """A row as text, a cell for each name in :data:`BEST_HEADER`."""
    interval = "" if np.isnan(row["low"]) else f" [{number(row['low'])}, {number(row['high'])}]"
    others = [f"{row[key]} {key}" for key in ("diverged", "unfinished") if row[key]]
    chosen = f"{row['candidates']}" + (f" ({', '.join(others)})" if others else "")
    return [row["label"], row["settings"], row["metric"], number(row["estimate"]) + interval, str(row["n"]), chosen]


def best_footnote(rows: Sequence[dict[str, Any]]) -> str:
    """The rule, and what is not to be done with its result."""
    kinds = " or ".join(sorted({row["kind"] for row in rows}))
    rules = " ".join(dict.fromkeys(row["rule"] for row in rows))
    return f"{rules}; {100 * rows[0]['level']:g} % {kinds} interval. {CAVEAT}"


def best_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """The rows for the terminal; settings are in the run's label there, the metric in the title."""
    table = Table(
        title=f"{title} · best setting of each method · {rows[0]['metric']}", caption=best_footnote(rows),
        title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
    )  # fmt: skip
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    shown = [i for i, name in enumerate(BEST_HEADER) if name not in ("its settings", "metric")]
    for i in shown:
        table.add_column(BEST_HEADER[i], justify="right" if BEST_HEADER[i] in ("last tasks", "n") else "left")
    for row in rows:
        cells = [escape(cell) for cell in best_cells(row)]
        table.add_row(*(cells[i] for i in shown))
    return table
