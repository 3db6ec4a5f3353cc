"""Methods: each a LightningModule in its own file; knows networks and optimisers, not tasks."""

from lop_lightning.algos.backprop import Backprop
from lop_lightning.algos.continual_backprop import ContinualBackprop
from lop_lightning.algos.l2 import L2
from lop_lightning.algos.learner import Learner
from lop_lightning.algos.lift import Execution
from lop_lightning.algos.redo import ReDo
from lop_lightning.algos.renewal import HeadReset, Retrain
from lop_lightning.algos.shrink_and_perturb import ShrinkAndPerturb
from lop_lightning.algos.step import Step

__all__ = [
    "L2",
    "Backprop",
    "ContinualBackprop",
    "Execution",
    "HeadReset",
    "Learner",
    "ReDo",
    "Retrain",
    "ShrinkAndPerturb",
    "Step",
]
