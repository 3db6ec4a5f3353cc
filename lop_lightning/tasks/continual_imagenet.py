"""Continual ImageNet: each task tells two classes of small images apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_folder
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, ResidentTask, StackedTask, StreamSpec, Task
from lop_lightning.tasks.imagenet32 import IMAGE, SOURCES, Classes
from lop_lightning.tasks.stream import TaskStream

CLASS_ORDERS = ("permutations", "tile")


class ContinualImageNet(TaskStream):
    """Two classes of 32 x 32 colour images a task; task t has those at places 2t and 2t + 1 of the seed's order.

    Inputs ``[n, 3, 32, 32]``, float32 of about zero mean; targets ``[n]``, int64, 0 or 1 by place; cross-entropy on two
    outputs. Training examples are of the two classes in turn. The held-out set is ``test``. Nothing is augmented.

    Args:
        tasks: Number of tasks.
        source: ``files`` (made by ``lop-prepare imagenet32``) or ``synthetic`` (noise with patterns, no download).
        data_dir: Folder of the class files ``0.npy``, ``1.npy``, …
        classes: The first so many classes are used; an even number.
        class_order: ``permutations``: one permutation of the classes after another, so that each block of classes / 2
            tasks has every class once; ``tile``: the same permutation again and again, so that tasks come back.
        train_images: Training images a class, the first of the file.
        test_images: Test images a class, those that follow.
        batch_size: Examples an update; ``None`` is the full batch.
        epochs_per_task: Passes over the training images a task lasts, each a Lightning epoch.
        new_heads: Whether every task begins with an output layer of zeros.
        head_momentum: Whether the optimiser then still remembers the old output layer's gradients.
        shuffle: Whether each pass draws its own order.
        probe_size: Training examples that plasticity is measured on, half of each class.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range, or, when data are first needed, there are fewer classes.
        LopError: when data are first needed and one of the files is missing or damaged
            (see :class:`lop_lightning.tasks.imagenet32.ClassFiles`).

    Source: Dohare et al. (2024), "Continual ImageNet" (``imagenet/single_expr.py``). There the momentum outlives the
    output layer. Its order of classes is not published, and the code repeats it every 500 tasks (``tile``) if it is one
    permutation; the published curves show no such period.
    """

    def __init__(
        self,
        tasks: int = 5000,
        source: str = "files",
        data_dir: str = "data/imagenet32/classes",
        classes: int = 1000,
        class_order: str = "permutations",
        train_images: int = 600,
        test_images: int = 100,
        batch_size: int | None = 100,
        epochs_per_task: int = 250,
        new_heads: bool = True,
        head_momentum: bool = False,
        shuffle: bool = True,
        probe_size: int = 200,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__(tasks, seeds, batch_size, 1, epochs_per_task, shuffle, probe_size, chunk)
        check_choice("source", source, SOURCES)
        check_folder("data_dir", data_dir)
        check_count("classes", classes, 2)
        if classes % 2:
            raise ConfigError("classes", classes, "an even whole number of at least 2")
        check_choice("class_order", class_order, CLASS_ORDERS)
        check_count("train_images", train_images)
        check_count("test_images", test_images)
        check_flag("new_heads", new_heads)
        check_flag("head_momentum", head_momentum)
        self.source, self.data_dir, self.classes, self.class_order = source, data_dir, classes, class_order
        self.train_images, self.test_images = train_images, test_images
        self.new_heads, self.head_momentum = new_heads, head_momentum
        self._images: Classes | None = None

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec(IMAGE, 2, "cross_entropy", new_heads=self.new_heads, head_momentum=self.head_momentum)

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`."""
        return 2 * self.train_images

    @property
    def images(self) -> Classes:
        """The images by class; all files are checked when they are first needed."""
        if self._images is None:
            needed = self.train_images + self.test_images
            self._images = SOURCES[self.source](self.data_dir, self.classes, needed)
        return self._images

    def classes_of(self, seed: int, index: int) -> tuple[int, int]:
        """The classes of a task, in the order of their labels."""
        block, place = divmod(index, self.classes // 2)
        if self.class_order == "tile":
            block = 0
        first, second = generator(seed, "class order", block).permutation(self.classes)[2 * place : 2 * place + 2]
        return int(first), int(second)

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`; ``info["classes"]`` are the two classes."""
        train, test = self._train([seed], index), self._test([seed], index)
        evaluation = {"test": (test.inputs[0], test.targets[0])}
        info = {"classes": list(self.classes_of(seed, index))}
        return Task(index, (train.inputs[0], train.targets[0]), evaluation, info=info)

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`."""
        train = self._train([seed], index)
        return train.inputs[0, : self.probe_size], train.targets[0, : self.probe_size]

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`."""
        return self._train(self.seeds, index)

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`."""
        return {"test": self._test(self.seeds, index)}

    def _train(self, seeds: list[int], index: int) -> ResidentTask:
        return self._read(seeds, index, 0, self.train_images)

    def _test(self, seeds: list[int], index: int) -> ResidentTask:
        return self._read(seeds, index, self.train_images, self.train_images + self.test_images)

    def _read(self, seeds: list[int], index: int, begin: int, end: int) -> ResidentTask:
        """Images ``begin`` to ``end`` of both classes in turn: so any first part of them has as many of each."""
        inputs = np.empty((len(seeds), 2 * (end - begin), *IMAGE), np.float32)
        for rows, seed in zip(inputs, seeds):
            for label, c in enumerate(self.classes_of(seed, index)):
                rows[label::2] = self.images.read(c, begin, end)
        targets = torch.arange(2).repeat(len(seeds), end - begin)
        return ResidentTask(torch.from_numpy(inputs).to(self.device), targets.to(self.device))
