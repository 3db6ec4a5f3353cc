"""``lop-wandb sync``: records of runs that W&B has not, or not to their end, sent by the code that shows live ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from inspect import signature
from typing import Any

from rich.console import Console

from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.runs import Run
from lop_lightning.errors import LopError, RunError
from lop_lightning.records.wandb_run import MODES, WandbSettings, check_login
from lop_lightning.report.progress import tracked
from lop_lightning.wandb_tools.logger import wandb_logger
from lop_lightning.wandb_tools.mirror import RunMirror, Shown, reason

_OF_SHOWN = ("per_seed", "at_end")


def sync(arguments: argparse.Namespace, errors: Console) -> Iterator[str]:
    """Sends runs one after another; yields a line a run.

    Raises:
        LopError: there is no account, or W&B cannot be reached; the runs before are sent.
        ValueError: there is no run at a path.
    """
    given = {key: getattr(arguments, key) for key in ("project", "entity", "group")}
    given = {"mode": arguments.mode, **{key: value for key, value in given.items() if value is not None}}
    runs = find_runs(arguments.runs)
    if arguments.mode == "online":
        check_login()
    for run in tracked(runs, lambda run: str(run.label), errors):
        yield f"{run.directory}: {_send(run, given)}"


def _send(run: Run, given: Mapping[str, Any]) -> str:
    settings, shown = _settings(run, given)
    mirror = RunMirror(run.directory, settings, shown)
    try:
        mirror.open(fall_back=False)
        try:
            tasks = mirror.advance(None if run.done else mirror.tail.last_task())
        finally:
            mirror.finish(run.done)
    except LopError:
        raise
    except Exception as error:  # W&B raises many kinds
        raise RunError(f"{run.directory}: not sent: {reason(error)}") from error
    sent = f"{tasks} {'task' if tasks == 1 else 'tasks'} sent" if tasks else "nothing to send, W&B has it all"
    return f"{sent}{'' if run.done else ' (unfinished)'}, {settings.mode}, id {mirror.wandb.identity}"


def _settings(run: Run, given: Mapping[str, Any]) -> tuple[WandbSettings, Shown]:
    """Those of the run where it was mirrored to W&B, else the defaults; what was ``given`` goes before."""
    known = {
        key: one.default for key, one in signature(wandb_logger).parameters.items() if one.default is not one.empty
    }
    own = run.config.get("logger") or {}
    if own.get("name") == "wandb":
        known |= {key: value for key, value in own.items() if key in known}
    known |= given
    return WandbSettings(**{k: v for k, v in known.items() if k not in _OF_SHOWN}), Shown(
        *(known[k] for k in _OF_SHOWN)
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The command line of ``sync``."""
    command.add_argument("runs", nargs="+", metavar="RUNS", help="run directories, or folders above them")
    command.add_argument("--mode", choices=[mode for mode in MODES if mode != "disabled"], default="online")
    command.add_argument("--project", help="W&B project (default: that of the run, else lop-lightning)")
    command.add_argument("--entity", help="W&B team or user")
    command.add_argument("--group", help="runs shown together (default: those of the same task and model)")
