"""A stand-in for CIFAR-100 that is computed: colour images of 100 classes, each with a smooth pattern, and noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lop_lightning.randomness import generator
from lop_lightning.tasks.cifar100 import CLASSES, SIDE

COARSE = 5
GREY, PATTERN, OWN_PATTERN, NOISE = 128, 18.0, 40.0, 40


def synthetic(data_dir: str, part: str, per_class: int) -> Tensor:
    """``per_class`` images of each class: bytes ``[100, per_class, 3, 1024]``.

    Image i of class c is 128 + 18 u_c + 40 v_i + noise, cut to 0 … 255. u_c is the class's smooth pattern and v_i the
    image's own: standard normal on a grid of 5 x 5, interpolated linearly; the noise is uniform in -40 … 40. An image
    does not depend on ``per_class``.

    Args:
        data_dir: As for :func:`lop_lightning.tasks.cifar100.cifar100`, in whose place this stands; not used.
        part: ``train`` or ``test``; they share the classes' patterns and nothing else.
        per_class: Images of each class.
    """
    pixels = np.empty((CLASSES, per_class, 3, SIDE, SIDE), np.uint8)
    for label in range(CLASSES):
        pattern = PATTERN * smooth(generator(label, "synthetic class"), 1)
        own = OWN_PATTERN * smooth(generator(label, "synthetic images", part), per_class)
        noise = generator(label, "synthetic noise", part).integers(
            0, 2 * NOISE, (per_class, 3, SIDE, SIDE), np.uint8, endpoint=True
        )
        pixels[label] = np.clip(pattern + own + noise + np.float32(GREY - NOISE), 0, 255)
    return torch.from_numpy(pixels).flatten(-2)


def smooth(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random smooth colour images, ``[count, 3, 32, 32]``: normal on a coarse grid, linear in between."""
    coarse = rng.standard_normal((count, 3, COARSE, COARSE), np.float32)
    grid = np.linspace(0, COARSE - 1, SIDE, dtype=np.float32)
    low = np.minimum(grid.astype(int), COARSE - 2)
    share = grid - low.astype(np.float32)
    rows = coarse[..., low, :] * (1 - share)[:, None] + coarse[..., low + 1, :] * share[:, None]
    return rows[..., low] * (1 - share) + rows[..., low + 1] * share
