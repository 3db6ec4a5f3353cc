"""Streams of tasks; knows nothing of methods."""

from lop_lightning.tasks.base import Batch, Chunk, Position, ResidentTask, StackedTask, StreamSpec, Task
from lop_lightning.tasks.binary_images import BinaryImages
from lop_lightning.tasks.continual_imagenet import ContinualImageNet
from lop_lightning.tasks.dms import DelayedMatch
from lop_lightning.tasks.familiarity import Familiarity
from lop_lightning.tasks.gmm import GaussianMixtures
from lop_lightning.tasks.incremental_cifar import IncrementalCIFAR
from lop_lightning.tasks.label_reshuffled_images import LabelReshuffledImages
from lop_lightning.tasks.language_binary import LanguageBinary
from lop_lightning.tasks.language_reshuffle import LanguageReshuffle
from lop_lightning.tasks.parity import Parity
from lop_lightning.tasks.permuted_images import PermutedImages
from lop_lightning.tasks.scenes import Scenes
from lop_lightning.tasks.slowly_changing_regression import SlowlyChangingRegression
from lop_lightning.tasks.stream import TaskStream

__all__ = [
    "Batch", "BinaryImages", "Chunk", "ContinualImageNet", "DelayedMatch", "Familiarity", "GaussianMixtures",
    "IncrementalCIFAR", "LabelReshuffledImages", "LanguageBinary", "LanguageReshuffle", "Parity", "PermutedImages",
    "Position", "ResidentTask", "Scenes", "SlowlyChangingRegression", "StackedTask", "StreamSpec", "Task", "TaskStream",
]  # fmt: skip
