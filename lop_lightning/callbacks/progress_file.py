"""``progress.json``: how far a run is, for those who look at its directory from elsewhere (``lop-status``)."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any


class ProgressFile:
    """A small file that is replaced at most every ``seconds``; it is whole or not there.

    Args:
        path: The file; ``None`` writes nothing.
        seconds: Time between writes.
    """

    def __init__(self, path: Path | None, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self._written = float("-inf")

    def write(self, at_once: bool = False, **facts: Any) -> None:
        """Writes ``facts`` with time, host and process; a file that cannot be written must not stop a run."""
        if self.path is None or (time.monotonic() - self._written < self.seconds and not at_once):
            return
        self._written = time.monotonic()
        beside = self.path.with_name(self.path.name + ".part")
        whole = {**facts, "time": round(time.time(), 3), "host": platform.node(), "pid": os.getpid()}
        try:
            beside.write_text(json.dumps(whole))
            beside.replace(self.path)
        except OSError:
            beside.unlink(missing_ok=True)
