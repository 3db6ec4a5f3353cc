"""Mirrors of the record: loggers that are given each task's mean over seeds. The record stays the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lop_lightning.errors import RunError, check_choice


def wandb_logger(directory: Path, run: str, project: str, entity: str | None, mode: str) -> Logger:
    """Weights & Biases; the run's own hash is its id, so that a resumed run goes on in the same place.

    Args:
        directory: The run directory.
        run: The run's identity.
        project: W&B project.
        entity: W&B team or user.
        mode: ``online``, ``offline`` or ``disabled``.
    """
    check_choice("mode", mode, ("online", "offline", "disabled"))
    return WandbLogger(project=project, entity=entity, mode=mode, id=run, resume="allow", save_dir=directory)


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
        RunError: a logger cannot begin (no account, no connection).
    """
    for logger in loggers:
        try:
            _ = logger.experiment  # type: ignore[attr-defined]
        except Exception as error:  # W&B raises several kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RunError(f"logger: {reason}; logger=none does without, logger.mode=offline sends nothing") from error


def end_logging(loggers: Sequence[Logger]) -> None:
    """Ends W&B runs: else the next run of this process would be written into this one's."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
