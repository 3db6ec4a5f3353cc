"""Binary images: each task tells two classes of grey images apart."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from lop_lightning.errors import ConfigError, check_count, check_flag
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import StreamSpec
from lop_lightning.tasks.image_splits import CLASSES
from lop_lightning.tasks.relabelled_images import NOT_SHOWN, RelabelledImages

PAIRS = tuple(combinations(range(CLASSES), 2))


class BinaryImages(RelabelledImages):
    """Two classes a task, an ordered pair (a, b): images of a have the target 0, images of b the target 1.

    Inputs ``[n, rows, columns]``, float32; targets ``[n]``, int64; cross-entropy. The held-out set is ``test``.

    Classes differ in their number of images, and the seeds of a run are trained together, on as many examples each. So
    every class has as many images as the rarest: whatever pairs the seeds have, their tasks are of one size, and no
    guess beats one half. All images can be used where pairs are listed, for they are then the same for all seeds.

    Args:
        tasks: Number of tasks.
        source: ``digits`` (1,442 training and 355 test images of 8 x 8) or ``mnist`` (60,000 and 10,000 of 28 x 28).
        data_dir: Folder that downloaded files are kept in.
        inputs: ``normalised`` to mean 0 and deviation 1 over all training pixels, ``unit`` (in [0, 1]), or ``raw``
            (grey values of 0 to 16 or 255, as in the published runs).
        pairs: Classes of each task, as ``[[8, 1], [1, 4]]``, the same for every seed; when the list ends, it begins
            again. ``None``: drawn for each seed, so that every 45 tasks have any two classes once, in a random order of
            their labels, and no two classes come twice in a row.
        allow_one_class: Whether a listed pair may be (c, c): a task of class c alone, with the target 1.
        outputs: Outputs of the network, at least 2; more are never a target.
        balanced: Whether every class has as many images as the rarest, where nothing else is said. Else all are used,
            as in the published runs; only with listed pairs. Tasks then differ in size, and so do their last batches:
            with ``hardware.compile=true`` each size is compiled anew, and no more than eight can be.
        train_images: Training images of each class, the first of the data set; ``None``: see ``balanced``.
        test_images: Test images of each class, likewise.
        batch_size: Examples an update; ``None`` is the full batch.
        epochs_per_task: Passes over the training images a task lasts, each a Lightning epoch.
        shuffle: Whether each pass draws its own order; else the data set's order.
        probe_size: Training images that plasticity is measured on, the first of the data set, at most.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range, or there are fewer images.
        LopError: when data are first needed and MNIST is not there (see :mod:`lop_lightning.tasks.images`).

    Source: Khan, Merzouki, Pacurar & Lukovic (2025), "Loss of Plasticity in Recurrent Models" (``mnist-binary``). Five
    of its 50 tasks are of one class, and its network has ten outputs.
    """

    def __init__(
        self,
        tasks: int = 50,
        source: str = "digits",
        data_dir: str = "data",
        inputs: str = "normalised",
        pairs: Sequence[Sequence[int]] | None = None,
        allow_one_class: bool = False,
        outputs: int = 2,
        balanced: bool = True,
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
            source, data_dir, inputs, train_images, test_images, balanced, tasks=tasks, seeds=seeds,
            batch_size=batch_size, epochs_per_task=epochs_per_task, shuffle=shuffle, probe_size=probe_size, chunk=chunk,
        )  # fmt: skip
        check_flag("allow_one_class", allow_one_class)
        check_count("outputs", outputs, 2)
        check_flag("balanced", balanced)
        if pairs is not None:
            check_pairs(pairs, allow_one_class)
        elif not balanced:
            raise ConfigError("balanced", balanced, "true where pairs are drawn, for then each seed has its own")
        self.pairs, self.allow_one_class, self.outputs = pairs, allow_one_class, outputs

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec(self.image_shape, self.outputs, "cross_entropy")

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`: that of the first task; loads the images."""
        return self.size_of(0)

    def size_of(self, task: int) -> int:
        """See :class:`TaskStream`: the training images of the task's classes, as many for every seed."""
        if self.pairs is None:
            return 2 * self.class_counts[0]
        return sum(self.class_counts[c] for c in set(self.classes_of(self.seeds[0], task)))

    @cached_property
    def class_counts(self) -> list[int]:
        """Training images of each class that the stream uses."""
        return self.part("train")[1].bincount(minlength=CLASSES).tolist()

    def classes_of(self, seed: int, index: int) -> tuple[int, int]:
        """The classes of a task, in the order of their targets."""
        if self.pairs is not None:
            a, b = self.pairs[index % len(self.pairs)]
            return a, b
        block, place = divmod(index, len(PAIRS))
        a, b = PAIRS[self._block(seed, block)[place]]
        return (a, b) if generator(seed, "sides", index).random() < 0.5 else (b, a)

    def targets_of(self, seed: int, index: int) -> np.ndarray:
        """See :class:`RelabelledImages`."""
        targets = np.full(CLASSES, NOT_SHOWN)
        for target, c in enumerate(self.classes_of(seed, index)):
            targets[c] = target  # of one class the second holds
        return targets

    def describe(self, seed: int, index: int) -> dict[str, Any]:
        """See :class:`RelabelledImages`: ``classes`` are the two classes, in the order of their targets."""
        return {"classes": list(self.classes_of(seed, index))}

    def _block(self, seed: int, block: int) -> np.ndarray:
        """The order in which a block of 45 tasks has the pairs."""
        order = generator(seed, "pairs", block).permutation(len(PAIRS))
        if block and order[0] == generator(seed, "pairs", block - 1).permutation(len(PAIRS))[-1]:
            order[[0, 1]] = order[[1, 0]]  # the last place of a block is never touched, so blocks stay independent
        return order


def check_pairs(pairs: Sequence[Sequence[int]], allow_one_class: bool) -> None:
    """Raises :class:`ConfigError` unless ``pairs`` lists pairs of classes, different ones where one does not do."""
    if not isinstance(pairs, list | tuple) or not pairs:
        raise ConfigError("pairs", pairs, "null or a list of pairs of classes, as [[8,1],[1,4]]")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(is_class(c) for c in pair):
            raise ConfigError("pairs", pair, f"two classes from 0 to {CLASSES - 1} in each pair, as [8,1]")
        if pair[0] == pair[1] and not allow_one_class:
            raise ConfigError("pairs", pair, "two different classes in each pair (one alone: allow_one_class=true)")


def is_class(value: object) -> bool:
    """Whether ``value`` is a whole number from 0 to 9."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < CLASSES
