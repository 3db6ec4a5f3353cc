"""The online series of a task: loss and accuracy before each update, binned on the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


class Tally:
    """Sums what updates measured, bin by bin, and remembers the first, the least and the last loss of a task.

    Args:
        updates: Updates in the task.
        bins: Bins the task is cut into.
    """

    def __init__(self, updates: int, bins: int) -> None:
        self.updates, self.bins = updates, min(bins, updates)
        self.done = 0
        self.sums: Tensor | None = None
        self.count = 0
        self.first = self.least = self.last = torch.empty(0)

    def add(self, measures: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Takes measures ``[K, S, M]`` (loss, accuracy, …); yields (updates of the task so far, means ``[S, 2]``)."""
        measures = measures[..., :2]
        loss = measures[..., 0]
        if self.done == 0:
            self.first, self.least = loss[0].clone(), loss.amin(0)  # a view would be saved with all it is a view of
        self.least, self.last = torch.minimum(self.least, loss.amin(0)), loss[-1].clone()
        start = 0
        while start < measures.shape[0]:
            number = self.done * self.bins // self.updates
            edge = -(-(number + 1) * self.updates // self.bins)  # first update of the next bin
            stop = min(measures.shape[0], start + edge - self.done)
            part = measures[start:stop].sum(0, dtype=torch.float64)
            self.sums = part if self.sums is None else self.sums + part
            self.count += stop - start
            self.done += stop - start
            start = stop
            if self.done == edge:
                yield self.done, self.sums / self.count
                self.sums, self.count = None, 0

    def state(self) -> dict[str, Any]:
        """Tensors and numbers, from which :meth:`load` goes on."""
        return dict(vars(self))

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Goes on from a saved state."""
        for name, value in state.items():
            setattr(self, name, value.to(device) if isinstance(value, Tensor) else value)
