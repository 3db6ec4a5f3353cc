"""``lop-report``: figures, tables and a page from runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from lop_lightning.analysis.labels import stream_titles
from lop_lightning.analysis.loss_of_plasticity import early_late, performance_metrics
from lop_lightning.analysis.runs import Run, find_runs, group_by_task, relabelled
from lop_lightning.errors import nearest
from lop_lightning.report.progress import tracked

PROGRAM = "lop-report"


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def parser() -> OneLineParser:
    """The command line."""
    result = OneLineParser(prog=PROGRAM, description="Figures, tables and one page from runs.")
    result.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run directories, or folders above them")
    result.add_argument("--out", type=Path, help="folder of the comparison (default: report, beside the runs)")
    result.add_argument("--metrics", type=_names, metavar="a,b", help="only these metrics (default: all)")
    result.add_argument("--level", type=_level, default=0.95, help="coverage of the intervals (default: 0.95)")
    result.add_argument("--window", type=_window, help="tasks at either end (default: a tenth of the stream)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Make a report. Returns 0; a wrong path or argument is one line on stderr and exit code 2."""
    command = parser()
    arguments = command.parse_args(argv)
    console, errors = Console(), Console(stderr=True)
    try:
        runs = _with_rows(find_runs(arguments.runs), errors)
        _check(runs, arguments.metrics, arguments.window)
    except ValueError as error:
        command.error(str(error))

    from lop_lightning.report.build import Choice, build  # matplotlib: only once there is something to draw

    out = arguments.out or _common_parent(runs) / "report"
    titles = stream_titles([group[0].config for group in group_by_task(runs)])
    choice = Choice(arguments.metrics, arguments.level, arguments.window)
    try:
        tables = build(dict(zip(titles, group_by_task(runs))), out, choice, errors)
    except OSError as error:  # a file in the way, a folder that cannot be written
        command.error(str(error))
    for table in tables:
        console.print(table)
    console.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False)
    return 0


def _with_rows(runs: list[Run], errors: Console) -> list[Run]:
    """The runs that have recorded something; the others are named and left out."""
    full = []
    for run in tracked(runs, lambda run: f"reading {run.directory}", errors):
        if len(run.record):
            full.append(run)
        elif len(runs) > 1:
            errors.print(
                f"{PROGRAM}: {run.directory}: has recorded nothing yet, left out", soft_wrap=True, highlight=False
            )
    if not full:
        raise ValueError(f"{runs[0].directory}: has recorded nothing yet")
    return full if len(full) == len(runs) else relabelled(full)


def _check(runs: list[Run], metrics: list[str] | None, window: int | None) -> None:
    """Raise ValueError for a metric that no run has and for a window that is too wide, before anything is written."""
    recorded = dict.fromkeys(name for run in runs for name in (*run.metrics(), *run.layer_metrics()))
    for metric in metrics or []:
        if metric not in recorded:
            hint = nearest(metric, list(recorded)) or f"; recorded are {', '.join(recorded)}"
            raise ValueError(f"argument --metrics: {metric!r} is in no record{hint}")
    for run in runs if window is not None else []:
        for metric in performance_metrics(run):
            try:
                early_late(run, metric, window)
            except ValueError as error:
                raise ValueError(f"argument --window: {error}") from None


def _common_parent(runs: list[Run]) -> Path:
    """The folder above all runs; a single run's own directory."""
    return Path(os.path.commonpath([run.directory for run in runs]))


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("names no metric")
    return names


def _level(text: str) -> float:
    try:
        level = float(text)
    except ValueError:
        level = float("nan")
    if not 0 < level < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return level


def _window(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tasks")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
