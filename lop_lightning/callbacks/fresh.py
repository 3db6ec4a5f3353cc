"""Fresh references: what a new network reaches on a task with the same budget. The gap is the plasticity lost."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
from torch import Tensor

from lop_lightning.callbacks.continual import parts
from lop_lightning.callbacks.evaluation import watcher_of
from lop_lightning.callbacks.plasticity import on_probe
from lop_lightning.callbacks.tally import Tally
from lop_lightning.errors import RunError, check_choice, check_count
from lop_lightning.tasks import Chunk


class FreshReference(L.Callback):
    """Trains newly initialised networks on some tasks of the stream and records them as ``fresh_…``.

    Args:
        mode: ``none``; ``paired`` trains them on tasks that the continual network saw too, evenly spread, the last
            included, so that the two can be compared task by task; ``late`` trains them on the tasks that would
            follow the stream, as the GMM reference does.
        count: How many tasks.
    """

    def __init__(self, mode: str = "none", count: int = 20) -> None:
        check_choice("mode", mode, ("none", "paired", "late"))
        check_count("count", count)
        self.mode, self.count = mode, count

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Raises :class:`RunError` when the stream ends before the tasks that ``late`` asks for."""
        stream, _ = parts(trainer, learner)
        most = stream.most_tasks
        if self.mode == "late" and most is not None and stream.tasks + self.count > most:
            raise RunError(
                f"callbacks.fresh.mode=late wants {self.count} tasks after the stream's {stream.tasks}, and there are "
                f"{most} in all: lower callbacks.fresh.count or task.tasks"
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """After a task that is due, a fresh population learns it (or, at the stream's end, the tasks after it)."""
        if self.mode == "none" or not batch.ends_task:
            return
        stream, _ = parts(trainer, learner)
        task = batch.begin.task
        if self.mode == "paired" and task in self.paired_tasks(stream.tasks):
            self._train_on(task, trainer, learner)
        elif self.mode == "late" and task + 1 == stream.tasks:
            for later in range(stream.tasks, stream.tasks + self.count):
                self._train_on(later, trainer, learner)

    def paired_tasks(self, tasks: int) -> list[int]:
        """``count`` tasks, evenly spread over the stream, its last included."""
        return sorted({int(t) for t in np.linspace(0, tasks - 1, min(self.count, tasks)).round()})

    def _train_on(self, task: int, trainer: L.Trainer, module: L.LightningModule) -> None:
        stream, learner = parts(trainer, module)
        watcher = watcher_of(trainer)
        population = learner.new_population("fresh", task)
        tally, place = Tally(stream.updates_per_task(task), 1), (task, 0, learner.population.updates)  # type: ignore[union-attr]
        bins: list[tuple[int, Tensor]] = []
        for chunk in stream.task_chunks(task):
            bins += tally.add(learner.train_chunk(population, chunk))
        (_, means), *_ = bins
        rows = [("online_loss", means[:, 0]), ("min_loss", tally.least), ("final_loss", tally.last)]
        if learner.spec.is_classification:
            rows.append(("online_accuracy", means[:, 1]))
        rows += [(name, values) for name, _, values in on_probe(learner, population, stream, task, [])]
        watcher.write(place, ((f"fresh_{name}", "", values) for name, values in rows))
        watcher.record.flush()
