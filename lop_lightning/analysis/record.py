"""Reading ``record.csv``, the long table a run writes: seed, task, epoch, update, layer, metric, value."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pandas as pd

COLUMNS = {
    "seed": "int64",
    "task": "int32",
    "epoch": "int32",
    "update": "int64",
    "layer": "category",
    "metric": "category",
    "value": "float64",
}
"""Columns of the record and the types they are read with; millions of rows fit because names are categories."""


def read_record(path: Path) -> pd.DataFrame:
    """Read a record; a last line that was cut (the run was killed while writing, or writes just now) is left out.

    The empty layer of whole-network metrics is the category ``""``. Raises ValueError naming the file when it is
    missing, when its header is another one, or when a line inside it cannot be read.
    """
    header = ",".join(COLUMNS)
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline()
        source = _whole_lines(path) if first.endswith("\n") else BytesIO(f"{header}\n".encode())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    if first.strip() != header and not header.startswith(first):  # a part of it: killed while writing the first line
        raise ValueError(f"{path}: is no record, its first line is not {header}")
    try:
        record = pd.read_csv(source, dtype=COLUMNS, keep_default_na=False, na_values={"value": ["nan", ""]})
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: has a line that is no record row ({str(error).splitlines()[0]})") from None
    for name in ("layer", "metric"):  # an empty record has untyped categories
        record[name] = record[name].cat.rename_categories([str(c) for c in record[name].cat.categories])
    return record


def _whole_lines(path: Path) -> Path | BytesIO:
    """The path itself when its last line is complete, else its complete lines."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        if file.read(1) == b"\n":
            return path
        file.seek(0)
        content = file.read()
    return BytesIO(content[: content.rfind(b"\n") + 1])
