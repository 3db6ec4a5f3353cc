"""The networks between tasks, kept for analyses after the run."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from lop_lightning.callbacks.continual import parts
from lop_lightning.errors import check_count
from lop_lightning.records.checkpoint_io import write_tensors
from lop_lightning.tasks import Chunk


class KeepNetworks(L.Callback):
    """Writes the parameters and buffers of all seeds before a task begins, and after the last one.

    ``networks/task-00007.pt`` is what the networks were before task 7 (the eighth), whatever a method then does to
    them; it is read by :func:`lop_lightning.analysis.networks.load_network`.

    Args:
        directory: Where they go; ``None`` keeps none.
        run: Identity of the run, kept in each file.
        every_tasks: Before every n-th task, the first included; ``null``: never.
    """

    def __init__(self, directory: Path | None = None, run: str = "", every_tasks: int | None = None) -> None:
        if every_tasks is not None:
            check_count("every_tasks", every_tasks)
        self.directory, self.run, self.every_tasks = directory, run, every_tasks

    def on_train_batch_start(
        self, trainer: L.Trainer, learner: L.LightningModule, batch: Chunk, batch_idx: int
    ) -> None:
        """Before a task that is due."""
        if self.every_tasks is not None and batch.starts_task and batch.begin.task % self.every_tasks == 0:
            self._write(batch.begin.task, learner, trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """After the last task, when early stopping has put the best networks back."""
        stream, _ = parts(trainer, learner)
        if self.every_tasks is not None and stream.finished:
            self._write(stream.tasks, learner, trainer)

    def _write(self, task: int, learner: L.LightningModule, trainer: L.Trainer) -> None:
        _, module = parts(trainer, learner)
        if self.directory is None or module.population is None:
            return
        tensors = {name: tensor.detach().cpu() for name, tensor in module.population.tensors.items()}
        content = {"run": self.run, "task": task, "seeds": module.seeds, "tensors": tensors}
        write_tensors(self.directory / f"task-{task:05d}.pt", content)
