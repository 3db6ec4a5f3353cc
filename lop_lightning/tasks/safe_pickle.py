"""Pickles of arrays and plain containers, read without running what else a pickle may hold."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lop_lightning.errors import LopError

_RECONSTRUCT = np.zeros(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]
_FROM_BUFFER = np.zeros(0).__reduce_ex__(5)[0]

ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): bytes,  # how Python 3 writes bytes for Python 2: text and "latin1"
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FROM_BUFFER for core in ("core", "_core")},
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (bytearray, bytes, complex, frozenset, set)
    },
}
"""What a pickle may name, by module and name: numpy's arrays in every version of the format, and containers."""


class PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows the names of :data:`ALLOWED` and no others."""

    def find_class(self, module: str, name: str) -> Any:
        """The object called ``name`` in ``module``; raises ``UnpicklingError`` unless it is allowed."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is neither an array nor a plain container")
        return ALLOWED[module, name]


def safe_load(path: str | Path) -> Any:
    """The object pickled in the file ``path``: arrays, numbers, text and containers of them.

    Text that Python 2 wrote becomes ``str``, byte for byte (latin-1).

    Raises:
        LopError: the file cannot be read, is cut off or damaged, or names anything else; nothing of it is then run.
    """
    try:
        with Path(path).open("rb") as file:
            return safe_read(file, path)
    except OSError as error:
        raise LopError(f"cannot read {path}: {error.strerror or error}") from error


def safe_loads(content: bytes, name: str | Path) -> Any:
    """As :func:`safe_load`, from bytes; ``name`` says in errors where they come from."""
    return safe_read(io.BytesIO(content), name)


def safe_read(file: BinaryIO, name: str | Path) -> Any:
    """As :func:`safe_load`, from an open file; ``name`` says in errors which."""
    try:
        return PlainUnpickler(file, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:  # damaged bytes can raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise LopError(f"{name} is not a pickle of arrays and plain containers, or is damaged: {reason}") from error
