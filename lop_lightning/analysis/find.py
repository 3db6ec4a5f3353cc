"""Finding runs on disk: their labels, and which of them are of one stream."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lop_lightning.analysis.labels import ACROSS, LENGTHS, run_labels, same_task
from lop_lightning.analysis.runs import Run, read_run


def find_runs(paths: Iterable[str | Path], any_length: bool = False) -> list[Run]:
    """All runs at or below the paths, sorted by directory, each once, labelled by what tells them apart.

    A run is a directory with ``config.yaml`` and ``record.csv``; ``any_length``: see :func:`group_by_task`. Raises
    ValueError in one line naming the first path that does not exist or below which there is no run.
    """
    directories: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"{path}: no such file or directory")
        found = {record.parent for record in path.rglob("record.csv") if (record.parent / "config.yaml").is_file()}
        if not found:
            raise ValueError(f"{path}: no run here (a run is a directory with config.yaml and record.csv)")
        directories |= {directory.resolve() for directory in found}
    return relabelled([read_run(directory) for directory in sorted(directories)], any_length)


def relabelled(runs: list[Run], any_length: bool = False) -> list[Run]:
    """The same runs, labelled among those of the same stream (see :func:`run_labels` and :func:`group_by_task`)."""
    labels: dict[Path, str] = {}
    for group in group_by_task(runs, any_length):
        labels |= zip([run.directory for run in group], run_labels([(r.config, r.directory.name) for r in group]))
    return [run.changed(label=labels[run.directory]) for run in runs]


def labelled_across(runs: list[Run]) -> list[Run]:
    """The same runs, labelled among all of them, whatever their streams; labels then tell the streams apart too."""
    labels = run_labels([(run.config, run.directory.name) for run in runs], ACROSS)
    return [run.changed(label=label) for run, label in zip(runs, labels)]


def group_by_task(runs: list[Run], any_length: bool = False) -> list[list[Run]]:
    """Runs of one stream together: those whose ``task`` configurations are equal, in the order of first appearance.

    The folder of the data may differ.

    ``any_length``: streams that differ only in their number of tasks (the shorter is the longer's beginning), or in how
    long a task lasts, are one.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(same_task(run.config, LENGTHS if any_length else ()), []).append(run)
    return list(groups.values())
