"""Fetching a public data set into a folder: its files are there whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lop_lightning.errors import LopError


def fetch(name: str, get: Callable[[str], object], inner: str, folder: Path, target: Path, remedy: str) -> None:
    """Downloads a data set beside its place and moves its files there once they are whole.

    Args:
        name: The data set, for the message.
        get: Downloads into the folder it is given and checks what has come.
        inner: Where in that folder the files then lie.
        folder: Where to download, and what the message names.
        target: Where the files go, on the same disk.
        remedy: What to do where nothing can be downloaded, for the message.

    Raises:
        LopError: there is no connection, or ``folder`` cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # several runs of a sweep may do this at once: each fills a folder of its own, and renaming is atomic
        with TemporaryDirectory(dir=folder) as private:
            get(private)
            target.mkdir(exist_ok=True)
            for path in (Path(private) / inner).iterdir():
                path.replace(target / path.name)
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise LopError(f"{name} is not in {folder.absolute()} and cannot be downloaded ({reason}): {remedy}") from error
