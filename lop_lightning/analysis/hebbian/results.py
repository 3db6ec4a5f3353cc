"""Results of tests of networks that had solved an R, kept beside their run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from lop_lightning.analysis.timescales.results import Results


class ResultsOverR(Results):
    """:class:`~lop_lightning.analysis.timescales.results.Results` of networks that had solved an R instead of an N."""

    def path(self, seed: int, n: int) -> Path:
        """Where the table of the network of ``seed`` that solved R = ``n`` is."""
        return self.folder / f"seed-{seed:05d}-R-{n:05d}.csv"

    def get(self, seed: int, n: int, updates: int, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """See :class:`Results`; the second column is ``R``."""
        return super().get(seed, n, updates, compute).rename(columns={"N": "R"})
