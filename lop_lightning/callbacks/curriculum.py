"""Curricula: at the end of a period every seed is tested, and those that pass go on, each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from lop_lightning.algos.heads import ask
from lop_lightning.algos.learner import Learner
from lop_lightning.algos.losses import by_head
from lop_lightning.algos.task_ends import end_task
from lop_lightning.callbacks.continual import parts
from lop_lightning.callbacks.evaluation import watcher_of
from lop_lightning.records.checkpoint_io import write_tensors
from lop_lightning.tasks import Chunk
from lop_lightning.tasks.curricula import Level
from lop_lightning.tasks.paced import PacedStream


class Curriculum(L.Callback):
    """Tests all networks when a task of a self-paced stream ends, and takes those that pass to their next level.

    The test is on fresh examples of the level, the rule is the stream's (see :mod:`lop_lightning.tasks.curricula`).
    Of every seed are recorded ``lowest_n``, ``highest_n``, ``heads``, ``check_accuracy`` (mean over heads),
    ``head_accuracy`` of each head (layer ``N.007``) and ``solved_n``, the greatest N solved so far. A network that has
    passed is kept as ``networks/solved/seed-<seed>-N-<N>.pt``, with N = 0 for that before training; then the method
    does what it does when a task ends. A stream that keeps its own clock is left alone.

    Args:
        directory: Where networks go; ``None`` keeps none.
        run: Identity of the run, kept in each file.
    """

    def __init__(self, directory: Path | None = None, run: str = "") -> None:
        self.directory, self.run = directory, run

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Asks the heads of the present levels; a curriculum that has come to its end does not go on."""
        stream, module = parts(trainer, learner)
        if not isinstance(stream, PacedStream):
            return
        self._ask(trainer, module, stream)
        if stream.finished:
            trainer.should_stop = True
        elif module.population.updates == 0:  # type: ignore[union-attr]
            for row in range(len(stream.seeds)):
                self._keep(module, stream, row, 0, None)

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """When a task has ended: the test, and what follows from it."""
        stream, module = parts(trainer, learner)
        if not isinstance(stream, PacedStream) or not batch.ends_task:
            return
        task, population = batch.begin.task, module.population
        assert population is not None
        accuracies = tested(module, stream, task)
        before = list(stream.levels)
        stream.advance(task, accuracies, population.updates)
        self._write(trainer, module, stream, (task, batch.begin.epoch, population.updates), before, accuracies)
        passed = [row for row, level in enumerate(before) if stream.levels[row]["solved"] > level["solved"]]
        for row in passed:
            self._keep(module, stream, row, task, before[row])
        end_task(module, population, passed)
        self._ask(trainer, module, stream)
        if stream.finished:
            trainer.should_stop = True

    @staticmethod
    def _ask(trainer: L.Trainer, module: Learner, stream: PacedStream) -> None:
        there = module.spec.heads
        ask(module, stream.asked)
        if module.spec.heads != there:
            watcher_of(trainer).remember_initial(module)

    @staticmethod
    def _write(
        trainer: L.Trainer,
        module: Learner,
        stream: PacedStream,
        place: tuple[int, int, int],
        levels: list[Level],
        accuracies: list[list[float]],
    ) -> None:
        watcher = watcher_of(trainer)
        quantities = {
            "lowest_n": [level["low"] for level in levels],
            "highest_n": [level["high"] for level in levels],
            "heads": [len(own) for own in accuracies],
            "check_accuracy": [sum(own) / len(own) for own in accuracies],
            "solved_n": [level["solved"] for level in stream.levels],
        }
        watcher.write(place, ((name, "", torch.tensor(values).double()) for name, values in quantities.items()))
        for seed, level, own in zip(module.seeds, levels, accuracies):
            for n, share in enumerate(own, level["low"]):
                watcher.record.write([seed], place, "head_accuracy", torch.tensor([share]).double(), f"N.{n:03d}")

    def _keep(self, module: Learner, stream: PacedStream, row: int, task: int, level: Level | None) -> None:
        population = module.population
        if self.directory is None or population is None:
            return
        low, high = (0, 0) if level is None else (level["low"], level["high"])
        content = {
            "run": self.run, "seed": module.seeds[row], "task": task, "updates": population.updates,
            "low": low, "high": high, "first_n": stream.start_n, "heads": stream.heads,
            "tensors": {name: t[row].detach().cpu().clone() for name, t in population.tensors.items()},
        }  # fmt: skip
        write_tensors(self.directory / "solved" / f"seed-{module.seeds[row]:05d}-N-{high:05d}.pt", content)


@torch.no_grad()
def tested(learner: Learner, stream: PacedStream, task: int) -> list[list[float]]:
    """For each seed the share of right answers of each head that it is asked, in order of N."""
    assert learner.population is not None
    right: list[Tensor] = []
    for inputs, targets in stream.checks(task):
        output = learner.outputs(learner.population, inputs)
        right.append((by_head(output, targets).argmax(-2) == targets).double().mean(1))
        asked = targets[:, 0] >= 0
    shares = torch.stack(right).mean(0)
    return [own[heads].tolist() for own, heads in zip(shares, asked)]
