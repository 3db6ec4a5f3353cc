"""A folder that is there when it is whole, and not before."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lop_lightning.errors import LopError

MARK = ".lop-prepare"


@contextmanager
def new_folder(out: Path, needed_bytes: int = 0) -> Iterator[Path]:
    """Gives ``<out>.part`` to be filled; it becomes ``out`` at the end, in one step, if nothing was raised.

    Whatever is raised inside, the part and the folders made for it are removed. The part of a process that was killed
    is removed by the next call. Two processes never share one.

    Raises:
        LopError: ``out`` has something in it, which is never overwritten; another process is filling the part; the
            part is somebody's own; the disk has fewer than ``needed_bytes`` free.
    """
    out = out.expanduser().absolute()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise LopError(f"{out} is there already and is never overwritten: remove it, or give another --out")
    part = out.with_name(f"{out.name}.part")
    made = [folder for folder in out.parents if not folder.exists()]
    if part.exists() and not (part.is_dir() and ((part / MARK).exists() or not any(part.iterdir()))):
        raise LopError(f"{part} is in the way and was not made by lop-prepare: remove it, or give another --out")
    part.mkdir(parents=True, exist_ok=True)
    with (part / MARK).open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LopError(f"{part} is being filled by another lop-prepare") from None
        try:
            _empty(part)
            free = shutil.disk_usage(part).free
            if free < needed_bytes:
                raise LopError(f"{part} needs {needed_bytes / 1e9:.1f} GB, and the disk has {free / 1e9:.1f} GB free")
            yield part
            part.replace(out)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            with suppress(OSError):  # until one that somebody else put something into
                for folder in made:
                    folder.rmdir()
            raise
        (out / MARK).unlink()


def _empty(part: Path) -> None:
    for path in part.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()
