"""What is set once for the whole process, so that updates are quick."""

from __future__ import annotations

import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def tune_process() -> None:
    """Flushes denormal numbers to zero and keeps freed memory (:func:`keep_freed_memory`); changes the process."""
    torch.set_flush_denormal(True)  # numbers below 1e-38 cost a CPU a hundred times a normal one
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Keeps memory that tensors gave back in the process, for the tensors of the next update.

    By default the GNU C library gets every block of some size from the system and returns it: each update then touches
    all of it for the first time, page by page, and that was seen to take more than half of an update of a large
    recurrent network. The process afterwards holds as much as it ever needed at once. Nothing elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
