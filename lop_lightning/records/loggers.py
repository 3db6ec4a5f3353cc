"""Mirrors of the record: loggers that are given each task's mean over seeds. The record stays the truth."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from lop_lightning.errors import check_choice


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
    """Lightning's CSV logger, in ``csv/`` of the run directory."""
    return CSVLogger(directory, name="csv", version="")
