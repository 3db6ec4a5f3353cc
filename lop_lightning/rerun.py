"""``lop --rerun RUN``: the same configuration once more elsewhere, and whether it gives the same, bit for bit."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lop_lightning.analysis.networks import read_config
from lop_lightning.analysis.same import differences
from lop_lightning.config import composed, config_groups, parse
from lop_lightning.console import OneLineParser
from lop_lightning.errors import LopError
from lop_lightning.records import RunDirectory
from lop_lightning.records.provenance import loaded_fingerprint, machine, packages, sessions
from lop_lightning.records.run_directory import VOLATILE, identity

INTO = "reruns"
"""Where a repetition goes unless ``runs_dir`` says so."""
_NAMED = 6
"""Packages that a line names."""


def main(arguments: Sequence[str], train: Callable[[DictConfig], RunDirectory], say: Callable[[str], None]) -> int:
    """``lop --rerun RUN [--trust] [runs_dir=…] [hardware…=…]``; 0 when all is the same, 1 when something differs.

    Args:
        arguments: The command line.
        train: Trains what a configuration describes.
        say: Takes a line for the person who asked.

    Raises:
        LopError: ``RUN`` is no finished run, or a setting would make it another one.
    """
    command = OneLineParser(prog="lop", add_help=False, allow_abbrev=False)
    command.add_argument("--rerun", required=True, type=Path, metavar="RUN")
    command.add_argument("--trust", action="store_true")
    command.add_argument("settings", nargs="*")
    asked = command.parse_args(list(arguments))
    config = repeated(asked.rerun, asked.settings, asked.trust)
    again = RunDirectory(config)
    if again.path.resolve() == asked.rerun.resolve():
        raise LopError(f"{asked.rerun} cannot be repeated in its own place: set another runs_dir")
    train(OmegaConf.create(config))
    found = differences(asked.rerun, again.path)
    for line in (*changes(asked.rerun, config), *found):
        say(line)
    say(f"{'not the same as' if found else 'the same, bit for bit:'} {asked.rerun}")
    return 1 if found else 0


def repeated(run: Path, settings: Sequence[str], trust: bool) -> dict[str, Any]:
    """The configuration of a finished run, to be trained elsewhere.

    Without settings it goes to :data:`INTO`, on the hardware that it had, and to no logger.

    Raises:
        LopError: it is no finished run, or a setting is none of those that leave the numbers alone.
    """
    config = read_config(run, trust, "lop --rerun ... --trust runs it")
    if not (run / "summary.json").is_file():
        raise LopError(f"{run} is not done, so there is nothing to compare with: run its own command again first")
    here = OmegaConf.create({**config, "runs_dir": INTO, "logger": {"name": "none"}})
    OmegaConf.set_struct(here, True)
    for override in parse(settings):
        _set(here, override)
    plain: dict[str, Any] = OmegaConf.to_container(here)  # type: ignore[assignment]
    if identity(plain) != identity(config):
        raise LopError(f"{' '.join(settings)} would make it another run: legal are {_legal()}")
    return plain


def changes(run: Path, config: dict[str, Any]) -> Iterator[str]:
    """Lines that say in what a run's sessions differ from one that would begin now: code, packages, machine."""
    before = sessions(run)
    if not before:
        yield f"{run} does not say with what code it was made"
        return
    last, now = before[-1], machine()
    if len({session.get("fingerprint") for session in before}) > 1:
        yield f"its {len(before)} sessions did not all run the same code"
    if last.get("fingerprint") != loaded_fingerprint():
        changed = " with changes" if last.get("changed") else ""
        yield f"the code differs: it was commit {str(last.get('git'))[:12] or 'unknown'}{changed}"
    if versions := list(_packages(run, last)):
        more = f" and {len(versions) - _NAMED} more" if len(versions) > _NAMED else ""
        yield f"packages differ: {', '.join(versions[:_NAMED])}{more}"
    facts = {"python": platform.python_version(), **{key: now[key] for key in ("platform", "processor", "gpus")}}
    then = {**last, "python": (last.get("versions") or {}).get("python")}
    for key, value in facts.items():
        if then.get(key) != value:
            yield f"{key} differs: it was {then.get(key)}, it is {value}"
    if last.get("hardware") != config.get("hardware"):
        yield f"hardware differs: it was {json.dumps(last.get('hardware'))}"


def _packages(run: Path, session: dict[str, Any]) -> Iterator[str]:
    name = str(session.get("packages", ""))
    path = run / "provenance" / Path(name).name  # wherever a stranger's file may point
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        yield "it does not say which it had"
        return
    then, now = dict(line.split("==", 1) for line in lines if "==" in line), packages()
    for package in sorted({*then, *now}, key=str.lower):
        if then.get(package) != now.get(package):
            yield f"{package} {then.get(package, 'not there')} -> {now.get(package, 'not there')}"


def _set(config: DictConfig, override: Override) -> None:
    key = override.key_or_group
    if override.type != OverrideType.CHANGE or override.is_sweep_override() or not _is_volatile(key):
        raise LopError(f"{override.input_line} would make it another run: legal are {_legal()}")
    try:
        if key in config_groups():
            config[key] = composed([str(override.input_line)])[key]
        else:
            OmegaConf.update(config, key, override.value())
    except OmegaConfBaseException as error:
        raise LopError(f"{override.input_line} is not legal: {str(error).splitlines()[0]}") from None


def _is_volatile(key: str) -> bool:
    parts = tuple(key.split("."))
    return any(parts[: len(volatile)] == volatile for volatile in VOLATILE)


def _legal() -> str:
    return ", ".join(".".join(key) for key in VOLATILE if key != ("experiment",))
