"""Results of an analysis, one file a network, kept beside the run: what was computed once is read ever after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lop_lightning.errors import LopError
from lop_lightning.records.files import write_atomically

FOLDER = "analysis"


class Results:
    """``<run>/analysis/<study>/<hash of its settings>/``: ``settings.json``, and a table for each network.

    A table is written whole or not at all, so a study that was stopped goes on where it was. It is made anew when the
    network that it is of has been trained anew (its number of updates has changed).

    Args:
        run: The run directory.
        study: Name of the analysis.
        settings: Everything that its numbers depend on: plain values.
        letter: What networks have solved: ``N``, or ``R``.
    """

    def __init__(self, run: Path, study: str, settings: Mapping[str, Any], letter: str = "N") -> None:
        text = json.dumps(dict(settings), sort_keys=True)
        self.folder = run / FOLDER / study / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.settings, self.letter = dict(settings), letter

    def path(self, seed: int, n: int) -> Path:
        """Where the table of the network of ``seed`` that solved ``n`` is."""
        return self.folder / f"seed-{seed:05d}-{self.letter}-{n:05d}.csv"

    def get(self, seed: int, n: int, updates: int, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table of a network, ``seed`` and ``N`` (or ``R``) its first columns, from its file or computed and kept.

        Args:
            seed: The network's seed.
            n: The N (or R) that it solved.
            updates: How many updates it had been trained for.
            compute: Makes the table.

        Raises:
            LopError: the table cannot be written.
        """
        path = self.path(seed, n)
        kept = _read(path, updates)
        if kept is None:
            kept = compute()
            content = f"# after {updates} updates\n{kept.to_csv(index=False, float_format='%.10g')}"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self.folder / "settings.json", json.dumps(self.settings, indent=1))
                write_atomically(path, content)
            except OSError as error:
                raise LopError(f"cannot write {path}: {error.strerror}") from error
            kept = _read(path, updates)  # the same numbers now as later
            assert kept is not None
        kept.insert(0, self.letter, n)
        kept.insert(0, "seed", seed)
        return kept


def _read(path: Path, updates: int) -> pd.DataFrame | None:
    try:
        with path.open(encoding="utf-8") as file:
            if file.readline() != f"# after {updates} updates\n":
                return None
            return pd.read_csv(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # also bytes that are no text
        return None
