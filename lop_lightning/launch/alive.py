"""Which of the jobs that were sent somewhere are still queued or at work."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from lop_lightning.launch.jobs import Note
from lop_lightning.records import lock


def alive(notes: Iterable[Note]) -> dict[str, str | None]:
    """Log of a job -> its scheduler's word (``pending``, ``running`` …), or ``None`` where that cannot be asked here.

    Jobs that have ended are left out.
    """
    notes = [note for note in notes if note.job]
    states: dict[str, str | None] = {}
    for note in notes:
        if note.kind == "local" and lock.taken(Path(note.log).parent):
            states[note.log] = "pending"
    if of_slurm := [note for note in notes if note.kind == "slurm"]:
        listed = slurm_states(note.job for note in of_slurm)
        for note in of_slurm:
            if listed is None or note.job in listed:
                states[note.log] = None if listed is None else listed[note.job]
    return states


def slurm_states(jobs: Iterable[str]) -> dict[str, str] | None:
    """``squeue``'s words for those jobs that it still lists, array jobs one by one; ``None``: it cannot be asked."""
    if shutil.which("squeue") is None:
        return None
    ids = ",".join(sorted({job.split("_")[0] for job in jobs}))
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={ids}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode != 0:  # a single job that ended long ago is an error to it
        return {} if "Invalid job id" in asked.stderr else None
    return {job: state.lower() for job, state in (line.split()[:2] for line in asked.stdout.splitlines() if line)}
