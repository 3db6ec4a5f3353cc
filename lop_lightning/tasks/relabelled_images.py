"""What streams of grey images have in common where tasks differ in labels alone: images are held once for all seeds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import check_choice, check_count, check_folder
from lop_lightning.tasks.base import Batch, StackedTask, Task, in_batches
from lop_lightning.tasks.image_sets import seeds_of, whole
from lop_lightning.tasks.image_splits import FEWEST, PARTS, SCALES, SIDES, SPLITS, first_images, scaled
from lop_lightning.tasks.stream import TaskStream

NOT_SHOWN = -1


class RelabelledImages(TaskStream):
    """A stream whose tasks give targets to the ten classes of one data set, or leave some of them out.

    A subclass implements :meth:`targets_of` and :meth:`describe`. Examples are in the data set's order.

    Args:
        source: ``digits`` or ``mnist``.
        data_dir: Folder that downloaded files are kept in.
        inputs: Scale of the inputs (see :func:`lop_lightning.tasks.image_splits.scaled`).
        train_images: Training images of each class, the first of the data set; ``None`` is all.
        test_images: Test images of each class, likewise.
        balanced: Whether ``None`` is as many of each class as the rarest has.
        stream: Settings of :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range, or there are fewer images.
        LopError: when data are first needed and MNIST is not there (see :mod:`lop_lightning.tasks.images`).
    """

    def __init__(
        self,
        source: str,
        data_dir: str,
        inputs: str,
        train_images: int | None,
        test_images: int | None,
        balanced: bool,
        **stream: Any,
    ) -> None:
        super().__init__(**stream)
        check_choice("source", source, SPLITS)
        check_folder("data_dir", data_dir)
        check_choice("inputs", inputs, SCALES)
        for part, count, most in zip(PARTS, (train_images, test_images), FEWEST[source]):
            if count is not None:
                check_count(f"{part}_images", count, 1, most)
        self.source, self.data_dir, self.inputs, self.balanced = source, data_dir, inputs, balanced
        self.train_images, self.test_images = train_images, test_images
        self._parts: dict[str, Batch] = {}

    @abstractmethod
    def targets_of(self, seed: int, index: int) -> np.ndarray:
        """The target of each class in a task, ``[10]``, int64; ``NOT_SHOWN`` where the task has no images of it."""

    @abstractmethod
    def describe(self, seed: int, index: int) -> dict[str, Any]:
        """``Task.info``."""

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        return SIDES[self.source], SIDES[self.source]

    def part(self, name: str) -> Batch:
        """The images ``[N, rows, columns]`` and classes ``[N]`` of ``train`` or ``test``, held once for all seeds."""
        if name not in self._parts:
            count = {"train": self.train_images, "test": self.test_images}[name]
            used = first_images(self.source, self.data_dir, name, count, self.balanced)
            self._parts[name] = scaled(used, self.source, self.inputs), used.labels
        images, labels = self._parts[name]
        self._parts[name] = images.to(self.device), labels.to(self.device)
        return self._parts[name]

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`; loads the images. Here: all of them."""
        return len(self.part("train")[1])

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`."""
        train, test = (whole(self._of([seed], index, name)) for name in PARTS)
        return Task(index, train, {"test": test}, info=self.describe(seed, index))

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`."""
        return whole(self._of([seed], index, "train"), self.probe_size)

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; images are gathered when they are used."""
        return self._of(self.seeds, index, "train")

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`: ``test``, under the labels of the task."""
        return {"test": self._of(self.seeds, index, "test")}

    def _of(self, seeds: list[int], index: int, name: str) -> SharedImages:
        images, labels = self.part(name)
        of_classes = torch.from_numpy(np.stack([self.targets_of(seed, index) for seed in seeds]))
        targets = of_classes.to(self.device)[:, labels]
        shown = targets != NOT_SHOWN  # as many for each seed
        rows = shown.nonzero()[:, 1].view(len(seeds), -1)
        return SharedImages(images, rows, targets[shown].view(len(seeds), -1))


class SharedImages(StackedTask):
    """A choice of shared images for each seed, with targets of its own.

    Args:
        images: The images of all seeds, ``[N, rows, columns]``, float32.
        rows: Which image each example is, ``[S, n]``, int64.
        targets: ``[S, n]``, int64.
    """

    def __init__(self, images: Tensor, rows: Tensor, targets: Tensor) -> None:
        self.images, self.rows, self.targets = images, rows, targets
        self.size = rows.shape[1]

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        seeds = seeds_of(order)
        return self._seen(self.rows[seeds, order]), self.targets[seeds, order]

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        return self._seen(in_batches(self.rows[:, begin:end], batch)), in_batches(self.targets[:, begin:end], batch)

    def _seen(self, rows: Tensor) -> Tensor:
        return self.images.index_select(0, rows.flatten()).unflatten(0, rows.shape)
