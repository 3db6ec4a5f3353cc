"""What watches a run: the record of plasticity, evaluations, fresh references, checkpoints, the progress bar."""

from lop_lightning.callbacks.checkpoint import Checkpoint, Interrupted
from lop_lightning.callbacks.continual import ContinualLearning, Diverged
from lop_lightning.callbacks.curriculum import Curriculum
from lop_lightning.callbacks.early_stopping import EarlyStopping
from lop_lightning.callbacks.evaluation import Evaluation
from lop_lightning.callbacks.fresh import FreshReference
from lop_lightning.callbacks.intervals import Intervals
from lop_lightning.callbacks.keep_networks import KeepNetworks
from lop_lightning.callbacks.progress import ProgressBar

__all__ = [
    "Checkpoint",
    "ContinualLearning",
    "Curriculum",
    "Diverged",
    "EarlyStopping",
    "Evaluation",
    "FreshReference",
    "Interrupted",
    "Intervals",
    "KeepNetworks",
    "ProgressBar",
]
