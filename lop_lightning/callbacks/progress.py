"""The progress bar: task, updates a second, time left, and how the networks are doing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from lop_lightning.callbacks.continual import ContinualLearning, parts
from lop_lightning.callbacks.progress_file import ProgressFile
from lop_lightning.errors import check_number
from lop_lightning.tasks import Chunk


class ProgressBar(L.Callback):
    """One line on a terminal; where there is none (a log file), a plain line every ``log_seconds``.

    The same is kept in ``progress.json`` of the run directory, whether or not it is shown.

    Args:
        enabled: Whether to show anything.
        log_seconds: Seconds between lines in a log.
        file_seconds: Seconds between writes of ``progress.json``, at ends of chunks.
        directory: The run directory; ``None`` writes no file.
    """

    def __init__(
        self,
        enabled: bool = True,
        log_seconds: float = 30.0,
        file_seconds: float = 5.0,
        directory: Path | None = None,
    ) -> None:
        check_number("file_seconds", file_seconds, 0)
        self.enabled, self.log_seconds = enabled, log_seconds
        self.file = ProgressFile(None if directory is None else directory / "progress.json", file_seconds)
        self.console = Console(stderr=True)
        self._bar: Progress | None = None
        self._latest: dict[str, Any] = {}

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Starts the clock."""
        self.stream, module = parts(trainer, learner)
        self._begun, self._done_before = time.monotonic(), self.stream.updates_before(self.stream.position)
        self._note(self.stream.position.task, self._done_before, None, at_once=True)
        if not self.enabled:
            return
        self._watcher = next((c for c in trainer.callbacks if isinstance(c, ContinualLearning)), None)  # type: ignore[attr-defined]
        self._logged = self._begun
        total = self.stream.total_updates
        self._bar = Progress(
            TextColumn("task {task.fields[place]}"), BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%", table_column=Column(no_wrap=True, min_width=4)),
            _Speed(len(self.stream.seeds)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[value]}", table_column=Column(no_wrap=True)),
            console=self.console, transient=False, disable=not self.console.is_terminal,
        )  # fmt: skip
        place, value = self._place(self.stream.position.task), "compiling …" if module.compiles else ""
        self._line = self._bar.add_task("", total=total, completed=self._done_before, place=place, value=value)
        self._bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """Moves on."""
        done, now = self.stream.updates_before(batch.end), time.monotonic()
        speed = (done - self._done_before) / (now - self._begun)
        self._note(batch.begin.task, done, speed, at_once=done == self.stream.total_updates)
        if self._bar is None:
            return
        place, value = self._place(batch.begin.task), self._value()
        self._bar.update(self._line, completed=done, place=place, value=value)
        if not self.console.is_terminal and now - self._logged >= self.log_seconds:
            self._logged = now
            left = (self.stream.total_updates - done) / max(speed, 1e-9)
            line = f"task {place}  {_speed_text(speed, len(self.stream.seeds))}  {left:.0f} s left  {value}"
            self.console.print(line, soft_wrap=True, highlight=False)

    def on_exception(self, trainer: L.Trainer, learner: L.LightningModule, exception: BaseException) -> None:
        """Lightning does not tear down after an exception; the terminal must have its cursor back."""
        if self._latest:
            self.file.write(at_once=True, **self._latest)
        self.teardown(trainer, learner, "fit")

    def teardown(self, trainer: L.Trainer, learner: L.LightningModule, stage: str) -> None:
        """Leaves the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _note(self, task: int, done: int, speed: float | None, at_once: bool = False) -> None:
        total, tasks = self.stream.total_updates, self.stream.tasks
        self._latest = {"task": min(task + 1, tasks), "tasks": tasks, "updates": done, "total": total,
                        "updates_per_second": speed}  # fmt: skip
        self.file.write(at_once, **self._latest)

    def _place(self, task: int) -> str:
        return f"{task + 1}/{self.stream.tasks} {self.stream.standing}".rstrip()

    def _value(self) -> str:
        latest = None if self._watcher is None else self._watcher.latest
        if latest is None:
            return ""
        loss, share = latest.nanmean(0).tolist()
        return f"loss {loss:.4g}" if share != share else f"accuracy {share:.3f}  loss {loss:.4g}"


class _Speed(ProgressColumn):
    def __init__(self, seeds: int) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.seeds = seeds

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else _speed_text(task.speed, self.seeds))


def _speed_text(speed: float, seeds: int) -> str:
    each = f"{_short(speed)} updates/s"
    return each if seeds == 1 else f"{each} {_short(speed * seeds)} seed-updates/s"


def _short(number: float) -> str:
    """Three digits, so that the whole line fits into 80 columns."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
