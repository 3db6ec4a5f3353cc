"""The layer view: which rows of which parameters enter a hidden unit, and which columns of which leave it.

Methods and metrics know a network through this view alone. A unit is a neuron, a filter, or a recurrent unit with all
its gates; the view says where its numbers lie in each parameter, whatever the layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lop_lightning.randomness import normal, uniform


@dataclass(frozen=True)
class Draw:
    """A distribution that fresh weights are drawn from: centre + U(-scale, scale) or centre + N(0, scale²)."""

    distribution: str
    scale: float
    centre: float = 0.0

    def sample(self, key: Tensor, clock: Tensor | int, channel: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Counter-based sample of ``shape``, in the type of ``like`` (see :mod:`lop_lightning.randomness`)."""
        if self.distribution == "normal":
            return self.centre + self.scale * normal(key, clock, channel, shape, like.dtype)
        return self.centre + self.scale * (2.0 * uniform(key, clock, 2 * channel, shape, like.dtype) - 1.0)


@dataclass(frozen=True)
class UnitSlice:
    """Where the units of a layer lie along one axis of one parameter.

    The axis holds ``outer x width x inner`` entries from ``start`` on, and unit u owns the entries with middle index u:
    ``outer`` counts gates (a recurrent cell stacks them), ``inner`` counts the positions that a flattened filter owns.
    """

    parameter: str
    axis: int
    width: int
    outer: int = 1
    inner: int = 1
    start: int = 0

    def entries(self, units: Tensor) -> Tensor:
        """Indices ``[..., k * outer * inner]`` along the axis that belong to ``units [..., k]``."""
        if self.outer == self.inner == 1:
            return units + self.start
        gates = torch.arange(self.outer, device=units.device) * (self.width * self.inner)
        places = torch.arange(self.inner, device=units.device)
        offsets = (gates[:, None] + places[None, :]).reshape(-1) + self.start
        return (units[..., None] * self.inner + offsets).flatten(-2)

    def rows(self, tensor: Tensor) -> Tensor:
        """A view ``[width, entries]`` of one network's parameter: everything that belongs to each unit."""
        tensor = tensor.movedim(self.axis, 0)
        count = self.outer * self.width * self.inner
        if tensor.shape[0] != count:
            tensor = tensor[self.start : self.start + count]
        if self.outer == self.inner == 1:
            return tensor.reshape(self.width, -1)
        tensor = tensor.reshape(self.outer, self.width, self.inner, -1)
        return tensor.transpose(0, 1).reshape(self.width, -1)

    def magnitude(self, tensor: Tensor) -> Tensor:
        """Mean absolute weight ``[width]`` of each unit."""
        return self.rows(tensor.abs()).mean(1)


@dataclass(frozen=True)
class FanIn:
    """Weights that enter the units, and the distribution that a fresh unit draws them from."""

    units: UnitSlice
    draw: Draw


@dataclass(frozen=True)
class FanOut:
    """Weights that leave the units.

    Attributes:
        units: Where they are.
        bias: The bias of their consumer (``None``: it has none).
        reads: Of a layer of sequences, which states the consumer reads (see :mod:`lop_lightning.networks.time`).
        own: The rows that belong to the units themselves, where they are their own consumers.
    """

    units: UnitSlice
    bias: str | None = None
    reads: str = "every"
    own: UnitSlice | None = None


@dataclass(frozen=True)
class HiddenLayer:
    """One hidden layer of a network.

    Attributes:
        name: Key of the layer in the network's activations.
        width: Number of units.
        activation: Name of the nonlinearity (see :mod:`lop_lightning.networks.activations`).
        fan_in: Weights that enter the units (one entry for a linear layer, two for a recurrent cell).
        fan_out: Weights that leave the units, one entry a consumer.
        bias: Biases of the units.
        bias_draw: Distribution that a fresh unit draws its biases from; ``None``: they are zero.
        own: Further parameters of the units themselves (time constants), with the distribution that a fresh unit draws
            them from; they are no weights, and count for nothing in a unit's worth.
        norm: Normalisation entries of the units, parameters or buffers, with the value a fresh unit has (scale 1, shift
            0, running mean 0, running variance 1).
        unit_axis: Axis of the layer's activation that counts units (-1 for vectors, 1 for convolution maps).
        is_sequence: Whether activations are states along a sequence, ``[B, T, width]``.
    """

    name: str
    width: int
    activation: str
    fan_in: tuple[FanIn, ...]
    fan_out: tuple[FanOut, ...]
    bias: tuple[UnitSlice, ...] = ()
    norm: tuple[tuple[UnitSlice, float], ...] = ()
    unit_axis: int = -1
    bias_draw: Draw | None = None
    is_sequence: bool = False
    own: tuple[tuple[UnitSlice, Draw], ...] = ()

    @property
    def readings(self) -> tuple[str, ...]:
        """All ways in which the units' consumers read them, each once."""
        return tuple(dict.fromkeys(fan_out.reads for fan_out in self.fan_out))

    def samples(self, activation: Tensor) -> Tensor:
        """One network's activations as ``[samples, width]``: space and time are folded into samples."""
        return activation.movedim(self.unit_axis, -1).reshape(-1, self.width)
