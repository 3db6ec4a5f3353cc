"""From a configuration to the objects of one run, all of them built and checked before anything is trained."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from lop_lightning.algos import Learner
from lop_lightning.callbacks import Checkpoint, ContinualLearning
from lop_lightning.config import build
from lop_lightning.errors import ConfigError, LopError
from lop_lightning.records import RunDirectory
from lop_lightning.records.run_directory import NAMED
from lop_lightning.tasks import TaskStream

_FIRST = ("keep_networks", "evaluation", "early_stopping", "continual", "fresh", "curriculum", "intervals")
_LAST = ("progress", "checkpoint")
"""Our callbacks in the order in which they act, before and after a user's own."""


@dataclass
class Experiment:
    """The objects of one run, built and checked but not begun: nothing is on disk yet.

    Attributes:
        config: The resolved configuration, plain containers.
        stream: The stream.
        learner: The method, its population made.
        directory: Where the run goes.
        watcher: The callback that writes the record.
        keeper: The callback that writes checkpoints.
        callbacks: All callbacks in the order in which they act, the keeper last.
        loggers: Mirrors of the record.
    """

    config: dict[str, Any]
    stream: TaskStream
    learner: Learner
    directory: RunDirectory
    watcher: ContinualLearning
    keeper: Checkpoint
    callbacks: list[L.Callback]
    loggers: list[Logger]


def prepare(config: DictConfig) -> Experiment:
    """Builds everything that a configuration names, so that whatever is wrong shows before anything is trained.

    Raises:
        LopError: see :func:`lop_lightning.config.build`.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    hardware = {key: value for key, value in plain["hardware"].items() if key not in ("name", "launcher")}
    accelerator, threads, chunk = (hardware.pop(key) for key in ("accelerator", "threads", "chunk"))
    execution = build("hardware", {"_target_": "lop_lightning.algos.Execution", **hardware})
    torch.set_num_threads(_threads(threads))
    stream: TaskStream = build("task", plain["task"], seeds=plain["seeds"], chunk=chunk)
    optimizer = build("optimizer", plain["optimizer"])
    network = build("model", plain["model"], partial=True)
    learner: Learner = build("algo", plain["algo"], network=network, optimizer=optimizer, execution=execution)
    learner.prepare(stream.spec, stream.seeds, _device(accelerator), stream.largest_batch)
    plain["seeds"] = stream.seeds
    for key, value in (("runs_dir", plain["runs_dir"]), *((f"{g}.name", plain[g].get("name")) for g in NAMED)):
        if not isinstance(value, str) or not value:  # parts of the run's path
            raise ConfigError(key, value, "text")
    directory = RunDirectory(plain)
    callbacks = _callbacks(plain["callbacks"], directory)
    watcher = next(callback for callback in callbacks if isinstance(callback, ContinualLearning))
    keeper = callbacks[-1]
    loggers = []
    if "_target_" in plain["logger"]:
        loggers.append(build("logger", plain["logger"], directory=directory.path, run=directory.identity))
    return Experiment(plain, stream, learner, directory, watcher, keeper, callbacks, loggers)


def _callbacks(nodes: dict[str, Any], directory: RunDirectory) -> list[Any]:
    given: dict[str, dict[str, Any]] = {
        "checkpoint": {"directory": directory.checkpoints, "run": directory.identity},
        "keep_networks": {"directory": directory.networks, "run": directory.identity},
        "curriculum": {"directory": directory.networks, "run": directory.identity},
        "intervals": {"directory": directory.networks, "run": directory.identity},
        "progress": {"directory": directory.path},
    }
    own = [name for name in nodes if name not in ("name", *_FIRST, *_LAST)]
    return [build(f"callbacks.{name}", nodes.get(name), **given.get(name, {})) for name in (*_FIRST, *own, *_LAST)]


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
