"""Label-reshuffled images: the images stay, and each task gives the classes new labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lop_lightning.randomness import generator
from lop_lightning.tasks.base import StreamSpec
from lop_lightning.tasks.image_splits import CLASSES
from lop_lightning.tasks.relabelled_images import RelabelledImages


class LabelReshuffledImages(RelabelledImages):
    """Ten-way classification of the same images in every task, whose class c has the target π(c).

    Each task (the first included) draws its π of 0 … 9 independently, for training and test images alike; it is applied
    to the data set's own labels, not to those of the last task, and may by chance be the identity. Inputs
    ``[n, rows, columns]``, float32; targets ``[n]``, int64; cross-entropy. The held-out set is ``test``.

    Args:
        tasks: Number of tasks.
        source: ``digits`` (1,442 training and 355 test images of 8 x 8) or ``mnist`` (60,000 and 10,000 of 28 x 28).
        data_dir: Folder that downloaded files are kept in.
        inputs: ``normalised`` to mean 0 and deviation 1 over all training pixels, ``unit`` (in [0, 1]), or ``raw``
            (grey values of 0 to 16 or 255).
        train_images: Training images of each class, the first of the data set; ``None`` is all images.
        test_images: Test images of each class, likewise.
        batch_size: Examples an update; ``None`` is the full batch. With 150 a pass over all training digits is 10
            updates, as one over MNIST is with the published 6,000.
        epochs_per_task: Passes over the training images a task lasts, each a Lightning epoch.
        shuffle: Whether each pass draws its own order; else the data set's order.
        probe_size: Training images that plasticity is measured on, the first of the data set, at most.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range, or there are fewer images.
        LopError: when data are first needed and MNIST is not there (see :mod:`lop_lightning.tasks.images`).

    Source: Khan, Merzouki, Pacurar & Lukovic (2025), "Loss of Plasticity in Recurrent Models" (``mnist-reshuffle``);
    there the permutations are not seeded.
    """

    def __init__(
        self,
        tasks: int = 50,
        source: str = "digits",
        data_dir: str = "data",
        inputs: str = "normalised",
        train_images: int | None = None,
        test_images: int | None = None,
        batch_size: int | None = 150,
        epochs_per_task: int = 30,
        shuffle: bool = True,
        probe_size: int = 2000,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__(
            source, data_dir, inputs, train_images, test_images, False, tasks=tasks, seeds=seeds,
            batch_size=batch_size, epochs_per_task=epochs_per_task, shuffle=shuffle, probe_size=probe_size, chunk=chunk,
        )  # fmt: skip

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec(self.image_shape, CLASSES, "cross_entropy")

    def targets_of(self, seed: int, index: int) -> np.ndarray:
        """See :class:`RelabelledImages`: π, a permutation."""
        return generator(seed, "labels", index).permutation(CLASSES)

    def describe(self, seed: int, index: int) -> dict[str, Any]:
        """See :class:`RelabelledImages`: place c of ``labels`` is the target of class c."""
        return {"labels": self.targets_of(seed, index).tolist()}
