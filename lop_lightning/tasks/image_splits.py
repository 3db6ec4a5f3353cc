"""Grey images in two parts, one to train on and one to test on, as real numbers of a chosen scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import ConfigError, LopError
from lop_lightning.tasks.images import Images, digits, mnist

CLASSES = 10
PARTS = ("train", "test")
SIDES = {"digits": 8, "mnist": 28}
MOMENTS = {"digits": (0.3051, 0.3762), "mnist": (0.1307, 0.3081)}
"""Mean and standard deviation of the training pixels in [0, 1], of each source."""
FEWEST = {"digits": (140, 34), "mnist": (5421, 892)}
"""Training and test images of the rarest class, of each source."""
SCALES = ("normalised", "unit", "raw")


def digits_part(data_dir: str, part: str) -> Images:
    """1,442 training or 355 test digits: every fifth of each class, in scikit-learn's order, is for testing."""
    images = digits(data_dir)
    tested = numbers_within_class(images.labels) % 5 == 4
    return chosen(images, tested if part == "test" else ~tested)


SPLITS: dict[str, Callable[[str, str], Images]] = {"digits": digits_part, "mnist": mnist}


def first_images(source: str, data_dir: str, part: str, count: int | None, balanced: bool) -> Images:
    """The first ``count`` images of each class in a part of a source, in the data set's order.

    Args:
        source: ``digits`` or ``mnist``.
        data_dir: Folder that downloaded files are kept in.
        part: ``train`` or ``test``.
        count: Images of each class; ``None`` is all.
        balanced: Whether all means as many of each class as the rarest has.

    Raises:
        ConfigError: some class has fewer images than ``count``.
        LopError: MNIST is not there, damaged, or lacks images of a class.
    """
    images = SPLITS[source](data_dir, part)
    counts = images.labels.bincount(minlength=CLASSES)
    rarest, fewest = int(counts.argmin()), int(counts.min())
    if fewest == 0:
        raise LopError(f"the {part} images of {source} in {data_dir} have none of class {rarest}: all ten are needed")
    if count is not None and count > fewest:
        raise ConfigError(f"{part}_images", count, f"at most {fewest}, as class {rarest} of {source} has no more")
    if count is None and not balanced:
        return images
    return chosen(images, numbers_within_class(images.labels) < (count or fewest))


def scaled(images: Images, source: str, scale: str) -> Tensor:
    """The images as inputs ``[N, side, side]``, float32.

    ``raw``: grey values as stored (0 to 16 or 255); ``unit``: g = grey / white, in [0, 1]; ``normalised``:
    (g - mean) / deviation, with :data:`MOMENTS`.
    """
    values = images.pixels.float().unflatten(1, (SIDES[source], SIDES[source]))
    if scale == "raw":
        return values
    values.div_(images.white)
    mean, deviation = MOMENTS[source]
    return values if scale == "unit" else values.sub_(mean).div_(deviation)


def numbers_within_class(labels: Tensor) -> Tensor:
    """How many images of its own class come before each image, ``[N]``, int64."""
    numbers = np.empty(len(labels), np.int64)
    for label in labels.unique().tolist():
        places = np.flatnonzero(labels.numpy() == label)
        numbers[places] = np.arange(len(places))
    return torch.from_numpy(numbers)


def chosen(images: Images, mask: Tensor) -> Images:
    """The images at which ``mask [N]`` is true."""
    return Images(images.pixels[mask], images.labels[mask], images.white)
