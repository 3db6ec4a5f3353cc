"""Layers that a user puts into a network of her own; plain PyTorch, no Lightning and no learner."""

from lop_lightning.layers.continual_backprop import ContinualBackpropLayer

__all__ = ["ContinualBackpropLayer"]
