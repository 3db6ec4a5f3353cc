"""What our console programs share: arguments whose errors are one line, and how they speak."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from lop_lightning.errors import LopError


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")

    @contextmanager
    def mending(self) -> Iterator[None]:
        """What is raised within and the user can mend (LopError, ValueError, OSError) is such an error."""
        try:
            yield
        except (LopError, ValueError) as error:
            self.error(str(error))
        except OSError as error:
            self.error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))


def say(line: str) -> None:
    """One line of ``lop`` on stderr."""
    print(f"lop: {line}", file=sys.stderr, flush=True)


def count(text: str) -> int:
    """An argument that is a number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def numbers(text: str) -> list[int]:
    """An argument that lists whole numbers, each once: 5,10,30."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers, as 5,10,30")
    return list(dict.fromkeys(map(int, parts)))
