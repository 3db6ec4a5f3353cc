"""Curricula over N: at the end of a period every seed is tested, and those that pass go on, each by itself."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from lop_lightning.algos.heads import ask
from lop_lightning.algos.learner import Learner
from lop_lightning.algos.losses import by_head
from lop_lightning.callbacks.evaluation import watcher_of
from lop_lightning.callbacks.paced import PacedCallback
from lop_lightning.tasks.bit_streams import BitStream
from lop_lightning.tasks.curricula import Level


class Curriculum(PacedCallback):
    """Tests all networks when a task of a stream of bits ends, and takes those that pass to their next level.

    The test is on fresh examples of the level, the rule is the stream's (see :mod:`lop_lightning.tasks.curricula`).
    Of every seed are recorded ``lowest_n``, ``highest_n``, ``heads``, ``check_accuracy`` (mean over heads),
    ``head_accuracy`` of each head (layer ``N.007``) and ``solved_n``, the greatest N solved so far. Networks are kept
    as ``networks/solved/seed-<seed>-N-<N>.pt``.

    Args:
        directory: See :class:`PacedCallback`.
        run: See :class:`PacedCallback`.
    """

    kind = BitStream
    letter = "N"

    def _make_ready(self, trainer: L.Trainer, module: Learner, stream: BitStream) -> None:
        """Asks the heads of the present levels."""
        there = module.spec.heads
        ask(module, stream.asked)
        if module.spec.heads != there:
            watcher_of(trainer).remember_initial(module)

    def _advance(self, trainer: L.Trainer, module: Learner, stream: BitStream, place: tuple[int, int, int]) -> None:
        accuracies, before = tested(module, stream, place[0]), list(stream.levels)
        stream.advance(place[0], accuracies, place[2])
        self._write(trainer, module, stream, place, before, accuracies)

    def _goes_on(self, old: Level, new: Level) -> bool:
        """A range that was given back is no task that has ended."""
        return new["solved"] > old["solved"]

    def _range(self, stream: BitStream, level: Level | None) -> dict[str, Any]:
        low, high = (0, 0) if level is None else (level["low"], level["high"])
        return {"low": low, "high": high, "first_n": stream.start_n, "heads": stream.heads}

    @staticmethod
    def _write(
        trainer: L.Trainer,
        module: Learner,
        stream: BitStream,
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


@torch.no_grad()
def tested(learner: Learner, stream: BitStream, task: int) -> list[list[float]]:
    """For each seed the share of right answers of each head that it is asked, in order of N."""
    assert learner.population is not None
    right: list[Tensor] = []
    for inputs, targets in stream.checks(task):
        output = learner.outputs(learner.population, inputs)
        right.append((by_head(output, targets).argmax(-2) == targets).double().mean(1))
        asked = targets[:, 0] >= 0
    shares = torch.stack(right).mean(0)
    return [own[heads].tolist() for own, heads in zip(shares, asked)]
