"""ImageNet in 32 x 32 pixels, one file a class: from the downsampled release, from the photographs, or synthetic.

The files are those of Dohare et al. (2024), "Continual ImageNet": the first 700 images of each of 1000 classes, divided
by 255, less the mean image.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from lop_lightning.errors import LopError
from lop_lightning.prepare.base import Preparation, count, tracked
from lop_lightning.prepare.class_files import ClassWriter, size_of
from lop_lightning.prepare.folder import new_folder
from lop_lightning.tasks.imagenet32 import IMAGE, synthetic_images
from lop_lightning.tasks.safe_pickle import safe_load

BATCHES, PIXELS = 10, 3072
PHOTOGRAPHS = {".jpeg", ".jpg", ".png"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``lop-prepare imagenet32``."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--batches", type=Path, metavar="DIR", help="folder of train_data_batch_1 … _10 of the release")
    source.add_argument("--images", type=Path, metavar="DIR", help="training folder of ILSVRC-2012: a folder a class")
    source.add_argument("--synthetic", action="store_true", help="noise with patterns, for trying things out")
    parser.add_argument("--out", type=Path, default=Path("data/imagenet32/classes"), help="new folder (%(default)s)")
    parser.add_argument("--classes", type=count, metavar="N", help="the first N classes (1000; 20 if synthetic)")
    parser.add_argument("--images-per-class", type=count, default=700, metavar="N", help="the first N (%(default)s)")


def prepare(arguments: argparse.Namespace, console: Console) -> Iterable[str]:
    """Writes ``<out>/0.npy``, ``1.npy``, …, each ``[images, 3, 32, 32]``, float32.

    Raises:
        LopError: a file is missing or damaged, a class has too few images, or there is no room; nothing is then left.
    """
    classes, images = arguments.classes or (20 if arguments.synthetic else 1000), arguments.images_per_class
    folders = image_files(arguments.images, classes, images) if arguments.images else []
    needed = size_of(classes, images) + len(folders) * images * PIXELS
    with new_folder(arguments.out, needed) as folder:
        writer = ClassWriter(folder, classes, images)
        if arguments.batches:
            from_batches(arguments.batches, writer, console)
        elif arguments.images:
            from_images(folders, writer, console)
        else:
            for c in tracked(range(classes), "writing classes", console):
                writer.append(c, synthetic_images(c, images))
    return [*writer.lines(), f"written to {arguments.out}"]


# ---- from the downsampled release


def from_batches(folder: Path, writer: ClassWriter, console: Console) -> None:
    """Fills the writer from the batches, (pixels - mean) / 255, in the order of the files, until it has enough."""
    files = [folder / f"train_data_batch_{number}" for number in range(1, BATCHES + 1)]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise LopError(
            f"there is no {missing}: expected train_data_batch_1 to train_data_batch_{BATCHES} of Imagenet32"
        )
    steps = len(files) * len(writer.written)
    for _ in tracked(_steps(files, writer), "writing classes", console, steps):
        pass
    short = next((c for c, written in enumerate(writer.written) if written < writer.images), None)
    if short is not None:
        found = f"label {short + 1} occurs {writer.written[short]} times in {folder}"
        raise LopError(f"{found}: expected {writer.images} images of it (--images-per-class)")


def _steps(files: list[Path], writer: ClassWriter) -> Iterator[None]:
    """One step a class and file."""
    for file in files:
        if not writer.complete:
            yield from _write_batch(file, writer)


def _write_batch(file: Path, writer: ClassWriter) -> Iterator[None]:
    pixels, labels, mean = read_batch(file)
    order = np.argsort(labels, kind="stable")
    classes = np.arange(1, len(writer.written) + 1)
    begins, ends = (np.searchsorted(labels[order], classes, side) for side in ("left", "right"))
    for c, (begin, end) in enumerate(zip(begins, ends)):
        rows = pixels[order[begin : min(end, begin + writer.images - writer.written[c])]]
        if len(rows):
            writer.append(c, ((rows - mean) / 255).reshape(-1, *IMAGE))
        yield


def read_batch(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels ``[N, 3072]``, uint8; labels ``[N]`` in 1 … 1000; the mean image ``[3072]``, float64, in 0 … 255.

    Raises:
        LopError: the file is damaged or something else.
    """
    content = safe_load(file)
    try:
        pixels, labels, mean = (np.asarray(content[name]) for name in ("data", "labels", "mean"))
    except (TypeError, KeyError, IndexError, ValueError):
        raise LopError(f"{file} is no batch of Imagenet32: expected a dict of data, labels and mean") from None
    if pixels.dtype != np.uint8 or pixels.shape != (len(pixels), PIXELS):
        raise _no_batch(file, "data", f"bytes of shape (N, {PIXELS})", pixels)
    if labels.dtype.kind not in "iu" or labels.shape != (len(pixels),) or not _within(labels, 1, 1000):
        raise _no_batch(file, "labels", f"{len(pixels)} whole numbers from 1 to 1000", labels)
    if mean.dtype.kind not in "fu" or mean.shape != (PIXELS,) or not _within(mean, 0, 255):
        raise _no_batch(file, "mean", f"{PIXELS} numbers from 0 to 255", mean)
    return pixels, labels, mean.astype(np.float64)


def _within(numbers: np.ndarray, low: int, high: int) -> bool:
    return bool(numbers.size) and bool((numbers >= low).all() and (numbers <= high).all())


def _no_batch(file: Path, name: str, expected: str, found: np.ndarray) -> LopError:
    numbers = f", {found.min()} to {found.max()}" if found.dtype.kind in "fiu" and found.size else ""
    return LopError(f"{file}: {name} should be {expected}, and is {found.dtype} of shape {found.shape}{numbers}")


# ---- from photographs


def image_files(folder: Path, classes: int, images: int) -> list[list[Path]]:
    """The first ``images`` files of the first ``classes`` folders, both sorted by name.

    Raises:
        LopError: there are fewer folders, or fewer images in one.
    """
    if not folder.is_dir():
        raise LopError(f"there is no folder {folder}")
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(folders) < classes:
        raise LopError(f"{folder} has {len(folders)} folders: expected {classes}, one a class (--classes)")
    chosen = []
    for own in folders[:classes]:
        files = sorted(path for path in own.iterdir() if path.suffix.lower() in PHOTOGRAPHS)
        if len(files) < images:
            raise LopError(f"class {own.name} has {len(files)} images: expected {images} (--images-per-class); {own}")
        chosen.append(files[:images])
    return chosen


def from_images(folders: list[list[Path]], writer: ClassWriter, console: Console) -> None:
    """Fills the writer: reads and shrinks all images, then takes the mean of all of them from each."""
    total = np.zeros(PIXELS, np.int64)
    with ThreadPoolExecutor() as pool:  # pillow decodes without holding Python's lock
        for c, files in enumerate(tracked(folders, "reading images", console)):
            pixels = np.stack(list(pool.map(read_image, files)))
            total += pixels.sum(axis=0, dtype=np.int64)
            pixels.tofile(_between(writer, c))
    mean = total / sum(len(files) for files in folders)
    for c in tracked(range(len(folders)), "writing classes", console):
        pixels = np.fromfile(_between(writer, c), np.uint8).reshape(-1, PIXELS)
        writer.append(c, ((pixels - mean) / 255).reshape(-1, *IMAGE))
        _between(writer, c).unlink()


def _between(writer: ClassWriter, c: int) -> Path:
    return writer.folder / f"{c}.bytes"


def read_image(file: Path) -> np.ndarray:
    """A photograph in 32 x 32 pixels, each the mean of a box: ``[3072]``, uint8, red, green and blue one after another.

    Raises:
        LopError: it is damaged, or no image.
    """
    try:
        with Image.open(file) as image:
            small: Any = image.convert("RGB").resize(IMAGE[1:], Image.Resampling.BOX)
    except Exception as error:  # damaged bytes can raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LopError(f"{file} is damaged or no image: {reason}") from error
    return np.asarray(small, np.uint8).transpose(2, 0, 1).reshape(-1)


PREPARATION = Preparation("ImageNet in 32 x 32 pixels, for Continual ImageNet: a file a class", add_arguments, prepare)
