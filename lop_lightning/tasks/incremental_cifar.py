"""Class-incremental CIFAR-100: every task adds classes to those of the last, and all of them are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_folder
from lop_lightning.randomness import generator
from lop_lightning.tasks.augmentation import draw_looks
from lop_lightning.tasks.base import Batch, StackedTask, StreamSpec, Task
from lop_lightning.tasks.cifar100 import CLASSES, DEVIATION, MEAN, SIDE, TEST_IMAGES, TRAIN_IMAGES, cifar100
from lop_lightning.tasks.image_sets import ColourImages, ImageSet, TransformedSet, whole
from lop_lightning.tasks.stream import TaskStream
from lop_lightning.tasks.synthetic_images import synthetic

SOURCES = {"cifar100": cifar100, "synthetic": synthetic}


class IncrementalCIFAR(TaskStream):
    """Classification of images of 32 x 32 pixels into the classes seen so far, five more in each task.

    Inputs ``[n, 3, 32, 32]``, float32, normalised; targets ``[n]``, int64, the data set's own class numbers; 100
    outputs, of which ``active_outputs`` leaves those of the classes seen so far; cross-entropy. Task k has the first
    5(k + 1) classes of the seed's order. Of each class, in the data set's order, the first 50 training images are for
    validation and the next 450 for training. Examples are ordered image by image: the first of each class, then the
    second of each class, and so on, so that the beginning of a set has all its classes.

    Args:
        tasks: Number of tasks.
        classes_per_task: Classes that each task adds.
        source: ``cifar100``, or ``synthetic``, which is computed and has the same shapes.
        data_dir: Folder that downloaded files are kept in.
        train_images: Training images of each class.
        validation_images: Images of each class that are kept from the training images for validation.
        test_images: Test images of each class.
        augment: Whether each pass flips, crops and rotates every training image anew
            (:mod:`lop_lightning.tasks.augmentation`).
        augmented_test: Whether test images are transformed so too, as in the published code. Each image then has one
            look in a task, in all epochs; in the published code it has another in each.
        representation_images: Images of the classes to come, and of those before, on which the representation is
            measured before a task is learnt, at most.
        batch_size: Examples an update; divides the training images of ``classes_per_task`` classes.
        epochs_per_task: Passes over the training images a task lasts.
        shuffle: Whether each pass draws its own order; else the order of making.
        probe_size: Examples that plasticity is measured on, the first of the task, at most; not augmented.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range, or there are not so many classes or images.
        LopError: when data are first needed and CIFAR-100 is not there (see :mod:`lop_lightning.tasks.cifar100`).

    Source: Dohare et al. (2024), "Class-incremental CIFAR-100" (``incremental_cifar``); 20 tasks of 200 epochs.
    """

    def __init__(
        self,
        tasks: int = 20,
        classes_per_task: int = 5,
        source: str = "cifar100",
        data_dir: str = "data",
        train_images: int = 450,
        validation_images: int = 50,
        test_images: int = 100,
        augment: bool = True,
        augmented_test: bool = False,
        representation_images: int = 1000,
        batch_size: int = 90,
        epochs_per_task: int = 200,
        shuffle: bool = True,
        probe_size: int = 1000,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__(tasks, seeds, batch_size, 1, epochs_per_task, shuffle, probe_size, chunk)
        check_choice("source", source, SOURCES)
        check_folder("data_dir", data_dir)
        for name, count in (("classes_per_task", classes_per_task), ("train_images", train_images),
                            ("validation_images", validation_images), ("test_images", test_images),
                            ("representation_images", representation_images)):  # fmt: skip
            check_count(name, count)
        check_flag("augment", augment)
        check_flag("augmented_test", augmented_test)
        self.classes_per_task, self.source, self.data_dir = classes_per_task, source, data_dir
        self.train_images, self.validation_images, self.test_images = train_images, validation_images, test_images
        self.augmented_test, self.representation_images = augmented_test, representation_images
        self.varies, self.most_tasks = augment, CLASSES // classes_per_task
        self._check_sizes()
        self._images: tuple[ColourImages, ColourImages] | None = None

    def _check_sizes(self) -> None:
        if self.classes_per_task * self.tasks > CLASSES:
            legal = f"at most {CLASSES // self.classes_per_task}, as each task adds {self.classes_per_task} of "
            raise ConfigError("tasks", self.tasks, f"{legal}{CLASSES} classes")
        if self.source == "cifar100":
            check_count("validation_images", self.validation_images, 1, TRAIN_IMAGES - 1)
            check_count("train_images", self.train_images, 1, TRAIN_IMAGES - self.validation_images)
            check_count("test_images", self.test_images, 1, TEST_IMAGES)
        added = self.train_images * self.classes_per_task
        if self.batch_size is None or added % self.batch_size:
            divisors = [size for size in range(1, added + 1) if added % size == 0]
            near = sorted(divisors, key=lambda size: abs(size - (self.batch_size or added)))[:2]
            legal = f"a divisor of {added}, the training images that a task adds, such as {' or '.join(map(str, near))}"
            raise ConfigError("batch_size", self.batch_size, legal)

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec((3, SIDE, SIDE), CLASSES, "cross_entropy")

    @property
    def task_size(self) -> int:
        """Training images of the last task, the largest."""
        return self.size_of(self.tasks - 1)

    def size_of(self, task: int) -> int:
        """See :class:`TaskStream`: the training images of all classes seen so far."""
        return self.train_images * self.classes_per_task * (task + 1)

    def class_order(self, seed: int) -> np.ndarray:
        """The order in which ``seed`` meets the 100 classes, by their numbers."""
        return generator(seed, "class order").permutation(CLASSES)

    @property
    def images(self) -> tuple[ColourImages, ColourImages]:
        """Training images (the ones for validation before the others, in each class) and test images, held once."""
        if self._images is None:
            read, training = SOURCES[self.source], self.validation_images + self.train_images
            self._images = (
                ColourImages.by_class(read(self.data_dir, "train", training), MEAN, DEVIATION),
                ColourImages.by_class(read(self.data_dir, "test", self.test_images), MEAN, DEVIATION),
            )
        self._images = (self._images[0].to(self.device), self._images[1].to(self.device))
        return self._images

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`; ``info["classes"]`` has the classes seen so far, in the order they came."""
        held_out = {name: whole(one) for name, one in self._held_out([seed], index).items()}
        info = {"classes": self.presented_classes(seed, index)}
        return Task(index, whole(self._training([seed], index)), held_out, self._active([seed], index)[0], info)

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`."""
        return whole(self._training([seed], index), self.probe_size)

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; images are normalised and augmented when they are gathered."""
        return self._training(self.seeds, index)

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`: ``validation`` and ``test``, of all classes seen so far."""
        return self._held_out(self.seeds, index)

    def presented_classes(self, seed: int, index: int) -> list[int]:
        """See :class:`TaskStream`: the classes seen so far, in the order they came."""
        return self._classes([seed], 0, index + 1)[0].tolist()

    def representation_sets(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`: ``next``, of the classes the task adds, and ``previous``, of those before, if any.

        Each is a random choice of training images, not augmented.
        """
        sets: dict[str, StackedTask] = {"next": self._sample("next", index, index, index + 1)}
        return sets if index == 0 else {**sets, "previous": self._sample("previous", index, 0, index)}

    def _classes(self, seeds: list[int], begin: int, end: int) -> np.ndarray:
        """The classes that tasks ``begin`` … ``end`` - 1 add, ``[S, C]``."""
        added = slice(begin * self.classes_per_task, end * self.classes_per_task)
        return np.stack([self.class_order(seed)[added] for seed in seeds])

    def _active(self, seeds: list[int], index: int) -> Tensor:
        classes = torch.from_numpy(self._classes(seeds, 0, index + 1))
        return torch.zeros(len(seeds), CLASSES, dtype=torch.bool).scatter(1, classes, True).to(self.device)

    def _training_rows(self, seeds: list[int], begin: int, end: int) -> Tensor:
        numbers = range(self.validation_images, self.validation_images + self.train_images)
        return self.images[0].rows(self._classes(seeds, begin, end), numbers)

    def _training(self, seeds: list[int], index: int) -> ImageSet:
        rows = self._training_rows(seeds, 0, index + 1)
        looks = partial(self._looks, seeds, rows.shape[1], "augment", index) if self.varies else None
        return ImageSet(self.images[0], rows, self._active(seeds, index), looks)

    def _held_out(self, seeds: list[int], index: int) -> dict[str, StackedTask]:
        (training, test), classes = self.images, self._classes(seeds, 0, index + 1)
        validation = ImageSet(training, training.rows(classes, range(self.validation_images)))
        rows = test.rows(classes, range(self.test_images))
        if not self.augmented_test:
            return {"validation": validation, "test": ImageSet(test, rows)}
        looks = self._looks(seeds, rows.shape[1], "augment test", index)
        return {"validation": validation, "test": TransformedSet(test, rows, looks)}

    def _looks(self, seeds: list[int], count: int, *purpose: str | int) -> Tensor:
        drawn = [draw_looks(generator(seed, *purpose), count) for seed in seeds]
        return torch.from_numpy(np.stack(drawn)).to(self.device)

    def _sample(self, name: str, index: int, begin: int, end: int) -> ImageSet:
        rows = self._training_rows(self.seeds, begin, end)
        orders = np.stack([generator(seed, name, index).permutation(rows.shape[1]) for seed in self.seeds])
        chosen = torch.from_numpy(orders[:, : self.representation_images]).to(self.device)
        return ImageSet(self.images[0], rows.gather(1, chosen))
