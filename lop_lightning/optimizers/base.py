"""What an optimiser is here: two pure functions on the parameters of one network, and a way to forget a unit.

State is a tree of tensors. Step counts are kept per unit, not per parameter: a weight between unit j and unit i has
lived since the later of their two births, so a count for each row and one for each column say everything that an
element-wise count would, at a thousandth of the memory. For a parameter of two or more axes the counts belong to its
first two axes, for a vector to its only one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lop_lightning.errors import check_number
from lop_lightning.networks.layers import UnitSlice
from lop_lightning.optimizers.schedule import LrSteps, factor_at
from lop_lightning.trees import Tree

Params = dict[str, Tensor]


class Optimizer(ABC):
    """A functional optimiser; see the module's text for the form of its state.

    Attributes:
        lr: Step size α.
        lr_steps: Pairs (epoch, factor): from that epoch of every task on the step size is α times the factor.
        clip: Greatest Euclidean norm of the gradient of all parameters together; ``None``: it is as it is.
    """

    lr: float
    lr_steps: LrSteps = ()
    clip: float | None = None

    def clipped(self, grads: Params) -> Params:
        """The gradients times min(1, clip / (‖g‖ + 10⁻⁶)), ‖g‖ over all parameters of one network, as in PyTorch."""
        if self.clip is None:
            return grads
        norm = torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt()
        factor = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        return {name: g * factor for name, g in grads.items()}

    def init_schedule(self, params: Params) -> Tree:
        """The part of the state that holds the present step size; nothing where it never changes."""
        like = next(iter(params.values()))
        return {"schedule": {"rate": like.new_full((), self.lr)}} if self.lr_steps else {}

    def rate(self, state: Tree) -> float | Tensor:
        """The present step size: a tensor where it changes, since Python's numbers are frozen by the compiler."""
        return state["schedule"]["rate"] if self.lr_steps else self.lr

    def at_epoch(self, state: Tree, epoch: int) -> None:
        """Sets the step size, in place, to that of an epoch of the task."""
        if self.lr_steps:
            state["schedule"]["rate"].fill_(self.lr * factor_at(self.lr_steps, epoch))

    @abstractmethod
    def init(self, params: Params) -> Tree:
        """The state before the first update: a tree whose first keys are slots, whose second are parameter names."""

    @abstractmethod
    def update(self, params: Params, grads: Params, state: Tree) -> tuple[Params, Tree]:
        """One step of one network: new parameters and new state. Pure."""

    def forget(self, state: Tree, place: UnitSlice, seeds: Tensor, units: Tensor) -> None:
        """Clears, in place, everything the optimiser knows of some units' weights, as if they were never updated.

        Args:
            state: Stacked state of S seeds (every tensor has a leading seed axis).
            place: Where the units lie.
            seeds: Rows ``[R]`` of the seed axis.
            units: Units ``[R, k]``, one row a seed.
        """
        entries = place.entries(units)
        for slot, tensors in state.items():
            if place.parameter not in tensors:
                continue
            if slot == f"steps_{place.axis}":
                tensors[place.parameter][seeds[:, None], entries] = 0
            elif not slot.startswith("steps_"):
                tensors[place.parameter].movedim(1 + place.axis, 1)[seeds[:, None], entries] = 0

    def forget_parameter(self, state: Tree, name: str) -> None:
        """Clears, in place, everything the optimiser knows of a whole parameter, in all seeds."""
        for tensors in state.values():
            if name in tensors:
                tensors[name].zero_()


def checked_clip(clip: float | None) -> float | None:
    """``clip``; raises :class:`ConfigError` unless it is ``None`` or a number above 0."""
    if clip is not None:
        check_number("clip", clip, 0, open_low=True)
    return clip


def init_steps(params: Params) -> Tree:
    """Zero step counts: for each parameter one vector for each of its first two axes."""
    steps: Tree = {"steps_0": {}, "steps_1": {}}
    for name, p in params.items():
        steps["steps_0"][name] = torch.zeros(p.shape[:1], dtype=p.dtype, device=p.device)
        if p.ndim > 1:
            steps["steps_1"][name] = torch.zeros(p.shape[1:2], dtype=p.dtype, device=p.device)
    return steps


def advance_steps(state: Tree) -> Tree:
    """The counts after one more update."""
    return {slot: {name: t + 1 for name, t in state[slot].items()} for slot in ("steps_0", "steps_1")}


def debias(beta: float, steps: Tree, name: str, ndim: int) -> Tensor:
    """1 - βᵗ for every element of a parameter, t being the element's own age; broadcasts over further axes.

    The age of element (i, j) is the smaller of its row's and its column's, and 1 - βᵗ grows with t, so the smaller of
    the two corrections is taken: the power is computed once a row and once a column, not once an element.
    """
    correction = _one_minus_power(beta, steps["steps_0"][name]).reshape(-1, *[1] * (ndim - 1))
    if ndim > 1:
        columns = _one_minus_power(beta, steps["steps_1"][name]).reshape(1, -1, *[1] * (ndim - 2))
        correction = torch.minimum(correction, columns)
    return correction


def _one_minus_power(beta: float, exponent: Tensor) -> Tensor:
    # 1 - 0.999ᵗ written as it stands loses four of float32's seven digits at t = 1.
    return -torch.expm1(exponent * math.log(beta)) if beta else torch.ones_like(exponent)
