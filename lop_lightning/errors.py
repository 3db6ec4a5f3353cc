"""Errors a person can act on: one line that names the key, what it got, what is legal, and the nearest match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class LopError(Exception):
    """Anything the user can mend. The console prints it as one line, without a traceback, and exits with code 2."""


class ConfigError(LopError, ValueError):
    """A key or a value of the configuration is wrong.

    Args:
        key: The key as the user writes it, without its group (``replacement_rate``).
        value: What was given.
        expected: What is legal, in words (``a number in [0, 1]``).
        choices: The legal values, if they can be listed; the nearest match is then named.
    """

    def __init__(self, key: str, value: object, expected: str = "", choices: Iterable[object] = ()) -> None:
        self.key, self.value, self.choices = key, value, [str(choice) for choice in choices]
        self.expected = expected or "one of " + ", ".join(self.choices)
        super().__init__(self.line(key))

    def line(self, key: str) -> str:
        """The message, under the key's full name (``algo.replacement_rate``)."""
        shown = as_written(self.value)
        return f"{key}={shown} is not legal: expected {self.expected}{nearest(shown, self.choices)}"


class RunError(LopError, RuntimeError):
    """A run cannot go on: damaged checkpoint, full disk, non-finite loss, a directory in use."""


def as_written(value: object) -> str:
    """A value as the command line has it: ``null``, ``true``, ``[1, 2]``."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def nearest(word: str, choices: Sequence[str]) -> str:
    """``"; did you mean 'x'?"`` for the choice closest to ``word``, or an empty string when none is close."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def check_choice(key: str, value: object, choices: Iterable[str]) -> None:
    """Raises :class:`ConfigError` unless ``value`` is one of ``choices``."""
    choices = list(choices)
    if value not in choices:
        raise ConfigError(key, value, choices=choices)


def check_number(
    key: str,
    value: float,
    low: float = float("-inf"),
    high: float = float("inf"),
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raises :class:`ConfigError` unless ``value`` is a number in the interval from ``low`` to ``high``."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    above = is_number and (value > low if open_low else value >= low)
    below = is_number and (value < high if open_high else value <= high)
    if not (above and below):
        left, right = (
            "(" if open_low or low == float("-inf") else "[",
            ")" if open_high or high == float("inf") else "]",
        )
        raise ConfigError(key, value, f"a number in {left}{low:g}, {high:g}{right}")


def check_count(key: str, value: int, low: int = 1, high: int | None = None) -> None:
    """Raises :class:`ConfigError` unless ``value`` is a whole number of at least ``low`` (and at most ``high``)."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        upper = "" if high is None else f" and at most {high}"
        raise ConfigError(key, value, f"a whole number of at least {low}{upper}")


def check_flag(key: str, value: bool) -> None:
    """Raises :class:`ConfigError` unless ``value`` is true or false: any other word would count as true."""
    if not isinstance(value, bool):
        raise ConfigError(key, value, "true or false")


def check_folder(key: str, value: str) -> None:
    """Raises :class:`ConfigError` unless ``value`` is text that can name a folder."""
    if not isinstance(value, str) or not value:
        raise ConfigError(key, value, "the path of a folder")
