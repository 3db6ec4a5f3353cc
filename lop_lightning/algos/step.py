"""What the two passes of an update give, and what an update hands to a method."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lop_lightning.optimizers.base import Params
from lop_lightning.trees import Tree


@dataclass
class Backward:
    """What the forward and the backward pass of one network on one batch gave.

    Attributes:
        grads: Gradients of loss and penalty.
        measures: ``[loss, accuracy]`` of the prediction, and what :func:`lop_lightning.algos.losses.measures` adds.
        activations: Hidden activations by layer name.
        buffers: All buffers, those that the pass moves at their new values.
        lengths: Steps of each sequence that are no padding ``[B]``; ``None``: all, or no sequences.
    """

    grads: Params
    measures: Tensor
    activations: dict[str, Tensor]
    buffers: dict[str, Tensor]
    lengths: Tensor | None = None


@dataclass
class Step:
    """What an update has just done to one network, and what a method may still change.

    Attributes:
        params: Parameters after the optimiser's step.
        optimizer: The optimiser's state after its step.
        method: The method's own state.
        before: Parameters before the step.
        activations: Hidden activations of the batch, computed before the step, by layer name.
        grads: Gradients.
        noise: Standard normal numbers for every parameter, if the method asks for them (``uses_noise``).
        lengths: See :class:`Backward`.
    """

    params: Params
    optimizer: Tree
    method: Tree
    before: Params
    activations: dict[str, Tensor]
    grads: Params
    noise: Params
    lengths: Tensor | None = None
