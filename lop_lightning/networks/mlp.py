"""Fully connected networks: the multilayer perceptron, and the linear baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from lop_lightning.errors import ConfigError, check_count
from lop_lightning.networks.activations import Activation
from lop_lightning.networks.activations import activation as activation_function
from lop_lightning.networks.base import Network, Trace
from lop_lightning.networks.initialise import Draw, draw, fill
from lop_lightning.networks.layers import FanIn, FanOut, HiddenLayer, UnitSlice


class MLP(Network):
    """``hidden`` fully connected layers, each followed by the activation, and a linear output layer; biases everywhere.

    Args:
        input_shape: Shape of one example; flattened.
        output_size: Number of outputs.
        hidden: Widths of the hidden layers, from input to output; empty gives the linear baseline.
        activation: ``relu``, ``tanh``, … (see :mod:`lop_lightning.networks.activations`).
        initialisation: Distribution of the weights (see :func:`lop_lightning.networks.initialise.draw`); biases are 0.
            The output layer has gain 1.

    Source: DeepFFNN of Dohare et al. (2024) with ``initialisation=kaiming``; the GMM system with ``xavier_normal``.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden: Sequence[int] = (100, 100, 100),
        activation: str = "relu",
        initialisation: str = "kaiming",
    ) -> None:
        super().__init__()
        if isinstance(hidden, str | int):
            raise ConfigError("hidden", hidden, "a list of widths, as [100,100]")
        for width in hidden:
            check_count("hidden", width)
        self.activation_name = activation
        self.activation = activation_function(activation)
        widths = [math.prod(input_shape), *hidden, output_size]
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.layers, self.widths = nn.ModuleList(layers), widths[1:-1]
        self.draws: list[Draw] = []
        for index, layer in enumerate(layers):
            nonlinearity = activation if index < len(hidden) else "linear"
            self.draws.append(draw(initialisation, widths[index], widths[index + 1], nonlinearity))
            fill(layer, self.draws[-1])

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`; layer i is called ``layers.i``."""
        trace = Trace(inputs.flatten(1))
        return through_layers(trace, self.layers, self.activation)

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """One view a hidden layer: rows of its own weight enter, columns of the next weight leave."""
        views = []
        for index, width in enumerate(self.widths):
            views.append(
                HiddenLayer(
                    name=f"layers.{index}",
                    width=width,
                    activation=self.activation_name,
                    fan_in=(FanIn(UnitSlice(f"layers.{index}.weight", 0, width), self.draws[index]),),
                    fan_out=(FanOut(UnitSlice(f"layers.{index + 1}.weight", 1, width), f"layers.{index + 1}.bias"),),
                    bias=(UnitSlice(f"layers.{index}.bias", 0, width),),
                )
            )
        return tuple(views)

    def output_parameters(self) -> tuple[str, ...]:
        """See :class:`Network`."""
        last = len(self.widths)
        return f"layers.{last}.weight", f"layers.{last}.bias"


def through_layers(trace: Trace, layers: nn.ModuleList, activation: Activation) -> Trace:
    """The trace from its output on through fully connected layers, all but the last followed by the activation."""
    *hidden, output = layers
    for index, layer in enumerate(hidden):
        z = layer(trace.output)
        trace.output = activation(z)
        trace.preactivations[f"layers.{index}"], trace.activations[f"layers.{index}"] = z, trace.output
    trace.output = output(trace.output)
    return trace


class Linear(MLP):
    """The linear baseline: one linear layer, no hidden units (Dohare et al. 2024)."""

    def __init__(self, input_shape: Sequence[int], output_size: int, initialisation: str = "kaiming") -> None:
        super().__init__(input_shape, output_size, hidden=(), activation="linear", initialisation=initialisation)
