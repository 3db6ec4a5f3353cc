"""Ready sweeps: ``+sweep=NAME`` stands for the lists of values in ``conf/sweep/NAME.yaml``.

So does ``experiment=NAME`` where these are experiments and none of them has that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lop_lightning.config.overrides import COMMANDS, command_of, options_of, table_of
from lop_lightning.errors import LopError, as_written, check_choice


def expanded(arguments: Sequence[str]) -> list[str]:
    """A command line in which every sweep's name is replaced by ``key=value,value,…``, a sweep as Hydra has it.

    Raises:
        LopError: there is no such sweep, its file is no table of lists, or a key of it is set on the command line too.
    """
    result: list[str] = []
    for argument in arguments:
        if command_of(argument) != "sweep":
            result.append(argument)
            continue
        name = argument.partition("=")[2]
        lists = read_options("sweep", name)
        for key, values in lists.items():
            if not isinstance(values, list) or not values:
                raise LopError(f"conf/sweep/{name}.yaml: {key}={as_written(values)} is not legal: expected a list")
            _check_once(key, name, [other for other in arguments if other != argument])
            result.append(f"{key}={','.join(_written(value) for value in values)}")
    return result


def read_options(command: str, name: str) -> dict[str, Any]:
    """What ``conf/<command>/<name>.yaml`` says.

    Raises:
        LopError: there is no such file, or it is no table.
    """
    check_choice(command, name, options_of(command))
    if not (found := table_of(command, name)):
        raise LopError(f"conf/{command}/{name}.yaml is no table of keys")
    return found


def command_options() -> dict[str, list[str]]:
    """The ready sweeps and searches, for the help."""
    return {command: options_of(command) for command in COMMANDS}


def _check_once(key: str, name: str, others: Sequence[str]) -> None:
    for other in others:
        given = [other.partition("=")[0].lstrip("+~")]
        if command_of(other) == "sweep":
            given = list(read_options("sweep", other.partition("=")[2]))
        if key in given:
            raise LopError(f"{other} is not legal here: sweep={name} gives {key}")


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_written(one) for one in value)}]"
    return as_written(value)
