"""What is measured: four problems, each with the methods, the numbers of seeds and the targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.plain import PlainMLP
from lop_lightning.algos import Backprop, ContinualBackprop, Learner
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD
from lop_lightning.tasks import GaussianMixtures, PermutedImages, SlowlyChangingRegression, TaskStream
from lop_lightning.tasks.images import MNIST_FILES

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
}


@dataclass(frozen=True)
class Problem:
    """A stream and a network.

    Attributes:
        name: Shown in the table.
        stream: ``(tasks, seeds, folder)`` gives the stream.
        tasks: Tasks of one measured fit.
        hidden: Widths of the hidden layers.
        activation: Name of the nonlinearity.
        lr: Step size of SGD.
        rate: Replacement rate of continual backprop.
        plain_updates: Updates of the plain loop.
        task_updates: Updates of a task in the published protocol.
        cases: ``(method, seeds)`` with the least ratio to aim for; ``None``: no target.
        repeats: How often the fit with everything on is measured.
    """

    name: str
    stream: Callable[[int, int, Path], TaskStream]
    tasks: int
    hidden: Sequence[int]
    activation: str
    lr: float
    rate: float
    plain_updates: int
    task_updates: int
    cases: dict[tuple[str, int], float | None]
    repeats: int = 3

    def learner(self, method: str) -> Learner:
        """A learner of the laboratory, compiled."""
        network = partial(MLP, hidden=self.hidden, activation=self.activation)
        if method == "bp":
            return Backprop(network, SGD(self.lr))
        return ContinualBackprop(network, SGD(self.lr), replacement_rate=self.rate)

    def plain(self, stream: TaskStream) -> PlainMLP:
        """The same network for the plain loop."""
        widths = [*stream.spec.input_shape, *self.hidden, stream.spec.output_size]
        return PlainMLP(widths, getattr(torch, self.activation)).to(stream.spec.dtype)


def _regression(tasks: int, seeds: int, folder: Path) -> TaskStream:
    return SlowlyChangingRegression(tasks=tasks, seeds=seeds)


def _images(task_length: int, tasks: int, seeds: int, folder: Path) -> TaskStream:
    return PermutedImages(tasks, "mnist", str(folder), task_length=task_length, seeds=seeds)


def _mixtures(tasks: int, seeds: int, folder: Path) -> TaskStream:
    return GaussianMixtures(tasks=tasks, seeds=seeds)


def write_random_images(folder: Path, count: int = 60_000) -> None:
    """Random images in MNIST's own files and format, for the speed does not depend on what is seen."""
    raw, rng = folder / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    images, labels, *_ = MNIST_FILES
    for name, shape, top in ((images, (count, 28, 28), 256), (labels, (count,), 10)):
        head = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        (raw / name).write_bytes(head + rng.integers(0, top, shape, dtype=np.uint8).tobytes())


REGRESSION = Problem(
    "20-5-1 online", _regression, 20, (5,), "relu", 0.01, 1e-4, 10_000, 10_000,
    {("bp", 1): 8, ("bp", 30): None, ("bp", 100): 1000, ("cbp", 1): None, ("cbp", 30): None, ("cbp", 100): 400},
)  # fmt: skip
NARROW = Problem(
    "784-100³-10 online", partial(_images, 6000), 1, (100,) * 3, "relu", 0.003, 1e-4, 2000, 60_000,
    {("bp", 1): 2.3, ("bp", 10): 8, ("cbp", 1): 2.3, ("cbp", 10): 8},
)  # fmt: skip
WIDE = Problem(
    "784-2000³-10 online", partial(_images, 200), 1, (2000,) * 3, "relu", 0.003, 1e-5, 150, 60_000,
    {("bp", 1): 2.2, ("cbp", 1): 2.2}, repeats=1,
)  # fmt: skip
MIXTURES = Problem(
    "GMM 4-100⁵-1 full batch", _mixtures, 10, (100,) * 5, "tanh", 0.05, 1e-4, 400, 40,
    {("bp", 1): None, ("bp", 10): 1.2},
)  # fmt: skip

PROBLEMS = (REGRESSION, NARROW, WIDE, MIXTURES)
