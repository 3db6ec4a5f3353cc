"""The clock of a stream: how many updates a pass, an epoch, a task and the stream last, and where chunks are cut."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch

from lop_lightning.tasks.base import Position, StreamSpec

CHUNK_BYTES = 32 * 2**20
CHUNK_UPDATES = 1000


class StreamClock(ABC):
    """Counts updates from the sizes of tasks and batches. Streams are clocks; see :class:`TaskStream`."""

    tasks: int
    seeds: list[int]
    batch_size: int | None
    passes_per_epoch: int
    epochs_per_task: int
    chunk: int | str

    most_tasks: int | None = None
    """How many tasks there can be, where the data have an end."""

    varies = False
    """Whether examples look different in each pass (augmentation): they are then taken by ``StackedTask.vary``."""

    self_paced = False
    """Whether a test at the end of a task decides, for each seed, what comes next (see :class:`PacedStream`)."""

    @property
    @abstractmethod
    def spec(self) -> StreamSpec:
        """The shapes that a network is made for."""

    @property
    @abstractmethod
    def task_size(self) -> int:
        """Training examples in a task."""

    def size_of(self, task: int) -> int:
        """Training examples in one task, where tasks differ in size."""
        return self.task_size

    @property
    def largest_batch(self) -> int:
        """Examples an update at most."""
        return self.task_size if self.batch_size is None else self.batch_size

    def updates_per_pass(self, task: int = 0) -> int:
        """Updates in one pass over a task."""
        return 1 if self.batch_size is None else math.ceil(self.size_of(task) / self.batch_size)

    def updates_per_epoch(self, task: int = 0) -> int:
        """Updates in one Lightning epoch of a task."""
        return self.updates_per_pass(task) * self.passes_per_epoch

    def updates_per_task(self, task: int = 0) -> int:
        """Updates in one task."""
        return self.updates_per_epoch(task) * self.epochs_per_task

    def updates_before(self, position: Position) -> int:
        """Updates of the whole stream that come before ``position``."""
        if type(self).size_of is StreamClock.size_of:
            earlier = position.task * self.updates_per_task()
        else:
            earlier = sum(self.updates_per_task(task) for task in range(position.task))
        epochs = position.epoch and position.epoch * self.updates_per_epoch(position.task)  # the end is in no task
        return earlier + epochs + position.update

    @property
    def total_updates(self) -> int:
        """Updates in the whole stream."""
        return self.updates_before(Position(self.tasks))

    @property
    def chunk_updates(self) -> int:
        """Updates a chunk holds at most."""
        if self.chunk != "auto":
            return int(self.chunk)
        item = torch.empty((), dtype=self.spec.dtype).element_size() * math.prod(self.spec.input_shape)
        batch = self.batch_size or 0  # full batches are views and take no memory
        return max(1, min(CHUNK_UPDATES, CHUNK_BYTES // max(1, item * batch * len(self.seeds))))

    def cut_after(self, task: int, update: int) -> int:
        """End of the chunk that holds ``update``: on a fixed grid, and never across batches of unequal size."""
        per_pass, size = self.updates_per_pass(task), self.chunk_updates
        first, place = update - update % per_pass, update % per_pass
        equal = self.batch_size is None or self.size_of(task) % self.batch_size == 0
        if equal and self.varies:  # each pass has its own look
            return first + min((place // size + 1) * size, per_pass)
        if equal:
            return min((update // size + 1) * size, self.updates_per_epoch(task))
        if place == per_pass - 1:  # the smaller last batch of a pass stands alone
            return first + per_pass
        return first + min((place // size + 1) * size, per_pass - 1)
