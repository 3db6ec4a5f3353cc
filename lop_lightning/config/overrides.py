"""The command line, checked against the configuration tree before anything is composed: one line says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lop_lightning.errors import LopError, as_written, nearest

COMMANDS = ("sweep", "tune")
"""Folders of ``conf/`` that say which runs to make, and so are no part of the configuration of one."""
MANY = 20
"""Options of a group above which an error does not list them all."""


def config_directory() -> Path:
    """Where ``conf/`` is: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if (inside / "config.yaml").exists() else package.parent / "conf"


def plainly(arguments: Sequence[str]) -> list[str]:
    """Arguments as Hydra wants them: ``+scale=smoke``, which reads as what it is, becomes ``scale=smoke``."""
    return [one.removeprefix("+") if one.startswith(("+scale=", "+preset=")) else one for one in arguments]


def parse(arguments: Sequence[str]) -> list[Override]:
    """The overrides of a command line.

    Raises:
        LopError: one cannot be read.
    """
    parser, overrides = OverridesParser.create(), []
    for argument in plainly(arguments):
        if "=" not in argument and not argument.startswith("~"):
            raise LopError(f"'{argument}' is no setting: write key=value, as seeds=10{_did_you_mean_group(argument)}")
        try:
            overrides.extend(parser.parse_overrides([argument]))
        except HydraException as error:
            raise LopError(f"cannot read '{argument}': {str(error).splitlines()[0]}") from None
    return overrides


def jobs(overrides: Sequence[Override]) -> list[list[str]]:
    """The command lines of a sweep: every combination of the swept values.

    Raises:
        LopError: values are described that cannot be listed (``interval``, ``glob``).
    """
    combined: list[list[str]] = [[]]
    for override in overrides:
        name, line = override.get_key_element(), str(override.input_line)
        choices = [line]
        try:
            if override.is_sweep_override():
                choices = [f"{name}={value}" for value in override.sweep_string_iterator()]
        except HydraException:
            raise LopError(f"'{line}' is no list of values: write them one by one, as {name}=1,2,3") from None
        combined = [[*job, choice] for job in combined for choice in choices]
    return combined


def command_of(argument: str) -> str:
    """``sweep`` of ``+sweep=NAME`` or ``sweep=NAME``, ``tune`` likewise; nothing for a setting of a run.

    ``experiment=NAME`` is a sweep where that is the name of none but a sweep of experiments.
    """
    key, _, name = argument.removeprefix("+").partition("=")
    if key == "experiment" and name in options_of("sweep") and name not in options_of("experiment"):
        return "sweep" if key in table_of("sweep", name) else ""
    return key if key in COMMANDS else ""


def composed(arguments: Sequence[str]) -> DictConfig:
    """The configuration that a command line means.

    Raises:
        LopError: a group, an option, a key or a value is unknown; the message names the legal ones and the nearest.
    """
    arguments = plainly(arguments)
    for argument in arguments:
        if command_of(argument):
            raise LopError(f"'{argument}' stands for several runs: write lop -m {argument} ...")
    overrides = parse(arguments)
    groups = config_groups()
    for override in overrides:
        _check_group(override, groups)
    chosen = [str(override.input_line) for override in overrides if override.key_or_group in groups]
    of_hydra = ("hydra.", "hydra/")
    keys = [o for o in overrides if o.key_or_group not in groups and not o.key_or_group.startswith(of_hydra)]
    try:
        with initialize_config_dir(str(config_directory()), version_base="1.3"):
            for override in overrides:
                if override.key_or_group == "preset" and not override.is_sweep_override():
                    _check_preset(override, chosen)
            skeleton = compose("config", chosen) if keys else None
            for override in keys:
                _check_key(override, skeleton, list(groups))
            config = compose("config", arguments)
            OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise LopError(" ".join(str(error).split())) from None
    return config


def config_groups() -> dict[str, list[str]]:
    """The groups of the configuration and the options of each (``dohare2024/permuted/bp`` for one in folders)."""
    return {
        folder.name: options_of(folder.name)
        for folder in sorted(config_directory().iterdir())
        if folder.is_dir() and not folder.name.startswith((".", "_")) and folder.name not in COMMANDS
    }


def options_of(group: str) -> list[str]:
    """The options of one group, or of one of :data:`COMMANDS`."""
    folder = config_directory() / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def table_of(group: str, option: str) -> dict[str, Any]:
    """What ``conf/<group>/<option>.yaml`` says; nothing where that is no table."""
    found = yaml.safe_load((config_directory() / group / f"{option}.yaml").read_text(encoding="utf-8"))
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def _check_group(override: Override, groups: dict[str, list[str]]) -> None:
    name = override.key_or_group
    if name not in groups:
        return
    values = [override.value()] if not override.is_sweep_override() else list(override.sweep_string_iterator())
    for value in [None] if override.type == OverrideType.DEL else values:
        if value is None or str(value) not in groups[name]:
            shown, options = as_written(value), groups[name]
            raise LopError(
                f"{name}={shown} is not legal: expected one of {_listed(shown, options)}{nearest(shown, options)}"
            )


def _listed(word: str, options: Sequence[str]) -> str:
    """All options; of many, those of the word's family, or where it has none, the names of the families."""
    if len(options) <= MANY:
        return ", ".join(options)
    families = {option: option.rpartition("/")[0] for option in options}
    kin = [option for option, family in families.items() if family == word.rpartition("/")[0]]
    return ", ".join(kin or dict.fromkeys(f"{family}/…" if family else option for option, family in families.items()))


def _check_preset(override: Override, chosen: Sequence[str]) -> None:
    """A preset sets keys of what the other options of ``chosen`` have; it adds none."""
    plain = compose("config", [line for line in chosen if line != override.input_line])
    for group, keys in table_of("preset", str(override.value())).items():
        missing = [key for key in keys if key not in plain[group]] if isinstance(keys, dict) else []
        if missing:
            fit = [option for option in options_of(group) if {*keys} <= {*table_of(group, option)}]
            raise LopError(
                f"{override.input_line} is not legal with {group}={plain[group].name}, which has no key {missing[0]}: "
                f"expected {group}={' or '.join(fit)}"
            )


def _check_key(override: Override, skeleton: Any, groups: list[str]) -> None:
    if override.type in (OverrideType.ADD, OverrideType.FORCE_ADD, OverrideType.DEL):
        raise LopError(
            f"{override.key_or_group}: keys cannot be added or removed, only set; see the keys with 'lop --cfg job'"
        )
    node: Any = skeleton
    walked: list[str] = []
    for part in override.key_or_group.split("."):
        legal = [str(key) for key in node] if OmegaConf.is_dict(node) else []
        if part not in legal:
            where = ".".join(walked)
            shown = [key for key in legal if not key.startswith("_") and key != "name"]
            if walked and not shown:
                raise LopError(f"{'.'.join([*walked, part])} is no key: {where} has none")
            if not walked:
                shown = sorted({*shown, *groups})
            at = f" of {where}" if where else ""
            raise LopError(
                f"{'.'.join([*walked, part])} is no key{at}: expected one of {', '.join(shown)}{nearest(part, shown)}"
            )
        walked.append(part)
        node = node[part] if not OmegaConf.is_missing(node, part) else None


def _did_you_mean_group(word: str) -> str:
    for group, options in config_groups().items():
        if word in options:
            return f"; did you mean '{group}={word}'?"
    return nearest(word, list(config_groups()))
