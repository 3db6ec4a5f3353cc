"""``make bench``: seed-updates a CPU-second of whole runs, beside a plain PyTorch loop of the same maths."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.cases import NARROW, PROBLEMS, WIDE, Problem, write_random_images
from benchmarks.convolutional import convolutional
from benchmarks.measure import Measured, bytes_of_an_update, copy_bandwidth, measure
from benchmarks.plain_process import plain_update
from benchmarks.plastic import plastic
from benchmarks.recurrent import recurrent
from benchmarks.timescales import timescales

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
        kept = {m.case.method: plain_update(WIDE, m.case.method, folder, True) for m in measured if m.problem is WIDE}
        if measured:
            console.print(speeds(measured), shares(measured))
            for line in (*_cbp_cost(measured), *_memory(measured, kept)):
                console.print(line, highlight=False)
        recurrent(console, folder, arguments.only)
    convolutional(console, arguments.only)
    timescales(console, arguments.only)
    plastic(console, arguments.only)
    console.print(f"{time.monotonic() - begun:.0f} s, {_load()}")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps([_plain_data(m) for m in measured], indent=1))


def _measure_problem(problem: Problem, folder: Path, console: Console) -> list[Measured]:
    plain: dict[str, float] = {}
    measured = []
    for case in problem.cases:
        with console.status(f"{problem.name}, {case.method}, {case.seeds} seeds"):
            if case.method not in plain:
                plain[case.method] = plain_update(problem, case.method, folder)
            measured.append(measure(problem, case, plain[case.method], folder))
    return measured


def speeds(measured: list[Measured]) -> Table:
    """Speeds and their ratios to the plain loop."""
    title = (
        "(seed-)updates a CPU-second of the plain loop and of whole runs with tasks of the published length, and ratios"
    )
    table = Table("problem", "method", title=title, title_justify="left")
    for heading in ("seeds", "plain", "ours", "ratio", "target", "met", "as measured", "without metrics"):
        table.add_column(heading, justify="right")
    for m in measured:
        target, ratio = m.case.target, m.published_speed * m.plain
        table.add_row(
            m.problem.name, m.case.method, str(m.case.seeds), f"{1 / m.plain:,.0f}", f"{m.published_speed:,.0f}",
            f"{ratio:,.1f}", "" if target is None else f"≥ {target:g}", "" if target is None else _met(ratio >= target),
            f"{m.speed * m.plain:,.1f}", f"{m.bare_speed * m.plain:,.1f}",
        )  # fmt: skip
    return table


def shares(measured: list[Measured]) -> Table:
    """What the trainer and the measuring cost, as shares of a run."""
    title = f"where the time goes; Lightning's target: ≤ {LIGHTNING_TARGET:.0%}"
    table = Table("problem", "method", title=title, title_justify="left")
    for heading in ("seeds", "µs an update", "Lightning", "met", "measuring, ms a task", "share, published tasks"):
        table.add_column(heading, justify="right")
    for m in measured:
        table.add_row(
            m.problem.name, m.case.method, str(m.case.seeds), f"{1e6 * m.update:,.1f}", f"{m.lightning:.1%}",
            _met(m.lightning <= LIGHTNING_TARGET), f"{1e3 * m.task:,.0f}", f"{m.measuring:.1%}",
        )  # fmt: skip
    return table


def _cbp_cost(measured: list[Measured]) -> list[str]:
    lines = []
    for problem in (NARROW, WIDE):
        alone = {m.case.method: m.update for m in measured if m.problem is problem and m.case.seeds == 1}
        if len(alone) == 2:
            ratio = alone["cbp"] / alone["bp"]
            verdict = _met(ratio <= CBP_TARGET)
            lines.append(f"CBP / BP, time of the updates, {problem.name}: {ratio:.2f} (≤ {CBP_TARGET}) {verdict}")
    return lines


def _memory(measured: list[Measured], kept: dict[str, float]) -> list[str]:
    bandwidth, moved = copy_bandwidth(), bytes_of_an_update(WIDE, 784, 10)
    lines = [f"copy bandwidth of this machine, one thread: {bandwidth / 1e9:.1f} GB/s (read and written)"]
    for m in measured:
        if m.problem is WIDE:
            plain, speed = kept[m.case.method], moved / m.update
            lines.append(
                f"{WIDE.name}, {m.case.method}: an update must move {moved / 1e6:.0f} MB, and moves them at "
                f"{speed / 1e9:.1f} GB/s, {speed / bandwidth:.0%} of the copy bandwidth; a plain loop whose allocator "
                f"keeps memory makes {1 / plain:,.0f}, and the ratio to it is {m.published_speed * plain:.1f}"
            )
    return lines


def _met(met: bool) -> str:
    return "yes" if met else "no"


def _load() -> str:
    return "load " + " ".join(f"{load:.2f}" for load in os.getloadavg())


def _plain_data(measured: Measured) -> dict[str, object]:
    numbers = {name: getattr(measured, name) for name in ("updates", "plain", "direct", "bare", "whole")}
    return {"problem": measured.problem.name, **asdict(measured.case), **numbers}


if __name__ == "__main__":
    main()
