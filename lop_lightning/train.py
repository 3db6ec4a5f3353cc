"""``lop``: compose, check, build, fit. Run the same command again and it goes on, or shows what it made."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

import hydra
from omegaconf import DictConfig
from rich.console import Console

from lop_lightning.analysis.runs import read_run
from lop_lightning.callbacks import Interrupted
from lop_lightning.config import composed, config_directory, jobs, parse, plainly, usage
from lop_lightning.errors import LopError
from lop_lightning.experiment import Experiment, prepare
from lop_lightning.records import Record, RunDirectory, begin_logging, end_logging, latest_checkpoint
from lop_lightning.report.table import run_table, summary_rows
from lop_lightning.trainer import stream_trainer

__all__ = ["Experiment", "main", "prepare", "run", "sweep"]

_SWEEP_FLAGS = ("-m", "--multirun")


def main() -> None:
    """Console entry; exits with 0 when done, 2 with one line when something must be mended."""
    arguments = sys.argv[1:] = plainly(sys.argv[1:])
    flags = [argument for argument in arguments if argument.startswith("-")]
    settings = [argument for argument in arguments if argument not in flags]
    try:
        if not flags:
            run(composed(settings))
        elif flags in (["--help"], ["-h"]):
            print(usage())
        elif all(flag in _SWEEP_FLAGS for flag in flags):
            _sweep_or_launch(settings)
        else:
            _hydra_entry()
    except Interrupted as stop:
        _leave(stop)
    except LopError as error:
        _say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        _say("SIGINT: stopped; nothing was being trained")
        sys.exit(128 + signal.SIGINT)


def _sweep_or_launch(settings: list[str]) -> None:
    lines = jobs(parse(settings))
    if not any(setting.startswith("hydra") for setting in settings):
        sweep(lines)
        return
    for line in lines:  # built where they run: this machine may have no GPU
        composed(line)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that a job's error comes here as it is
    _hydra_entry()


@hydra.main(config_path=str(config_directory()), config_name="config", version_base="1.3")
def _hydra_entry(config: DictConfig) -> None:
    try:
        run(config)
    except Interrupted as stop:  # in a launcher's process there is no main() to do it
        _leave(stop)


def sweep(lines: list[list[str]]) -> None:
    """Runs several command lines one after another in this process; one that fails does not stop the others.

    Raises:
        LopError: a configuration is wrong (then nothing was trained), or some runs failed.
    """
    for line in lines:
        prepare(composed(line))
    failed = 0
    for number, line in enumerate(lines, 1):
        _say(f"job {number}/{len(lines)}: {' '.join(line)}")
        try:
            run(composed(line))
        except Interrupted:
            raise
        except LopError as error:
            _say(str(error))
            failed += 1
    if failed:
        raise LopError(f"{failed} of {len(lines)} jobs failed; the same command runs again only what is not done")


def run(config: DictConfig) -> RunDirectory:
    """Trains what a configuration describes, or goes on with it, or shows it when it is done.

    Raises:
        LopError: something must be mended.
        Interrupted: a signal asked it to stop.
    """
    experiment = prepare(config)
    directory = experiment.directory
    directory.check_format()
    if directory.done:
        _say(f"already done: {directory.path}")
    else:
        experiment.stream.stacked(experiment.stream.position.task)  # data that is missing or damaged shows here
        layers = {layer.name: {"width": layer.width} for layer in experiment.learner.layers}
        directory.open({"layers": layers})
        try:
            _train(experiment)
        finally:
            directory.close()
    _show(directory)
    return directory


def _train(experiment: Experiment) -> None:
    directory, stream, watcher = experiment.directory, experiment.stream, experiment.watcher
    resume, complaints = latest_checkpoint(directory.checkpoints, directory.identity)
    for complaint in complaints:
        _say(f"{complaint}; using {resume} instead")
    if resume is None:
        directory.record.unlink(missing_ok=True)  # rows of a run that was killed before its first checkpoint
    else:
        _say(f"going on from {resume}")
    begun = time.monotonic()
    begin_logging(experiment.loggers)
    watcher.record = Record(directory.record)
    accelerator = experiment.config["hardware"]["accelerator"]
    trainer = stream_trainer(stream, experiment.callbacks, accelerator, experiment.loggers, directory.path)
    try:
        trainer.fit(experiment.learner, datamodule=stream, ckpt_path=resume, weights_only=True)
    except Interrupted:
        raise
    except BaseException as error:
        if experiment.keeper.at_once:
            raise Interrupted(f"SIGINT twice: stopped at once; {_saved(directory)}", signal.SIGINT, None) from None
        if isinstance(error, LopError):
            raise LopError(f"{error}; {_saved(directory)}") from error
        raise
    finally:
        end_logging(experiment.loggers)
        watcher.record.close()
    found = read_run(directory.path)
    directory.finish({
        "updates": experiment.learner.population.updates,  # type: ignore[union-attr]
        "seconds_of_this_session": round(time.monotonic() - begun, 1),
        "dropped_seeds": sorted(watcher.dropped),
        "results": summary_rows(found),
    })  # fmt: skip


def _saved(directory: RunDirectory) -> str:
    last, _ = latest_checkpoint(directory.checkpoints, directory.identity)
    return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"


def _show(directory: RunDirectory) -> None:
    console = Console()
    console.print(run_table(read_run(directory.path)))
    console.print(f"run      {directory.path}", soft_wrap=True, highlight=False)
    console.print(f"record   {directory.record}", soft_wrap=True, highlight=False)
    console.print(f"figures  lop-report {directory.path}", soft_wrap=True, highlight=False)


def _leave(stop: Interrupted) -> NoReturn:
    _say(str(stop))
    if callable(stop.previous) and stop.previous is not signal.default_int_handler:
        stop.previous(stop.number, None)
    sys.exit(128 + stop.number)


def _say(line: str) -> None:
    print(f"lop: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
