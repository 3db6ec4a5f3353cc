"""What a recurrent cell is: one step in plain form, and the same step in place with its backward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

Packed = tuple[Tensor, Tensor, Tensor]
"""Weights of the inputs ``[D, rows, F]``, weights of the states ``[D, rows, H]``, biases ``[D, rows]``."""


class Blocks(NamedTuple):
    """One step of n networks on b examples, as views.

    Attributes:
        all: Sums or gates, ``[n, rows·H, b]``.
        gates: Its blocks ``[n, H, b]``.
        h: The state, ``[n, H, b]``.
        memory: Blocks ``[n, H, b]`` of what is left for the backward pass.
    """

    all: Tensor
    gates: tuple[Tensor, ...]
    h: Tensor
    memory: tuple[Tensor, ...]


class Cell(ABC):
    """A recurrent cell. PyTorch's layout: gate q of unit j is row qH + j of every weight and bias.

    Attributes:
        gates: Names of the gates in that order; the candidate is one of them, of a cell without gates the only one.
        parts: How many vectors the state has; the first is h.
        rows: How many blocks of H rows the fast step computes.
        memory: How many blocks of H rows it leaves for the backward pass besides the gates; the first is what the
            unit's nonlinearity (tanh) is applied to.
    """

    gates: tuple[str, ...]
    parts: int
    rows: int
    memory: int

    @abstractmethod
    def step(
        self, params: Mapping[str, Tensor], x: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """One step of one network as the formulas have it: ``x [B, F]``, the state's parts ``[B, H]``, h first.

        Returns the new state and the values of the gates, and under ``preactivation`` what the unit's tanh is applied
        to. ``params`` are ``weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh``.
        """

    @abstractmethod
    def pack(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> Packed:
        """Parameters ``[D, GH, ...]`` of D directions in the form that the fast step takes; differentiable."""

    @abstractmethod
    def forward(self, now: Blocks, before: Blocks | None) -> None:
        """Fills h and memory of ``now``, whose gates go from sums to gates.

        ``before`` is the step before, ``None`` at the first (states begin with zeros).
        """

    @abstractmethod
    def backward(
        self, d: Tensor, parts: tuple[Tensor, ...], dh: Tensor, dm: Tensor, now: Blocks, before: Blocks | None
    ) -> None:
        """Fills ``d``, whose blocks are ``parts``, with ∂L/∂(sums), given ``dh`` = ∂L/∂h of this step.

        ``dh`` becomes the share of ∂L/∂h of the step before that does not go through the sums; ``dm`` carries what else
        flows back from step to step.
        """
