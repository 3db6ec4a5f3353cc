"""What our console programs share: arguments whose errors are one line, and how they speak."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def say(line: str) -> None:
    """One line of ``lop`` on stderr."""
    print(f"lop: {line}", file=sys.stderr, flush=True)
