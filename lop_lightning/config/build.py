"""From a checked configuration to the objects it names; types and values are checked on the way."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any, Union, get_args, get_origin, get_type_hints

from lop_lightning.errors import ConfigError, LopError, as_written, nearest

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def build(path: str, node: dict[str, Any] | None, partial: bool = False, **given: Any) -> Any:
    """What ``node`` of the configuration describes: ``_target_`` called with the node's other keys and ``given``.

    Args:
        path: The node's full name, for messages.
        node: Plain containers; ``name`` is a label and not passed on.
        partial: Check everything that can be checked now, but return the call instead of its result.
        **given: What the program adds.

    Raises:
        LopError: an unknown key, a wrong type, or a value that the constructor refuses; the key has its full name.
    """
    if not isinstance(node, dict) or "_target_" not in node:
        raise LopError(f"{path}={as_written(node)} is not legal: expected settings with a _target_")
    target = _find(path, node["_target_"])
    settings = {key: value for key, value in node.items() if key not in ("_target_", "name")}
    _check_keys(path, target, settings)
    if partial:
        return _Later(path, target, {**settings, **given})
    return _called(path, target, {**settings, **given})


class _Later:
    """A call that waits for its last arguments; ``inspect.signature`` shows all that the target takes."""

    def __init__(self, path: str, target: Any, arguments: dict[str, Any]) -> None:
        self.path, self.target, self.arguments = path, target, arguments
        self.__signature__ = inspect.signature(target)

    def __call__(self, **late: Any) -> Any:
        return _called(self.path, self.target, {**self.arguments, **late})


def _called(path: str, target: Any, arguments: dict[str, Any]) -> Any:
    try:
        return target(**arguments)
    except ConfigError as error:
        full = error.key if error.key in ("seeds", "chunk") else f"{path}.{error.key}"
        raise LopError(error.line("hardware.chunk" if full == "chunk" else full)) from error


def _find(path: str, name: str) -> Any:
    try:
        found = resolve_name(name)
    except Exception as error:  # a module may raise anything when it is imported
        raise LopError(f"{path}._target_={name} cannot be imported: {' '.join(str(error).split())}") from error
    if not callable(found):
        raise LopError(f"{path}._target_={name} is nothing that can be called")
    return found


def _check_keys(path: str, target: Any, settings: dict[str, Any]) -> None:
    callable_ = target.__init__ if inspect.isclass(target) else target
    legal = [name for name in inspect.signature(callable_).parameters if name != "self"]
    hints = get_type_hints(callable_)
    for key, value in settings.items():
        if key not in legal:
            raise LopError(f"{path}.{key} is no key of {path}: expected one of {', '.join(legal)}{nearest(key, legal)}")
        if key in hints and not _fits(value, hints[key]):
            raise LopError(f"{path}.{key}={as_written(value)} is not legal: expected {_in_words(hints[key])}")


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin in (list, tuple, Sequence) or hint in (list, tuple):
        inner = [part for part in get_args(hint) if part is not Ellipsis] or [Any]
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return True  # richer types are the constructor's own business


def _in_words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(part) for part in get_args(hint))
    if origin in (list, tuple, Sequence):
        inner = _in_words(get_args(hint)[0]) if get_args(hint) else "values"
        return f"a list, each of it {inner}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))
