"""``make bench``: seed-updates a CPU-second of whole runs, beside a plain PyTorch loop of the same maths."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cases import NARROW, PROBLEMS, WIDE, Problem, write_random_images
from benchmarks.measure import Measured, bytes_of_an_update, copy_bandwidth, measure, plain_update

CBP_TARGET, LIGHTNING_TARGET = 1.25, 0.05


def main() -> None:
    """Measures everything and prints it."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--out", type=Path, help="also write the numbers here, as JSON")
    parser.add_argument("--only", default="", help="only problems whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    console, begun = Console(width=118), time.monotonic()
    console.print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, one thread, {_load()}")
    measured: list[Measured] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_random_images(folder)
        for problem in (p for p in PROBLEMS if arguments.only in p.name):
            measured += _measure_problem(problem, folder, console)
    bandwidth = copy_bandwidth()
    console.print(speeds(measured), shares(measured))
    for line in (*_cbp_cost(measured), *_memory(measured, bandwidth)):
        console.print(line, highlight=False)
    console.print(f"{time.monotonic() - begun:.0f} s, {_load()}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps([_plain_data(case) for case in measured], indent=1))


def _measure_problem(problem: Problem, folder: Path, console: Console) -> list[Measured]:
    plain, measured = {}, []
    for method, seeds in problem.cases:
        with console.status(f"{problem.name}, {method}, {seeds} seeds"):
            if method not in plain:
                plain[method] = plain_update(problem, method, folder)
            measured.append(measure(problem, method, seeds, plain[method], folder))
    return measured


def speeds(measured: list[Measured]) -> Table:
    """Speeds and their ratios to the plain loop."""
    title = "updates a CPU-second: plain loop, and whole runs (seed-updates) with record, metrics and checkpoints"
    table = Table("problem", "method", title=title, title_justify="left")
    for heading in ("seeds", "plain", "whole run", "ratio", "published tasks", "ratio", "target", "met"):
        table.add_column(heading, justify="right")
    for case in measured:
        target = case.problem.cases[case.method, case.seeds]
        table.add_row(
            case.problem.name, case.method, str(case.seeds), f"{1 / case.plain:,.0f}", f"{case.speed:,.0f}",
            f"{case.ratio:,.1f}", f"{case.published_speed:,.0f}", f"{case.published_ratio:,.1f}",
            "" if target is None else f"≥ {target:g}", _met(target is None or case.published_ratio >= target, target),
        )  # fmt: skip
    return table


def shares(measured: list[Measured]) -> Table:
    """What the trainer and the measuring cost, as shares of the whole run, with the published tasks."""
    title = f"where the time of a whole run goes (published tasks); Lightning's target: ≤ {LIGHTNING_TARGET:.0%}"
    table = Table("problem", "method", title=title, title_justify="left")
    for heading in ("seeds", "µs an update", "ms a task", "Lightning", "record, metrics, checkpoints", "met"):
        table.add_column(heading, justify="right")
    for case in measured:
        lightning = (case.bare - case.direct) / case.bare
        task = (case.whole - case.bare) / case.problem.tasks
        share = task / (task + case.bare / case.updates * case.problem.task_updates)
        table.add_row(
            case.problem.name, case.method, str(case.seeds), f"{1e6 * case.direct / case.updates:,.1f}",
            f"{1e3 * task:,.0f}", f"{lightning:.1%}", f"{share:.1%}", _met(lightning <= LIGHTNING_TARGET, 1),
        )  # fmt: skip
    return table


def _cbp_cost(measured: list[Measured]) -> list[str]:
    lines = []
    for problem in (NARROW, WIDE):
        alone = {case.method: case.direct for case in measured if case.problem is problem and case.seeds == 1}
        if len(alone) == 2:
            ratio = alone["cbp"] / alone["bp"]
            verdict = _met(ratio <= CBP_TARGET, 1)
            lines.append(f"CBP / BP, time of the updates, {problem.name}: {ratio:.2f} (≤ {CBP_TARGET}) {verdict}")
    return lines


def _memory(measured: list[Measured], bandwidth: float) -> list[str]:
    lines = [f"copy bandwidth of this machine, one thread: {bandwidth / 1e9:.1f} GB/s (read and written)"]
    moved = bytes_of_an_update(WIDE, 784, 10)
    for case in measured:
        if case.problem is WIDE:
            rate = moved * case.updates / case.direct
            lines.append(
                f"{WIDE.name}, {case.method}: an update must move {moved / 1e6:.0f} MB, and moves them at "
                f"{rate / 1e9:.1f} GB/s, {rate / bandwidth:.0%} of the copy bandwidth"
            )
    return lines


def _met(met: bool, target: float | None) -> str:
    return "" if target is None else "yes" if met else "no"


def _load() -> str:
    return "load " + " ".join(f"{load:.2f}" for load in os.getloadavg())


def _plain_data(case: Measured) -> dict[str, object]:
    numbers = {name: getattr(case, name) for name in ("seeds", "updates", "plain", "direct", "bare", "whole")}
    return {"problem": case.problem.name, "method": case.method, **numbers}


if __name__ == "__main__":
    main()
