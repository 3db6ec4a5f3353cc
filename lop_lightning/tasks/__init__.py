"""Streams of tasks; knows nothing of methods."""

from lop_lightning.tasks.base import Batch, Chunk, Position, ResidentTask, StackedTask, StreamSpec, Task
from lop_lightning.tasks.gmm import GaussianMixtures
from lop_lightning.tasks.permuted_images import PermutedImages
from lop_lightning.tasks.slowly_changing_regression import SlowlyChangingRegression
from lop_lightning.tasks.stream import TaskStream

__all__ = [
    "Batch", "Chunk", "GaussianMixtures", "PermutedImages", "Position", "ResidentTask", "SlowlyChangingRegression",
    "StackedTask", "StreamSpec", "Task", "TaskStream",
]  # fmt: skip
