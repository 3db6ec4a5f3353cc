"""``hardware=local``: the jobs of a sweep side by side on one machine, each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lop_lightning.callbacks import Interrupted
from lop_lightning.callbacks.checkpoint import SIGNALS
from lop_lightning.console import say
from lop_lightning.errors import check_count
from lop_lightning.launch.jobs import Job, Work, folder_for_logs, write_note
from lop_lightning.launch.state import failures, states
from lop_lightning.records import lock


class Local:
    """A pool of processes, each with one job at a time, and a line when a job ends.

    The processes come from the standard library's fork server, which has imported the library already, so that a job
    begins at once. They form sessions of their own: Ctrl-C reaches this process alone, which hands it on once to each
    job; they write their checkpoints, and the same command goes on from there. When this process vanishes, they do the
    same.

    Args:
        processes: How many jobs at the same time; ``auto`` is the number of cores that this process may use.
    """

    def __init__(self, processes: int | str = "auto") -> None:
        if processes != "auto":
            check_count("processes", processes)  # type: ignore[arg-type]
        self.processes = len(os.sched_getaffinity(0)) if processes == "auto" else int(processes)
        self._asked: int | None = None
        self._running: dict[BaseProcess, tuple[Job, float]] = {}
        self._told: set[BaseProcess] = set()

    def launch(self, jobs: Sequence[Job], work: Work) -> None:
        """Runs the jobs and waits for them; a single one runs in this process.

        Raises:
            LopError: some failed; the others are done.
            Interrupted: a signal asked to stop; those at work have written checkpoints.
        """
        if len(jobs) == 1:
            work(jobs[0].line)
            return
        folder = folder_for_logs(jobs)
        pool = lock.take(folder)  # who finds it taken knows that these jobs have somebody who will run them
        logs = {job.directory.path: folder / f"{number}.log" for number, job in enumerate(jobs)}
        for job in jobs:
            write_note(job, "local", str(os.getpid()), logs[job.directory.path])
        say(f"{min(self.processes, len(jobs))} at the same time; logs are in {folder}")
        before: dict[int, Any] = {number: signal.signal(number, self._hand_on) for number in SIGNALS}
        try:
            self._run(jobs, logs, work)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            pool.close()
        if self._asked is not None:
            name, words = signal.Signals(self._asked).name, [one.word for one in states(j.directory.path for j in jobs)]
            counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
            how = "the same command goes on from there"
            raise Interrupted(f"{name}: {counts}; {how}", self._asked, before[self._asked])
        failures(jobs)

    def _run(self, jobs: Sequence[Job], logs: dict[Path, Path], work: Work) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["lop_lightning.train"])
        waiting, ended = list(jobs), 0
        console = Console(stderr=True)
        columns = (TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            line = bar.add_task("", total=len(jobs))
            while self._running or (waiting and self._asked is None):
                while waiting and self._asked is None and len(self._running) < self.processes:
                    job = waiting.pop(0)
                    process = context.Process(target=_enter, args=(work, job.line, str(logs[job.directory.path])))
                    process.start()
                    self._running[process] = (job, time.monotonic())
                    if self._asked is not None and process not in self._told:
                        self._tell(process, self._asked)
                wait([process.sentinel for process in self._running], timeout=1.0)
                for over in [one for one in self._running if one.exitcode is not None]:
                    job, begun = self._running.pop(over)
                    write_note(job, "local", "", logs[job.directory.path])
                    ended += 1
                    bar.update(line, completed=ended)
                    word = "done" if job.directory.done else states([job.directory.path])[0].word
                    how = f"{ended}/{len(jobs)} {word} after {time.monotonic() - begun:.0f} s"
                    console.print(f"lop: {how}: {job.words(jobs)}", soft_wrap=True, highlight=False, markup=False)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self._asked = number
        for process in list(self._running):
            self._tell(process, number)

    def _tell(self, process: BaseProcess, number: int) -> None:
        self._told.add(process)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)  # type: ignore[arg-type]


def _enter(work: Work, line: list[str], log: str) -> None:
    """What a job's process does."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_leave_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    work(line)


def _leave_with(parent: Any) -> None:
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
