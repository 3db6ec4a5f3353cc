"""Class files as they are written: ``<folder>/<c>.npy``, filled image by image, and what they hold in sum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lop_lightning.tasks.imagenet32 import IMAGE

EXPECTED = {"mean": (0.0, 0.01), "standard deviation": (0.26, 0.02), "largest size": (0.63, 0.07)}
"""Of ImageNet's pixels, and how far off is worth a warning."""


def size_of(classes: int, images: int) -> int:
    """Bytes of the files of so many classes."""
    return 4 * classes * images * math.prod(IMAGE)


class ClassWriter:
    """Writes float32 arrays ``[images, 3, 32, 32]``, one a class, which need never be in memory as a whole.

    Args:
        folder: Where they go.
        classes: How many.
        images: Images a class.
    """

    def __init__(self, folder: Path, classes: int, images: int) -> None:
        self.folder, self.images = folder, images
        self.written = [0] * classes
        self.sum, self.squares, self.largest = 0.0, 0.0, 0.0

    @property
    def complete(self) -> bool:
        """Whether every class has all its images."""
        return min(self.written) == self.images

    def append(self, c: int, rows: np.ndarray) -> None:
        """Adds ``rows [k, 3, 32, 32]`` to class ``c``, which lacks at least so many."""
        rows = np.ascontiguousarray(rows, "<f4")
        with (self.folder / f"{c}.npy").open("ab") as file:
            if self.written[c] == 0:
                shape = {"descr": "<f4", "fortran_order": False, "shape": (self.images, *IMAGE)}
                np.lib.format.write_array_header_1_0(file, shape)
            file.write(rows.tobytes())
        self.written[c] += len(rows)
        self.sum += float(rows.sum(dtype=np.float64))
        self.squares += float(np.square(rows, dtype=np.float64).sum())
        self.largest = max(self.largest, float(np.abs(rows).max()))

    def lines(self) -> Iterator[str]:
        """What was written, and how it compares with ImageNet."""
        numbers = len(self.written) * self.images * math.prod(IMAGE)
        mean = self.sum / numbers
        deviation = math.sqrt(max(0.0, self.squares / numbers - mean**2))
        found = dict(zip(EXPECTED, (mean, deviation, self.largest)))
        yield f"{len(self.written)} classes of {self.images} images"
        yield ", ".join(f"{name} {value:.4f} (ImageNet: {EXPECTED[name][0]:.2f})" for name, value in found.items())
        for name, value in found.items():
            usual, margin = EXPECTED[name]
            if abs(value - usual) > margin:
                yield f"warning: the {name} of {value:.4f} is far from ImageNet's {usual:.2f}"
