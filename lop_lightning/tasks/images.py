"""Where images come from: scikit-learn's digits, which need no download, and MNIST."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import LopError
from lop_lightning.tasks.download import fetch

MNIST_FILES = {  # name → md5 of its .gz form, as published with the data set
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
MNIST_PARTS = {"train": "train", "test": "t10k"}  # part → how the names of its files begin


@dataclass(frozen=True)
class Images:
    """Grey images with their classes.

    Attributes:
        pixels: ``[N, P]``, uint8, rows of the image one after another.
        labels: ``[N]``, int64.
        white: Value of the brightest pixel; ``pixels / white`` lies in [0, 1].
    """

    pixels: Tensor
    labels: Tensor
    white: int

    def to(self, device: torch.device) -> Images:
        """The same images on ``device``."""
        return Images(self.pixels.to(device), self.labels.to(device), self.white)


def digits(data_dir: str) -> Images:
    """1,797 digits of 8 x 8 pixels with 17 grey values (UCI optical recognition of handwritten digits).

    They come with scikit-learn, in its order; ``data_dir`` is not used.
    """
    from sklearn.datasets import load_digits  # slow to import, and of no use to other streams

    pixels, labels = load_digits(return_X_y=True)
    return Images(torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels.astype(np.int64)), 16)


def mnist(data_dir: str, part: str = "train") -> Images:
    """MNIST's images of 28 x 28 pixels (LeCun et al. 1998), from ``data_dir/MNIST/raw``.

    The files may be there with or without ``.gz``. If not, they are downloaded and checked against their md5.

    Args:
        data_dir: Folder that downloaded files are kept in.
        part: ``train`` (60,000 images) or ``test`` (10,000).

    Raises:
        LopError: the files cannot be downloaded, or one of them is damaged.
    """
    folder = Path(data_dir).expanduser() / "MNIST" / "raw"
    images, labels = (name for name in MNIST_FILES if name.startswith(MNIST_PARTS[part]))
    if not (find(folder, images) and find(folder, labels)):
        download_mnist(folder)
    pixels, classes = read_idx(folder, images), read_idx(folder, labels)
    if pixels.ndim != 3 or pixels.shape[1:] != (28, 28):
        raise damaged(folder, images, f"images have the shape {pixels.shape[1:]} instead of (28, 28)")
    if classes.shape != pixels.shape[:1] or classes.max(initial=0) > 9:
        raise damaged(folder, labels, f"it does not hold one class of 0 to 9 for each of {len(pixels)} images")
    return Images(torch.from_numpy(pixels.reshape(len(pixels), -1)), torch.from_numpy(classes.astype(np.int64)), 255)


SOURCES: dict[str, Callable[[str], Images]] = {"digits": digits, "mnist": mnist}
PIXELS = {"digits": 64, "mnist": 784}


def find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in ``folder``, with or without ``.gz``, or ``None``."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def download_mnist(folder: Path) -> None:
    """Fetches the four files, checks their md5, and moves them into ``folder`` once they are whole.

    Raises:
        LopError: there is no connection, or ``folder`` cannot be written to.
    """
    from torchvision.datasets import MNIST

    names = ", ".join(MNIST_FILES)
    remedy = f"put {names} there (.gz or not), or use task.source=digits, which needs no download"
    fetch("MNIST", lambda private: MNIST(private, download=True), "MNIST/raw", folder, folder, remedy)


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The array of bytes in an idx file: magic number 0x08 and the rank, the sizes (big-endian), then the data.

    Raises:
        LopError: the file is missing or damaged.
    """
    path = find(folder, name)
    if path is None:
        raise damaged(folder, name, "it is missing")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        kind, rank = struct.unpack(">HBB", content[:4])[1:]
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise damaged(folder, path.name, str(error)) from error
    if kind != 8 or rank == 0 or prod(shape) == 0:
        raise damaged(folder, path.name, "it does not begin as an idx file of bytes does")
    length = 4 + 4 * rank + prod(shape)
    if len(content) != length:
        raise damaged(folder, path.name, f"it holds {len(content)} bytes, and its head promises {length}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()


def damaged(folder: Path, name: str, reason: str) -> LopError:
    """The error that names a bad file and how to mend it."""
    plain = name.removesuffix(".gz")
    sums = ", ".join(f"{file}.gz (md5 {md5})" for file, md5 in MNIST_FILES.items())
    return LopError(
        f"{(folder / name).absolute()} is damaged: {reason}; delete {plain} and {plain}.gz to download them anew, or "
        f"put there {sums}, or use task.source=digits, which needs no download"
    )
