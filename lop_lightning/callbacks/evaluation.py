"""How well the networks do on held-out data: at the end of every task, or every few epochs."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from lop_lightning.callbacks.classes import on_classes
from lop_lightning.callbacks.continual import ContinualLearning, parts
from lop_lightning.callbacks.plasticity import on_evaluation
from lop_lightning.errors import RunError, check_count
from lop_lightning.tasks import Chunk


class Evaluation(L.Callback):
    """Records ``<set>_loss`` and ``<set>_accuracy`` on every held-out set of the task (``test``, ``validation``, …).

    At the end of a stream that presents classes in an order, also ``<set>_class_accuracy`` of each of them, by the
    networks that early stopping has left.

    Args:
        every_epochs: Evaluate after every n-th epoch of a task, and after its last; ``null``: after its last only.
    """

    def __init__(self, every_epochs: int | None = None) -> None:
        if every_epochs is not None:
            check_count("every_epochs", every_epochs)
        self.every_epochs = every_epochs
        self.latest: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """After an epoch that is due."""
        self.latest = {}
        epoch = batch.begin.epoch
        due = self.every_epochs is not None and batch.ends_epoch and (epoch + 1) % self.every_epochs == 0
        if not due and not batch.ends_task:
            return
        stream, module = parts(trainer, learner)
        measured = list(on_evaluation(module, module.population, stream, batch.begin.task))  # type: ignore[arg-type]
        self.latest = {name: values for name, _, values in measured}
        place = (batch.begin.task, epoch, module.population.updates)  # type: ignore[union-attr]
        watcher_of(trainer).write(place, measured)

    def on_train_epoch_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """After the last task: accuracy by class."""
        stream, module = parts(trainer, learner)
        if stream.finished:
            place = (stream.tasks - 1, stream.epochs_per_task - 1, module.population.updates)  # type: ignore[union-attr]
            watcher_of(trainer).write(place, on_classes(module, module.population, stream, stream.tasks - 1))  # type: ignore[arg-type]


def watcher_of(trainer: L.Trainer) -> ContinualLearning:
    """The callback that writes the record.

    Raises:
        RunError: there is none.
    """
    watcher = next((c for c in trainer.callbacks if isinstance(c, ContinualLearning)), None)  # type: ignore[attr-defined]
    if watcher is None:
        raise RunError("this callback writes through the ContinualLearning callback: add one")
    return watcher
