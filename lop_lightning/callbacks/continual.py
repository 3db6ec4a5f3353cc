"""The continual-learning callback: watches the stream go from task to task and records what it does to plasticity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from lop_lightning.algos.learner import Learner
from lop_lightning.callbacks.mirror import Mirror
from lop_lightning.callbacks.plasticity import (
    GROUPS,
    Measurement,
    on_first_update,
    on_other_tasks,
    on_probe,
    on_weights,
)
from lop_lightning.callbacks.tally import Tally
from lop_lightning.errors import ConfigError, RunError, check_choice, check_count
from lop_lightning.records import Record
from lop_lightning.tasks import Chunk, TaskStream


class Diverged(RunError):  # noqa: N818 - what happened, in the field's word
    """The loss of a seed is no longer a number."""


class ContinualLearning(L.Callback):
    """Records online performance all the time, and plasticity when a task starts or ends.

    Args:
        record: Where rows go; by default a table in memory.
        measure_at: ``end`` (on the task just learned), ``start`` (on the new task before learning it; names get the
            prefix ``start_``), or both.
        every_tasks: Measure plasticity on every n-th task, and on the last.
        bins_per_task: Rows of ``online_loss`` and ``online_accuracy`` a task.
        metrics: Groups of metrics: any of ``units, ranks, covariance_ranks, duplication, weights, gradients,
            representation`` (on data of other tasks, where the stream names any), ``recurrence`` (of recurrent layers,
            where the network has any).
        nonfinite: ``stop`` ends the run when a seed's loss is not finite; ``drop`` goes on without that seed.
    """

    def __init__(
        self,
        record: Record | None = None,
        measure_at: Sequence[str] = ("end",),
        every_tasks: int = 1,
        bins_per_task: int = 1,
        metrics: Sequence[str] = GROUPS,
        nonfinite: str = "stop",
    ) -> None:
        for key, values, legal in (("measure_at", measure_at, ("start", "end")), ("metrics", metrics, GROUPS)):
            if isinstance(values, str):
                raise ConfigError(key, values, f"a list of {', '.join(legal)}")
            for value in values:
                check_choice(key, value, legal)
        check_count("every_tasks", every_tasks)
        check_count("bins_per_task", bins_per_task)
        check_choice("nonfinite", nonfinite, ("stop", "drop"))
        self.record = record or Record()
        self.measure_at, self.every_tasks, self.bins_per_task = tuple(measure_at), every_tasks, bins_per_task
        self.metrics, self.nonfinite = list(metrics), nonfinite
        self.dropped: dict[int, int] = {}
        self.latest: Tensor | None = None
        self._mirror = Mirror()
        self._tally: Tally | None = None
        self._restored: dict[str, Any] = {}

    # ---- Lightning

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Makes the initial networks, which distances are measured from; cuts the record back after a resume."""
        stream, self.learner = parts(trainer, learner)
        self.stream = stream
        self.remember_initial(self.learner)
        if self._restored:
            self.record.rewind(self._restored["position"])
            if self._restored["tally"] is not None:
                self._tally = Tally(1, 1)
                self._tally.load(self._restored["tally"], stream.device)
            self._restored = {}

    def on_train_batch_start(
        self, trainer: L.Trainer, learner: L.LightningModule, batch: Chunk, batch_idx: int
    ) -> None:
        """Before a task: measures what its first update will be, and (if asked) plasticity on the new task."""
        if not batch.starts_task:
            return
        task, population = batch.begin.task, self._population
        place = (task, 0, population.updates)
        self._tally = Tally(self.stream.updates_per_task(task), self.bins_per_task)
        if "representation" in self.metrics and self._is_measured(task):
            self.write(place, on_other_tasks(self.learner, population, self.stream, task))
        self.learner.begin_task(population, task)
        if not self._is_measured(task):
            return
        if "gradients" in self.metrics:
            self.write(place, on_first_update(self.learner, population, batch))
        if "start" in self.measure_at:
            measured = on_probe(self.learner, population, self.stream, task, self.metrics)
            self.write(place, ((f"start_{name}", layer, values) for name, layer, values in measured))

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """Bins the online series; when a task ends, writes its rows."""
        measures = outputs["measures"]
        self._check_finite(measures[..., 0], batch)
        assert self._tally is not None
        epoch, before = batch.begin.epoch, self._population.updates - self._tally.done - measures.shape[0]
        for done, means in self._tally.add(measures):
            self.latest = means
            self.write((batch.begin.task, epoch, before + done), self._online("online", means))
        if batch.ends_task:
            self._end_of_task(batch.begin.task, epoch)

    def on_train_epoch_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """When a task has ended (and its fresh reference is trained): shows it to the loggers."""
        if self.stream.position.epoch == 0:
            self.record.flush()  # some loggers read it
            self._mirror.log(trainer.loggers, [seed not in self.dropped for seed in self.learner.seeds])

    def on_exception(self, trainer: L.Trainer, learner: L.LightningModule, exception: BaseException) -> None:
        """Whatever was measured is kept."""
        if not isinstance(exception, RunError):
            self.record.flush()

    def on_train_end(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """The record is complete."""
        self.record.flush(durable=self.record.path is not None)

    def state_dict(self) -> dict[str, Any]:
        """How far the record reaches, the task's half-filled bins, and its rows that no logger has seen."""
        return {
            "position": self.record.position(),
            "tally": None if self._tally is None else self._tally.state(),
            "dropped": dict(self.dropped),
            "mirror": self._mirror.state(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The record is cut back when training starts; a stream that is at its end does not start."""
        self._restored, self.dropped = state_dict, state_dict["dropped"]
        self._mirror.load(state_dict["mirror"])

    # ---- what others use

    def remember_initial(self, learner: Learner) -> None:
        """Makes the networks, as they were before training, that distances are measured from."""
        self._initial = learner.new_population().params

    def write(self, place: tuple[int, int, int], measured: Iterable[Measurement]) -> None:
        """Rows of all seeds at ``place`` (task, epoch, updates made so far), for the record and its mirrors."""
        for name, layer, values in measured:
            self.record.write(self.learner.seeds, place, name, values, layer)
            self._mirror.add(place[0], name, layer, values)

    # ---- inside

    @property
    def _population(self) -> Any:
        return self.learner.population

    def _is_measured(self, task: int) -> bool:
        return (task + 1) % self.every_tasks == 0 or task + 1 == self.stream.tasks

    def _end_of_task(self, task: int, epoch: int) -> None:
        tally, population = self._tally, self._population
        assert tally is not None
        place = (task, epoch, population.updates)
        ends = (("initial_loss", tally.first), ("min_loss", tally.least), ("final_loss", tally.last))
        self.write(place, ((name, "", values) for name, values in ends))
        if self._is_measured(task):
            if "end" in self.measure_at:
                self.write(place, on_probe(self.learner, population, self.stream, task, self.metrics))
            if "weights" in self.metrics:
                self.write(place, on_weights(self.learner, population, self._initial))
        self.record.flush()

    def _online(self, prefix: str, means: Tensor) -> Iterable[Measurement]:
        yield f"{prefix}_loss", "", means[:, 0]
        if self.learner.spec.is_classification:
            yield f"{prefix}_accuracy", "", means[:, 1]

    def _check_finite(self, loss: Tensor, chunk: Chunk) -> None:
        if torch.isfinite(loss.sum()):  # the quick look; a sum that overflows only costs the closer one
            return
        finite = torch.isfinite(loss)
        for row in (~finite).any(0).nonzero().flatten().tolist():
            seed = self.learner.seeds[row]
            if seed in self.dropped:
                continue
            first = int((~finite[:, row]).nonzero()[0])
            update = chunk.begin.epoch * self.stream.updates_per_epoch(chunk.begin.task) + chunk.begin.update + first
            if self.nonfinite == "stop":
                raise Diverged(
                    f"seed {seed} diverged: its loss is {loss[first, row].item()} in task {chunk.begin.task + 1}/"
                    f"{self.stream.tasks}, update {update} of the task; {self.learner.remedy}; or set "
                    "callbacks.continual.nonfinite=drop to go on without such seeds"
                )
            self.dropped[seed] = update
            place = (chunk.begin.task, chunk.begin.epoch, self._population.updates)
            self.record.write([seed], place, "dropped_at_update", torch.tensor([float(update)]))


def parts(trainer: L.Trainer, learner: L.LightningModule) -> tuple[TaskStream, Learner]:
    """The stream and the learner of a trainer.

    Raises:
        RunError: it trains something else.
    """
    stream = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(stream, TaskStream) or not isinstance(learner, Learner):
        raise RunError("this callback goes with a TaskStream and a Learner: Trainer.fit(learner, datamodule=stream)")
    return stream, learner
