"""Checkpoints, and what happens when somebody wants the run to stop: nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import numpy as np
import torch

from lop_lightning.callbacks.continual import parts
from lop_lightning.errors import RunError, check_count, check_number
from lop_lightning.tasks import Chunk

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(RunError):  # noqa: N818 - it is no error
    """The run was asked to stop and has written a checkpoint.

    Attributes:
        number: The signal.
        previous: The handler that was there before ours, to be called next (submitit's, which requeues).
    """

    def __init__(self, message: str, number: int, previous: Any) -> None:
        super().__init__(message)
        self.number, self.previous = number, previous


class Checkpoint(L.Callback):
    """Writes a checkpoint now and then, at the end, and when a signal asks for it; keeps the last ones.

    SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 raise a flag; at the end of the chunk a checkpoint is written and
    :class:`Interrupted` is raised. A second SIGINT stops at once.

    Args:
        directory: Where they go; ``None`` writes none and leaves signals alone.
        run: Identity of the run, kept in the file, so that a foreign checkpoint is known.
        every_seconds: Time between checkpoints; they are written at the end of a chunk. ``null``: not by time.
        every_updates: Updates between checkpoints, by the same rule. ``null``: not by count.
        keep: How many to keep.
    """

    def __init__(
        self,
        directory: Path | None = None,
        run: str = "",
        every_seconds: float | None = 60.0,
        every_updates: int | None = None,
        keep: int = 2,
    ) -> None:
        if every_seconds is not None:
            check_number("every_seconds", every_seconds, 0)
        if every_updates is not None:
            check_count("every_updates", every_updates)
        check_count("keep", keep)
        self.directory, self.run, self.keep = directory, run, keep
        self.every_seconds, self.every_updates = every_seconds, every_updates
        self.asked: int | None = None
        self.at_once = False
        self._previous: dict[int, Any] = {}
        self._saved_update = 0
        self._random: dict[str, Any] | None = None

    def setup(self, trainer: L.Trainer, learner: L.LightningModule, stage: str) -> None:
        """Notes who had the signals, before Lightning puts a handler of its own on SIGTERM."""
        if self.directory is not None and threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in SIGNALS}

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Takes over the signals, and puts the global generators where they were."""
        self._saved_at, self._saved_update = time.monotonic(), parts(trainer, learner)[1].population.updates  # type: ignore[union-attr]
        if self._random is not None:
            _restore_random(self._random)
        for number in self._previous:
            signal.signal(number, self._on_signal)

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """Saves when it is time; at the end of an epoch this waits until Lightning has counted it."""
        if not batch.ends_epoch:
            self._save_if_due(trainer, learner)

    def on_train_epoch_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """See :meth:`on_train_batch_end`."""
        self._save_if_due(trainer, learner)

    def on_train_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """The last checkpoint holds the trained networks."""
        self.save(trainer, learner)

    def on_exception(self, trainer: L.Trainer, learner: L.LightningModule, exception: BaseException) -> None:
        """Lightning does not tear down after an exception."""
        self.teardown(trainer, learner, "fit")

    def teardown(self, trainer: L.Trainer, learner: L.LightningModule, stage: str) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def save(self, trainer: L.Trainer, learner: L.LightningModule) -> Path | None:
        """Writes a checkpoint and removes earlier ones but the newest, so that ``keep`` are left.

        Later ones can only be damaged or foreign (or training would have gone on from there): they are not counted.
        """
        if self.directory is None:
            return None
        self._saved_at, self._saved_update = time.monotonic(), parts(trainer, learner)[1].population.updates  # type: ignore[union-attr]
        path = self.directory / f"update-{self._saved_update:012d}.ckpt"
        trainer.save_checkpoint(path)
        earlier = sorted(old for old in self.directory.glob("update-*.ckpt") if old.name < path.name)
        for old in (*earlier[: len(earlier) + 1 - self.keep], *self.directory.glob("*.ckpt.part")):
            old.unlink()
        return path

    def on_save_checkpoint(self, trainer: L.Trainer, learner: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the run's identity."""
        checkpoint["run"] = self.run

    def state_dict(self) -> dict[str, Any]:
        """The global generators: ours use none of them, but a user's own method may."""
        return {"random": _save_random()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Used when training starts, since setting up consumes numbers."""
        self._random = state_dict["random"]

    def _save_if_due(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        stream, module = parts(trainer, learner)
        updates = module.population.updates  # type: ignore[union-attr]
        by_time = self.every_seconds is not None and time.monotonic() - self._saved_at >= self.every_seconds
        by_count = self.every_updates is not None and updates - self._saved_update >= self.every_updates
        if self.asked is not None and not stream.finished:
            path = self.save(trainer, learner)
            name, where = signal.Signals(self.asked).name, stream.position
            raise Interrupted(
                f"{name}: stopped in task {where.task + 1}/{stream.tasks} after {updates} updates, saved {path}; "
                "the same command goes on from there",
                self.asked,
                self._previous.get(self.asked),
            )
        if (by_time or by_count) and not stream.finished:
            self.save(trainer, learner)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked == number == signal.SIGINT:
            self.at_once = True  # the interrupt may come out of torch as something else
            signal.signal(number, signal.default_int_handler)
            raise KeyboardInterrupt
        self.asked = number
        again = ", again to stop at once" if number == signal.SIGINT else ""
        line = f"lop: {signal.Signals(number).name}: stopping at the end of this chunk{again}\n"
        os.write(2, f"\n{line}".encode() if os.isatty(2) else line.encode())  # print() may be what was interrupted


def _save_random() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global one
    return {
        "torch": torch.get_rng_state(),
        "python": [version, torch.tensor(words), gauss],
        "numpy": [kind, torch.tensor([int(k) for k in keys]), int(place), int(has_gauss), float(cached)],
    }


def _restore_random(saved: dict[str, Any]) -> None:
    torch.set_rng_state(saved["torch"])
    version, words, gauss = saved["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    kind, keys, place, has_gauss, cached = saved["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), place, has_gauss, cached))  # noqa: NPY002 - the global one
