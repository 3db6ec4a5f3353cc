"""How long it took to solve N, by a curriculum and by networks that begin there, in one figure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lop_lightning.analysis.labels import ACROSS, run_labels, same_task
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.timescales.steps import by_n, fresh_steps, updates_to_solve
from lop_lightning.report.figures import Plot
from lop_lightning.report.panels import Panel
from lop_lightning.report.timescale_figures import Shown, lines

N_KEYS = ("start_n", "init_heads")
"""Keys of a task that say on which N a network without a curriculum is trained."""


def steps_plot(curricula: Sequence[Shown], fresh: Sequence[Shown]) -> Plot:
    """Updates to solve N: of a network that has come there by a curriculum, and of one that begins there.

    The axis is that of the means: the interval of two seeds may reach over many decades.
    """
    tables = {one.label: by_n(one.table) for one in (*curricula, *fresh)}
    drawn = lines([*curricula, *fresh], tables, "Updates to solve N", "updates on the level of N", log=True).panel
    means = np.concatenate([band.mean for band in drawn.bands])
    means = means[np.isfinite(means)]
    limits = [(means.min() / 2, 2 * means.max())] if len(means) else []
    return Plot(Panel(drawn.title, drawn.axis_label, drawn.lines, log=True, limits=limits), "seeds that solved it")


def steps_lines(runs: Sequence[Run]) -> tuple[list[Shown], list[Shown]]:
    """Lines of runs under a curriculum, and of those without one.

    Raises:
        LopError: a run is on another stream.
    """
    labels = run_labels([(_but_for_fresh_n(run), run.directory.name) for run in runs], ACROSS)
    runs = [run.changed(label=label) for run, label in zip(runs, labels)]
    paced = [run for run in runs if not _is_fresh(run)]
    names = [f"{run.task}, {run.config['task'].get('curriculum')}" for run in paced]
    often = Counter(names)
    shown = [
        Shown(
            name if often[name] == 1 else shortened(run.label), name.rpartition(" ")[2], run.task, updates_to_solve(run)
        )
        for name, run in zip(names, paced)
    ]
    return shown, _fresh([run for run in runs if _is_fresh(run)])


def _fresh(runs: Sequence[Run]) -> list[Shown]:
    """Runs without a curriculum as fresh networks: those that differ in their N alone are one line."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        others = [run.config.get(section) for section in ("model", "algo", "optimizer")]
        alike.setdefault(json.dumps([same_task(run.config, ("tasks", *N_KEYS)), others], default=str), []).append(run)
    groups = list(alike.values())
    labels = run_labels([(_but_for_fresh_n(own[0]), own[0].directory.name) for own in groups], ACROSS)
    lines: dict[str, list[Run]] = {}
    for label, own in zip(labels, groups):
        only = sum(other[0].task == own[0].task for other in groups) == 1
        begins = {int(run.config["task"]["start_n"]) for run in own}
        ladder = any(map(_is_on_several, own)) and len(begins) == 1  # the first of which is on one N
        for run in own:
            several = "all N up to N" if ladder or _is_on_several(run) else "N alone"
            words = ["fresh", run.task, several, *([] if only else [shortened(label)])]
            lines.setdefault(", ".join(words), []).append(run)
    return [Shown(line, "none", "", fresh_steps(own)) for line, own in lines.items()]


def _is_fresh(run: Run) -> bool:
    return bool(run.config["task"].get("curriculum") == "none")


def _but_for_fresh_n(run: Run) -> dict[str, Any]:
    """Its configuration, without the N of a network without a curriculum."""
    task = {key: value for key, value in run.config["task"].items() if not (_is_fresh(run) and key in N_KEYS)}
    return {**run.config, "task": task}


def _is_on_several(run: Run) -> bool:
    return int(run.config["task"].get("init_heads", 1)) > 1


def shown_of(run: Run, table: pd.DataFrame) -> Shown:
    """A run's table with its name and colours."""
    return Shown(shortened(run.label), str(run.config["task"].get("curriculum")), run.task, table)


def shortened(label: str) -> str:
    """Without the name of plain backprop, the key, and how frequent ones are, which goes with the task."""
    words = label.removeprefix("curriculum ").replace("curriculum=", "").split(" ")
    return " ".join(word for word in words if not word.startswith("probability=")) or label
