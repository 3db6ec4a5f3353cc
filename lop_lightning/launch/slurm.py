"""``hardware=slurm_gpu`` and ``slurm_cpu``: the jobs of a sweep as one job array of a SLURM cluster, through submitit.

submitit's executor is called directly, not through Hydra's plugin for it (``hydra/launcher=submitit_slurm`` works too):
the plugin tells the ids of the jobs only when all have ended, asks for them in SLURM's accounting, which small clusters
do not have, and imports PyTorch before it is ready for signals (see ``turn.py``).
"""

from __future__ import annotations

import contextlib
import io
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lop_lightning.console import say
from lop_lightning.errors import LopError, check_count, check_flag, check_number
from lop_lightning.launch.alive import slurm_states
from lop_lightning.launch.jobs import Job, Work, folder_for_logs, write_note
from lop_lightning.launch.state import failures
from lop_lightning.launch.turn import Turn


class Slurm:
    """Submits jobs and returns at once, naming their ids; ``wait`` stays until they have ended.

    ``signal_delay`` seconds before the time limit SLURM sends SIGUSR2. The run writes a checkpoint at the end of its
    chunk, submitit puts the job back into the queue, and its next turn goes on from there, bit for bit. A job that is
    preempted (SIGTERM) or requeued by hand (``scontrol requeue``) goes on in the same way.

    Args:
        partition: SLURM's partition; ``None`` is the cluster's default.
        minutes: Time limit of one turn of a job.
        gpus: GPUs a job.
        cpus: Processor cores a job.
        memory: Main memory a job, in GB; ``None`` is the cluster's default.
        array_parallelism: How many jobs of the array may run at the same time.
        max_timeouts: How often a job may reach its time limit and be queued again.
        signal_delay: Seconds before the time limit at which the run is told to save. Longer than a chunk takes.
        setup: Shell commands before Python, as ``module load cuda``.
        account: SLURM's account.
        qos: SLURM's quality of service.
        options: Further options of ``sbatch``, as ``{constraint: a100, exclude: node7}``.
        wait: Stay until the jobs have ended. Ctrl-C then ends the waiting, not the jobs.
    """

    def __init__(
        self,
        partition: str | None = None,
        minutes: int = 1440,
        gpus: int = 0,
        cpus: int = 2,
        memory: float | None = 16,
        array_parallelism: int = 64,
        max_timeouts: int = 100,
        signal_delay: int = 120,
        setup: Sequence[str] = (),
        account: str | None = None,
        qos: str | None = None,
        options: dict[str, Any] | None = None,
        wait: bool = False,
    ) -> None:
        for key, value, low in (
            ("minutes", minutes, 1), ("gpus", gpus, 0), ("cpus", cpus, 1), ("array_parallelism", array_parallelism, 1),
            ("max_timeouts", max_timeouts, 0),
        ):  # fmt: skip
            check_count(key, value, low)
        check_count("signal_delay", signal_delay, 1, 60 * minutes - 1)
        if memory is not None:
            check_number("memory", memory, 0, open_low=True)
        check_flag("wait", wait)
        self.partition, self.minutes, self.max_timeouts, self.wait = partition, minutes, max_timeouts, wait
        self.parameters: dict[str, Any] = {
            "name": "lop", "timeout_min": minutes, "cpus_per_task": cpus, "gpus_per_node": gpus or None,
            "mem_gb": memory, "stderr_to_stdout": True, "slurm_partition": partition, "slurm_account": account,
            "slurm_qos": qos, "slurm_array_parallelism": array_parallelism, "slurm_signal_delay_s": signal_delay,
            "slurm_setup": list(setup) or None,
            "slurm_additional_parameters": {"requeue": True, **(options or {})},
        }  # fmt: skip

    def launch(self, jobs: Sequence[Job], work: Work) -> None:
        """Submits the jobs as one array (a single one as a job of its own), and notes where they went.

        Raises:
            LopError: there is no SLURM here, it refuses the jobs, or jobs failed while this waited for them.
        """
        if shutil.which("sbatch") is None:
            raise LopError("hardware: there is no SLURM here (sbatch was not found); hardware=local fills this machine")
        folder = folder_for_logs(jobs)
        numbers, logs = self._submit(jobs, work, folder)
        for job, number, log in zip(jobs, numbers, logs):
            write_note(job, "slurm", number, log)
        array = numbers[0].split("_")[0]
        ids = numbers[0] if len(jobs) == 1 else f"{numbers[0]} to {numbers[-1]}"
        say(f"submitted {ids}, {self.minutes} min a turn; to stop: scancel {array}")
        say(f"logs are in {folder}")
        say(f"how they are doing: lop-status {jobs[0].directory.config['runs_dir']}")
        if self.wait:
            self._stay(jobs, numbers)

    def _submit(self, jobs: Sequence[Job], work: Work, folder: Path) -> tuple[list[str], list[Path]]:
        import submitit  # here, because only this needs it

        try:
            executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=self.max_timeouts)
            executor.update_parameters(**{key: value for key, value in self.parameters.items() if value is not None})
            with contextlib.redirect_stderr(io.StringIO()):  # what sbatch says is in the error, too
                sent = executor.submit_array([Turn(f"{work.__module__}:{work.__qualname__}", job.line) for job in jobs])
            return [job.job_id for job in sent], [job.paths.stdout for job in sent]
        except Exception as error:  # submitit passes on what sbatch says in errors of several kinds
            shutil.rmtree(folder)
            raise LopError(f"hardware: SLURM does not take the jobs: {_reason(error)}") from error

    def _stay(self, jobs: Sequence[Job], numbers: Sequence[str]) -> None:
        columns = (TextColumn("jobs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console, left = Console(stderr=True), set(numbers)
        try:
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
                line = bar.add_task("", total=len(numbers))
                while left:
                    time.sleep(2)
                    listed = slurm_states(numbers)
                    left = left if listed is None else left & set(listed)
                    bar.update(line, completed=len(numbers) - len(left))
        except KeyboardInterrupt:
            say(f"not waiting any longer; {len(left)} jobs go on")
            return
        failures(jobs)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(next((line for line in lines if "error:" in line), lines[0]).split())
