"""From command lines to jobs that are checked, counted, and handed to a launcher."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from lop_lightning.config import build
from lop_lightning.console import say
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare
from lop_lightning.launch.alive import alive
from lop_lightning.launch.jobs import Job, Work, last_note
from lop_lightning.randomness import stable_hash
from lop_lightning.records import RunDirectory, lock
from lop_lightning.report.progress import tracked
from lop_lightning.tasks.seeds import seed_list


class Launcher(Protocol):
    """What ``hardware.launcher`` of a configuration builds."""

    def launch(self, jobs: Sequence[Job], work: Work) -> None:
        """Sends jobs, none of them done or at work, to where they run.

        Raises:
            LopError: they cannot be sent, or some of them failed while this waited for them.
        """


def launcher_of(configs: Sequence[DictConfig]) -> Launcher | None:
    """The launcher that all configurations of a sweep name, or ``None``: this process runs them one by one.

    Raises:
        LopError: they name different ones, or a key of it is wrong.
    """
    nodes: list[Any] = [OmegaConf.to_container(config, resolve=True)["hardware"].get("launcher") for config in configs]  # type: ignore[index, call-overload, union-attr]
    if any(node != nodes[0] for node in nodes):
        raise LopError("hardware: a sweep has one launcher with one set of settings; make it several sweeps")
    return None if nodes[0] is None else build("hardware.launcher", nodes[0])


def checked(lines: Sequence[list[str]], configs: Sequence[DictConfig]) -> list[Job]:
    """The jobs of a sweep; each is built here, with one seed and on the processor, to find what is wrong with it.

    Two lines that mean the same run are one job.

    Raises:
        LopError: a configuration is wrong.
    """
    jobs: dict[Path, Job] = {}
    both = list(zip(lines, configs))
    for line, config in tracked(both, lambda pair: " ".join(pair[0])[:40], Console(stderr=True)):
        seeds = seed_list(config.seeds)
        small = {"seeds": seeds[:1], "hardware": {"accelerator": "cpu", "threads": 1}}
        plain = prepare(OmegaConf.merge(config, small)).config  # type: ignore[arg-type]
        directory = RunDirectory({**plain, "seeds": seeds})
        directory.check_format()
        jobs.setdefault(directory.path, Job(line, directory))
    return list(jobs.values())


def grouped(lines: Sequence[list[str]], configs: Sequence[DictConfig]) -> tuple[list[list[str]], list[DictConfig]]:
    """The lines and configurations of a sweep whose loggers show runs in groups: as one group, named after the lines.

    Lines whose group the user has chosen, and those whose logger knows none, stay as they are.
    """
    if len(lines) < 2:
        return list(lines), list(configs)
    name = f"sweep-{stable_hash(*sorted(' '.join(line) for line in lines)):x}"[:14]
    named = list(zip(*map(partial(_grouped, name), lines, configs)))
    return list(named[0]), list(named[1])


def _grouped(name: str, line: list[str], config: DictConfig) -> tuple[list[str], DictConfig]:
    if "group" not in config.logger or config.logger.group is not None:
        return line, config
    return [*line, f"logger.group={name}"], OmegaConf.merge(config, {"logger": {"group": name}})  # type: ignore[return-value]


def launch(launcher: Launcher, jobs: Sequence[Job], work: Work) -> None:
    """Hands those jobs to the launcher that are neither done nor queued nor at work, and says how many that is.

    Raises:
        LopError: see :meth:`Launcher.launch`.
    """
    missing = [job for job in jobs if not job.directory.done]
    done = len(jobs) - len(missing)
    notes = {job.directory.path: last_note(job.directory.path) for job in missing}
    states = alive(note for note in notes.values() if note is not None)  # one whose scheduler is silent: not alive
    queued = {path for path, note in notes.items() if note is not None and states.get(note.log) is not None}
    missing = [j for j in missing if j.directory.path not in queued and not lock.taken(j.directory.path)]
    counts = [f"{len(jobs)} job{'s' * (len(jobs) > 1)}", f"{done} done"]
    if busy := len(jobs) - done - len(missing):
        counts.append(f"{busy} queued or at work")
    say(f"{', '.join(counts)}, {len(missing)} to run")
    if missing:
        launcher.launch(missing, work)
