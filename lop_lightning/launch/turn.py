"""What submitit keeps on disk for a job of a cluster. Reading it imports next to nothing.

submitit is ready for the cluster's signals only after it has read this: one that came while PyTorch is imported would
end the job for good, without being queued again.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any


class Turn:
    """Called when the job gets its turn, and again whenever it was requeued.

    Args:
        work: Name of what runs a command line in a process of its own (``module:function``).
        line: The command line.
    """

    def __init__(self, work: str, line: list[str]) -> None:
        self.work, self.line = work, line

    def __call__(self) -> None:
        """Trains, or goes on from the checkpoint."""
        resolve_name(self.work)(self.line)

    def checkpoint(self) -> Any:
        """What the next turn calls: the same, since a run's state is in its directory."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
