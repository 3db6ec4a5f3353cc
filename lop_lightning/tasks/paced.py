"""Streams whose seeds each stand at a level of their own, and go on when they have solved it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from lop_lightning.errors import check_count
from lop_lightning.tasks.base import Batch, StackedTask, Task
from lop_lightning.tasks.clock import CHUNK_BYTES, CHUNK_UPDATES
from lop_lightning.tasks.stream import TaskStream

Standing = Any
"""A level, as the subclass has it: a dict of plain numbers, among them ``solved`` (the greatest that was solved, 0:
none) and ``finished``."""

Place = tuple[int, Standing]  # a seed and where it stands


class PacedStream(TaskStream):
    """Examples whose difficulty is each seed's own level; levels are what a curriculum makes of its accuracies.

    A task is a **period** of ``period`` updates. At its end a callback finds out how well each seed does, and
    ``advance`` of the subclass puts it where the curriculum says. Each batch is a pure function of (seed, period,
    update, level), made when it is needed. A seed that is finished goes on with its last level while others need time.

    A subclass says what the levels are (:meth:`initial_level`, :meth:`described`, ``advance``) and what the examples
    are (:meth:`batches`, :meth:`fresh`, :attr:`largest_example`).

    Args:
        tasks: Periods at most.
        batch_size: Examples an update.
        period: Updates of a period.
        probe_size: Examples that plasticity is measured on.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Attributes:
        levels: Where each seed stands; a level is never changed, only followed by another.
        history: For each seed the levels that it has left, in order.

    Raises:
        ConfigError: a value is out of its range.
    """

    self_paced = True

    def __init__(
        self,
        tasks: int,
        batch_size: int,
        period: int,
        probe_size: int,
        seeds: int | Sequence[int],
        chunk: int | str,
    ) -> None:
        check_count("batch_size", batch_size)
        super().__init__(tasks, seeds, batch_size, probe_size=probe_size, chunk=chunk)
        self.examples_an_update, self.period = batch_size, period
        self.levels: list[Standing] = [self.initial_level() for _ in self.seeds]
        self.history: list[list[Any]] = [[] for _ in self.seeds]

    # ---- what a subclass says

    @abstractmethod
    def initial_level(self) -> Standing:
        """Where every seed begins; asked for in the constructor."""

    @abstractmethod
    def described(self, level: Standing) -> dict[str, Any]:
        """What is trained on a level, for ``Task.info``."""

    @property
    @abstractmethod
    def largest_example(self) -> int:
        """Numbers in an example on the present levels, at most."""

    @abstractmethod
    def batches(self, index: int, updates: Sequence[int], places: Sequence[Place]) -> Batch:
        """Updates of a period for some seeds on their levels: inputs ``[K, S, B, ...]``, targets ``[K, S, B, ...]``."""

    @abstractmethod
    def fresh(self, places: Sequence[Place], count: int, number: int, purpose: Sequence[object]) -> Batch:
        """``count`` examples of each seed that are not trained on: inputs ``[S, count, ...]``, targets likewise.

        Args:
            places: The seeds with their levels.
            count: How many.
            number: Number of the batch, of those for the same purpose.
            purpose: What they are for; with the seed and the level it says all about them.
        """

    # ---- what a stream says of itself

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`."""
        return self.period * self.examples_an_update

    @property
    def finished(self) -> bool:
        """Whether the last period is over, or all seeds have come to their end."""
        return super().finished or all(level["finished"] for level in self.levels)

    @property
    def chunk_updates(self) -> int:
        """See :class:`TaskStream`: ``auto`` goes by how large examples can be on the present levels."""
        if self.chunk != "auto":
            return int(self.chunk)
        size = 4 * self.largest_example * self.examples_an_update * len(self.seeds)
        return max(1, min(CHUNK_UPDATES, CHUNK_BYTES // size))

    # ---- data

    @property
    def places(self) -> list[Place]:
        """The seeds with their levels."""
        return list(zip(self.seeds, self.levels))

    def _place(self, seed: int) -> Place:
        """A seed with its level; one that is not among the stream's seeds is where it would begin."""
        return seed, dict(self.places).get(seed, self.initial_level())

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; nothing is made before it is asked for."""
        return PacedTask(self, index)

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`: none; a period is tested by :meth:`checks`."""
        return {}

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`, on the seed's present level."""
        place = self._place(seed)
        inputs, targets = self.batches(index, range(self.period), [place])
        return Task(index, (inputs.flatten(0, 2), targets.flatten(0, 2)), info=self.described(place[1]))

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`: ``probe_size`` fresh examples of the seed's present level."""
        inputs, targets = self.fresh([self._place(seed)], self.probe_size, index, ("probe", index))
        return inputs[0], targets[0]

    def stacked_probe(self, index: int) -> Batch:
        """See :class:`TaskStream`."""
        return self.fresh(self.places, self.probe_size, index, ("probe", index))

    @abstractmethod
    def checks(self, task: int) -> Iterator[Batch]:
        """The check at the end of a period: batches of all seeds on their present levels, ``[S, B, ...]`` each."""

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Position, levels and history, as plain numbers."""
        return {**super().state_dict(), "levels": deepcopy(self.levels), "history": deepcopy(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to the saved position and levels."""
        position = deepcopy(state_dict)
        self.levels, self.history = position.pop("levels"), position.pop("history")
        super().load_state_dict(position)


class PacedTask(StackedTask):
    """A period of a paced stream; its examples are made when they are asked for, and not kept.

    Args:
        stream: The stream.
        index: Number of the period.
    """

    def __init__(self, stream: PacedStream, index: int) -> None:
        self.stream, self.index, self.size = stream, index, stream.task_size

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`; ``begin`` and ``end`` are ends of whole updates, ``batch`` is the stream's."""
        return self.stream.batches(self.index, range(begin // batch, end // batch), self.stream.places)

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`; makes the whole period."""
        inputs, targets = self.slice(0, self.size, self.stream.examples_an_update)
        rows = torch.arange(order.shape[1], device=order.device)[:, None]
        return inputs.transpose(0, 1).flatten(1, 2)[rows, order], targets.transpose(0, 1).flatten(1, 2)[rows, order]
