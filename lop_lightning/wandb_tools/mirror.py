"""One run directory, shown at W&B: live or later, by the same code, from nothing but what is on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lop_lightning.analysis.runs import read_run
from lop_lightning.errors import RunError, check_choice
from lop_lightning.records.wandb_run import About, WandbRun, WandbSettings
from lop_lightning.wandb_tools.history import AXES, PER_SEED, history, places_of
from lop_lightning.wandb_tools.results import results
from lop_lightning.wandb_tools.tail import RecordTail

AT_END = ("results", "figures", "record")
"""What can be sent when a run is done: the table of its plasticity, its figures, its record."""


@dataclass(frozen=True)
class Shown:
    """What of a run is shown: ``per_seed`` (see :func:`history`) and ``at_end``, some of :data:`AT_END`."""

    per_seed: str = "network"
    at_end: Sequence[str] = ("results", "figures")

    def __post_init__(self) -> None:
        check_choice("per_seed", self.per_seed, PER_SEED)
        for what in self.at_end:
            check_choice("at_end", what, AT_END)


class RunMirror:
    """Sends the record of a run, each row once, however often the run was stopped or is sent.

    The history is a function of the record, and a run that goes on from a checkpoint writes the same rows again; so the
    number of rows that W&B has says where to go on.

    Args:
        directory: The run directory, with ``run.json`` and ``config.yaml``.
        settings: Where it is shown.
        shown: What is shown.
    """

    def __init__(self, directory: Path, settings: WandbSettings, shown: Shown) -> None:
        self.directory, self.shown = directory, shown
        self.tail = RecordTail(directory / "record.csv")
        self.run = read_run(directory)
        self.wandb = WandbRun(directory, _identity(directory), self._with_group(settings))
        self.tasks = 0
        self._passed = 0

    def open(self, fall_back: bool) -> str:
        """Begins or goes on. Returns why it is offline where it should have been online, else nothing.

        Args:
            fall_back: Whether to go on offline when W&B cannot be reached; else what W&B raises is raised.
        """
        layers = {name: {"width": width} for name, width in self.run.widths.items()}
        config = {**self.run.config, "run_directory": str(self.directory), "layers": layers}
        about = About(f"{self.run.algo}-{self.wandb.identity[:6]}", self.run.algo, config, AXES)
        try:
            self.wandb.open(about)
        except RunError:
            raise
        except Exception as error:  # W&B raises many kinds
            if not fall_back or self.wandb.settings.mode != "online":
                raise
            self.wandb.open_offline(about)
            return reason(error)
        return ""

    def advance(self, before: int | None = None) -> int:
        """Sends the tasks below ``before`` (None: all in the record) that were not sent; returns their number."""
        rows, tasks = self.tail.take(before)
        places = places_of(rows, tasks)
        new = places[max(0, self.wandb.sent - self._passed) :]
        self._passed += len(places)
        if new:
            of_new = sorted({place[0] for place in new})
            made = history(rows, of_new, len(self.run.seeds), self.shown.per_seed)
            self.wandb.log(made[len(made) - len(new) :])
            self.tasks += len(of_new)
        return self.tasks

    def finish(self, done: bool) -> None:
        """Ends the session; a run that is ``done`` also sends its results, once."""
        try:
            if done and self.wandb.sent == self._passed:
                results(self.directory, self.wandb, self.shown.at_end)
        finally:
            self.wandb.finish(done)

    def _with_group(self, settings: WandbSettings) -> WandbSettings:
        if settings.group is not None:
            return settings
        return replace(settings, group=f"{self.run.task}/{self.run.model}".rstrip("/"))


def reason(error: BaseException) -> str:
    """An exception in one line, its last words first to go."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else f"{text[:157]}…"


def _identity(directory: Path) -> str:
    try:
        return str(json.loads((directory / "run.json").read_text())["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(f"{directory} is no run directory (run.json is missing or damaged)") from None
