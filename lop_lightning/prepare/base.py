"""What one data set gives to ``lop-prepare``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


@dataclass(frozen=True)
class Preparation:
    """How the files of one data set are made.

    Attributes:
        summary: One line for ``lop-prepare --help``.
        add_arguments: Adds the options to the parser of the data set.
        prepare: Makes the files, with a progress bar on the console; gives the lines that say what was made. Raises
            ``LopError`` for whatever the user can mend, and then leaves nothing behind.
    """

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace, Console], Iterable[str]]


def count(text: str) -> int:
    """A whole number of at least 1, as the type of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def tracked(items: Iterable[Item], what: str, console: Console, total: int | None = None) -> Iterable[Item]:
    """The items, with a progress bar where somebody is watching."""
    return track(items, what, total, console=console, transient=True, disable=not console.is_interactive)
