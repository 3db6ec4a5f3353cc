"""A progress bar that shows itself only where one has to wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

QUIET_SECONDS = 3.0
Item = TypeVar("Item")


def tracked(items: Sequence[Item], describe: Callable[[Item], str], console: Console) -> Iterator[Item]:
    """Yield the items; when this takes longer than three seconds, show how far it is and what comes now."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns, console=console, transient=True)
    line, began = bar.add_task("", total=len(items)), time.monotonic()
    try:
        for item in items:
            if console.is_interactive and not bar.live.is_started and time.monotonic() - began > QUIET_SECONDS:
                bar.start()
            bar.update(line, description=describe(item))
            yield item
            bar.advance(line)
    finally:
        if bar.live.is_started:
            bar.stop()
