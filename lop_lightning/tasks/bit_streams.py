"""Streams of bit sequences and questions about the last N bits, with N growing by a curriculum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lop_lightning.errors import check_choice, check_count
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, Position, StreamSpec
from lop_lightning.tasks.bit_sequences import BitSequences
from lop_lightning.tasks.curricula import Curriculum, Level, trained_ns, went_on
from lop_lightning.tasks.memory_labels import Labels
from lop_lightning.tasks.paced import PacedStream

Place = tuple[int, Level]  # a seed and where it stands


class BitStream(PacedStream):
    """Bit sequences and, for every N that a seed is trained on, a question about the last N bits; it has two answers.

    At the end of a period each seed is tested (:meth:`checks`) and the curriculum says what it is trained on next
    (:meth:`advance`). Inputs ``[B, T, F]`` are ragged (see :class:`StreamSpec`): the sequences of a batch of one seed
    have one length, uniform in {N+2, …, 4N+1} with N the seed's largest. Targets ``[B, K]`` are of the heads ``asked``,
    which are those of all seeds; -1: not of this seed.

    Args:
        tasks: Periods at most; see :class:`PacedStream` for what a period is.
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
        history: For each seed the ranges that it has left, in order; see :mod:`lop_lightning.tasks.curricula`.
        heads: ``by_n`` or ``position``.
        start_n: Smallest N of all.

    Raises:
        ConfigError: a value is out of its range.

    Source: Khajehabdollahi et al. (2024), "Emergent mechanisms for long timescales …", arXiv 2309.12927.
    """

    levels: list[Level]

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
        self.labels, self.curriculum, self.sequences = labels, curriculum, sequences
        for name, count in (("updates_per_task", updates_per_task), ("check_batches", check_batches)):
            check_count(name, count)
        check_choice("heads", heads, ("auto", "by_n", "position"))
        super().__init__(tasks, batch_size, updates_per_task * sequences.rounds, probe_size, seeds, chunk)
        self.heads, self.start_n = curriculum.heads if heads == "auto" else heads, curriculum.start_n
        self.check_batches = check_batches

    # ---- what a stream says of itself

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`; the shapes are those of the initial range, and stay so."""
        first, bits = self.curriculum.initial(), self.sequences
        shape, heads, timed = (bits.longest(first["high"]), bits.features), len(trained_ns(first)), bool(bits.repeats)
        return StreamSpec(shape, 2 * heads, "multi_head_cross_entropy", ragged=True, timed=timed, heads=heads)

    @property
    def standing(self) -> str:
        """See :class:`TaskStream`: the largest N that is trained, and of several seeds the least and the greatest."""
        highs = sorted({level["high"] for level in self.levels})
        return f"N {highs[0]}" if len(highs) == 1 else f"N {highs[0]}-{highs[-1]}"

    @property
    def largest_example(self) -> int:
        """See :class:`PacedStream`."""
        return self.sequences.features * self.sequences.longest(max(level["high"] for level in self.levels))

    # ---- heads and levels

    def initial_level(self) -> Level:
        """See :class:`PacedStream`."""
        return self.curriculum.initial()

    def described(self, level: Level) -> dict[str, Any]:
        """See :class:`PacedStream`: the range of N."""
        return {"low": level["low"], "high": level["high"]}

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

    def checks(self, task: int) -> Iterator[Batch]:
        """See :class:`PacedStream`: ``[S, B, T, F]`` and ``[S, B, K]``."""
        for number in range(self.check_batches * self.sequences.rounds):
            yield self.fresh(self.places, self.examples_an_update, number, ("check", task, number))

    def batches(self, index: int, updates: Sequence[int], places: Sequence[Place]) -> Batch:
        """See :class:`PacedStream`: inputs ``[K, S, B, T_pad, F]``, targets ``[K, S, B, asked]``."""
        size = self.examples_an_update
        return self._assembled([self._drawn(places, size, ("batch", index, u)) for u in updates], updates, places)

    def fresh(self, places: Sequence[Place], count: int, number: int, purpose: Sequence[object]) -> Batch:
        """See :class:`PacedStream`: inputs ``[S, count, T, F]``, targets ``[S, count, asked]``."""
        inputs, targets = self._assembled([self._drawn(places, count, purpose)], [number], places)
        return inputs[0], targets[0]

    def _drawn(self, places: Sequence[Place], size: int, purpose: Sequence[object]) -> list[Tensor]:
        return [self.sequences.draw(generator(seed, *purpose), level["high"], size) for seed, level in places]

    def _assembled(self, drawn: Sequence[Sequence[Tensor]], numbers: Sequence[int], places: Sequence[Place]) -> Batch:
        inputs, levels = self.sequences.inputs(drawn, numbers), [level for _, level in places]
        first, count = self._heads_of([*self.levels, *levels])
        targets = torch.full((*inputs.shape[:3], count), -1)
        for batches, own in zip(targets, drawn):
            for target, bits, level in zip(batches, own, levels):
                begin, width = self.window(level)
                target[:, begin - first : begin - first + width] = self.labels(bits, trained_ns(level))
        return inputs.to(self.device), targets.to(self.device)
