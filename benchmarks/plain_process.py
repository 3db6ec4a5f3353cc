"""The plain loop in a process of its own, as its user runs it: what ran before changes how memory is handed out.

With large weights this matters: by default, gradients of megabytes may be given back to the system and fetched again at
every update, and half of the time goes into page faults.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.cases import LOSSES, PROBLEMS, Problem

ROUNDS = 3
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**34)}
"""Makes glibc keep freed memory."""


def plain_update(problem: Problem, method: str, folder: Path, keep_memory: bool = False) -> float:
    """CPU seconds of one update of the plain loop."""
    command = [sys.executable, "-m", "benchmarks.plain_process", problem.name, method, str(folder)]
    environment = {**os.environ, **(KEEP if keep_memory else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _measure(problem: Problem, method: str, folder: Path) -> float:
    """The median of the rounds; a first one is not counted."""
    stream = problem.stream(1, 1, folder)
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    task = 0
    while sum(map(len, inputs)) < problem.plain_updates:
        chunks = list(stream.task_chunks(task))
        inputs += [chunk.inputs[:, 0] for chunk in chunks]
        targets += [chunk.targets[:, 0] for chunk in chunks]
        task += 1
    x, y = torch.cat(inputs)[: problem.plain_updates], torch.cat(targets)[: problem.plain_updates]
    loss, rate = LOSSES[stream.spec.loss], None if method == "bp" else problem.rate
    network = problem.plain(stream)
    plain.cpu_seconds(network, x[: len(x) // 4], y[: len(x) // 4], loss, problem.lr, rate)
    times = [plain.cpu_seconds(network, x, y, loss, problem.lr, rate) for _ in range(ROUNDS)]
    return median(times) / len(x)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    name, method, folder = sys.argv[1:]
    print(_measure(next(problem for problem in PROBLEMS if problem.name == name), method, Path(folder)))
