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
class Case:
    """One row of the table.

    Attributes:
        method: ``bp`` or ``cbp``.
        seeds: Seeds trained together.
        tasks: Tasks of one measured fit, so that it lasts some seconds.
        target: The least ratio to the plain loop to aim for; ``None``: no target.
    """

    method: str
    seeds: int
    tasks: int
    target: float | None = None


@dataclass(frozen=True)
class Problem:
    """A stream and a network.

    Attributes:
        name: Shown in the table.
        stream: ``(tasks, seeds, folder)`` gives the stream.
        hidden: Widths of the hidden layers.
        activation: Name of the nonlinearity.
        lr: Step size of SGD.
        rate: Replacement rate of continual backprop.
        plain_updates: Updates of the plain loop.
        task_updates: Updates of a task in the published protocol.
        cases: What is measured of it.
        whole_fits: How often the fit with everything on is measured.
        initialisation: Of the laboratory's network.
    """

    name: str
    stream: Callable[[int, int, Path], TaskStream]
    hidden: Sequence[int]
    activation: str
    lr: float
    rate: float
    plain_updates: int
    task_updates: int
    cases: Sequence[Case]
    whole_fits: int = 3
    initialisation: str = "kaiming"

    def learner(self, method: str) -> Learner:
        """A learner of the laboratory, compiled."""
        network = partial(MLP, hidden=self.hidden, activation=self.activation, initialisation=self.initialisation)
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
    name="20-5-1",
    stream=_regression,
    hidden=(5,),
    activation="relu",
    lr=0.01,
    rate=1e-4,
    plain_updates=10_000,
    task_updates=10_000,
    cases=(
        Case("bp", 1, 12, 8),
        Case("bp", 30, 12),
        Case("bp", 100, 12, 1000),
        Case("cbp", 1, 12),
        Case("cbp", 30, 12),
        Case("cbp", 100, 12, 400),
    ),
)
NARROW = Problem(
    name="784-100³-10",
    stream=partial(_images, 6000),
    hidden=(100, 100, 100),
    activation="relu",
    lr=0.003,
    rate=1e-6,
    plain_updates=2000,
    task_updates=60_000,
    cases=(Case("bp", 1, 4, 2.3), Case("bp", 10, 1, 8), Case("cbp", 1, 4, 2.3), Case("cbp", 10, 1, 8)),
)
WIDE = Problem(
    name="784-2000³-10",
    stream=partial(_images, 500),
    hidden=(2000, 2000, 2000),
    activation="relu",
    lr=0.003,
    rate=1e-6,
    plain_updates=200,
    task_updates=60_000,
    cases=(Case("bp", 1, 1, 2.2), Case("cbp", 1, 1, 2.2)),
    whole_fits=1,
)
MIXTURES = Problem(
    name="GMM 4-100⁵-1",
    stream=_mixtures,
    hidden=(100,) * 5,
    activation="tanh",
    lr=0.6,
    rate=1e-4,
    plain_updates=500,
    task_updates=40,
    initialisation="xavier_normal",
    cases=(Case("bp", 1, 20), Case("bp", 10, 10, 1.2)),
)

PROBLEMS = (REGRESSION, NARROW, WIDE, MIXTURES)
