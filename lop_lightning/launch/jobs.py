"""A job: one command line, the directory of its run, and the note there of where it was sent."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lop_lightning.errors import RunError
from lop_lightning.records import RunDirectory
from lop_lightning.records.provenance import code_warning, loaded_fingerprint

Work = Callable[[list[str]], None]
"""What runs one command line in a process of its own: saves and leaves when a signal asks for it."""


@dataclass
class Job:
    """One combination of a sweep.

    Attributes:
        line: The command line, without ``lop``.
        directory: Where its run goes.
    """

    line: list[str]
    directory: RunDirectory

    def words(self, jobs: Sequence[Job]) -> str:
        """What tells this job from the others: the settings that not all of them have."""
        own = [setting for setting in self.line if not all(setting in job.line for job in jobs)]
        return " ".join(own or self.line) if len(jobs) > 1 else " ".join(self.line)


@dataclass
class Note:
    """One row of ``jobs.jsonl`` in a run directory: a job that was sent somewhere to train this run.

    Attributes:
        kind: ``slurm`` or ``local``.
        job: The cluster's id (``4242_7``: job of an array), or the process that holds the jobs of this machine; empty
            where it is known that the job has ended.
        log: Where the job's output goes.
        line: Its command line.
        config: The configuration of the run, so that it has a name before it begins.
        time: When it was sent, in seconds since 1970.
        host: From where.
        code: Fingerprint of the library's code at that time.
    """

    kind: str
    job: str
    log: str
    line: list[str]
    config: dict[str, Any]
    time: float
    host: str
    code: str = ""


def write_note(job: Job, kind: str, number: str, log: Path) -> None:
    """Notes in the run directory where a job was sent.

    Raises:
        RunError: it cannot be written.
    """
    config = {key: value for key, value in job.directory.config.items() if key not in ("callbacks", "hardware")}
    row = Note(kind, number, str(log), job.line, config, round(time.time(), 3), platform.node(), loaded_fingerprint())
    try:
        job.directory.path.mkdir(parents=True, exist_ok=True)
        with job.directory.jobs.open("a") as file:
            file.write(json.dumps(vars(row)) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {error.filename or job.directory.jobs}: {error.strerror}") from error


def last_note(directory: Path) -> Note | None:
    """Where the run of a directory was sent last; ``None`` where it never was, or the file is damaged."""
    try:
        lines = (directory / "jobs.jsonl").read_text().splitlines()
        return Note(**json.loads(lines[-1]))
    except (OSError, ValueError, IndexError, TypeError):
        return None


def changed_since(directory: Path) -> str:
    """One line when the code on disk is not what it was when the run of a directory was last sent, else nothing."""
    note = last_note(directory)
    return code_warning(note.code) if note is not None and note.code else ""


def folder_for_logs(jobs: Sequence[Job]) -> Path:
    """A new folder ``<runs_dir>/sweeps/<date>/<time>``.

    Raises:
        RunError: it cannot be made.
    """
    moment = time.strftime("%Y-%m-%d/%H-%M-%S")
    folder = Path(jobs[0].directory.config["runs_dir"], "sweeps", f"{moment}-{os.getpid()}").absolute()
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return folder
