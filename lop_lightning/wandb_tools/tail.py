"""Reading a record as it grows: each task once, when it is complete."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from lop_lightning.analysis.record import COLUMNS

DROPPED = "dropped_at_update"
"""The metric that says that a seed diverged and was left behind."""

_TYPES = {**COLUMNS, "layer": "str", "metric": "str"}
_HEADER = (",".join(COLUMNS) + "\n").encode()


class RecordTail:
    """The rows of ``record.csv`` that were not taken yet.

    Args:
        path: The record. It may grow; it must not be cut back once rows were taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._rows = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _TYPES.items()})
        self._next = 0
        self._dropped: dict[int, int] = {}

    def take(self, before: int | None = None) -> tuple[pd.DataFrame, list[int]]:
        """The tasks with a number below ``before`` (None: all) that were not taken yet, in order, and their rows.

        The rows are in the record's form. With them come those of the task before, because an online series is weighed
        by the updates since the row before. From the task in which a seed diverged its values are NaN.
        """
        self._read()
        tasks = self._rows["task"].to_numpy()
        end = before if before is not None else int(tasks.max(initial=-1)) + 1
        taken = sorted({int(task) for task in tasks if self._next <= task < end})
        if not taken:
            return self._rows.iloc[:0], []
        rows = self._rows[tasks < end]
        self._rows = self._rows[tasks >= taken[-1]]
        self._next = taken[-1] + 1
        return self._without_dropped(rows), taken

    def last_task(self) -> int:
        """The number of the last task that has rows; -1 where there is none."""
        self._read()
        return max(int(self._rows["task"].max()), self._next - 1) if len(self._rows) else self._next - 1

    def _read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._position)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            return
        source = whole if self._position == 0 else _HEADER + whole
        self._position += len(whole)
        new = pd.read_csv(BytesIO(source), dtype=_TYPES, keep_default_na=False, na_values={"value": ["nan", ""]})
        for seed, task in new.loc[new["metric"] == DROPPED, ["seed", "task"]].to_numpy():
            self._dropped[int(seed)] = int(task)
        self._rows = pd.concat([self._rows, new], ignore_index=True)

    def _without_dropped(self, rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows[rows["metric"] != DROPPED]
        if not self._dropped:
            return rows
        since = rows["seed"].map(self._dropped).to_numpy(np.float64)  # NaN for the seeds that go on
        return rows.assign(value=rows["value"].where(~(rows["task"].to_numpy() >= since)))
