"""What the configuration in somebody's run directory may name: only what a configuration of one's own names too."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from lop_lightning.config.overrides import config_groups, options_of, table_of
from lop_lightning.errors import LopError

_OF_OTHERS = ("experiment", "preset", "scale")
"""Groups whose options name no ``_target_`` of their own."""


def check_trusted(config: Any, source: str, hint: str) -> None:
    """Raises LopError unless building ``config`` can call nothing but what the YAMLs of ``conf/`` name.

    A run directory may be a stranger's, and its ``_target_`` is imported and called. An interpolation (``${…}``) would
    be worked out here, with the environment of whoever reads it; the configuration of a run has none left.

    Args:
        config: The configuration of a run, plain containers.
        source: Where it comes from, for the message.
        hint: What to do when one trusts it, for the message.
    """
    known = named_targets()
    for path, key, value in _walk(config, ""):
        if key == "_target_" and (path, value) not in known:
            raise LopError(f"{source}: {path}={value} is in no YAML of conf/, so it is not run; {hint}")
        if isinstance(value, str) and "${" in value:
            raise LopError(f"{source}: {path}={value} is not resolved, which no run leaves; {hint}")


@cache
def named_targets() -> frozenset[tuple[str, str]]:
    """Every ``_target_`` in ``conf/`` and its place: the library's, and those of YAMLs that one has put there oneself.

    The place counts, because a callback under a name of its own would be given a folder by the configuration.
    """
    found: set[tuple[str, str]] = set()
    for group in config_groups():
        for node in _options(group) if group not in _OF_OTHERS else ():
            found |= {(path, value) for path, key, value in _walk(node, group) if key == "_target_"}
    return frozenset(found)


def own_value(group: str, target: str, key: str) -> Any:
    """What the first YAML of a group that names ``target`` says of a key of its own; ``None`` where there is none."""
    return next((node.get(key) for node in _options(group) if node.get("_target_") == target), None)


def _options(group: str) -> Iterator[dict[str, Any]]:
    for option in options_of(group):
        yield table_of(group, option)


def _walk(node: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """(full name, last key, value) of everything that is no container."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    for key, value in items:
        full = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict | list | tuple):
            if key == "_target_":
                yield full, "_target_", repr(value)
            yield from _walk(value, full)
        else:
            yield full, str(key), value
