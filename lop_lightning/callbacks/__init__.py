"""What watches a run: the record of plasticity, fresh references, checkpoints, the progress bar."""

from lop_lightning.callbacks.checkpoint import Checkpoint, Interrupted
from lop_lightning.callbacks.continual import ContinualLearning, Diverged
from lop_lightning.callbacks.fresh import FreshReference
from lop_lightning.callbacks.progress import ProgressBar

__all__ = ["Checkpoint", "ContinualLearning", "Diverged", "FreshReference", "Interrupted", "ProgressBar"]
