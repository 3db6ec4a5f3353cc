"""Classes of small colour images: the files of ``lop-prepare imagenet32``, and a stand-in that needs no download."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from lop_lightning.errors import ConfigError, LopError
from lop_lightning.randomness import generator

IMAGE = (3, 32, 32)
LARGEST = 16.0  # of any zero-mean image, also one that was divided by its standard deviation; pixels go up to 255
NOISE, GRATING, MEAN, BOUND = 0.26, 0.1, 0.01, 0.63
HELP = "lop-prepare imagenet32 makes such files, and task.source=synthetic needs none"


class Classes(Protocol):
    """Images by class."""

    def read(self, c: int, begin: int, end: int) -> np.ndarray:
        """Images ``begin`` to ``end`` of class ``c``, ``[end - begin, 3, 32, 32]``, float32."""


class ClassFiles:
    """Class c is ``<folder>/<c>.npy``, ``[n, 3, 32, 32]``, floats of zero mean; only what is asked for is read.

    Args:
        folder: Folder of the files.
        classes: The classes are 0 … classes - 1.
        images: What each must have, at least.

    Raises:
        ConfigError: there are fewer classes.
        LopError: a file is missing, cut off, or holds something else. Only the heads of the files are read for this.
    """

    def __init__(self, folder: str, classes: int, images: int) -> None:
        self.folder, self.images = Path(folder).expanduser().absolute(), images
        there = {path.stem for path in self.folder.glob("*.npy")}
        missing = next((c for c in range(classes) if str(c) not in there), None)
        later = any(name.isdecimal() and int(name) > (missing or 0) for name in there)
        if missing == 0 and not later:
            raise LopError(f"there is no {self.path(0)}: expected 0.npy to {classes - 1}.npy; {HELP}")
        if missing and not later:
            expected = f"at most {missing}, since {self.folder} has 0.npy to {missing - 1}.npy"
            raise ConfigError("task.classes", classes, expected)
        for c in range(classes):
            self._open(c)

    def path(self, c: int) -> Path:
        """The file of class ``c``."""
        return self.folder / f"{c}.npy"

    def read(self, c: int, begin: int, end: int) -> np.ndarray:
        """See :class:`Classes`; raises LopError for numbers that are not finite or too large for zero-mean images."""
        rows = self._open(c)[begin:end].astype(np.float32)
        largest = float(max(rows.max(), -rows.min()))
        if not math.isfinite(largest):
            raise self._wrong(c, "holds numbers that are not finite")
        if largest > LARGEST:
            raise self._wrong(c, f"holds numbers of up to {largest:g}")
        return rows

    def _open(self, c: int) -> np.ndarray:
        try:
            rows = np.load(self.path(c), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise self._wrong(c, "is missing") from None
        except (OSError, ValueError, EOFError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise self._wrong(c, f"is cut off or no array ({reason})") from error
        if not isinstance(rows, np.ndarray):
            raise self._wrong(c, "is an archive, not an array")
        if rows.dtype.kind != "f" or rows.shape[1:] != IMAGE or len(rows) < self.images:
            raise self._wrong(c, f"is a {rows.dtype} array of shape {rows.shape}")
        return rows

    def _wrong(self, c: int, what: str) -> LopError:
        shape = f"[{self.images} or more, 3, 32, 32]"
        return LopError(
            f"{self.path(c)} {what}: expected floats of zero mean, about ±{BOUND}, of shape {shape}; {HELP}"
        )


class SyntheticClasses:
    """Any number of classes of noise, each with a pattern of its own; see :func:`synthetic_images`.

    Args:
        folder: Not used.
        classes: Not used.
        images: Not used.
    """

    def __init__(self, folder: str, classes: int, images: int) -> None:
        pass

    def read(self, c: int, begin: int, end: int) -> np.ndarray:
        """See :class:`Classes`."""
        return synthetic_images(c, end)[begin:]


SOURCES: dict[str, type[ClassFiles] | type[SyntheticClasses]] = {"files": ClassFiles, "synthetic": SyntheticClasses}


def synthetic_images(c: int, count: int) -> np.ndarray:
    """The first ``count`` images of class ``c``, ``[count, 3, 32, 32]``, float32, a function of ``c`` alone.

    x = clip(0.26 ε + 0.1 cos(2π r·k + φ) v + 0.01 m, ±0.63) with white noise ε ~ N(0, 1) and a phase φ ~ U(0, 2π) an
    image. The class has its wave vector k (a period of 4 to 8 pixels), its colour v (|v|² = 3) and its smooth pattern
    m of standard deviation 1. A linear network sees m alone and is right on about 80 % of two classes; convolutions see
    the waves too.
    """
    rng, phases = generator(0, "imagenet32", "synthetic", c), generator(0, "imagenet32", "synthetic phases", c)
    coarse = torch.from_numpy(rng.standard_normal((1, 3, 6, 6)))
    mean = F.interpolate(coarse, size=IMAGE[1:], mode="bicubic", align_corners=False)[0].numpy()
    colour = rng.standard_normal(3)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 8)
    y, x = np.mgrid[: IMAGE[1], : IMAGE[2]]
    places = 2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y)
    waves = np.cos(places + phases.uniform(0, 2 * np.pi, (count, 1, 1))).astype(np.float32)[:, None]
    images = rng.standard_normal((count, *IMAGE), dtype=np.float32)
    images *= NOISE
    images += waves * (GRATING * math.sqrt(3) * colour / np.linalg.norm(colour)).astype(np.float32)[:, None, None]
    images += (MEAN * mean / mean.std()).astype(np.float32)
    return images.clip(-BOUND, BOUND, out=images)
