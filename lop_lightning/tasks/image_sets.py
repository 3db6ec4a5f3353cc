"""Colour images held once as bytes, and sets of them for several seeds, gathered and normalised when they are used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lop_lightning.tasks.augmentation import normalised, transformed
from lop_lightning.tasks.base import Batch, StackedTask, in_batches

Looks = Callable[[int], Tensor]


@dataclass(frozen=True)
class ColourImages:
    """Square colour images with their classes, as many of each, class after class.

    Attributes:
        pixels: ``[N, 3, side²]``, uint8, rows of the image one after another.
        labels: ``[N]``, int64.
        mean: Of each channel, ``[3]``, float32, in [0, 1]; subtracted when images are used.
        deviation: Of each channel, ``[3]``, float32; images are divided by it.
        per_class: Images of each class.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor
    deviation: Tensor

    per_class: int

    @classmethod
    def by_class(cls, pixels: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> ColourImages:
        """The images ``[C, n, 3, side²]``: n of each of C classes."""
        labels = torch.arange(len(pixels)).repeat_interleave(pixels.shape[1])
        return cls(pixels.flatten(0, 1), labels, torch.tensor(mean), torch.tensor(deviation), pixels.shape[1])

    def to(self, device: torch.device) -> ColourImages:
        """The same images on ``device``."""
        pixels, labels, mean, deviation = (
            part.to(device) for part in (self.pixels, self.labels, self.mean, self.deviation)
        )
        return ColourImages(pixels, labels, mean, deviation, self.per_class)

    def rows(self, classes: np.ndarray, numbers: range) -> Tensor:
        """Where images ``numbers`` of each of ``classes [S, C]`` are: ``[S, len(numbers)·C]``, image by image."""
        places = classes[:, None] * self.per_class + np.array(numbers)[:, None]
        return torch.from_numpy(places.reshape(len(classes), -1)).to(self.labels.device)


class ImageSet(StackedTask):
    """A choice of shared images for each seed; inputs ``[..., 3, side, side]``, float32, targets int64.

    Args:
        images: The images of all seeds.
        rows: Which image each example is, ``[S, n]``, int64.
        active_outputs: ``[S, output_size]`` or ``None``.
        draw_looks: How the examples look in a pass, ``[S, n, 5]``, given its number; without, they stay as they are.
    """

    def __init__(
        self, images: ColourImages, rows: Tensor, active_outputs: Tensor | None = None, draw_looks: Looks | None = None
    ) -> None:
        self.images, self.rows, self.active_outputs, self.draw_looks = images, rows, active_outputs, draw_looks
        self.size = rows.shape[1]
        self._drawn: tuple[int, Tensor] | None = None

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        return self._plain(self.rows[seeds_of(order), order])

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        return self._plain(in_batches(self.rows[:, begin:end], batch))

    def vary(self, order: Tensor, number: int) -> Batch:
        """See :class:`StackedTask`: the examples flipped, cropped and rotated, each in a way of its own."""
        if self.draw_looks is None:
            return self.gather(order)
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = number, self.draw_looks(number)
        seeds = seeds_of(order)
        rows, looks = self.rows[seeds, order], self._drawn[1][seeds, order]
        pixels = self.images.pixels.index_select(0, rows.flatten())
        seen = transformed(pixels, looks.flatten(0, 2), self.images.mean, self.images.deviation)
        return as_squares(seen, rows), self.images.labels[rows]

    def _plain(self, rows: Tensor) -> Batch:
        pixels = self.images.pixels.index_select(0, rows.flatten())
        return as_squares(normalised(pixels, self.images.mean, self.images.deviation), rows), self.images.labels[rows]


class TransformedSet(ImageSet):
    """A set whose examples always look the same, though not as they are.

    Args:
        images: See :class:`ImageSet`.
        rows: See :class:`ImageSet`.
        looks: How the examples look, ``[S, n, 5]``.
    """

    def __init__(self, images: ColourImages, rows: Tensor, looks: Tensor) -> None:
        super().__init__(images, rows, draw_looks=lambda number: looks)

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        return self.vary(order, 0)

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        places = torch.arange(begin, end, device=self.rows.device).expand(len(self.rows), -1)
        return self.vary(in_batches(places, batch), 0)


def seeds_of(order: Tensor) -> Tensor:
    """The seed axis ``[S, 1]`` that goes with ``order [K, S, B]``."""
    return torch.arange(order.shape[1], device=order.device)[:, None]


def as_squares(flat: Tensor, rows: Tensor) -> Tensor:
    """``[K·S·B, C, side²]`` as ``[K, S, B, C, side, side]``, with K, S and B of ``rows``."""
    side = round(flat.shape[-1] ** 0.5)
    return flat.view(*rows.shape, -1, side, side)


def whole(one: StackedTask, limit: int | None = None) -> Batch:
    """All examples of a set of one seed, or its first ``limit`` ones."""
    count = min(one.size, limit or one.size)
    inputs, targets = one.slice(0, count, count)
    return inputs[0, 0], targets[0, 0]
