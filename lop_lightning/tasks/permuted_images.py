"""Online permuted images: each task shuffles the pixels in its own way and shows the images in its own order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import check_choice, check_count, check_flag, check_folder
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, StackedTask, StreamSpec, Task, in_batches
from lop_lightning.tasks.images import PIXELS, SOURCES, Images
from lop_lightning.tasks.stream import TaskStream


class PermutedImages(TaskStream):
    """Ten-way classification of images whose pixels are permuted anew in each task (the first included).

    Inputs ``[n, pixels]``, float32 in [0, 1]; targets ``[n]``, int64; cross-entropy. With ``batch_size=1`` and one pass
    this is Online Permuted MNIST.

    Args:
        tasks: Number of tasks.
        source: ``digits`` (1,797 images of 8 x 8) or ``mnist`` (60,000 of 28 x 28).
        data_dir: Folder that downloaded files are kept in.
        composed: Whether task t permutes the pixels of task t - 1 further, as the published code does, so that its
            permutation is that of all tasks so far, one after another. Else permutations are independent.
        task_length: Examples a task. ``None`` is all images once; fewer takes the first of the task's order; more
            goes on from its beginning.
        batch_size: Examples an update; ``None`` is the full batch.
        passes_per_epoch: Passes over the task's examples in one Lightning epoch.
        epochs_per_task: Lightning epochs a task lasts.
        shuffle: Whether each pass draws its own order; else each goes through the task's order.
        probe_size: Examples that plasticity is measured on, the first of the task's order, at most.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range.
        LopError: when data are first needed and MNIST is not there (see :mod:`lop_lightning.tasks.images`).

    Source: Dohare et al. (2024), "Online Permuted MNIST" (``permuted_mnist/online_expr.py``); 800 tasks.
    """

    def __init__(
        self,
        tasks: int = 800,
        source: str = "digits",
        data_dir: str = "data",
        composed: bool = False,
        task_length: int | None = None,
        batch_size: int | None = 1,
        passes_per_epoch: int = 1,
        epochs_per_task: int = 1,
        shuffle: bool = False,
        probe_size: int = 2000,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__(tasks, seeds, batch_size, passes_per_epoch, epochs_per_task, shuffle, probe_size, chunk)
        check_choice("source", source, SOURCES)
        check_folder("data_dir", data_dir)
        check_flag("composed", composed)
        if task_length is not None:
            check_count("task_length", task_length)
        self.source, self.data_dir, self.composed, self.task_length = source, data_dir, composed, task_length
        self._images: Images | None = None
        self._composed: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec((PIXELS[self.source],), 10, "cross_entropy")

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`; loads the images when it is their number."""
        return self.task_length or len(self.images.labels)

    @property
    def images(self) -> Images:
        """The images before any permutation, loaded when first needed and held once for all seeds."""
        self._images = (self._images or SOURCES[self.source](self.data_dir)).to(self.device)
        return self._images

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`; in ``info``, place p of ``permutation`` is the pixel that is seen at p."""
        inputs, targets = self._stack([seed], index).slice(0, self.task_size, self.task_size)
        return Task(index, (inputs[0, 0], targets[0, 0]), info={"permutation": self.permutation(seed, index).tolist()})

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`."""
        count = min(self.probe_size, self.task_size)
        inputs, targets = self._stack([seed], index).slice(0, count, count)
        return inputs[0, 0], targets[0, 0]

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; examples are permuted when they are gathered."""
        return self._stack(self.seeds, index)

    def permutation(self, seed: int, index: int) -> np.ndarray:
        """Which pixel of the image is seen at each place of the task's inputs, ``[pixels]``."""
        if not self.composed:
            return self._own_permutation(seed, index)
        begun, permutation = self._composed.get(seed, (-1, np.arange(PIXELS[self.source])))
        if begun > index:  # back to the beginning: a thousand tasks take milliseconds
            begun, permutation = -1, np.arange(PIXELS[self.source])
        for later in range(begun + 1, index + 1):
            permutation = permutation[self._own_permutation(seed, later)]
        self._composed[seed] = index, permutation
        return permutation

    def _own_permutation(self, seed: int, index: int) -> np.ndarray:
        return generator(seed, "pixels", index).permutation(PIXELS[self.source])

    def _stack(self, seeds: list[int], index: int) -> PermutedTask:
        permutations = np.stack([self.permutation(seed, index) for seed in seeds])
        count = len(self.images.labels)
        places = np.arange(self.task_size) % count
        orders = [generator(s, "images", index).permutation(count)[places].astype(np.int32) for s in seeds]
        as_tensor = [torch.from_numpy(array).to(self.device) for array in (permutations, np.stack(orders))]
        return PermutedTask(self.images, *as_tensor)


class PermutedTask(StackedTask):
    """A stacked task that permutes the pixels of shared images as they are gathered.

    Args:
        images: The images of all seeds.
        permutations: Which pixel is seen at each place, ``[S, P]``, int64.
        orders: Which image each example is, ``[S, n]``.
    """

    def __init__(self, images: Images, permutations: Tensor, orders: Tensor) -> None:
        self.images, self.permutations, self.orders = images, permutations, orders
        self.size = orders.shape[1]

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        seeds = torch.arange(order.shape[1], device=order.device)[:, None]
        return self._permute(self.orders[seeds, order])

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        return self._permute(in_batches(self.orders[:, begin:end], batch))

    def _permute(self, rows: Tensor) -> Batch:
        flat = rows.flatten().long()
        pixels = self.images.pixels.index_select(0, flat).unflatten(0, rows.shape)
        seen = pixels.gather(-1, self.permutations[None, :, None].expand_as(pixels))
        return seen.float().div_(self.images.white), self.images.labels.index_select(0, flat).unflatten(0, rows.shape)
