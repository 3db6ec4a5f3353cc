"""What a run leaves on disk: its directory, its record, its checkpoints."""

from lop_lightning.records.record import Record

__all__ = ["Record"]
