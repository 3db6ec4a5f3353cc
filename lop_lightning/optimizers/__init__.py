"""Functional optimisers on a dict of parameters, with step counts per unit, so that a unit can be reborn."""

from lop_lightning.optimizers.adam import Adam, AdamW
from lop_lightning.optimizers.base import Optimizer
from lop_lightning.optimizers.muon import Muon
from lop_lightning.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Muon", "Optimizer"]
