"""Curricula over R: seeds that got enough movies in a row right go on to the next interval, each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.losses import sequence_answers
from lop_lightning.callbacks.evaluation import watcher_of
from lop_lightning.callbacks.paced import PacedCallback
from lop_lightning.tasks.intervals import IntervalLevel
from lop_lightning.tasks.repeats import RepeatStream


class Intervals(PacedCallback):
    """Counts, in a stream of movies, those that a seed got right in a row, and takes it to the next R.

    What counts is the accuracy on each movie before the update on it; the rule is the stream's (see
    :mod:`lop_lightning.tasks.intervals`). At the end of each period are recorded, of every seed: ``trained_r``;
    ``solved_r``, the greatest R solved so far; ``streak``, movies (or updates) in a row up to now, ``acc_num`` where R
    was solved; ``capped``, 1 where R was given up; and on fresh movies of that R ``check_accuracy``,
    ``true_positive_rate`` (share of the familiar scenes that are called familiar) and ``false_positive_rate`` (that of
    the novel ones). ``solved_after`` is written where R was solved: the updates on it until then. Networks are kept as
    ``networks/solved/seed-<seed>-R-<R>.pt``.

    Args:
        directory: See :class:`PacedCallback`.
        run: See :class:`PacedCallback`.
    """

    kind = RepeatStream
    letter = "R"

    def __init__(self, directory: Path | None = None, run: str = "") -> None:
        super().__init__(directory, run)
        self._accuracies: list[Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """The accuracies of the period so far ``[updates, S, B]``."""
        return {"accuracies": torch.cat(self._accuracies)} if self._accuracies else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on within the period."""
        self._accuracies = [state_dict["accuracies"]]

    def _see(self, outputs: Any) -> None:
        measures = outputs["measures"].cpu()
        failed = ~measures[..., :1].isfinite()  # a network whose loss is no number says "novel" to everything
        self._accuracies.append(measures[..., 2:].masked_fill(failed, float("nan")))

    def _advance(self, trainer: L.Trainer, module: Learner, stream: RepeatStream, place: tuple[int, int, int]) -> None:
        by_seed, self._accuracies = torch.cat(self._accuracies).transpose(0, 1).tolist(), []
        shares, before = checked(module, stream, place[0]), list(stream.levels)
        stream.advance(place[0], by_seed, place[2])
        moves = list(zip(before, stream.levels))
        solved = [new["solved"] > old["solved"] for old, new in moves]
        given_up = [new["capped"] or (old["r"] != new["r"] and not won) for (old, new), won in zip(moves, solved)]
        full = stream.curriculum.acc_num
        quantities = {
            "trained_r": torch.tensor([level["r"] for level in before]),
            "solved_r": torch.tensor([level["solved"] for level in stream.levels]),
            "streak": torch.tensor([full if won else new["streak"] for won, (_, new) in zip(solved, moves)]),
            "capped": torch.tensor(given_up),
            **shares,
        }
        watcher = watcher_of(trainer)
        watcher.write(place, ((name, "", values.double()) for name, values in quantities.items()))
        for row in (row for row, won in enumerate(solved) if won):
            took = torch.tensor([stream.history[row][-1]["solved_after"]]).double()
            watcher.record.write([module.seeds[row]], place, "solved_after", took)

    def _goes_on(self, old: IntervalLevel, new: IntervalLevel) -> bool:
        """Also one that goes on without having solved its R."""
        return new["solved"] > old["solved"] or new["r"] != old["r"]

    def _range(self, stream: RepeatStream, level: IntervalLevel | None) -> dict[str, Any]:
        r = 0 if level is None else level["r"]
        return {"low": r, "high": r}


@torch.no_grad()
def checked(learner: Learner, stream: RepeatStream, task: int) -> dict[str, Tensor]:
    """For each seed, on fresh movies of its R, accuracy and the shares of familiar and of novel scenes called familiar.

    ``[S]`` each; NaN where there is no scene to count.
    """
    assert learner.population is not None
    counts: list[Tensor] = []
    for inputs, targets in stream.checks(task):
        output = learner.outputs(learner.population, inputs)
        called = sequence_answers(output, targets) == 1
        familiar, novel = targets == 1, targets == 0
        each = (familiar & called, familiar, novel & called, novel)
        counts.append(torch.stack([scenes.double().sum((1, 2)) for scenes in each]))
    hits, familiar_scenes, alarms, novel_scenes = torch.stack(counts).sum(0)
    return {
        "check_accuracy": (hits + novel_scenes - alarms) / (familiar_scenes + novel_scenes),
        "true_positive_rate": hits / familiar_scenes,
        "false_positive_rate": alarms / novel_scenes,
    }
