"""Streams whose seeds each stand at a level of their own, and go on when they have solved it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from lop_lightning.errors import check_choice, check_count
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, Position, StackedTask, StreamSpec, Task
from lop_lightning.tasks.bit_sequences import BitSequences
from lop_lightning.tasks.clock import CHUNK_BYTES, CHUNK_UPDATES
from lop_lightning.tasks.curricula import Advance, Curriculum, Level, trained_ns, went_on
from lop_lightning.tasks.memory_labels import Labels
from lop_lightning.tasks.stream import TaskStream

Place = tuple[int, Level]  # a seed and where it stands


class PacedStream(TaskStream):
    """Bit sequences and, for every N that a seed is trained on, a question about the last N bits; it has two answers.

    A task is a **period** of ``updates_per_task`` updates, at whose end each seed is tested (:meth:`checks`) and the
    curriculum says what it is trained on next (:meth:`advance`). Inputs ``[B, T, F]`` are ragged (see
    :class:`StreamSpec`): the sequences of a batch of one seed have one length, uniform in {N+2, …, 4N+1} with N the
    seed's largest. Targets ``[B, K]`` are of the heads ``asked``, which are those of all seeds; -1: not of this seed.

    Each batch is a pure function of (seed, period, update, range), made when it is needed. A seed that is finished goes
    on with its last range while others need time.

    Args:
        tasks: Periods at most.
        labels: The question, for all N at once.
        curriculum: What is trained, and when it is solved.
        sequences: What the bits are and look like.
        heads: Which head N has: ``by_n``, its own; ``position``, that of its place in the range, so that what moves on
            is carried over; ``auto``, what the curriculum's publication has (``position`` for ``single``).
        batch_size: Sequences an update.
        updates_per_task: Updates of a period; in continuous time, for each number of repeats.
        check_batches: Batches of a check; in continuous time, for each number of repeats.
        probe_size: Sequences that plasticity is measured on.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Attributes:
        levels: Where each seed stands.
        history: For each seed the ranges that it has left, in order.
        heads: ``by_n`` or ``position``.
        start_n: Smallest N of all.

    Raises:
        ConfigError: a value is out of its range.

    Source: Khajehabdollahi et al. (2024), "Emergent mechanisms for long timescales …", arXiv 2309.12927.
    """

    self_paced = True

    def __init__(
        self,
        tasks: int,
        labels: Labels,
        curriculum: Curriculum,
        sequences: BitSequences,
        heads: str,
        batch_size: int,
        updates_per_task: int,
        check_batches: int,
        probe_size: int,
        seeds: int | Sequence[int],
        chunk: int | str,
    ) -> None:
        check_count("batch_size", batch_size)
        super().__init__(tasks, seeds, batch_size, probe_size=probe_size, chunk=chunk)
        for name, count in (("updates_per_task", updates_per_task), ("check_batches", check_batches)):
            check_count(name, count)
        check_choice("heads", heads, ("auto", "by_n", "position"))
        self.labels, self.curriculum, self.sequences = labels, curriculum, sequences
        self.heads, self.start_n = curriculum.heads if heads == "auto" else heads, curriculum.start_n
        self.period, self.check_batches = updates_per_task * sequences.rounds, check_batches
        self.sequences_an_update = batch_size
        self.levels: list[Level] = [curriculum.initial() for _ in self.seeds]
        self.history: list[list[Advance]] = [[] for _ in self.seeds]

    # ---- what a stream says of itself

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`; the shapes are those of the initial range, and stay so."""
        first, bits = self.curriculum.initial(), self.sequences
        shape, heads, timed = (bits.longest(first["high"]), bits.features), len(trained_ns(first)), bool(bits.repeats)
        return StreamSpec(shape, 2 * heads, "multi_head_cross_entropy", ragged=True, timed=timed, heads=heads)

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`."""
        return self.period * self.sequences_an_update

    @property
    def finished(self) -> bool:
        """Whether the last period is over, or all seeds have solved all that there was."""
        return super().finished or all(level["finished"] for level in self.levels)

    @property
    def standing(self) -> str:
        """See :class:`TaskStream`: the largest N that is trained, and of several seeds the least and the greatest."""
        highs = sorted({level["high"] for level in self.levels})
        return f"N {highs[0]}" if len(highs) == 1 else f"N {highs[0]}-{highs[-1]}"

    @property
    def chunk_updates(self) -> int:
        """See :class:`TaskStream`: ``auto`` goes by how long sequences can be on the present levels."""
        if self.chunk != "auto":
            return int(self.chunk)
        steps = self.sequences.longest(max(level["high"] for level in self.levels))
        size = 4 * self.sequences.features * steps * self.sequences_an_update * len(self.seeds)
        return max(1, min(CHUNK_UPDATES, CHUNK_BYTES // size))

    # ---- heads and levels

    def window(self, level: Level) -> tuple[int, int]:
        """The heads of a level: number of the first, and how many; N's are consecutive, and so are their heads."""
        return level["low"] - self.start_n if self.heads == "by_n" else 0, len(trained_ns(level))

    @property
    def asked(self) -> tuple[int, int]:
        """The heads that targets are of: number of the first, and how many; those of all seeds lie between."""
        return self._heads_of(self.levels)

    @property
    def head_count(self) -> int:
        """How many heads a network must have on the present levels."""
        return sum(self.asked)

    def _heads_of(self, levels: Sequence[Level]) -> tuple[int, int]:
        windows = [self.window(level) for level in levels]
        first = min(begin for begin, _ in windows)
        return first, max(begin + count for begin, count in windows) - first

    def advance(self, task: int, accuracies: Sequence[Sequence[float]], updates: int | None = None) -> list[int]:
        """Takes every seed to where its check puts it.

        Args:
            task: The period that has ended.
            accuracies: For each seed the share of right answers for each N from ``low`` to ``high``.
            updates: Updates made so far; ``None``: those of the stream up to the end of the period.

        Returns:
            The rows of the seeds whose range has changed or that have finished.
        """
        updates = self.updates_before(Position(task + 1)) if updates is None else updates
        before, follow = self.levels, self.curriculum.after_check
        self.levels = [follow(level, shares) for level, shares in zip(before, accuracies, strict=True)]
        moved = [row for row, (old, new) in enumerate(zip(before, self.levels)) if went_on(old, new)]
        for row in moved:
            low, high, solved = before[row]["low"], before[row]["high"], self.levels[row]["solved"]
            self.history[row].append({"task": task, "low": low, "high": high, "solved": solved, "updates": updates})
        return moved

    # ---- data

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; nothing is made before it is asked for."""
        return PacedTask(self, index)

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`: none; a period is tested by :meth:`checks`."""
        return {}

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`, on the seed's present level; ``info`` has its range of N."""
        place = self._place(seed)
        inputs, targets = self.batches(index, range(self.period), [place])
        info = {"low": place[1]["low"], "high": place[1]["high"]}
        return Task(index, (inputs.flatten(0, 2), targets.flatten(0, 2)), info=info)

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`: ``probe_size`` fresh sequences of the seed's present level."""
        inputs, targets = self._fresh([self._place(seed)], self.probe_size, index, "probe", index)
        return inputs[0], targets[0]

    def stacked_probe(self, index: int) -> Batch:
        """See :class:`TaskStream`."""
        return self._fresh(self.places, self.probe_size, index, "probe", index)

    def checks(self, task: int) -> Iterator[Batch]:
        """The check of a period: batches of all seeds on their present levels, ``[S, B, T, F]`` and ``[S, B, K]``."""
        for number in range(self.check_batches * self.sequences.rounds):
            yield self._fresh(self.places, self.sequences_an_update, number, "check", task, number)

    def batches(self, index: int, updates: Sequence[int], places: Sequence[Place]) -> Batch:
        """Updates of a period for some seeds: inputs ``[K, S, B, T_pad, F]``, targets ``[K, S, B, asked]``."""
        size = self.sequences_an_update
        return self._assembled([self._drawn(places, size, "batch", index, u) for u in updates], updates, places)

    @property
    def places(self) -> list[Place]:
        """The seeds with their levels."""
        return list(zip(self.seeds, self.levels))

    def _place(self, seed: int) -> Place:
        """A seed with its level; one that is not among the stream's seeds is where it would begin."""
        return seed, dict(self.places).get(seed, self.curriculum.initial())

    def _drawn(self, places: Sequence[Place], size: int, *purpose: object) -> list[Tensor]:
        return [self.sequences.draw(generator(seed, *purpose), level["high"], size) for seed, level in places]

    def _fresh(self, places: Sequence[Place], size: int, number: int, *purpose: object) -> Batch:
        """One batch that is not trained on: inputs ``[S, size, T, F]``, targets ``[S, size, asked]``."""
        inputs, targets = self._assembled([self._drawn(places, size, *purpose)], [number], places)
        return inputs[0], targets[0]

    def _assembled(self, drawn: Sequence[Sequence[Tensor]], numbers: Sequence[int], places: Sequence[Place]) -> Batch:
        inputs, levels = self.sequences.inputs(drawn, numbers), [level for _, level in places]
        first, count = self._heads_of([*self.levels, *levels])
        targets = torch.full((*inputs.shape[:3], count), -1)
        for batches, own in zip(targets, drawn):
            for target, bits, level in zip(batches, own, levels):
                begin, width = self.window(level)
                target[:, begin - first : begin - first + width] = self.labels(bits, trained_ns(level))
        return inputs.to(self.device), targets.to(self.device)

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
        inputs, targets = self.slice(0, self.size, self.stream.sequences_an_update)
        rows = torch.arange(order.shape[1], device=order.device)[:, None]
        return inputs.transpose(0, 1).flatten(1, 2)[rows, order], targets.transpose(0, 1).flatten(1, 2)[rows, order]
