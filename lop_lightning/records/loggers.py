"""Mirrors of the record: loggers that are shown each task when it ends. The record stays the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning.pytorch.loggers import CSVLogger, Logger

from lop_lightning.errors import LopError, RunError


@runtime_checkable
class Follower(Protocol):
    """A logger that reads the record itself."""

    def follow(self, task: int) -> None:
        """The rows of a task that has ended are in the record."""

    def close(self) -> None:
        """Ends it; what goes wrong is said, not raised."""


def csv_logger(directory: Path, run: str) -> Logger:
    """Lightning's CSV logger, in ``csv/version_<n>/`` of the run directory, one a session: it would delete its own.

    Args:
        directory: The run directory.
        run: Not used.
    """
    return CSVLogger(directory, name="csv")


def begin_logging(loggers: Sequence[Logger]) -> None:
    """Opens what loggers write to, before anything is trained.

    Raises:
        RunError: a logger cannot begin.
    """
    for logger in loggers:
        try:
            _ = logger.experiment  # type: ignore[attr-defined]
        except LopError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RunError(f"logger: {reason}; logger=none does without") from error


def end_logging(loggers: Sequence[Logger]) -> None:
    """Ends what loggers have begun, so that the next run of this process begins anew."""
    for logger in loggers:
        if isinstance(logger, Follower):
            logger.close()
