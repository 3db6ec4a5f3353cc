"""What a run leaves on disk: its directory, its record, its checkpoints; and the loggers that mirror the record."""

from lop_lightning.records.checkpoint_io import AtomicCheckpointIO, latest_checkpoint, read_checkpoint
from lop_lightning.records.loggers import csv_logger, wandb_logger
from lop_lightning.records.record import Record
from lop_lightning.records.run_directory import RunDirectory

__all__ = [
    "AtomicCheckpointIO", "Record", "RunDirectory", "csv_logger", "latest_checkpoint", "read_checkpoint",
    "wandb_logger",
]  # fmt: skip
