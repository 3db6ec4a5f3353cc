"""The record of a run: one long table, append-only, the truth that every figure is drawn from.

Columns ``seed,task,epoch,update,layer,metric,value``; read it with ``pandas.read_csv``. It is written through at every
flush, so it survives ``kill -9``; on resume the rows that came after the checkpoint are cut off.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lop_lightning.errors import RunError

HEADER = "seed,task,epoch,update,layer,metric,value\n"


class Record:
    """Writes rows; values of all seeds come together.

    Args:
        path: The file; ``None`` keeps the table in memory (see :meth:`text`).
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._rows: list[str] = []
        self._file: io.BytesIO | io.FileIO = io.BytesIO() if path is None else io.FileIO(path, "ab")
        if self._file.tell() == 0:
            self._rows.append(HEADER)

    def write(
        self, seeds: Sequence[int], place: tuple[int, int, int], metric: str, values: Tensor, layer: str = ""
    ) -> None:
        """One value a seed.

        Args:
            seeds: The seeds.
            place: Task, epoch, and number of updates made so far in the whole stream.
            metric: What was measured.
            values: ``[S]``, in the order of ``seeds``.
            layer: The hidden layer it was measured in, or nothing.
        """
        digits = ".9g" if values.dtype == torch.float32 else ".17g"  # what it takes to get the same bits back
        where = f",{place[0]},{place[1]},{place[2]},{layer},{metric},"
        self._rows.extend(f"{seed}{where}{value:{digits}}\n" for seed, value in zip(seeds, values.tolist()))

    def flush(self, durable: bool = False) -> None:
        """Hands the rows to the operating system; ``durable`` waits until they are on the disk.

        Raises:
            RunError: the disk is full or the file cannot be written; then the rows are dropped, all of them.
        """
        content, whole = "".join(self._rows).encode(), self._file.tell()
        self._rows.clear()
        try:
            while content:  # the operating system may take a part of it only
                content = content[self._file.write(content) :]
            if durable and self.path is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(whole)
            raise RunError(
                f"cannot write {self.path}: {error.strerror}; make room and run the same command again"
            ) from error

    def position(self) -> int:
        """Bytes written, after a durable flush."""
        self.flush(durable=True)
        return self._file.tell()

    def rewind(self, position: int) -> None:
        """Cuts the record back to ``position`` bytes.

        Raises:
            RunError: the file is shorter than that: rows are missing that the checkpoint counts on.
        """
        self._rows.clear()
        size = self._file.seek(0, os.SEEK_END)
        if size < position:
            raise RunError(
                f"{self.path} has {size} bytes, the checkpoint was made when it had {position}: rows are lost; put the "
                f"file back, or move {self.path and self.path.parent} away to start anew"
            )
        self._file.truncate(position)
        self._file.seek(position)

    def text(self) -> str:
        """The whole table as CSV text."""
        self.flush()
        if self.path is not None:
            return self.path.read_text()
        assert isinstance(self._file, io.BytesIO)
        return self._file.getvalue().decode()

    def close(self) -> None:
        """Writes what is left and closes the file."""
        if not self._file.closed:
            try:
                self.flush(durable=True)
            finally:
                self._file.close()
