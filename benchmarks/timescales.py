"""Speed of leaky networks' updates on N-parity beside the plain loop, and that both compute the same."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.plain_timescales import CLIP, PlainProcess
from lop_lightning.algos import Backprop
from lop_lightning.algos.heads import ask
from lop_lightning.networks import LeakyNetwork
from lop_lightning.networks.leaky import TRAINING
from lop_lightning.optimizers import SGD
from lop_lightning.randomness import uniform
from lop_lightning.tasks import Parity
from lop_lightning.tasks.base import Chunk

ROUNDS, HIDDEN, BATCH = 5, 500, 256
COMPARED, TOLERANCE = 4, 1e-4
"""Updates whose losses are compared, and how much they may differ relatively."""


@dataclass(frozen=True)
class Problem:
    """N-parity with K heads, N = 2 … K+1.

    Attributes:
        heads: K.
        updates: In a round.
        target: The least ratio to the plain loop to aim for.
        dynamics: Of the network.
    """

    heads: int
    updates: int
    target: float | None = None
    dynamics: str = "default"

    @property
    def name(self) -> str:
        """What ``--only`` is compared with."""
        return f"timescales: {self.dynamics}, {self.heads} heads"


PROBLEMS = (
    Problem(1, 16, 1.7), Problem(5, 8, 1.9), Problem(20, 4, 4.0), Problem(1, 16, None, "mod"),
    Problem(5, 8, None, "mod"),
)  # fmt: skip


class Run:
    """A network of ours in training, a chunk at a time."""

    def __init__(self, problem: Problem, chunk: int, **settings: bool) -> None:
        self.stream = Parity(init_heads=problem.heads, batch_size=BATCH, updates_per_task=4 * chunk, chunk=chunk)
        network = partial(LeakyNetwork, hidden=HIDDEN, dynamics=problem.dynamics, **settings)
        self.learner = Backprop(network, SGD(0.05, 0.1, nesterov=True, clip=CLIP))
        self.learner.prepare(self.stream.spec, self.stream.seeds, batch=self.stream.largest_batch)
        ask(self.learner, self.stream.asked)
        self.chunks: Iterator[Chunk] = chain.from_iterable(map(self.stream.task_chunks, range(self.stream.tasks)))

    def train(self) -> tuple[list[int], float, torch.Tensor]:
        """Lengths of a chunk's sequences, CPU seconds of its updates, data included, and their losses."""
        assert self.learner.population is not None
        begun = time.process_time()
        chunk = next(self.chunks)
        measures = self.learner.train_chunk(self.learner.population, chunk)
        spent = time.process_time() - begun
        return lengths_of(chunk), spent, measures[:, 0, 0]


def lengths_of(chunk: Chunk) -> list[int]:
    """Steps of the sequences of each update of the first seed."""
    return (~chunk.inputs[:, 0, 0, :, 0].isnan()).sum(1).tolist()


def timescales(console: Console, only: str = "") -> None:
    """Prints the table, and how far the losses of the two are apart."""
    title = f"leaky networks, {HIDDEN} units, batch {BATCH}, N-parity: CPU ms an update, data included"
    table = Table("dynamics", title=title, title_justify="left")
    for heading in ("heads", "steps", "plain loop", "memory kept", "ours", "ratio", "target", "met", "to memory kept",
                    "loss differs by"):  # fmt: skip
        table.add_column(heading, justify="right")
    with TemporaryDirectory() as name:
        for problem in (p for p in PROBLEMS if only in p.name):
            with console.status(problem.name):
                _measure(problem, Path(name), table)
    if table.row_count:
        console.print(table)


def _measure(problem: Problem, folder: Path, table: Table) -> None:
    """One row. Plain loops and ours take turns on sequences of the same lengths."""
    file = folder / "given.pt"
    losses = _written(problem, file)
    plain, kept = (PlainProcess(file, keep) for keep in (False, True))
    differences = (losses - torch.tensor(plain.losses)).abs() / losses
    assert differences.max() < TOLERANCE, f"{problem.name}: losses {losses.tolist()} and {plain.losses}"
    run, rounds, steps = Run(problem, problem.updates), [], []
    for _ in range(ROUNDS + 1):
        lengths, own, _ = run.train()
        rounds.append((plain.timed(lengths), kept.timed(lengths), own))
        steps += lengths
    plain.close()
    kept.close()
    theirs, floor, ours = (median(times) / problem.updates for times in zip(*rounds[1:]))
    ratio, to_floor = (median(times[n] / times[2] for times in rounds[1:]) for n in (0, 1))
    target = problem.target
    table.add_row(
        problem.dynamics, str(problem.heads), f"{sum(steps) / len(steps):.1f}", f"{1e3 * theirs:,.0f}",
        f"{1e3 * floor:,.0f}", f"{1e3 * ours:,.0f}", f"{ratio:.2f}", "" if target is None else f"≥ {target:g}",
        "" if target is None else "yes" if ratio >= target else "no", f"{to_floor:.2f}", f"{differences.max():.0e}",
    )  # fmt: skip


def _written(problem: Problem, file: Path) -> torch.Tensor:
    """Writes weights, sequences and initial states of the first updates for the plain loop; returns our losses.

    The plain loop's gradient norm has the self-connections in it, so that ours must, too.
    """
    run = Run(problem, COMPARED, reference_compat=True)
    population = run.learner.population
    assert population is not None
    weights = {name: p[0].clone() for name, p in population.params.items()}
    key = population.state["buffers"]["noise_key"][0].clone()
    chunk = next(run.stream.task_chunks(0))
    sequences = [x[0, :, :length].transpose(0, 1) for x, length in zip(chunk.inputs, lengths_of(chunk))]
    states = [0.1 * uniform(key, t, TRAINING, (BATCH, HIDDEN), torch.float32) for t in range(COMPARED)]
    given = {"tensors": weights, "sequences": sequences, "states": states, "batch": BATCH}
    torch.save({**given, "dynamics": problem.dynamics, "ns": list(range(2, problem.heads + 2))}, file)
    return run.train()[2]
