"""Two-class Gaussian mixtures in a few dimensions: the smallest stream on which plasticity is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lop_lightning.errors import check_count, check_flag, check_number
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, StreamSpec, Task
from lop_lightning.tasks.stream import TaskStream


class GaussianMixtures(TaskStream):
    """Each task asks which of two mixtures of ``k`` Gaussian bumps a point comes from.

    Inputs ``[n, d]``, targets ``[n, 1]`` in {0, 1}, float64, binary cross-entropy. With the full batch a task lasts
    ``passes_per_epoch * epochs_per_task`` updates. See :func:`draw_mixture` for the distribution.

    Args:
        tasks: Number of tasks.
        n: Training points a task.
        n_val: Further points of the same mixture, given as ``evaluation["validation"]``.
        d: Dimensions, at least 2.
        k: Bumps a class.
        delta: Half the distance between the classes' anchors; at 0 the task is 2k blobs labelled at random.
        spread: Standard deviation of the bump centres around their anchor.
        sigma: Standard deviation of the points around their bump centre.
        relabel: Probability that a label is flipped.
        reference_rng: One ``default_rng(seed)`` runs through the whole stream, as in the reference, whose data are
            then reproduced bit for bit; else each task has its own generator.
        batch_size: Examples an update; ``None`` is the full batch.
        passes_per_epoch: Passes over the points in one Lightning epoch.
        epochs_per_task: Lightning epochs a task lasts.
        shuffle: Whether each pass of mini-batches draws its own order.
        probe_size: Points that plasticity is measured on, at most.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range.

    Source: Joudaki et al., ``simple-lop``, ``lop_fixed_regime.py`` at commit 082c941 (validation points: 9bb3f2f).
    """

    def __init__(
        self,
        tasks: int = 100,
        n: int = 96,
        n_val: int = 0,
        d: int = 4,
        k: int = 4,
        delta: float = 2.8,
        spread: float = 0.7,
        sigma: float = 0.22,
        relabel: float = 0.0,
        reference_rng: bool = False,
        batch_size: int | None = None,
        passes_per_epoch: int = 40,
        epochs_per_task: int = 1,
        shuffle: bool = False,
        probe_size: int = 2000,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__(tasks, seeds, batch_size, passes_per_epoch, epochs_per_task, shuffle, probe_size, chunk)
        for name, count, low in (("n", n, 2), ("n_val", n_val, 0), ("d", d, 2), ("k", k, 1)):
            check_count(name, count, low)
        for name, number in (("delta", delta), ("spread", spread), ("sigma", sigma)):
            check_number(name, number, 0.0, float("inf"), open_high=True)
        check_number("relabel", relabel, 0.0, 1.0)
        check_flag("reference_rng", reference_rng)
        self.n, self.n_val, self.d, self.k = n, n_val, d, k
        self.delta, self.spread, self.sigma, self.relabel = delta, spread, sigma, relabel
        self.reference_rng = reference_rng
        self._states: dict[int, list[Mapping[str, Any]]] = {}

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec((self.d,), 1, "binary_cross_entropy", torch.float64)

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`."""
        return self.n

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`."""
        rng = self._reference_generator(seed, index) if self.reference_rng else generator(seed, "gmm", index)
        inputs, targets = self._draw(rng)
        train = inputs[: self.n], targets[: self.n]
        validation = {"validation": (inputs[self.n :], targets[self.n :])} if self.n_val else {}
        return Task(index, train, validation)

    def _draw(self, rng: np.random.Generator) -> Batch:
        total = self.n + self.n_val
        x, y = draw_mixture(rng, total, self.d, self.k, self.delta, self.spread, self.sigma, self.relabel)
        return torch.from_numpy(x), torch.from_numpy(y)

    def _reference_generator(self, seed: int, index: int) -> np.random.Generator:
        """The generator that ran through the tasks before ``index``; the states reached are kept."""
        rng = np.random.default_rng(seed)
        states = self._states.setdefault(seed, [rng.bit_generator.state])
        rng.bit_generator.state = states[min(index, len(states) - 1)]
        while len(states) <= index:
            self._draw(rng)
            states.append(rng.bit_generator.state)
        return rng


def draw_mixture(
    rng: np.random.Generator,
    n: int,
    d: int,
    k: int,
    delta: float,
    spread: float,
    sigma: float,
    relabel: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Points of two mixtures and their labels, in random order: ``x [n, d]``, ``y [n, 1]`` in {0, 1}, float64.

    Class c ∈ {0, 1} has its anchor at (2c - 1)·delta·(cos θ, sin θ) + s in the first two coordinates and at N(0, 0.3²)
    in the others, with θ ~ U(0, 2π) and a shift s ~ N(0, 0.6²). Its k bump centres are N(anchor, spread²), and a point
    is N(centre, sigma²) around a centre chosen uniformly. Class 0 has ⌊n/2⌋ points; labels flip with probability
    ``relabel``. The order of the draws is the reference's, and so is every bit of the result.

    Source: simple-lop, ``lop_fixed_regime.py`` at commits 082c941 (even n) and 9bb3f2f (odd n).
    """
    theta = rng.uniform(0.0, 2.0 * np.pi)
    direction = np.array([np.cos(theta), np.sin(theta)])
    shift = rng.normal(0.0, 0.6, d)[:2]  # d numbers are drawn and two used: the order of draws is part of the data
    anchors = np.zeros((2, d))
    anchors[0, :2], anchors[1, :2] = -delta * direction + shift, delta * direction + shift
    if d > 2:
        anchors[:, 2:] = rng.normal(0.0, 0.3, (2, d - 2))
    centres = [anchor + rng.normal(0.0, spread, (k, d)) for anchor in anchors]
    sizes = (n // 2, n - n // 2)
    points = [bumps[rng.integers(0, k, m)] + rng.normal(0.0, sigma, (m, d)) for bumps, m in zip(centres, sizes)]
    labels = np.repeat([0.0, 1.0], sizes)[:, None]
    if relabel > 0:
        labels = np.where(rng.random((n, 1)) < relabel, 1.0 - labels, labels)
    order = rng.permutation(n)
    return np.concatenate(points)[order], labels[order]
