"""The arguments of ``lop-report``: how they are read, and what of them is checked against the runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence

from lop_lightning.analysis.curves import named_run, reference_among
from lop_lightning.analysis.loss_of_plasticity import early_late, performance_metrics
from lop_lightning.analysis.runs import Run
from lop_lightning.errors import nearest
from lop_lightning.report.streams import ALL_THE_SAME, differences


def names(text: str) -> list[str]:
    """Names with commas between them."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("names no metric")
    return found


def level(text: str) -> float:
    """The coverage of an interval."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return found


def count(text: str) -> int:
    """A number of tasks."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tasks")
    return int(text)


def one_of(choices: Iterable[str]) -> Callable[[str], str]:
    """A reader of one of some words."""
    words = list(choices)

    def read(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}{nearest(text, words)}")
        return text

    return read


def check(runs: Sequence[Run], groups: Sequence[Sequence[Run]], arguments: argparse.Namespace) -> None:
    """Raise ValueError in one line for what the runs (``groups``: those of one stream together) cannot give."""
    recorded = dict.fromkeys(
        name
        for run in runs
        for name in (*run.metrics(), *run.layer_metrics(), *run.class_metrics(), *run.lag_metrics())
    )
    for metric in arguments.metrics or []:
        if metric not in recorded:
            hint = nearest(metric, list(recorded)) or f"; recorded are {', '.join(recorded)}"
            raise ValueError(f"argument --metrics: {metric!r} is in no record{hint}")
    for run in runs if arguments.window is not None else []:
        for metric in performance_metrics(run):
            try:
                early_late(run, metric, arguments.window)
            except ValueError as error:
                raise ValueError(f"argument --window: {error}") from None
    for run in runs if arguments.bin is not None else []:
        tasks = int(run.record["task"].max()) + 1
        if arguments.bin > tasks:
            raise ValueError(f"argument --bin: {arguments.bin} tasks are more than the {tasks} of {run.directory}")
    if arguments.figures is not None and arguments.across_streams:
        raise ValueError("argument --across-streams: not with --figures, a paper's figures are of one stream each")
    if arguments.figures is not None and (arguments.x != "task" or arguments.over_epochs is not None):
        option = "over-epochs" if arguments.x == "task" else "x"
        raise ValueError(f"argument --{option}: not with --figures, a paper's figures have their own")
    for option in ("horizontal", "relative_to"):
        if getattr(arguments, option) is not None:
            _check_named(groups, getattr(arguments, option), option, arguments.figures is None)


def _check_named(groups: Sequence[Sequence[Run]], name: str, option: str, everywhere: bool) -> None:
    """That one stream at least (``everywhere``: each) has a run of that name, and that others can be paired with it."""
    try:
        having = [group for group in groups if named_run(group, name) is not None]
        for group in having or groups:
            if option == "relative_to" or not having:
                reference_among(group, name)
        if everywhere and len(having) < len(groups):
            other = next(group for group in groups if group not in having)
            raise ValueError(
                f"{having[0][0].task} has a run called {name!r}, but {other[0].label!r} is of another stream, that "
                f"differs in {differences([having[0][0], other[0]])}; {ALL_THE_SAME}"
            )
    except ValueError as error:
        raise ValueError(f"argument --{option.replace('_', '-')}: {error}") from None
