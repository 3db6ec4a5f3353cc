"""The lock of a run directory: one process trains there, others may look whether it does."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import TextIO

NAME = ".lock"
_WAITS = (0.05, 0.2, 0.5)
"""Seconds between tries to take it: whoever looks holds it for an instant."""


def take(directory: Path) -> TextIO:
    """The lock's file; closing it, or the end of the process, gives the lock back.

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be written.
    """
    file = (directory / NAME).open("w")
    try:
        for wait in (*_WAITS, None):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if wait is None:
                    raise
                time.sleep(wait)
    except OSError:
        file.close()
        raise
    return file


def taken(directory: Path) -> bool:
    """Whether a process trains in this directory now; nothing is written."""
    try:
        with (directory / NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, no run
        return False
    return False
