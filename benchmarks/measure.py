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

from benchmarks.cases import Case, Problem
from benchmarks.plain_process import ROUNDS
from lop_lightning.algos import Learner
from lop_lightning.callbacks import Checkpoint, ContinualLearning
from lop_lightning.records import Record
from lop_lightning.tasks import TaskStream
from lop_lightning.trainer import stream_trainer


@dataclass(frozen=True)
class Measured:
    """One case, in CPU seconds.

    Attributes:
        problem: What was trained.
        case: How.
        updates: Updates of one fit.
        plain: One update of the plain loop, of one seed.
        direct: All updates, called without a trainer, data included; one entry a round.
        bare: A fit with neither record nor metrics nor checkpoints; one entry a round.
        whole: A fit with all of them; one entry a round, or fewer.
    """

    problem: Problem
    case: Case
    updates: int
    plain: float
    direct: list[float]
    bare: list[float]
    whole: list[float]

    @property
    def update(self) -> float:
        """One update of all seeds, called directly."""
        return median(self.direct) / self.updates

    @property
    def task(self) -> float:
        """What record, metrics and checkpoints cost a task."""
        return median(whole - bare for whole, bare in zip(self.whole, self.bare)) / self.case.tasks

    @property
    def lightning(self) -> float:
        """The trainer's share of a fit without record, metrics and checkpoints."""
        return median((bare - direct) / bare for bare, direct in zip(self.bare, self.direct))

    @property
    def measuring(self) -> float:
        """The share of record, metrics and checkpoints in a whole run with the published number of updates a task."""
        return self.task / (self.task + median(self.bare) / self.updates * self.problem.task_updates)

    @property
    def speed(self) -> float:
        """Seed-updates a second of the whole run."""
        return self.case.seeds * self.updates / median(self.whole)

    @property
    def published_speed(self) -> float:
        """The same with the published number of updates a task, so that metrics weigh what they weigh there."""
        updates = self.problem.task_updates
        return self.case.seeds * updates / (median(self.bare) / self.updates * updates + self.task)

    @property
    def bare_speed(self) -> float:
        """Seed-updates a second without record, metrics and checkpoints."""
        return self.case.seeds * self.updates / median(self.bare)


def measure(problem: Problem, case: Case, plain: float, folder: Path) -> Measured:
    """One case, after a fit that compiles and is not counted. Rounds alternate, so that all meet the same weather."""
    learner = problem.learner(case.method)

    def stream(tasks: int) -> TaskStream:
        return problem.stream(tasks, case.seeds, folder)

    _bare_fit(stream(1), learner)
    ways = (_direct, _bare_fit, _whole_fit)
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for number in range(ROUNDS):
        for way, found in zip(ways, times):
            if way is not _whole_fit or number < problem.whole_fits:
                found.append(_timed(way, stream(case.tasks), learner))
    return Measured(problem, case, case.tasks * stream(1).updates_per_task(), plain, *times)


def copy_bandwidth(mebibytes: int = 512) -> float:
    """Bytes a second that one thread copies, counted as read and written."""
    source = torch.ones(mebibytes * 2**18)
    target = torch.empty_like(source)
    target.copy_(source)
    times = [_timed(target.copy_, source) for _ in range(2 * ROUNDS)]
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
