"""What a run is doing, from the files in its directory."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lop_lightning.errors import LopError
from lop_lightning.launch.alive import alive
from lop_lightning.launch.jobs import Job, Note, last_note
from lop_lightning.records import lock

STATES = ("done", "running", "queued", "stopped", "failed", "never begun")
"""What a run can be: stopped is one that has begun and may go on; failed, one that said why it cannot."""

SILENCE = 120.0
"""Seconds without a sign after which a run on another machine, whose lock cannot be seen, counts as stopped."""
_TAIL = 8192
_OF_SRUN = re.compile(r"^(srun|submitit) |: task \d+: Exited with exit code|Force Terminated|^srun: ")


@dataclass
class State:
    """A run as its directory shows it.

    Attributes:
        path: The run directory.
        config: Its configuration; empty where it cannot be read.
        word: One of :data:`STATES`.
        task: The task it is in, from 1; 0 before the first.
        tasks: Tasks of the stream; 0 where it is not known.
        share: Updates made, of all; 0 to 1.
        speed: Updates a second in this session, of a run at work.
        left: Seconds that a run at work still needs.
        error: Why it failed or stopped, in one line, as far as is known.
        log: Where the job's output is.
    """

    path: Path
    config: dict[str, Any]
    word: str
    task: int = 0
    tasks: int = 0
    share: float = 0.0
    speed: float | None = None
    left: float | None = None
    error: str = ""
    log: str = ""


def run_directories(root: Path) -> Iterator[Path]:
    """Directories of runs at or below ``root``, begun or only submitted."""
    for folder, inner, files in os.walk(root):
        if "run.json" in files or "jobs.jsonl" in files:
            inner.clear()
            yield Path(folder)
        inner.sort()


def states(paths: Iterable[Path]) -> list[State]:
    """The states of runs; a cluster's queue is asked once for all of them, where it can be asked."""
    paths = list(paths)
    notes = {path: last_note(path) for path in paths}
    unfinished = [note for path, note in notes.items() if note is not None and not (path / "summary.json").exists()]
    queue = alive(unfinished)
    return [_state(path, notes[path], queue) for path in paths]


def failures(jobs: Sequence[Job]) -> None:
    """Nothing when all jobs are done.

    Raises:
        LopError: some are not; it names each, why, and its log.
    """
    found = zip(jobs, states(job.directory.path for job in jobs))
    bad = [(job, state) for job, state in found if state.word != "done"]
    if bad:
        lines = [f"{job.words(jobs)}: {one.word}; {one.error or 'no reason'}; log {one.log}" for job, one in bad]
        lines.append(f"{len(bad)} of {len(jobs)} jobs are not done; the same command runs again only these")
        raise LopError("\nlop: ".join(lines))


def _state(path: Path, note: Note | None, queue: dict[str, str | None]) -> State:
    config = _config(path) or (note.config if note else {})
    state = State(path, config, "never begun", log=note.log if note else "")
    progress = _json(path / "progress.json")
    state.tasks = int(progress.get("tasks", config.get("task", {}).get("tasks") or 0))
    if (path / "summary.json").exists():
        state.word, state.task, state.share = "done", state.tasks, 1.0
        return state
    if progress:
        state.task, state.share = progress["task"], progress["updates"] / max(progress["total"], 1)
    failure = _json(path / "failure.json")
    if lock.taken(path) or _heard_of(progress):
        state.word, state.speed = "running", progress.get("updates_per_second")
        if state.speed:
            now = progress["updates"] + state.speed * (time.time() - progress["time"])
            state.left = max(progress["total"] - now, 0) / state.speed
    elif failure and not (note and note.job and failure["time"] < note.time):
        state.word, state.error = "failed", str(failure["error"])
    elif note and note.log in queue and not (queue[note.log] is None and _ended_since(path, note)):
        state.word = "queued"
    else:
        state.word = "stopped" if (path / "run.json").exists() else "never begun"
        state.error = _last_line(Path(note.log)) if note else ""
    return state


def _heard_of(progress: dict[str, Any]) -> bool:
    if not progress or progress.get("host") == platform.node():  # there the lock is the truth
        return False
    return time.time() - progress["time"] < SILENCE


def _ended_since(path: Path, note: Note) -> bool:
    """Whether a run has had a turn since it was submitted, where nobody can be asked if it was queued again."""
    try:
        return (path / "sessions.jsonl").stat().st_mtime > note.time
    except OSError:
        return False


def _config(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load((path / "config.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(log: Path) -> str:
    """The last line of a log that says something about the job."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [" ".join(line.split()) for line in lines if line.strip() and not _OF_SRUN.search(line)]
    return said[-1][:300] if said else ""
