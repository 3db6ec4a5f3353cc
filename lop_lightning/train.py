"""``lop``: compose, check, build, fit. Run the same command again and it goes on, or shows what it made."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

import hydra
from omegaconf import DictConfig
from rich.console import Console

from lop_lightning import rerun, tune
from lop_lightning.analysis.runs import read_run
from lop_lightning.analysis.timescales.steps import solved_line
from lop_lightning.callbacks import Interrupted
from lop_lightning.config import composed, config_directory, expanded, jobs, parse, plainly, usage
from lop_lightning.config.overrides import command_of
from lop_lightning.console import say
from lop_lightning.errors import LopError
from lop_lightning.experiment import Experiment, prepare
from lop_lightning.launch.jobs import changed_since
from lop_lightning.launch.sweep import checked, grouped, launch, launcher_of
from lop_lightning.records import Record, RunDirectory, begin_logging, end_logging, latest_checkpoint
from lop_lightning.report.table import run_table, summary_rows
from lop_lightning.trainer import stream_trainer

__all__ = ["Experiment", "main", "prepare", "run", "sweep", "work"]

_SWEEP_FLAGS = ("-m", "--multirun")


def main() -> None:
    """Console entry; exits with 0 when done, 2 with one line when something must be mended.

    Without ``-m`` one run, in this process; with it all combinations. Where ``hardware`` has a launcher (``slurm_gpu``,
    ``slurm_cpu``, ``local``), both are handed to it.
    """
    arguments = sys.argv[1:] = plainly(sys.argv[1:])
    flags = [argument for argument in arguments if argument.startswith("-")]
    settings = [argument for argument in arguments if argument not in flags]
    with _leaving():
        if any(flag.startswith("--rerun") for flag in flags):
            sys.exit(rerun.main(arguments, run, say))
        elif not flags:
            _run_or_submit(settings)
        elif flags in (["--help"], ["-h"]):
            print(usage())
        elif all(flag in _SWEEP_FLAGS for flag in flags):
            _sweep_or_launch(settings)
        else:
            _hydra_entry()


@contextlib.contextmanager
def _leaving() -> Iterator[None]:
    """Turns what may be raised inside into a line and an exit code."""
    try:
        yield
    except Interrupted as stop:
        _leave(stop)
    except LopError as error:
        say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        say("SIGINT: stopped; nothing was being trained")
        sys.exit(128 + signal.SIGINT)


def _run_or_submit(settings: list[str]) -> None:
    config = composed(settings)
    launcher = launcher_of([config])
    if launcher is None or (found := checked([settings], [config]))[0].directory.done:
        run(config)
    else:
        launch(launcher, found, work)


def _sweep_or_launch(settings: list[str]) -> None:
    settings = expanded(settings)
    sys.argv[1:] = ["-m", *settings]
    if any(command_of(setting) == "tune" for setting in settings):
        tune.main(settings, run, say)
        return
    lines = jobs(parse(settings))
    of_hydra = any(setting.startswith("hydra") for setting in settings)
    if not of_hydra:
        sweep(lines)
        return
    configs = [composed(line) for line in lines]  # built where they run: this machine may have no GPU
    if launcher_of(configs) is not None:
        name = configs[0].hardware.name
        raise LopError(f"hardware={name} does not go with settings of Hydra: it has a launcher of its own")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that a job's error comes here as it is
    _hydra_entry()


@hydra.main(config_path=str(config_directory()), config_name="config", version_base="1.3")
def _hydra_entry(config: DictConfig) -> None:
    try:
        run(config)
    except Interrupted as stop:  # in a launcher's process there is no main() to do it
        _leave(stop)


def sweep(lines: list[list[str]]) -> None:
    """Runs several command lines: one after another in this process, or where ``hardware`` sends them.

    One that fails does not stop the others.

    Raises:
        LopError: a configuration is wrong (then nothing was trained), or some runs failed.
    """
    lines, configs = grouped(lines, [composed(line) for line in lines])
    launcher = launcher_of(configs)
    if launcher is not None:
        launch(launcher, checked(lines, configs), work)
        return
    for config in configs:
        prepare(config)
    failed = 0
    for number, (line, config) in enumerate(zip(lines, configs), 1):
        say(f"job {number}/{len(lines)}: {' '.join(line)}")
        try:
            run(config)
        except Interrupted:
            raise
        except LopError as error:
            say(str(error))
            failed += 1
    if failed:
        raise LopError(f"{failed} of {len(lines)} jobs failed; the same command runs again only what is not done")


def work(line: list[str]) -> None:
    """Runs one command line here, whatever launcher it names: this process is a job's, and leaves as ``main`` does."""
    sys.argv = ["lop", *line]
    with _leaving():
        run(composed(line))


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
        say(f"already done: {directory.path}")
    else:
        if warning := changed_since(directory.path):
            say(warning)
        experiment.stream.stacked(experiment.stream.position.task)  # data that is missing or damaged shows here
        for note in experiment.stream.notes:
            say(note)
        layers = {layer.name: {"width": layer.width} for layer in experiment.learner.layers}
        directory.open({"layers": layers})
        try:
            _train(experiment)
        except Interrupted:
            raise
        except Exception as error:
            directory.fail(_in_one_line(error))
            raise
        finally:
            directory.close()
    _show(directory)
    return directory


def _train(experiment: Experiment) -> None:
    directory, stream, watcher = experiment.directory, experiment.stream, experiment.watcher
    resume, complaints = latest_checkpoint(directory.checkpoints, directory.identity)
    for complaint in complaints:
        say(f"{complaint}; using {resume} instead")
    if resume is None:
        directory.record.unlink(missing_ok=True)  # rows of a run that was killed before its first checkpoint
    else:
        say(f"going on from {resume}")
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


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, LopError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _saved(directory: RunDirectory) -> str:
    last, _ = latest_checkpoint(directory.checkpoints, directory.identity)
    return f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"


def _show(directory: RunDirectory) -> None:
    console, found = Console(), read_run(directory.path)
    console.print(run_table(found))
    if (solved := solved_line(found)) is not None:
        console.print(solved, soft_wrap=True, highlight=False, markup=False)
    console.print(f"run      {directory.path}", soft_wrap=True, highlight=False)
    console.print(f"record   {directory.record}", soft_wrap=True, highlight=False)
    console.print(f"figures  lop-report {directory.path}", soft_wrap=True, highlight=False)


def _leave(stop: Interrupted) -> NoReturn:
    say(str(stop))
    if callable(stop.previous) and stop.previous is not signal.default_int_handler:
        stop.previous(stop.number, None)
    sys.exit(128 + stop.number)


if __name__ == "__main__":
    main()
