"""The contracts of a stream: what a task is, what the stream promises of its shapes, what a chunk of updates holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """One stationary problem of one seed.

    Attributes:
        index: Its place in the stream, from 0.
        train: Inputs ``[n, *input_shape]`` and targets ``[n, ...]``, in the order they were made.
        evaluation: Named held-out sets (``validation``, ``test``), each like ``train``.
        active_outputs: Mask ``[output_size]`` of the outputs that the loss may see, or ``None`` for all.
        info: Plain data about the task: classes, permutation, difficulty, …
    """

    index: int
    train: Batch
    evaluation: dict[str, Batch] = field(default_factory=dict)
    active_outputs: Tensor | None = None
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamSpec:
    """The shapes from which a network is made for the stream.

    Attributes:
        input_shape: Shape of one example.
        output_size: Number of outputs.
        loss: ``mse``, ``cross_entropy`` (class indices), ``binary_cross_entropy`` (one logit, targets 0 or 1),
            ``multi_head_cross_entropy`` (a class index for each head, -1 for one that is not asked) or
            ``sequence_cross_entropy`` (a class index for each reading, -1 after the sequence's end).
        dtype: Floating type that the stream is computed in.
        new_heads: Whether every task begins with an output layer of zeros.
        head_momentum: Whether the optimiser then still remembers the old output layer's gradients.
        vocabulary: Inputs are sequences of token numbers below this (int64; 0 is padding, at the end of a sequence);
            ``None``: inputs are real numbers.
        ragged: Inputs are sequences ``[T, features]`` of real numbers, and may end early: from there on they are NaN.
        timed: The last feature of every step is the time Δt that the step lasts, the same for a whole batch.
        heads: Number of readouts, each of ``output_size / heads`` outputs, of which the targets ask some (see
            ``Learner.ask``); there may come more (``Learner.grow``). ``None``: one, always asked.
        read_every: Inputs are sequences, and the ``output_size`` outputs are read after every so many steps, reading
            after reading. ``None``: once, at the end.
    """

    input_shape: tuple[int, ...]
    output_size: int
    loss: str
    dtype: torch.dtype = torch.float32
    new_heads: bool = False
    head_momentum: bool = False
    vocabulary: int | None = None
    ragged: bool = False
    timed: bool = False
    heads: int | None = None
    read_every: int | None = None

    @property
    def shapes(self) -> dict[str, Any]:
        """What a network's factory is called with."""
        shapes: dict[str, Any] = {"input_shape": self.input_shape, "output_size": self.output_size}
        return {**shapes, **self.special}

    @property
    def special(self) -> dict[str, Any]:
        """What is out of the ordinary, and only some networks can take."""
        fields = {"read_every": None, "vocabulary": None, "ragged": False, "timed": False, "heads": None}
        return {name: getattr(self, name) for name, usual in fields.items() if getattr(self, name) != usual}

    @property
    def outputs(self) -> int:
        """Numbers that a network gives for an example of ``input_shape``, all readings together."""
        return self.output_size * (self.input_shape[0] // self.read_every if self.read_every else 1)

    @property
    def is_classification(self) -> bool:
        """Whether a prediction is right or wrong."""
        return self.loss != "mse"


@dataclass(frozen=True, order=True)
class Position:
    """Where a stream stands: the next update is number ``update`` of epoch ``epoch`` of task ``task``."""

    task: int = 0
    epoch: int = 0
    update: int = 0


@dataclass(frozen=True)
class Chunk:
    """K consecutive updates of S seeds: inputs ``[K, S, B, *input_shape]``, targets ``[K, S, B, ...]``.

    Attributes:
        begin: Position of the first update.
        end: Position after the last one.
        active_outputs: Mask ``[S, output_size]``, or ``None``.
        self_paced: Whether it is found out only by a test after the task's end which seeds go on to something new.
    """

    inputs: Tensor
    targets: Tensor
    begin: Position
    end: Position
    active_outputs: Tensor | None = None
    self_paced: bool = False

    @property
    def starts_task(self) -> bool:
        """Whether no update of the task came before."""
        return self.begin.epoch == 0 and self.begin.update == 0

    @property
    def ends_task(self) -> bool:
        """Whether the task ends with this chunk."""
        return self.end.task > self.begin.task

    @property
    def ends_epoch(self) -> bool:
        """Whether a Lightning epoch ends with this chunk."""
        return (self.end.task, self.end.epoch) > (self.begin.task, self.begin.epoch)


class StackedTask(ABC):
    """The same task index of S seeds, resident on a device and ready to be gathered from.

    Attributes:
        size: Examples n of the task.
        active_outputs: Mask ``[S, output_size]`` or ``None``.
    """

    size: int
    active_outputs: Tensor | None = None

    @abstractmethod
    def gather(self, order: Tensor) -> Batch:
        """The examples at ``order [K, S, B]``: inputs ``[K, S, B, *input_shape]``, targets ``[K, S, B, ...]``."""

    @abstractmethod
    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """The examples from ``begin`` up to ``end`` in the order of making, in batches; shaped as by :meth:`gather`.

        ``batch`` divides ``end - begin``; the result is contiguous.
        """

    def vary(self, order: Tensor, number: int) -> Batch:
        """The examples at ``order [K, S, B]`` as pass ``number`` over the task shows them (augmented, say)."""
        return self.gather(order)

    def everything(self, updates: int) -> Batch:
        """``updates`` full batches in the order of making, as views that take no memory beyond one of them."""
        inputs, targets = self.slice(0, self.size, self.size)
        return inputs.expand(updates, *inputs.shape[1:]), targets.expand(updates, *targets.shape[1:])


class ResidentTask(StackedTask):
    """A stacked task whose examples all lie in memory.

    Args:
        inputs: ``[S, n, *input_shape]``.
        targets: ``[S, n, ...]``.
        active_outputs: ``[S, output_size]`` or ``None``.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, active_outputs: Tensor | None = None) -> None:
        self.inputs, self.targets, self.active_outputs = inputs, targets, active_outputs
        self.size = inputs.shape[1]

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        seeds = torch.arange(order.shape[1], device=order.device)[:, None]
        return self.inputs[seeds, order], self.targets[seeds, order]

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        return in_batches(self.inputs[:, begin:end], batch), in_batches(self.targets[:, begin:end], batch)


def in_batches(rows: Tensor, batch: int) -> Tensor:
    """``[S, K·B, ...]`` as contiguous ``[K, S, B, ...]`` with B = ``batch``."""
    return rows.unflatten(1, (-1, batch)).transpose(0, 1).contiguous()


def stack(tasks: list[Task], device: torch.device) -> ResidentTask:
    """The stacked form of one task of each seed, on ``device``."""
    inputs = torch.stack([task.train[0] for task in tasks]).to(device)
    targets = torch.stack([task.train[1] for task in tasks]).to(device)
    masks = [task.active_outputs for task in tasks if task.active_outputs is not None]
    return ResidentTask(inputs, targets, torch.stack(masks).to(device) if masks else None)


def stack_sets(sets: list[dict[str, Batch]], device: torch.device) -> dict[str, StackedTask]:
    """The stacked form of the held-out sets of one task of each seed, by name."""
    return {
        name: ResidentTask(*(torch.stack([own[name][part] for own in sets]).to(device) for part in (0, 1)))
        for name in sets[0]
    }
