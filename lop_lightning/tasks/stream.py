"""A stream of tasks as a LightningDataModule: pure in (seed, task index), and resumable from three integers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import check_count
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import (
    Batch,
    Chunk,
    Position,
    StackedTask,
    StreamSpec,
    Task,
    check_flag,
    in_batches,
    stack,
)
from lop_lightning.tasks.seeds import seed_list

CHUNK_BYTES = 32 * 2**20
CHUNK_UPDATES = 1000


class TaskStream(L.LightningDataModule):
    """An endless sequence of tasks, the same for every method, one sequence a seed.

    A subclass implements :attr:`spec`, :attr:`task_size` and :meth:`task`; it may implement :meth:`load` where tasks
    of several seeds share data, and both forms of the probe where it is not the task's first examples. Everything
    random comes from ``generator(seed, ..., index)``.

    Args:
        tasks: Number of tasks in the stream.
        seeds: Seeds trained together: a number n stands for 0 … n-1.
        batch_size: Examples an update; ``None`` is the full batch.
        passes_per_epoch: Passes over the task's data in one Lightning epoch.
        epochs_per_task: Lightning epochs a task lasts.
        shuffle: Whether each pass draws its own order of the examples; else the order of making.
        probe_size: Examples of the task that plasticity is measured on, at most.
        chunk: Updates handed to one ``training_step``; ``auto`` fills about 32 MB.

    Raises:
        ConfigError: a count is not positive, or a seed occurs twice.
    """

    def __init__(
        self,
        tasks: int,
        seeds: int | Sequence[int] = 1,
        batch_size: int | None = 1,
        passes_per_epoch: int = 1,
        epochs_per_task: int = 1,
        shuffle: bool = False,
        probe_size: int = 2000,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__()
        for name, count in (("tasks", tasks), ("passes_per_epoch", passes_per_epoch),
                            ("epochs_per_task", epochs_per_task), ("probe_size", probe_size)):  # fmt: skip
            check_count(name, count)
        if batch_size is not None:
            check_count("batch_size", batch_size)
        check_flag("shuffle", shuffle)
        if chunk != "auto":
            check_count("chunk", chunk)  # type: ignore[arg-type]
        self.tasks, self.seeds, self.shuffle, self.chunk = tasks, seed_list(seeds), shuffle, chunk
        self.passes_per_epoch, self.epochs_per_task = passes_per_epoch, epochs_per_task
        self.batch_size, self.probe_size = batch_size, probe_size
        self.position = Position()
        self.device = torch.device("cpu")
        self._loaded: tuple[int, StackedTask] | None = None
        self._drawn_order: tuple[tuple[int, int], Tensor] | None = None

    # ---- what a stream defines

    @property
    @abstractmethod
    def spec(self) -> StreamSpec:
        """The shapes that a network is made for."""

    @property
    @abstractmethod
    def task_size(self) -> int:
        """Training examples in a task."""

    @abstractmethod
    def task(self, seed: int, index: int) -> Task:
        """Task ``index`` of ``seed``: a pure function of the two."""

    def load(self, index: int) -> StackedTask:
        """Task ``index`` of all seeds on the device."""
        return stack([self.task(seed, index) for seed in self.seeds], self.device)

    def probe(self, seed: int, index: int) -> Batch:
        """The fixed batch that plasticity is measured on: the first ``probe_size`` training examples of the task."""
        inputs, targets = self.task(seed, index).train
        return inputs[: self.probe_size], targets[: self.probe_size]

    # ---- the clock

    @property
    def updates_per_pass(self) -> int:
        """Updates in one pass over a task."""
        return 1 if self.batch_size is None else math.ceil(self.task_size / self.batch_size)

    @property
    def updates_per_epoch(self) -> int:
        """Updates in one Lightning epoch."""
        return self.updates_per_pass * self.passes_per_epoch

    @property
    def updates_per_task(self) -> int:
        """Updates in one task."""
        return self.updates_per_epoch * self.epochs_per_task

    def updates_before(self, position: Position) -> int:
        """Updates of the whole stream that come before ``position``."""
        return position.task * self.updates_per_task + position.epoch * self.updates_per_epoch + position.update

    @property
    def finished(self) -> bool:
        """Whether every task was trained."""
        return self.position.task >= self.tasks

    # ---- chunks

    def stacked(self, index: int) -> StackedTask:
        """Task ``index`` of all seeds, kept until another is asked for."""
        if self._loaded is None or self._loaded[0] != index:
            self._loaded = None  # the old task's memory goes before the new one's comes
            self._loaded = (index, self.load(index))
        return self._loaded[1]

    def stacked_probe(self, index: int) -> Batch:
        """The probe batches of all seeds: ``[S, N, *input_shape]`` and ``[S, N, ...]``."""
        loaded = self.stacked(index)
        count = min(self.probe_size, loaded.size)
        inputs, targets = loaded.slice(0, count, count)
        return inputs[0], targets[0]

    def chunks(self, begin: Position) -> Iterator[Chunk]:
        """The chunks from ``begin`` to the end of its epoch; cut at the same places wherever one begins."""
        update = begin.update
        while update < self.updates_per_epoch and begin.task >= 0:
            stop = self._cut_after(update)
            after = Position(begin.task, begin.epoch, stop)
            if stop == self.updates_per_epoch:
                last = begin.epoch + 1 == self.epochs_per_task
                after = Position(begin.task + 1) if last else Position(begin.task, begin.epoch + 1)
            loaded = self.stacked(begin.task)
            inputs, targets = self._batches(loaded, begin.task, begin.epoch, update, stop)
            start = Position(begin.task, begin.epoch, update)
            yield Chunk(inputs, targets, start, after, loaded.active_outputs)
            update = stop

    def task_chunks(self, index: int) -> Iterator[Chunk]:
        """All chunks of one task, whatever the stream's position."""
        for epoch in range(self.epochs_per_task):
            yield from self.chunks(Position(index, epoch))

    @property
    def chunk_updates(self) -> int:
        """Updates a chunk holds at most."""
        if self.chunk != "auto":
            return int(self.chunk)
        item = torch.empty((), dtype=self.spec.dtype).element_size() * math.prod(self.spec.input_shape)
        batch = self.batch_size or 0  # full batches are views and take no memory
        return max(1, min(CHUNK_UPDATES, CHUNK_BYTES // max(1, item * batch * len(self.seeds))))

    def _cut_after(self, update: int) -> int:
        """End of the chunk that holds ``update``: on a fixed grid, and never across batches of unequal size."""
        per_pass, size = self.updates_per_pass, self.chunk_updates
        if self.batch_size is None or self.task_size % self.batch_size == 0:
            return min((update // size + 1) * size, self.updates_per_epoch)
        first, place = update - update % per_pass, update % per_pass
        if place == per_pass - 1:  # the smaller last batch of a pass stands alone
            return first + per_pass
        return first + min((place // size + 1) * size, per_pass - 1)

    def _batches(self, loaded: StackedTask, task: int, epoch: int, begin: int, end: int) -> Batch:
        if self.batch_size is None:
            return loaded.everything(end - begin)
        per_pass, batch = self.updates_per_pass, self.batch_size
        numbers = range(begin // per_pass, (end - 1) // per_pass + 1)
        # a chunk lies in one pass, or all batches are equal, or it is the smaller last batch alone (see _cut_after)
        low, high = begin % per_pass * batch, min((end - numbers[-1] * per_pass) * batch, self.task_size)
        width = min(batch, high - low) if len(numbers) == 1 else batch
        if len(numbers) == 1 and not self.shuffle:
            return loaded.slice(low, high, width)
        pieces = [self._order(task, epoch * self.passes_per_epoch + number) for number in numbers]
        pieces[-1] = pieces[-1][:, :high]
        pieces[0] = pieces[0][:, low:]
        return loaded.gather(in_batches(torch.cat(pieces, dim=1), width))

    def _order(self, task: int, number: int) -> Tensor:
        """The order ``[S, n]`` in which pass ``number`` of the task visits the examples."""
        if not self.shuffle:
            return torch.arange(self.task_size, device=self.device).expand(len(self.seeds), -1)
        if self._drawn_order is None or self._drawn_order[0] != (task, number):
            orders = [generator(s, "order", task, number).permutation(self.task_size) for s in self.seeds]
            self._drawn_order = (task, number), torch.from_numpy(np.stack(orders)).to(self.device)
        return self._drawn_order[1]

    # ---- Lightning

    def setup(self, stage: str) -> None:
        """Learns the device that the data shall live on."""
        if self.trainer is not None:
            self.device = self.trainer.strategy.root_device
            self._loaded = self._drawn_order = None  # what was loaded before lies elsewhere

    def train_dataloader(self) -> ChunkLoader:
        """The chunks of the current epoch, each time it is iterated."""
        return ChunkLoader(self)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Chunks are made where they are used."""
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Three integers: the stream's whole state."""
        return {"task": self.position.task, "epoch": self.position.epoch, "update": self.position.update}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to the saved position."""
        self.position = Position(**state_dict)


class ChunkLoader:
    """The train loader: it has no length, since tasks may differ in size, and no state, since the stream has it."""

    def __init__(self, stream: TaskStream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Chunk]:
        if not self.stream.finished:
            yield from self.stream.chunks(self.stream.position)
