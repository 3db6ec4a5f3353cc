"""Speed of the recurrent study's updates beside its plain loop, and what more seeds and continual backprop cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.plain_recurrent import LENGTH, plain_updates
from lop_lightning.algos import Backprop, ContinualBackprop, Execution, Learner
from lop_lightning.algos.population import Population
from lop_lightning.networks import GRU, LSTM, MLP, NetworkFactory
from lop_lightning.optimizers import Adam
from lop_lightning.tasks import LabelReshuffledImages, LanguageReshuffle, TaskStream
from lop_lightning.tasks.base import Chunk

ROUNDS = 3
CBP_TARGET = 1.15
SEEDS, SMALL, SMALL_TARGET = 10, 64, 2.0
MATURITY, MATURE_UPDATES, WARM_UPDATES = 100, 200, 6
WHOLE = 6000


@dataclass(frozen=True)
class Problem:
    """A network on a stream, batches of B examples.

    Attributes:
        network: Its name in :data:`benchmarks.plain_recurrent.NETWORKS`.
        batch: B.
        updates: Of one seed, timed at once.
        plain_updates: Likewise of the plain loops.
        target: The least ratio to the study's loop to aim for; ``None``: no target.
    """

    network: str
    batch: int
    updates: int
    plain_updates: int
    target: float | None = None

    @property
    def name(self) -> str:
        """What ``--only`` is compared with."""
        return f"recurrent: {self.network}, batch {self.batch}"

    def stream(self, folder: Path, seeds: int = 1, batch: int = 0, chunk: int | str = "auto") -> TaskStream:
        """The published stream, in the problem's batches or others. Of images as many as batches divide."""
        size = batch or self.batch
        if self.network == "GRU on tokens":
            return LanguageReshuffle(max_length=LENGTH, batch_size=size, seeds=seeds, chunk=chunk)
        images = None if size == WHOLE else 5120  # of each class
        return LabelReshuffledImages(
            50, "mnist", str(folder), train_images=images, batch_size=size, seeds=seeds, chunk=chunk
        )


FACTORIES: dict[str, NetworkFactory] = {
    "MLP": partial(MLP, hidden=(25, 25), initialisation="default"),
    "LSTM": LSTM,
    "GRU": GRU,
    "GRU on tokens": partial(GRU, hidden=64, embedding=64),
}
PROBLEMS = (
    Problem("MLP", WHOLE, 20, 3, 20),
    Problem("LSTM", WHOLE, 4, 2, 1.5),
    Problem("GRU", WHOLE, 4, 2, 1.5),
    Problem("GRU on tokens", 512, 20, 20),
)
SEEDED = (
    Problem("LSTM", 16, 600, 200),
    Problem("LSTM", 64, 160, 100),
    Problem("LSTM", 512, 20, 20),
    Problem("LSTM", WHOLE, 4, 2),
)


class Run:
    """A learner and the chunks of its stream, to train a little at a time."""

    def __init__(self, learner: Learner, stream: TaskStream) -> None:
        self.learner = learner
        learner.prepare(stream.spec, stream.seeds, batch=stream.largest_batch)
        self.chunks: Iterator[Chunk] = chain.from_iterable(map(stream.task_chunks, range(stream.tasks)))

    def train(self, updates: int) -> float:
        """CPU seconds of an update of all seeds, data included; trains whole chunks, of as many updates at least."""
        population, done, begun = self.learner.population, 0, time.process_time()
        assert population is not None
        while done < updates:
            chunk = next(self.chunks)
            self.learner.train_chunk(population, chunk)
            done += len(chunk.inputs)
        return (time.process_time() - begun) / done


class WatchedContinualBackprop(ContinualBackprop):
    """Also sums the CPU seconds that rebirths take."""

    spent = 0.0

    def event(self, population: Population) -> None:
        """See :class:`ContinualBackprop`."""
        begun = time.process_time()
        super().event(population)
        self.spent += time.process_time() - begun


def recurrent(console: Console, folder: Path, only: str = "") -> None:
    """Prints the tables; ``folder`` has MNIST's files."""
    speeds = _table(
        "recurrent study, one seed: updates a CPU-second, data included",
        ("batch", "plain loop", "tensors only", "ours", "ratio", "target", "met", "to tensors only"),
    )
    costs = []
    for problem in (p for p in PROBLEMS if only in p.name):
        with console.status(problem.name):
            costs.append(_alone(problem, folder, speeds))
    seeded = _table(
        f"recurrent study, {SEEDS} seeds in one process: seed-updates a CPU-second, data included",
        ("batch", "plain loop", "tensors only", "ours, 1 seed", f"{SEEDS} seeds", "ratio", "target", "met", "to plain"),
    )
    for problem in (p for p in SEEDED if only in p.name):
        with console.status(f"{problem.name}, {SEEDS} seeds"):
            _together(problem, folder, seeded)
    for table in (speeds, seeded):
        if table.row_count:
            console.print(table)
    for line in costs:
        console.print(line, highlight=False)


def _alone(problem: Problem, folder: Path, table: Table) -> str:
    """One row of the table, and what continual backprop costs."""
    network, streams = FACTORIES[problem.network], [problem.stream(folder) for _ in range(2)]
    vocabulary = streams[0].spec.vocabulary or 0
    plain, floor = plain_updates(problem.network, problem.batch, problem.plain_updates, folder, vocabulary)
    learners = Backprop(network, Adam(0.01)), _continual(network)
    runs = [Run(learner, stream) for learner, stream in zip(learners, streams)]
    bp, cbp = _medians(runs, [problem.updates] * 2)
    ratio, target = plain / bp, problem.target
    table.add_row(
        problem.network, str(problem.batch), _speed(plain), _speed(floor), _speed(bp), f"{ratio:.2f}",
        "" if target is None else f"≥ {target:g}", "" if target is None else _met(ratio >= target),
        f"{floor / bp:.2f}",
    )  # fmt: skip
    rebirth = _rebirth(network, problem.stream(folder, batch=16, chunk=50))
    cost = (cbp + rebirth) / bp
    return (
        f"CBP / BP, {problem.name}: {cost:.2f} (≤ {CBP_TARGET}) {_met(cost <= CBP_TARGET)}; rebirths take "
        f"{1e3 * rebirth:.2f} of {1e3 * (cbp + rebirth):,.1f} ms an update"
    )


def _together(problem: Problem, folder: Path, table: Table) -> None:
    plain, floor = plain_updates(problem.network, problem.batch, problem.plain_updates, folder)
    network = FACTORIES[problem.network]
    runs = [Run(Backprop(network, Adam(0.01)), problem.stream(folder, seeds)) for seeds in (1, SEEDS)]
    one, many = _medians(runs, [problem.updates, max(2, problem.updates // SEEDS)])
    target = SMALL_TARGET if problem.batch <= SMALL else 1.0
    ratio = SEEDS * one / many
    table.add_row(
        problem.network, str(problem.batch), _speed(plain), _speed(floor), _speed(one), _speed(many / SEEDS),
        f"{ratio:.2f}", f"≥ {target:g}", _met(ratio >= target), f"{SEEDS * plain / many:.2f}",
    )  # fmt: skip


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table("network", title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _continual(network: NetworkFactory, execution: Execution | None = None) -> WatchedContinualBackprop:
    return WatchedContinualBackprop(
        network, Adam(0.01), execution, replacement_rate=1e-3, maturity_threshold=MATURITY, decay_rate=0.9
    )


def _medians(runs: Sequence[Run], updates: Sequence[int]) -> list[float]:
    """CPU seconds of an update of each run, in alternate rounds.

    What comes before is not counted: the first update compiles, and in some more the process gets the memory that it
    will keep.
    """
    for run, count in zip(runs, updates):
        run.train(max(count, WARM_UPDATES))
    rounds = [[run.train(count) for run, count in zip(runs, updates)] for _ in range(ROUNDS)]
    return [median(times) for times in zip(*rounds)]


def _rebirth(network: NetworkFactory, stream: TaskStream) -> float:
    """CPU seconds an update that rebirths take once units are mature, and the timed rounds end before that.

    Rebirths see no examples and are not compiled, so that small batches and an update that is not compiled show it.
    """
    learner = _continual(network, Execution(compile=False))
    Run(learner, stream).train(MATURITY + MATURE_UPDATES)
    assert learner.population is not None
    return learner.spent / (learner.population.updates - MATURITY)


def _speed(update: float) -> str:
    return f"{1 / update:,.3g}" if update > 0.01 else f"{1 / update:,.0f}"


def _met(met: bool) -> str:
    return "yes" if met else "no"
