"""What a report says of the streams of its runs, where they are not all of one."""

from __future__ import annotations

from collections.abc import Sequence

from lop_lightning.analysis.find import group_by_task
from lop_lightning.analysis.labels import stream_differences
from lop_lightning.analysis.runs import Run

ALL_THE_SAME = "--across-streams compares them all the same"


def stream_of(runs: Sequence[Run]) -> str:
    """The task's name; of several streams that they differ, and in what: for the small print and the tables' titles."""
    return runs[0].task if _one(runs) else f"different streams ({differences(runs)})"


def heading(runs: Sequence[Run], words: str) -> str:
    """A figure's title, which says so where the runs are of different streams."""
    return words if _one(runs) else f"{words} · different streams"


def not_compared(groups: Sequence[Sequence[Run]]) -> str:
    """The line that says why runs (``groups``: those of one stream together) were not compared with each other."""
    runs = [run for group in groups for run in group]
    return (
        f"runs of {len(groups)} streams were reported separately and not compared with each other, since their streams "
        f"differ in {differences(runs)}; {ALL_THE_SAME}"
    )


def differences(runs: Sequence[Run]) -> str:
    """``task.max_length 25 / 50, task.source digits / mnist``."""
    return ", ".join(stream_differences([run.config for run in runs])) or "the class of the task"


def _one(runs: Sequence[Run]) -> bool:
    return len(group_by_task(list(runs))) == 1
