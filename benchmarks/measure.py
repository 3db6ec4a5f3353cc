"""CPU time of the same updates in three ways: called directly, through a bare fit, and through a whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks import plain
from benchmarks.cases import LOSSES, Problem
from lop_lightning.algos import Learner
from lop_lightning.callbacks import Checkpoint, ContinualLearning
from lop_lightning.records import Record
from lop_lightning.tasks import TaskStream
from lop_lightning.trainer import stream_trainer

REPEATS = 3


@dataclass(frozen=True)
class Measured:
    """One case; times are CPU seconds, the median of the repeats.

    Attributes:
        problem: What was trained.
        method: ``bp`` or ``cbp``.
        seeds: Seeds trained together.
        updates: Updates of one fit.
        plain: One update of the plain loop, of one seed.
        direct: All updates, called without a trainer; data included.
        bare: A fit with neither record nor metrics nor checkpoints.
        whole: A fit with all of them.
    """

    problem: Problem
    method: str
    seeds: int
    updates: int
    plain: float
    direct: float
    bare: float
    whole: float

    @property
    def speed(self) -> float:
        """Seed-updates a CPU-second of the whole run."""
        return self.seeds * self.updates / self.whole

    @property
    def ratio(self) -> float:
        """Of the whole run's speed to the plain loop's."""
        return self.speed * self.plain

    @property
    def published_speed(self) -> float:
        """The same with the published number of updates a task, so that metrics weigh what they weigh there."""
        tasks, updates = self.problem.tasks, self.problem.task_updates
        return self.seeds * updates / (self.bare / self.updates * updates + (self.whole - self.bare) / tasks)

    @property
    def published_ratio(self) -> float:
        """Of :attr:`published_speed` to the plain loop's speed."""
        return self.published_speed * self.plain


def measure(problem: Problem, method: str, seeds: int, plain_update: float, folder: Path) -> Measured:
    """One case, after a fit that compiles and is not counted."""
    learner = problem.learner(method)

    def stream(tasks: int) -> TaskStream:
        return problem.stream(tasks, seeds, folder)

    _bare_fit(stream(1), learner)
    direct = [_timed(_direct, stream(problem.tasks), learner) for _ in range(REPEATS)]
    bare = [_timed(_bare_fit, stream(problem.tasks), learner) for _ in range(REPEATS)]
    whole = [_timed(_whole_fit, stream(problem.tasks), learner) for _ in range(problem.repeats)]
    updates = problem.tasks * stream(1).updates_per_task
    return Measured(problem, method, seeds, updates, plain_update, median(direct), median(bare), median(whole))


def plain_update(problem: Problem, method: str, folder: Path) -> float:
    """CPU seconds of one update of the plain loop, the median of the repeats; a first round is not counted."""
    stream = problem.stream(1, 1, folder)
    inputs, targets = [], []
    while sum(len(x) for x in inputs) < problem.plain_updates:
        for chunk in stream.task_chunks(len(inputs)):
            inputs.append(chunk.inputs[:, 0])
            targets.append(chunk.targets[:, 0])
    x, y = torch.cat(inputs)[: problem.plain_updates], torch.cat(targets)[: problem.plain_updates]
    loss, rate = LOSSES[stream.spec.loss], None if method == "bp" else problem.rate
    network = problem.plain(stream)
    plain.cpu_seconds(network, x[: len(x) // 4], y[: len(x) // 4], loss, problem.lr, rate)
    times = [plain.cpu_seconds(network, x, y, loss, problem.lr, rate) for _ in range(REPEATS)]
    return median(times) / len(x)


def copy_bandwidth(mebibytes: int = 512) -> float:
    """Bytes a second that one thread copies, counted as read and written."""
    source = torch.ones(mebibytes * 2**18)
    target = torch.empty_like(source)
    target.copy_(source)
    times = [_timed(target.copy_, source) for _ in range(2 * REPEATS)]
    return 2 * source.numel() * source.element_size() / median(times)


def bytes_of_an_update(problem: Problem, inputs: int, outputs: int) -> int:
    """What an update of one network must move when its weights fit no cache.

    The forward pass reads all weights, the backward pass all but the first layer's, the step reads and writes all.
    """
    widths = [inputs, *problem.hidden, outputs]
    weights = [a * b for a, b in pairwise(widths)]
    return 4 * (4 * sum(weights) - weights[0])


def _timed(work: Callable[..., object], *arguments: object) -> float:
    begun = time.process_time()
    work(*arguments)
    return time.process_time() - begun


def _direct(stream: TaskStream, learner: Learner) -> None:
    assert learner.population is not None
    for task in range(stream.tasks):
        for chunk in stream.task_chunks(task):
            learner.train_chunk(learner.population, chunk)


def _bare_fit(stream: TaskStream, learner: Learner) -> None:
    stream_trainer(stream, accelerator="cpu").fit(learner, datamodule=stream)


def _whole_fit(stream: TaskStream, learner: Learner) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        record = Record(folder / "record.csv")
        callbacks = [ContinualLearning(record), Checkpoint(folder)]
        stream_trainer(stream, callbacks, "cpu", directory=folder).fit(learner, datamodule=stream)
        record.close()
