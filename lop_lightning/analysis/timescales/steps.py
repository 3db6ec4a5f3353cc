"""How many updates it took to solve each N: by a curriculum, and by a network that begins there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.statistics import seed_interval
from lop_lightning.errors import LopError

COLUMNS = ["seed", "N", "updates", "total", "solved"]


def updates_to_solve(run: Run) -> pd.DataFrame:
    """For each seed and each range of N that it was trained on: how long it took to solve it.

    Returns:
        Columns ``seed``; ``N``, the range's largest; ``updates`` made on the range; ``total``, updates made in all by
        then; and ``solved``. Of a range that was not solved (the last one, or one that was made smaller) they are the
        updates that were not enough.

    Raises:
        LopError: the run has no curriculum.
    """
    rows = run.record[run.record["layer"] == ""]
    wanted = {"highest_n", "solved_n", "lowest_n"}
    rows = rows[rows["metric"].isin(wanted)]
    if wanted - set(rows["metric"].astype(str)):
        raise LopError(f"{run.directory} has no curriculum: it is no run of task=parity or task=dms")
    wide = rows.assign(metric=rows["metric"].astype(str)).pivot_table(
        index=["seed", "task", "update"], columns="metric", values="value"
    )
    found: list[tuple[int, int, int, int, bool]] = []
    for seed, own in wide.reset_index().groupby("seed"):
        columns = (own[name].astype(int).tolist() for name in ("lowest_n", "highest_n", "solved_n", "update"))
        periods, before, done = list(zip(*columns)), 0, None
        for place, (low, high, solved, update) in enumerate(periods):
            if done == (low, high):  # a seed that has finished practises on
                continue
            is_last = place + 1 == len(periods) or periods[place + 1][:2] != (low, high)
            if solved >= high or is_last:
                found.append((int(str(seed)), high, update - before, update, solved >= high))
                before, done = update, (low, high)
    return pd.DataFrame(found, columns=COLUMNS)


def solved_line(run: Run) -> str | None:
    """How far the seeds of a curriculum run, over N or R, have come, in a line; ``None`` where there is no curriculum.

    Of a curriculum over R the line also says how many seeds have given an R up.
    """
    letter = next((letter for letter in "NR" if f"solved_{letter.lower()}" in run.metrics()), None)
    if letter is None:
        return None
    last = run.series(f"solved_{letter.lower()}").ffill(axis=1).iloc[:, -1]
    found = seed_interval(last)
    mean = f"{found.estimate:.1f}" + ("" if found.n < 2 else f" [{found.low:.1f}, {found.high:.1f}]")
    seeds = ", ".join(f"{int(n)}" for n in sorted(last))
    capped = int(run.series("capped").eq(1).any(axis=1).sum()) if letter == "R" else 0
    gave_up = f"; {capped} of {found.n} did not solve an R within task.max_updates_per_r" if capped else ""
    line = f"solved   {letter} = {mean}, n = {found.n} (seed by seed {seeds}){gave_up}"
    return f"{line}; {letter} rises, so first and last tasks are not alike"


def fresh_steps(runs: Sequence[Run]) -> pd.DataFrame:
    """:func:`updates_to_solve` of several runs without a curriculum (``task.curriculum=none``), each of one range."""
    tables = [updates_to_solve(run) for run in runs]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def by_n(table: pd.DataFrame, column: str = "updates") -> pd.DataFrame:
    """Seeds × N: the updates that each took to solve N; where it never did, NaN."""
    solved = table[table["solved"]]
    wide = solved.pivot_table(index="seed", columns="N", values=column, aggfunc="first")
    return wide.astype(np.float64).rename_axis(columns="N")
