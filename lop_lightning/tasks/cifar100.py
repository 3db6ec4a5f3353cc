"""CIFAR-100 from the files of its Python archive; each file's md5 is checked before anything in it is read."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lop_lightning.errors import LopError
from lop_lightning.tasks.download import fetch
from lop_lightning.tasks.safe_pickle import safe_loads

CLASSES, SIDE = 100, 32
TRAIN_IMAGES, TEST_IMAGES = 500, 100  # of each class
MEAN = (0.5071, 0.4865, 0.4409)
DEVIATION = (0.2673, 0.2564, 0.2762)

FOLDER = "cifar-100-python"
ARCHIVE = f"{FOLDER}.tar.gz"


def cifar100(data_dir: str, part: str, per_class: int) -> Tensor:
    """The first ``per_class`` images of each fine class of CIFAR-100 (Krizhevsky 2009), in the order of the file.

    They are read from ``data_dir/cifar-100-python``, or from the archive ``data_dir/cifar-100-python.tar.gz`` without
    unpacking it. If neither is there, they are downloaded.

    Args:
        data_dir: Folder that downloaded files are kept in.
        part: ``train`` (500 images of each class) or ``test`` (100).
        per_class: Images of each class that are needed.

    Returns:
        Bytes ``[100, per_class, 3, 1024]``: class, image, channel, pixels row after row.

    Raises:
        LopError: the file cannot be downloaded, its md5 is not the published one, or it holds something else.
    """
    folder = Path(data_dir).expanduser()
    source, content = read(folder, part)
    entry = safe_loads(content, f"{part} in {source.absolute()}")
    pixels, labels = arrays(entry, source, folder)
    count = np.bincount(labels, minlength=CLASSES)
    if count.min() < per_class:
        reason = f"it has {count.min()} images of class {count.argmin()} in {part}, expected at least {per_class}"
        raise damaged(source, reason, folder)
    first = np.stack([np.flatnonzero(labels == label)[:per_class] for label in range(CLASSES)])
    return torch.from_numpy(pixels[first]).unflatten(-1, (3, -1))


def arrays(entry: object, source: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels ``[N, 3072]`` and fine labels ``[N]`` of what was pickled; raises :class:`LopError` if they are not."""
    if not isinstance(entry, dict):
        raise damaged(source, f"it holds a {type(entry).__name__}, expected a dictionary", folder)
    entry = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in entry.items()}
    for key in ("data", "fine_labels"):
        if key not in entry:
            raise damaged(source, f"{key!r} is missing in it", folder)
    pixels, labels = np.asarray(entry["data"]), np.asarray(entry["fine_labels"])
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 * SIDE**2:
        shape = f"{pixels.dtype} {list(pixels.shape)}"
        raise damaged(source, f"'data' is {shape}, expected uint8 [N, {3 * SIDE**2}]", folder)
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise damaged(source, f"'fine_labels' does not have one class for each of {len(pixels)} images", folder)
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= CLASSES:
        reason = f"'fine_labels' goes from {labels.min()} to {labels.max()}, expected 0 to {CLASSES - 1}"
        raise damaged(source, reason, folder)
    return pixels, labels.astype(np.int64)


def checksums() -> dict[str, str]:
    """The published md5 of the archive and of its files ``train`` and ``test``, as torchvision knows them."""
    from torchvision.datasets import CIFAR100  # slow to import, and of no use to other streams

    return {ARCHIVE: CIFAR100.tgz_md5, **dict([*CIFAR100.train_list, *CIFAR100.test_list])}


def read(folder: Path, part: str) -> tuple[Path, bytes]:
    """The file that ``part`` is found in, downloaded if need be, and the content of ``part``, as published."""
    path, archive = folder / FOLDER / part, folder / ARCHIVE
    if not path.is_file() and not archive.is_file():
        download(folder)
    source = path if path.is_file() else archive
    try:
        content = source.read_bytes()
        found, expected = hashlib.md5(content, usedforsecurity=False).hexdigest(), checksums()[source.name]
        if found != expected:
            raise damaged(source, f"the md5 of its {len(content)} bytes is {found}, expected {expected}", folder)
        if source == path:
            return path, content
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as members:
            member = members.extractfile(f"{FOLDER}/{part}")
            return archive, member.read() if member else b""
    except (OSError, EOFError, KeyError, zlib.error, tarfile.TarError) as error:
        raise damaged(source, f"{part} cannot be read from it ({error})", folder) from error


def download(folder: Path) -> None:
    """Fetches the archive, checks its md5, and moves its files into ``folder`` once they are whole.

    Raises:
        LopError: there is no connection, or ``folder`` cannot be written to.
    """
    from torchvision.datasets import CIFAR100

    fetch(
        "CIFAR-100", lambda private: CIFAR100(private, download=True), FOLDER, folder, folder / FOLDER, remedy(folder)
    )


def damaged(path: Path, reason: str, folder: Path) -> LopError:
    """The error that names a bad file and how to mend it."""
    return LopError(f"{path.absolute()} is damaged: {reason}; delete it to download it anew, or {remedy(folder)}")


def remedy(folder: Path) -> str:
    """What to put where."""
    archive, *files = (f"{name} (md5 {md5})" for name, md5 in checksums().items())
    return (
        f"put {archive} into {folder.absolute()}, or its files {' and '.join(files)} into its folder {FOLDER}, "
        "or use task.source=synthetic, which needs no download"
    )
