"""``lop-analyse``: what the networks of a run make of the tasks to come and of those before, from the networks it kept.

The same measures as in the record (there they are taken while the run goes on), by the same code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from lop_lightning.algos import Learner
from lop_lightning.algos.heads import grow_to_fit
from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.networks import kept_networks, kept_tasks, read_config
from lop_lightning.analysis.runs import Run
from lop_lightning.callbacks.classes import on_classes
from lop_lightning.callbacks.plasticity import Measurement, on_evaluation, on_other_tasks
from lop_lightning.console import OneLineParser
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare
from lop_lightning.metrics import weight_magnitude
from lop_lightning.records import Record
from lop_lightning.report.progress import tracked
from lop_lightning.tasks import TaskStream
from lop_lightning.tasks.base import Position

FILE = "analysis.csv"
"""Where the results go, beside the record and in its form."""


def main(argv: Sequence[str] | None = None) -> int:
    """Analyses runs. Returns 0; what the user can mend is one line on stderr and exit code 2."""
    command = OneLineParser(prog="lop-analyse", description=__doc__.partition("\n")[0].partition(": ")[2])
    command.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run directories, or folders above them")
    command.add_argument("--trust", action="store_true", help="run classes of your own that no YAML of conf/ names")
    arguments: argparse.Namespace = command.parse_args(argv)
    errors = Console(stderr=True)
    with command.mending():
        for run in find_runs(arguments.runs):
            print(analyse(run, errors, arguments.trust))
    return 0


def analyse(run: Run, errors: Console, trust: bool = False) -> Path:
    """Writes ``analysis.csv`` of a run; returns its path.

    Before each task for which networks were kept: mean absolute weight, and the representation on the data of other
    tasks that the stream names. After the last task: held-out sets, and accuracy on each class by itself.

    Raises:
        LopError: the run kept no networks, its data are not there, or, without ``trust``, its configuration names a
            class that no YAML of ``conf/`` does.
    """
    tasks = kept_tasks(run.directory)
    if not tasks:
        kept_networks(run.directory, 0)
    stream, learner = _objects(read_config(run.directory, trust, "lop-analyse --trust runs it"))
    target, beside = run.directory / FILE, run.directory / f"{FILE}.part"
    beside.unlink(missing_ok=True)
    record = Record(beside)
    try:
        for task in tracked(tasks, lambda task: f"{run.label}: before task {task}", errors):
            _put_in(learner, run.directory, task)
            place = (task, 0, stream.updates_before(Position(task)))
            for name, layer, values in _measured(learner, stream, task):
                record.write(stream.seeds, place, name, values, layer)
        record.close()
        beside.replace(target)
    except BaseException:
        record.close()
        beside.unlink(missing_ok=True)
        raise
    return target


def _objects(config: dict[str, Any]) -> tuple[TaskStream, Learner]:
    """The run's stream and method, on this machine, which need not be the one that it was trained on."""
    trained_on = config["hardware"]
    here = {
        **trained_on,
        "compile": False,
        "accelerator": "cpu" if trained_on["accelerator"] == "cpu" else "auto",
        "threads": min(trained_on["threads"], os.cpu_count() or 1),
    }
    experiment = prepare(OmegaConf.create({**config, "hardware": here, "logger": {"name": "none"}}))
    stream, learner = experiment.stream, experiment.learner
    assert learner.population is not None
    stream.device = learner.population.keys.device
    return stream, learner


def _measured(learner: Learner, stream: TaskStream, task: int) -> Iterator[Measurement]:
    population = learner.population
    assert population is not None
    yield "weight_magnitude", "", weight_magnitude(population.params, 1)
    if task < stream.tasks:
        yield from on_other_tasks(learner, population, stream, task)
    else:
        yield from on_evaluation(learner, population, stream, task - 1)
        yield from on_classes(learner, population, stream, task - 1)


def _put_in(learner: Learner, directory: Path, task: int) -> None:
    kept = kept_networks(directory, task)
    assert learner.population is not None
    if kept["seeds"] != learner.seeds:
        raise LopError(f"{directory}: the networks kept before task {task} are of other seeds")
    grow_to_fit(learner, kept["tensors"])
    for name, tensor in learner.population.tensors.items():
        tensor.copy_(kept["tensors"][name])


if __name__ == "__main__":
    sys.exit(main())
