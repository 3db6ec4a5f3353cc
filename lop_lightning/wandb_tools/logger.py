"""``logger=wandb``: a thread that reads the record while the run writes it. Training never waits for W&B."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from rich.console import Console

from lop_lightning.console import say
from lop_lightning.errors import RunError
from lop_lightning.records.wandb_run import WandbSettings, check_login
from lop_lightning.wandb_tools.mirror import RunMirror, Shown, reason

EVERY_SECONDS = 5.0
"""How often the record is looked at: the thread's share of the processor stays small however short tasks are."""

AT_LEAST = 60.0
"""Seconds that a run which is done gives W&B in any case, for figures and results."""

PATIENCE = 10.0
"""Seconds that W&B gets when the run was stopped: a cluster does not wait longer."""


class WandbMirror(Logger):
    """A Lightning logger that is told which tasks have ended; the rest it reads from the record.

    Args:
        directory: The run directory.
        run: The run's identity.
        settings: Where the run is shown.
        shown: What is shown.
    """

    def __init__(self, directory: Path, run: str, settings: WandbSettings, shown: Shown) -> None:
        super().__init__()
        self.directory, self.run, self.settings, self.shown = directory, run, settings, shown
        self._ended, self._success = 0, False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The project."""
        return self.settings.project

    @property
    def version(self) -> str:
        """The id of the run at W&B."""
        return self.run

    @property
    def experiment(self) -> Any:
        """The thread, begun when first asked for.

        Raises:
            RunError: there is no W&B account on this machine.
        """
        if self._thread is None and self.settings.mode != "disabled":
            if self.settings.mode == "online":
                _check_login()
            self._thread = threading.Thread(target=self._work, name="wandb mirror", daemon=True)
            self._thread.start()
        return self._thread

    def log_hyperparams(self, *arguments: Any, **more: Any) -> None:
        """Nothing: the configuration is read from the run directory."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Nothing: what is not in the record is not shown."""

    def follow(self, task: int) -> None:
        """Task ``task`` has ended and its rows are in the record."""
        self._ended = max(self._ended, task + 1)

    def finalize(self, status: str) -> None:
        """Whether training came to its end."""
        self._success = status == "success"

    def close(self) -> None:
        """Sends what is left and ends the run at W&B; waits as long as the settings allow, after a stop less."""
        if self._thread is None:
            return
        self._closing.set()
        limit = 3 * self.settings.timeout + AT_LEAST if self._success else min(PATIENCE, 3 * self.settings.timeout)
        self._thread.join(min(2.0, limit))
        if self._thread.is_alive():
            with Console(stderr=True).status("W&B: sending what is left …"):
                self._thread.join(max(0.0, limit - 2.0))
        if self._thread.is_alive():
            say(f"W&B: no answer; what is missing is sent by: lop-wandb sync {self.directory}")
        self._thread = None

    def _work(self) -> None:
        try:
            mirror = RunMirror(self.directory, self.settings, self.shown)
            offline = mirror.open(fall_back=True)
            if offline:
                say(f"W&B: offline, as there is no connection ({offline}); later: lop-wandb sync {self.directory}")
            try:
                while not self._closing.wait(EVERY_SECONDS):
                    mirror.advance(self._ended)
                mirror.advance(None if self._success else self._ended)
            finally:
                mirror.finish(self._success)
        except Exception as error:  # whatever it is, training goes on
            say(f"W&B: {reason(error)}; the run is not shown any further, later: lop-wandb sync {self.directory}")


def wandb_logger(
    directory: Path,
    run: str,
    project: str = "lop-lightning",
    entity: str | None = None,
    mode: str = "online",
    group: str | None = None,
    tags: Sequence[str] = (),
    per_seed: str = "network",
    at_end: Sequence[str] = ("results", "figures"),
    timeout: float = 30.0,
) -> Logger:
    """Weights & Biases; the run's own hash is its id, so that a resumed run goes on in the same place.

    Args:
        directory: The run directory.
        run: The run's identity.
        project: W&B project.
        entity: W&B team or user.
        mode: ``online``, ``offline`` or ``disabled``.
        group: Runs shown together; None for those of the same task and model.
        tags: W&B tags.
        per_seed: Of which metrics each seed is shown: ``none``, ``network``, ``all``.
        at_end: What is sent when the run is done: any of ``results, figures, record``.
        timeout: Seconds that the server may take to answer, and to take what is left at the end.
    """
    settings = WandbSettings(project, entity, mode, group, tuple(tags), timeout)
    return WandbMirror(directory, run, settings, Shown(per_seed, tuple(at_end)))


def _check_login() -> None:
    try:
        check_login()
    except RunError as error:
        raise RunError(f"logger: {error}; logger.mode=offline sends nothing, logger=none does without") from error
