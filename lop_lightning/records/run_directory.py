"""The directory of a run: a function of what is computed, not of the clock. The same command finds the same place."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

import lop_lightning
from lop_lightning.errors import RunError

FORMAT = 2
"""Layout of run directories; another number is not read."""

NAMED = ("task", "model", "algo")
"""Groups whose ``name`` is a part of the path."""

VOLATILE = (
    ("runs_dir",), ("hardware",), ("logger",), ("experiment",), ("task", "data_dir"),
    ("callbacks", "checkpoint"), ("callbacks", "progress"),
)  # fmt: skip
"""Keys that do not change what is computed, and so do not change the directory."""

_BEFORE_MARKER = {".lock", "run.json.part"}
"""What a run that was killed, or found the disk full, in its first instant may leave."""


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
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.identity = config, identity(config)
        names = [config[group]["name"] for group in NAMED]
        self.path = Path(config["runs_dir"]).joinpath(*names, self.identity)
        self.record = self.path / "record.csv"
        self.checkpoints = self.path / "checkpoints"
        self.networks = self.path / "networks"
        self.summary = self.path / "summary.json"
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
            self._lock = (self.path / ".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            marker = {"format": FORMAT, "identity": self.identity, **(facts or {})}
            write_atomically(self.path / "run.json", json.dumps(marker, indent=1))
            self.checkpoints.mkdir(exist_ok=True)
            if not (self.path / "config.yaml").exists():
                write_atomically(self.path / "config.yaml", yaml.safe_dump(self.config, sort_keys=False))
            with (self.path / "sessions.jsonl").open("a") as file:
                file.write(json.dumps(circumstances()) + "\n")
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

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def write_atomically(path: Path, text: str) -> None:
    """The file is whole or not there."""
    beside = path.with_name(path.name + ".part")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def circumstances() -> dict[str, Any]:
    """When, where and with what code a session of the run began."""
    versions = {"lop_lightning": lop_lightning.__version__, "python": platform.python_version()}
    for package in ("torch", "lightning", "hydra-core", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "?"
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "host": platform.node(),
        "pid": os.getpid(),
        "versions": versions,
        "git": _git("rev-parse", "HEAD"),
        "changed": _git("status", "--porcelain", "--untracked-files=no"),
    }


def _git(*command: str) -> str:
    try:
        folder = Path(__file__).parent
        done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
