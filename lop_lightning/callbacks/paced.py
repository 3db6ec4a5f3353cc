"""What all curricula have in common: seeds that pass go on, their networks are kept, and the run ends with the last."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import lightning as L

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.task_ends import end_task
from lop_lightning.callbacks.continual import parts
from lop_lightning.records.checkpoint_io import write_tensors
from lop_lightning.tasks import Chunk
from lop_lightning.tasks.paced import PacedStream


class PacedCallback(L.Callback):
    """At the end of a period of a :class:`PacedStream` takes every seed to where its curriculum says.

    A network that has solved a level is kept as ``networks/solved/seed-<seed>-<letter>-<number>.pt``, with number 0
    for that before training. Then, for the seeds that go on, the method does what it does when a task ends. Streams of
    another kind are left alone.

    A subclass says which streams it is for (``kind``), what a level's number is called (``letter``), and implements
    :meth:`_advance`, :meth:`_goes_on` and :meth:`_range`.

    Args:
        directory: Where networks go; ``None`` keeps none.
        run: Identity of the run, kept in each file.
    """

    kind: ClassVar[type[PacedStream]]
    letter: ClassVar[str]

    def __init__(self, directory: Path | None = None, run: str = "") -> None:
        self.directory, self.run = directory, run

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Makes ready for the present levels; a curriculum that has come to its end does not go on."""
        stream, module = parts(trainer, learner)
        if not isinstance(stream, self.kind):
            return
        self._make_ready(trainer, module, stream)
        if stream.finished:
            trainer.should_stop = True
        elif module.population.updates == 0:  # type: ignore[union-attr]
            for row in range(len(stream.seeds)):
                self._keep(module, stream, row, 0, None)

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """When a period has ended: who has solved what, and what follows from it."""
        stream, module = parts(trainer, learner)
        if not isinstance(stream, self.kind):
            return
        self._see(outputs)
        if not batch.ends_task:
            return
        population = module.population
        assert population is not None
        place, before = (batch.begin.task, batch.begin.epoch, population.updates), list(stream.levels)
        self._advance(trainer, module, stream, place)
        moves = list(zip(before, stream.levels))
        for row, (old, new) in enumerate(moves):
            if new["solved"] > old["solved"]:
                self._keep(module, stream, row, place[0], old)
        end_task(module, population, [row for row, (old, new) in enumerate(moves) if self._goes_on(old, new)])
        self._make_ready(trainer, module, stream)
        if stream.finished:
            trainer.should_stop = True

    # ---- what a subclass says

    def _make_ready(self, trainer: L.Trainer, module: Learner, stream: Any) -> None:
        """What must be done before the present levels are trained."""

    def _see(self, outputs: Any) -> None:
        """Takes what a chunk of updates gave."""

    @abstractmethod
    def _advance(self, trainer: L.Trainer, module: Learner, stream: Any, place: tuple[int, int, int]) -> None:
        """Takes the seeds on, and records how they did; ``place`` is (task, epoch, updates) of a period's end."""

    @abstractmethod
    def _goes_on(self, old: Any, new: Any) -> bool:
        """Whether a seed that went from one level to another has ended what is a task to a method."""

    @abstractmethod
    def _range(self, stream: Any, level: Any) -> dict[str, Any]:
        """What a file says of the level that was solved: ``low``, ``high`` and more; ``None``: before training."""

    def _keep(self, module: Learner, stream: PacedStream, row: int, task: int, level: Any) -> None:
        population, seed = module.population, module.seeds[row]
        if self.directory is None or population is None:
            return
        content = {
            "run": self.run, "seed": seed, "task": task, "updates": population.updates, **self._range(stream, level),
            "tensors": {name: t[row].detach().cpu().clone() for name, t in population.tensors.items()},
        }  # fmt: skip
        name = f"seed-{seed:05d}-{self.letter}-{content['high']:05d}.pt"
        write_tensors(self.directory / "solved" / name, content)
