"""How far runs have come with R: after how many updates each R was solved, and which were given up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lop_lightning.analysis.runs import Run
from lop_lightning.errors import LopError

STAGES = ["seed", "R", "updates", "total", "solved", "capped"]
WANTED = ("trained_r", "solved_r", "capped")


def stages(run: Run) -> pd.DataFrame:
    """For each seed the R that it trained, in order.

    Returns:
        Columns ``seed``; ``R``; ``updates`` on it, until it was solved or given up, or up to now; ``total``, updates
        made in all at the end of that period; ``solved``; ``capped``: whether it was given up.

    Raises:
        LopError: the run has no curriculum over R.
    """
    rows: list[tuple[int, int, int, int, bool, bool]] = []
    for seed, own in _periods(run).groupby("seed"):
        before = 0
        for r, stage in own.groupby("trained_r"):  # R only ever grows
            over = stage[(stage["solved_r"] >= r) | (stage["capped"] == 1)]
            end = (over if len(over) else stage).iloc[0 if len(over) else -1]
            solved, total = bool(end["solved_r"] >= r), int(end["update"])
            took = int(end["solved_after"]) if solved else total - before
            rows.append((int(str(seed)), int(str(r)), took, total, solved, bool(end["capped"] == 1)))
            before = total
    return pd.DataFrame(rows, columns=STAGES)


def trained_over_updates(run: Run) -> pd.DataFrame:
    """Seeds × updates: the R that each trained in the period that ended with so many updates, and at 0 its first R.

    Of a stretch in which no seed goes on, only the two ends are there: between any two columns R is the later one's.

    Raises:
        LopError: the run has no curriculum over R.
    """
    wide = _periods(run).pivot(index="seed", columns="update", values="trained_r")
    wide.insert(0, 0, wide.iloc[:, 0])
    moved = (wide.diff(axis=1) > 0).any(axis=0).to_numpy()
    kept = moved | np.append(moved[1:], True)
    kept[0] = True
    return wide.loc[:, kept].rename_axis(columns="update")


def reached(run: Run) -> pd.DataFrame:
    """For each seed (index) ``solved``, the greatest R it solved (0: none), ``attempted``, trained; and ``capped``.

    Raises:
        LopError: the run has no curriculum over R.
    """
    of_seed = _periods(run).groupby("seed")
    found = of_seed.agg(solved=("solved_r", "max"), attempted=("trained_r", "max"), capped=("capped", "max"))
    return found.astype(int)


def _periods(run: Run) -> pd.DataFrame:
    """A row a seed and period, with the columns ``seed``, ``update``, those of :data:`WANTED`, ``solved_after``."""
    if set(WANTED) - set(run.metrics()):
        raise LopError(f"{run.directory} has no curriculum over R: it is no run of task=familiarity or task=scenes")
    rows = run.record[(run.record["layer"] == "") & run.record["metric"].isin([*WANTED, "solved_after"])]
    wide = rows.assign(metric=rows["metric"].astype(str)).pivot_table(
        index=["seed", "task", "update"], columns="metric", values="value"
    )
    wide = wide.reindex(columns=[*WANTED, "solved_after"]).reset_index().dropna(subset=[*WANTED])
    return wide.astype(dict.fromkeys(WANTED, int))
