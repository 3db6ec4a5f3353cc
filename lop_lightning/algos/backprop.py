"""Backpropagation alone: the baseline that loses plasticity."""

from __future__ import annotations

from lop_lightning.algos.learner import Learner


class Backprop(Learner):
    """θ ← θ - α · optimiser(∇loss), and nothing else (``algo=bp``)."""
