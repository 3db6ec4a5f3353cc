"""The directory of a run: a function of what is computed, not of the clock. The same command finds the same place."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import yaml

from lop_lightning.errors import ConfigError, RunError
from lop_lightning.records import lock
from lop_lightning.records.files import write_atomically
from lop_lightning.records.provenance import write_session

FORMAT = 2
"""Layout of run directories; another number is not read."""

NAMED = ("task", "model", "algo")
"""Groups whose ``name`` is a part of the path."""

VOLATILE = (
    ("runs_dir",), ("hardware",), ("logger",), ("experiment",), ("task", "data_dir"),
    ("callbacks", "checkpoint"), ("callbacks", "progress"),
)  # fmt: skip
"""Keys that do not change what is computed, and so do not change the directory."""

_BEFORE_MARKER = {".lock", "run.json.part", "jobs.jsonl"}
"""What a run that was submitted but not begun, was killed, or found the disk full, in its first instant may leave."""


def identity(config: dict[str, Any]) -> str:
    """Twelve hex digits: a hash of the resolved configuration without its volatile keys."""
    kept = json.loads(json.dumps(config))
    for *parents, last in VOLATILE:
        node = kept
        for parent in parents:
            node = node.get(parent, {})
        node.pop(last, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


class RunDirectory:
    """``<runs_dir>/<task>/<model>/<algo>/<hash>/`` with everything that a run leaves.

    Args:
        config: The resolved configuration, plain containers.

    Raises:
        ConfigError: a name is no single folder, so that the run would lie elsewhere.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.identity = config, identity(config)
        names = [_folder(f"{group}.name", config[group]["name"]) for group in NAMED]
        self.path = Path(config["runs_dir"]).joinpath(*names, self.identity)
        self.record = self.path / "record.csv"
        self.checkpoints = self.path / "checkpoints"
        self.networks = self.path / "networks"
        self.summary = self.path / "summary.json"
        self.failure = self.path / "failure.json"
        self.jobs = self.path / "jobs.jsonl"
        self._lock: Any = None

    @property
    def done(self) -> bool:
        """Whether the run has finished."""
        return self.summary.exists()

    def check_format(self) -> None:
        """Raises RunError when the directory was made by a version with another layout, or is no run directory."""
        try:
            if not self.path.is_dir() or {file.name for file in self.path.iterdir()} <= _BEFORE_MARKER:
                return
            found = json.loads((self.path / "run.json").read_text())["format"]
        except PermissionError as error:
            raise RunError(f"cannot read {error.filename}: {error.strerror}") from error
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"{self.path} is no run directory (run.json is missing or damaged): move it away") from None
        if found != FORMAT:
            raise RunError(
                f"{self.path} was made by another version (layout {found}, this is {FORMAT}): move it away, "
                "or set another runs_dir"
            )

    def open(self, facts: dict[str, Any] | None = None) -> None:
        """Makes the directory, takes its lock, and writes down the configuration and the circumstances.

        Args:
            facts: What run.json shall say besides: the network's layers.

        Raises:
            RunError: another process is at work there, or it cannot be written.
        """
        self.check_format()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock.take(self.path)
            self.failure.unlink(missing_ok=True)
            marker = {"format": FORMAT, "identity": self.identity, **(facts or {})}
            write_atomically(self.path / "run.json", json.dumps(marker, indent=1))
            self.checkpoints.mkdir(exist_ok=True)
            if not (self.path / "config.yaml").exists():
                write_atomically(self.path / "config.yaml", yaml.safe_dump(self.config, sort_keys=False))
            write_session(self.path, self.config)
        except BlockingIOError:
            raise RunError(f"another process is training this run: {self.path}") from None
        except OSError as error:
            raise RunError(f"cannot write {error.filename or self.path}: {error.strerror}") from error

    def finish(self, summary: dict[str, Any]) -> None:
        """Marks the run as done.

        Raises:
            RunError: the disk is full; the run itself is complete.
        """
        try:
            write_atomically(self.summary, json.dumps(summary, indent=1))
        except OSError as error:
            raise RunError(
                f"cannot write {self.summary}: {error.strerror}; all is trained: make room, run the same command again"
            ) from error

    def fail(self, reason: str) -> None:
        """Notes why a session ended, for who looks later; the next session takes the note away."""
        try:
            write_atomically(self.failure, json.dumps({"time": time.time(), "error": reason}))
        except OSError:  # a full disk may be the very reason
            self.failure.with_name(self.failure.name + ".part").unlink(missing_ok=True)

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _folder(key: str, name: str) -> str:
    if not all(letter.isalnum() or letter in "._+-" for letter in name) or name.startswith("."):
        raise ConfigError(key, name, "a name for a folder: letters, digits and ._+-, no dot in front")
    return name
