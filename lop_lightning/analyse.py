"""``lop-analyse``: what the networks of a run make of the tasks to come and of those before, from the networks it kept.

The same measures as in the record (there they are taken while the run goes on), by the same code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console

from lop_lightning.algos import Learner
from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.networks import kept_networks, kept_tasks
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
    arguments: argparse.Namespace = command.parse_args(argv)
    errors = Console(stderr=True)
    try:
        for run in find_runs(arguments.runs):
            print(analyse(run, errors))
    except (LopError, ValueError) as error:
        command.error(str(error))
    except OSError as error:
        command.error(f"{error.filename}: {error.strerror}")
    return 0


def analyse(run: Run, errors: Console) -> Path:
    """Writes ``analysis.csv`` of a run; returns its path.

    Before each task for which networks were kept: mean absolute weight, and the representation on the data of other
    tasks that the stream names. After the last task: held-out sets, and accuracy on each class by itself.

    Raises:
        LopError: the run kept no networks, or its data are not there.
    """
    tasks = kept_tasks(run.directory)
    if not tasks:
        kept_networks(run.directory, 0)
    config = OmegaConf.merge(OmegaConf.create(run.config), {"hardware": {"compile": False}})
    experiment = prepare(config)  # type: ignore[arg-type]
    stream, learner = experiment.stream, experiment.learner
    target, beside = run.directory / FILE, run.directory / f"{FILE}.part"
    beside.unlink(missing_ok=True)
    record = Record(beside)
    try:
        for task in tracked(tasks, lambda task: f"{run.label}: before task {task}", errors):
            _put_in(learner, run.directory, task)
            place = (task, 0, stream.updates_before(Position(task)))
            for name, layer, values in _measured(learner, stream, task):
                record.write(stream.seeds, place, name, values, layer)
    except BaseException:
        record.close()
        beside.unlink(missing_ok=True)
        raise
    record.close()
    beside.replace(target)
    return target


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
    for name, tensor in learner.population.tensors.items():
        tensor.copy_(kept["tensors"][name])


if __name__ == "__main__":
    sys.exit(main())
