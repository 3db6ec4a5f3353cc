"""A stream of tasks as a LightningDataModule: pure in (seed, task index), and resumable from three integers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import check_count, check_flag
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import (
    Batch,
    Chunk,
    Position,
    StackedTask,
    StreamSpec,
    Task,
    in_batches,
    stack,
    stack_sets,
)
from lop_lightning.tasks.clock import StreamClock
from lop_lightning.tasks.seeds import seed_list


class TaskStream(StreamClock, L.LightningDataModule):
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
        self._evaluation: tuple[int, dict[str, StackedTask]] | None = None
        self._drawn_order: tuple[tuple[int, int], Tensor] | None = None

    # ---- what a stream defines

    @property
    @abstractmethod
    def spec(self) -> StreamSpec:
        """The shapes that a network is made for."""

    @abstractmethod
    def task(self, seed: int, index: int) -> Task:
        """Task ``index`` of ``seed``: a pure function of the two."""

    def load(self, index: int) -> StackedTask:
        """Task ``index`` of all seeds on the device."""
        return stack([self.task(seed, index) for seed in self.seeds], self.device)

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """The held-out sets of task ``index`` of all seeds on the device."""
        first = self.task(self.seeds[0], index).evaluation
        if not first:  # then the other seeds' tasks need not be made
            return {}
        return stack_sets([first, *(self.task(seed, index).evaluation for seed in self.seeds[1:])], self.device)

    def representation_sets(self, index: int) -> dict[str, StackedTask]:
        """Data of other tasks, on which the representation is measured before task ``index`` is learnt; or none."""
        return {}

    def presented_classes(self, seed: int, index: int) -> list[int] | None:
        """Targets of task ``index`` in the order in which the stream has presented them, where it does so."""
        return None

    def probe(self, seed: int, index: int) -> Batch:
        """The fixed batch that plasticity is measured on: the first ``probe_size`` training examples of the task."""
        inputs, targets = self.task(seed, index).train
        return inputs[: self.probe_size], targets[: self.probe_size]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the data before they are trained on, a line each."""
        return ()

    @property
    def standing(self) -> str:
        """How far the seeds have come, for the progress bar, where a task's number does not say it."""
        return ""

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

    def stacked_evaluation(self, index: int) -> dict[str, StackedTask]:
        """The held-out sets of task ``index`` of all seeds, kept until another's are asked for."""
        if self._evaluation is None or self._evaluation[0] != index:
            self._evaluation = None
            self._evaluation = (index, self.load_evaluation(index))
        return self._evaluation[1]

    def stacked_probe(self, index: int) -> Batch:
        """The probe batches of all seeds: ``[S, N, *input_shape]`` and ``[S, N, ...]``."""
        loaded = self.stacked(index)
        count = min(self.probe_size, loaded.size)
        inputs, targets = loaded.slice(0, count, count)
        return inputs[0], targets[0]

    def chunks(self, begin: Position) -> Iterator[Chunk]:
        """The chunks from ``begin`` to the end of its epoch; cut at the same places wherever one begins."""
        task, epoch, update = begin.task, begin.epoch, begin.update
        length = self.updates_per_epoch(task)
        while update < length and task >= 0:
            stop = self.cut_after(task, update)
            after = Position(task, epoch, stop)
            if stop == length:
                last = epoch + 1 == self.epochs_per_task
                after = Position(task + 1) if last else Position(task, epoch + 1)
            loaded = self.stacked(task)
            inputs, targets = self._batches(loaded, task, epoch, update, stop)
            begin = Position(task, epoch, update)
            yield Chunk(inputs, targets, begin, after, loaded.active_outputs, self.self_paced)
            update = stop

    def task_chunks(self, index: int) -> Iterator[Chunk]:
        """All chunks of one task, whatever the stream's position."""
        for epoch in range(self.epochs_per_task):
            yield from self.chunks(Position(index, epoch))

    def _batches(self, loaded: StackedTask, task: int, epoch: int, begin: int, end: int) -> Batch:
        if self.batch_size is None:
            return loaded.everything(end - begin)
        per_pass, batch = self.updates_per_pass(task), self.batch_size
        numbers = range(begin // per_pass, (end - 1) // per_pass + 1)
        # a chunk lies in one pass, or all batches are equal, or it is the smaller last batch alone (see cut_after)
        low, high = begin % per_pass * batch, min((end - numbers[-1] * per_pass) * batch, loaded.size)
        width = min(batch, high - low) if len(numbers) == 1 else batch
        if len(numbers) == 1 and not self.shuffle and not self.varies:
            return loaded.slice(low, high, width)
        pieces = [self._order(loaded.size, task, epoch * self.passes_per_epoch + number) for number in numbers]
        pieces[-1] = pieces[-1][:, :high]
        pieces[0] = pieces[0][:, low:]
        order = in_batches(torch.cat(pieces, dim=1), width)
        return loaded.vary(order, epoch * self.passes_per_epoch + numbers[0]) if self.varies else loaded.gather(order)

    def _order(self, size: int, task: int, number: int) -> Tensor:
        """The order ``[S, n]`` in which pass ``number`` of the task visits the examples."""
        if not self.shuffle:
            return torch.arange(size, device=self.device).expand(len(self.seeds), -1)
        if self._drawn_order is None or self._drawn_order[0] != (task, number):
            orders = [generator(s, "order", task, number).permutation(size) for s in self.seeds]
            self._drawn_order = (task, number), torch.from_numpy(np.stack(orders)).to(self.device)
        return self._drawn_order[1]

    # ---- Lightning

    def setup(self, stage: str) -> None:
        """Learns the device that the data shall live on."""
        if self.trainer is not None:
            self.device = self.trainer.strategy.root_device
            self._loaded = self._evaluation = self._drawn_order = None  # what was loaded before lies elsewhere

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
