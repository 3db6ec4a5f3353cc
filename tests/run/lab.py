"""Tiny runs, in this process or in one of their own, and ways to cut them short."""

import multiprocessing
import os
import sys
import time
from functools import cache
from pathlib import Path
from unittest import mock

import lightning as L
import torch
from omegaconf import OmegaConf

from lop_lightning import train
from lop_lightning.callbacks import Interrupted
from lop_lightning.config import composed
from lop_lightning.trainer import stream_trainer
from lop_lightning.trees import leaves

COMMON = ("hardware.compile=false", "seeds=[3,1]", "callbacks.progress.enabled=false")
SMALL = (*COMMON, "model.hidden=[6,5]")
STREAMS = {
    # 12 updates a task in chunks of 4 and 2
    "gmm": (
        "task=gmm", "task.tasks=3", "task.n=16", "task.n_val=6", "task.passes_per_epoch=6", "task.epochs_per_task=2",
        "hardware.chunk=4", "callbacks.continual.bins_per_task=5", "callbacks.checkpoint.every_updates=5",
        "optimizer=adam", "optimizer.lr=0.01",
    ),
    # 14 updates a task in chunks of 5, 5, 3 and 1
    "slowly_changing_regression": (
        "task=slowly_changing_regression", "task.tasks=3", "task.task_length=40", "task.batch_size=3",
        "hardware.chunk=5", "callbacks.continual.bins_per_task=4", "callbacks.checkpoint.every_updates=7",
        "optimizer=momentum",
    ),
    # 26 updates a task: four epochs' passes of 6 or 7 updates, each in its own order
    "permuted_images": (
        "task=permuted_images", "task.tasks=2", "task.task_length=25", "task.batch_size=4", "task.shuffle=true",
        "task.passes_per_epoch=2", "task.epochs_per_task=2", "task.composed=true", "hardware.chunk=5",
        "callbacks.continual.bins_per_task=3", "callbacks.checkpoint.every_updates=10", "optimizer=adamw",
    ),
}  # fmt: skip
METHODS = {
    "bp": ("algo=bp",),
    "l2": ("algo=l2", "algo.weight_decay=0.01"),
    "shrink and perturb, every update": ("algo=shrink_and_perturb", "algo.noise_std=0.01"),
    "shrink and perturb, task ends": ("algo=shrink_and_perturb", "algo.when=task_end", "algo.noise_std=0.01"),
    "cbp, accumulating": ("algo=cbp", "algo.replacement_rate=0.1", "algo.maturity_threshold=3"),
    "cbp, by chance": (
        "algo=cbp", "algo.replacement_rate=0.1", "algo.maturity_threshold=3", "algo.accumulate=false",
    ),
}  # fmt: skip
TINY = (*SMALL, *STREAMS["gmm"])

IMAGES = {
    # 6 updates a task: three epochs of 2, in chunks of 1; every task has a new head that keeps its momentum
    "continual_imagenet": (
        *COMMON, "task=continual_imagenet", "task.source=synthetic", "task.tasks=3", "task.classes=4",
        "task.train_images=4", "task.test_images=3", "task.batch_size=4", "task.epochs_per_task=3",
        "task.head_momentum=true", "task.probe_size=8", "model=convnet", "model.channels=[3,2]", "model.kernels=[5,3]",
        "model.hidden=[4]", "hardware.chunk=1", "optimizer=momentum", "optimizer.lr=0.05",
        "callbacks.evaluation.every_epochs=2", "callbacks.continual.bins_per_task=2",
        "callbacks.checkpoint.every_updates=4", "callbacks.keep_networks.every_tasks=2",
    ),
    # 6 updates in the first task, 12 in the second: three epochs of 2 and of 4, in chunks of 2, 3 and 1
    "incremental_cifar": (
        *COMMON, "task=incremental_cifar", "task.source=synthetic", "task.tasks=2", "task.classes_per_task=2",
        "task.train_images=4", "task.validation_images=3", "task.test_images=2", "task.batch_size=4",
        "task.epochs_per_task=3", "task.representation_images=6", "task.probe_size=8", "task.augmented_test=true",
        "model=resnet18", "model.widths=[2,3]", "model.blocks=[1,1]", "hardware.chunk=3", "optimizer=momentum",
        "optimizer.lr=0.1", "optimizer.lr_steps=[[1,0.2],[2,0.5]]", "callbacks.evaluation.every_epochs=1",
        "callbacks.early_stopping.metric=validation_accuracy", "callbacks.continual.bins_per_task=4",
        "callbacks.checkpoint.every_updates=4", "callbacks.keep_networks.every_tasks=1",
    ),
}  # fmt: skip
IMAGE_METHODS = {
    "bp": ("algo=bp",),
    "shrink and perturb": ("algo=shrink_and_perturb", "algo.noise_std=0.01"),
    "cbp": ("algo=cbp", "algo.replacement_rate=0.1", "algo.maturity_threshold=2"),
    "redo": ("algo=redo", "algo.threshold=0.5", "algo.period=3"),
    "head reset": ("algo=head_reset",),
    "retrain": ("algo=retrain", "algo.reset_optimizer=false", "algo.reset_buffers=false"),
}


class PowerCut(Exception):  # noqa: N818
    """What a run is cut short with, where nothing is told and nothing is saved."""


class Cut(L.Callback):
    """Ends a run once it has made ``after`` updates, before the other callbacks hear of them."""

    def __init__(self, after):
        self.after = after

    def on_train_batch_end(self, trainer, learner, *rest):
        if learner.population.updates >= self.after:
            raise PowerCut


@cache
def _configuration(settings):
    return composed(settings)


def configuration(settings, runs_dir):
    """Composing takes ten times as long as a tiny run: done once for all directories."""
    return OmegaConf.merge(_configuration(tuple(settings)), {"runs_dir": str(runs_dir)})


def run(settings, runs_dir, *extra):
    """Runs in this process, with some more callbacks before the run's own; returns its directory."""

    def trainer(stream, callbacks, *rest):
        return stream_trainer(stream, [*extra, *callbacks], *rest)

    with mock.patch.object(train, "stream_trainer", trainer):
        return train.run(configuration(settings, runs_dir))


def interrupted(settings, folder, cuts, kind=Cut):
    """A run that is cut short after some updates, begun again, and so on until it is done."""
    stops = 0
    for after in cuts:
        try:
            directory = run(settings, folder, kind(after))
        except (PowerCut, Interrupted):
            stops += 1
    assert stops
    return run(settings, folder) if stops == len(cuts) else directory


def checkpoints(directory):
    return sorted(directory.checkpoints.glob("*.ckpt"))


def load(path):
    return torch.load(path, weights_only=True)


def outcome(directory):
    """What two runs have in common when they are the same, bit for bit."""
    saved = load(checkpoints(directory)[-1])["learner"]
    tensors = [t.contiguous().view(torch.uint8).numpy().tobytes() for t in leaves(saved["state"])]
    return directory.record.read_bytes(), tensors, saved["updates"], saved["host"], saved["seeds"]


def rows(directory, metric, seed=None, layer=""):
    """(task, epoch, update, value) of every row of a metric, of one seed or of all."""
    lines = [line.split(",") for line in directory.record.read_text().splitlines()[1:]]
    return [
        (int(task), int(epoch), int(update), float(value))
        for s, task, epoch, update, where, name, value in lines
        if name == metric and where == layer and seed in (None, int(s))
    ]


# ---- processes of their own, with the library already imported, so that they begin at once

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lop_lightning.train", "lop_lightning.callbacks", "sklearn.datasets"])


def _enter(arguments, output):
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["lop", *arguments]
    train.main()


class Process:
    """``lop`` with some arguments, at work; ``daemon=False`` for one that has processes of its own."""

    def __init__(self, arguments, folder, daemon=True):
        self.output = Path(folder) / f"output-{time.monotonic_ns()}.txt"
        self.process = _CONTEXT.Process(target=_enter, args=(list(arguments), str(self.output)), daemon=daemon)
        self.process.start()
        self.pid = self.process.pid

    def wait(self, timeout=120):
        """Exit code and everything it said."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still running: {self.text()}"
        return self.process.exitcode, self.text()

    def text(self):
        return self.output.read_text() if self.output.exists() else ""

    def send(self, number):
        os.kill(self.pid, number)


def until(condition, process, timeout=120):
    """Waits until something is so; fails when the process ends before it."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert process.process.is_alive(), process.text()
        assert time.monotonic() < end, process.text()
        time.sleep(0.002)
    return found
