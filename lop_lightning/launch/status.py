"""``lop-status``: how runs are doing, read from their directories; nothing is asked of the processes themselves."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lop_lightning.analysis.labels import run_labels, same_task
from lop_lightning.console import OneLineParser
from lop_lightning.launch.state import STATES, State, run_directories, states

COLOURS = {"done": "green", "running": "cyan", "queued": "blue", "stopped": "yellow", "failed": "red"}


def parser() -> OneLineParser:
    """The command line."""
    result = OneLineParser(prog="lop-status", description="How runs are doing: done, running, queued, stopped, failed.")
    result.add_argument("runs", nargs="*", type=Path, default=[Path("runs")], metavar="RUNS",
                        help="run directories, or folders above them (default: runs)")  # fmt: skip
    result.add_argument("--watch", nargs="?", type=_seconds, const=5.0, metavar="SECONDS",
                        help="show it anew every 5 seconds, until nothing runs or waits")  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Shows the table. Returns 0; a wrong path is one line on stderr and exit code 2."""
    command = parser()
    arguments = command.parse_args(argv)
    for path in arguments.runs:
        if not path.exists():
            command.error(f"{path}: no such file or directory")
        if next(run_directories(path), None) is None:
            command.error(f"{path}: no run here (a run is a directory with run.json or jobs.jsonl)")
    console = Console()
    if arguments.watch is None:
        console.print(overview(arguments.runs)[0])
        return 0
    try:
        _watch(arguments.runs, arguments.watch, console)
    except KeyboardInterrupt:
        return 0
    return 0


def overview(paths: Sequence[Path]) -> tuple[Group, bool]:
    """A table of all runs, what is known of those that failed or stopped, and whether any still runs or waits."""
    found = states(dict.fromkeys(directory for path in paths for directory in run_directories(path)))
    found.sort(key=lambda state: STATES.index(state.word))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "state", "task", "%", "updates/s", "left"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right", overflow="fold")
    labels = _labels(found)
    for label, state in zip(labels, found):
        place = f"{state.task}/{state.tasks}" if state.tasks else ""
        speed = "" if state.speed is None else f"{state.speed:.3g}" if state.speed < 1000 else f"{state.speed:.0f}"
        left = "" if state.left is None else duration(state.left)
        word = Text(state.word, COLOURS.get(state.word, ""))
        table.add_row(Text(label), word, place, f"{100 * state.share:.0f}", speed, left)
    words = [state.word for state in found]
    counts = ", ".join(f"{words.count(word)} {word}" for word in STATES if word in words)
    said = [Text(line) for label, state in zip(labels, found) for line in _said(label, state)]
    total = Text(f"{len(found)} run{'s' * (len(found) > 1)}: {counts}")
    return Group(table, *said, total), any(word in words for word in ("running", "queued"))


def duration(seconds: float) -> str:
    """``41 s``, ``12 min``, ``3 h 05``, ``4 d 02 h``."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes:.0f} min"
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest:02}" if hours < 24 else f"{hours // 24} d {hours % 24:02} h"


def _said(label: str, state: State) -> list[str]:
    if state.word not in ("failed", "stopped", "never begun"):
        return []
    lines = [f"{label}: {state.error}"] if state.error else []
    lines += [f"  log {state.log}"] if state.log else []
    return [*lines, f"  run {state.path}"] if lines else []


def _labels(found: Sequence[State]) -> list[str]:
    """``gmm mlp cbp lr=0.01``: the run's place, and what tells it from the others of its stream."""
    groups: dict[str, list[int]] = {}
    labels = [str(state.path) for state in found]
    for index, state in enumerate(found):
        if {"task", "algo"} <= set(state.config):
            groups.setdefault(same_task(state.config), []).append(index)
    for alike in groups.values():
        words = run_labels([(found[i].config, found[i].path.name) for i in alike])
        for i, word in zip(alike, words):
            labels[i] = f"{found[i].config['task']['name']} {word}"
    return labels


def _watch(paths: Sequence[Path], seconds: float, console: Console) -> None:
    table, going = overview(paths)
    with Live(table, console=console, auto_refresh=False) as live:
        while going:
            time.sleep(seconds)
            table, going = overview(paths)
            live.update(table, refresh=True)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 86400")
    return found


if __name__ == "__main__":
    sys.exit(main())
