"""One run at Weights & Biases: silent, written below the run directory only, continued under the same id."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lop_lightning.errors import RunError, check_choice, check_number
from lop_lightning.records import lock
from lop_lightning.records.files import write_atomically

MODES = ("online", "offline", "disabled")
_FOLDERS = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR")
"""Where W&B would otherwise leave logs and copies of files: below the home directory."""


@dataclass(frozen=True)
class WandbSettings:
    """Where a run is shown, and how long W&B may keep it waiting.

    ``project``, ``entity``, ``group``, ``tags``: W&B's words; ``mode`` one of :data:`MODES`; ``timeout`` in seconds,
    for the server's first answer and again for the upload at the end.
    """

    project: str = "lop-lightning"
    entity: str | None = None
    mode: str = "online"
    group: str | None = None
    tags: Sequence[str] = ()
    timeout: float = 30.0

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_number("timeout", self.timeout, 0, open_low=True)


@dataclass(frozen=True)
class About:
    """What W&B is told of a run when it begins.

    ``axes``: the beginning of metrics' names -> the metric that they are drawn against.
    """

    name: str
    job_type: str
    config: Mapping[str, Any]
    axes: Mapping[str, str]


class WandbRun:
    """A run at W&B whose history has one place for each row: row i is W&B's step i, so nothing can come twice.

    What was handed over is remembered in ``wandb/mirrored.json`` of the run directory; the server, where there is one,
    knows better and is asked.

    Args:
        directory: The run directory.
        identity: The run's identity, which is its id at W&B.
        settings: Where it is shown.
    """

    def __init__(self, directory: Path, identity: str, settings: WandbSettings) -> None:
        self.directory, self.identity, self.settings = directory, identity, settings
        self.folder = directory / "wandb"
        self.sent = 0
        self._run: Any = None
        self._lock: Any = None
        self._environment: dict[str, str | None] = {}

    @property
    def memory(self) -> Path:
        """The file with the number of rows that were handed over."""
        return self.folder / "mirrored.json"

    def open(self, about: About) -> None:
        """Begins the run or goes on with it; afterwards ``sent`` is the number of rows that W&B has.

        Raises:
            RunError: another process shows this run.
            Exception: whatever W&B raises: no account, no answer.
        """
        self._take_lock()
        self._environment = {key: os.environ.get(key) for key in _FOLDERS}
        os.environ.update({key: str(self.folder) for key, value in self._environment.items() if value is None})
        one = self.settings
        try:
            wandb = quiet_wandb()
            self._run = wandb.init(
                project=one.project, entity=one.entity, mode=one.mode, group=one.group, tags=list(one.tags),
                id=self.identity, resume="allow", name=about.name, job_type=about.job_type, config=dict(about.config),
                dir=self.directory, reinit="create_new", settings=_settings(one.timeout),
            )  # fmt: skip
        except BaseException:
            self._release()
            raise
        for axis in dict.fromkeys(about.axes.values()):
            self._run.define_metric(axis)
        for prefix, axis in about.axes.items():
            self._run.define_metric(f"{prefix}*", step_metric=axis)
        online = one.mode == "online"
        self.sent = self._run.starting_step if online else self._remembered()

    def open_offline(self, about: About) -> None:
        """The same after :meth:`open` failed, without a server; W&B's service must forget the attempt first."""
        import wandb

        wandb.teardown()
        self.settings = replace(self.settings, mode="offline")
        self.open(about)

    def log(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The next rows of the history."""
        for row in rows:
            self._run.log(dict(row), step=self.sent)
            self.sent += 1
        if rows:
            write_atomically(self.memory, json.dumps({"rows": self.sent}))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Values of the whole run."""
        self._run.summary.update(dict(values))

    def upload(self, kind: str, files: Sequence[Path]) -> None:
        """Files as one artifact ``<kind>-<identity>``."""
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self.identity}", kind)
        for file in files:
            artifact.add_file(str(file), name=file.name)
        self._run.log_artifact(artifact)

    def finish(self, done: bool) -> None:
        """Ends the session at W&B, which shows the run as finished or as failed."""
        try:
            if self._run is not None:
                self._run.finish(exit_code=0 if done else 1)
        finally:
            self._run = None
            self._release()

    def _remembered(self) -> int:
        try:
            return int(json.loads(self.memory.read_text())["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _take_lock(self) -> None:
        self.folder.mkdir(exist_ok=True)
        try:
            self._lock = lock.take(self.folder)
        except BlockingIOError:
            raise RunError(f"another process shows this run to W&B: {self.directory}") from None

    def _release(self) -> None:
        for key, value in self._environment.items():
            if value is None:
                os.environ.pop(key, None)
        self._environment = {}
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def check_login() -> None:
    """Raises RunError when there is no W&B account on this machine; asks no server."""
    wandb = quiet_wandb()
    try:
        wandb.login(verify=False)
    except wandb.errors.Error as error:
        raise RunError("no W&B account on this machine: wandb login, or WANDB_API_KEY") from error


def quiet_wandb() -> Any:
    """The package, imported when it is needed, with not a word on the terminal and no questions."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # reports that fail would be told on the terminal
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    return wandb


def _settings(timeout: float) -> Any:
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",  # the terminal stays the progress bar's
        init_timeout=timeout,
        finish_timeout=timeout,
        finish_timeout_raises=True,
        allow_val_change=True,  # a run may go on on other hardware
        use_dot_wandb=False,
        symlink=False,
        disable_git=True,  # what code ran is in the run directory
        disable_code=True,
        disable_job_creation=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=2.0,
    )
