"""``lop``: compose, check, build, fit. Run the same command again and it goes on, or shows what it made."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from lop_lightning.algos import Execution, Learner
from lop_lightning.analysis.runs import read_run
from lop_lightning.callbacks import Checkpoint, ContinualLearning, FreshReference, Interrupted, ProgressBar
from lop_lightning.config import build, composed, config_directory, jobs, parse
from lop_lightning.errors import LopError
from lop_lightning.records import Record, RunDirectory, latest_checkpoint
from lop_lightning.report.table import run_table, summary_rows
from lop_lightning.tasks import TaskStream
from lop_lightning.trainer import stream_trainer

_SWEEP_FLAGS = ("-m", "--multirun")


@dataclass
class Experiment:
    """The objects of one run, built and checked but not begun."""

    config: dict[str, Any]
    stream: TaskStream
    learner: Learner
    directory: RunDirectory


def main() -> None:
    """Console entry; exits with 0 when done, 2 with one line when something must be mended."""
    arguments = sys.argv[1:]
    flags = [argument for argument in arguments if argument.startswith("-")]
    try:
        if not flags:
            run(composed(arguments))
            return
        settings = [argument for argument in arguments if not argument.startswith("-")]
        if all(flag in _SWEEP_FLAGS for flag in flags):
            for job in jobs(parse(settings)):
                prepare(composed(job))
        _hydra_entry()
    except Interrupted as stop:
        _say(str(stop))
        if callable(stop.previous):
            stop.previous(stop.number, None)
        sys.exit(128 + stop.number)
    except LopError as error:
        _say(str(error))
        sys.exit(2)


@hydra.main(config_path=str(config_directory()), config_name="config", version_base="1.3")
def _hydra_entry(config: DictConfig) -> None:
    run(config)


def prepare(config: DictConfig) -> Experiment:
    """Builds everything that a configuration names, so that whatever is wrong shows before anything is trained.

    Raises:
        LopError: see :func:`lop_lightning.config.build`.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    hardware = {key: value for key, value in plain["hardware"].items() if key != "name"}
    accelerator, threads, chunk = (hardware.pop(key) for key in ("accelerator", "threads", "chunk"))
    execution = build("hardware", {"_target_": "lop_lightning.algos.Execution", **hardware})
    torch.set_num_threads(_threads(threads))
    stream: TaskStream = build("task", plain["task"], seeds=plain["seeds"], chunk=chunk)
    optimizer = build("optimizer", plain["optimizer"])
    network = build("model", plain["model"], partial=True)
    learner: Learner = build("algo", plain["algo"], network=network, optimizer=optimizer, execution=execution)
    learner.prepare(stream.spec, stream.seeds, _device(accelerator))
    plain["seeds"] = stream.seeds
    return Experiment(plain, stream, learner, RunDirectory(plain))


def run(config: DictConfig) -> RunDirectory:
    """Trains what a configuration describes, or goes on with it, or shows it when it is done."""
    experiment = prepare(config)
    directory = experiment.directory
    directory.check_format()
    if directory.done:
        _say(f"already done: {directory.path}")
    else:
        experiment.stream.stacked(experiment.stream.position.task)  # data that is missing or damaged shows here
        directory.open()
        try:
            _train(experiment)
        finally:
            directory.close()
    _show(directory)
    return directory


def _train(experiment: Experiment) -> None:
    config, directory, stream = experiment.config, experiment.directory, experiment.stream
    resume, complaints = latest_checkpoint(directory.checkpoints, directory.identity)
    for complaint in complaints:
        _say(f"{complaint}; using {resume} instead")
    if resume is None:
        directory.record.unlink(missing_ok=True)  # rows of a run that was killed before its first checkpoint
    else:
        _say(f"going on from {resume}")
    record, nodes = Record(directory.record), config["callbacks"]
    watcher: ContinualLearning = build("callbacks.continual", nodes["continual"], record=record)
    fresh: FreshReference = build("callbacks.fresh", nodes["fresh"])
    progress: ProgressBar = build("callbacks.progress", nodes["progress"])
    keeper: Checkpoint = build(
        "callbacks.checkpoint", nodes["checkpoint"], directory=directory.checkpoints, run=directory.identity
    )
    loggers = []
    if "_target_" in config["logger"]:
        loggers.append(build("logger", config["logger"], directory=directory.path, run=directory.identity))
    accelerator = config["hardware"]["accelerator"]
    trainer = stream_trainer(stream, [watcher, fresh, progress, keeper], accelerator, loggers, directory.path)
    begun = time.monotonic()
    try:
        trainer.fit(experiment.learner, datamodule=stream, ckpt_path=resume, weights_only=True)
    except Interrupted:
        raise
    except LopError as error:
        last, _ = latest_checkpoint(directory.checkpoints, directory.identity)
        saved = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        raise LopError(f"{error}; {saved}") from error
    finally:
        record.close()
    found = read_run(directory.path)
    directory.finish({
        "updates": experiment.learner.population.updates,  # type: ignore[union-attr]
        "seconds_of_this_session": round(time.monotonic() - begun, 1),
        "dropped_seeds": sorted(watcher.dropped),
        "results": summary_rows(found),
    })  # fmt: skip


def _show(directory: RunDirectory) -> None:
    console = Console()
    console.print(run_table(read_run(directory.path)))
    console.print(f"run      {directory.path}", soft_wrap=True, highlight=False)
    console.print(f"record   {directory.record}", soft_wrap=True, highlight=False)
    console.print(f"figures  lop-report {directory.path}", soft_wrap=True, highlight=False)


def _device(accelerator: str) -> torch.device:
    if accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available()):
        if not torch.cuda.is_available():
            raise LopError("hardware.accelerator=gpu is not legal here: no GPU was found; use hardware=cpu")
        return torch.device("cuda")
    if accelerator not in ("cpu", "auto"):
        raise LopError(f"hardware.accelerator={accelerator} is not legal: expected one of cpu, gpu, auto")
    return torch.device("cpu")


def _threads(threads: object) -> int:
    most = os.cpu_count() or 1
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= most:
        raise LopError(f"hardware.threads={threads} is not legal: expected a whole number from 1 to {most}")
    return threads


def _say(line: str) -> None:
    print(f"lop: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
