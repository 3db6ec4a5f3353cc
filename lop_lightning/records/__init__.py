"""What a run leaves on disk: its directory, its record, its checkpoints; and the loggers that mirror the record."""

from lop_lightning.records.checkpoint_io import AtomicCheckpointIO, latest_checkpoint, read_checkpoint
from lop_lightning.records.loggers import Follower, begin_logging, csv_logger, end_logging
from lop_lightning.records.record import Record
from lop_lightning.records.run_directory import RunDirectory

__all__ = [
    "AtomicCheckpointIO", "Follower", "Record", "RunDirectory", "begin_logging", "csv_logger", "end_logging",
    "latest_checkpoint", "read_checkpoint",
]  # fmt: skip
