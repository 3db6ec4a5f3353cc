"""What a network is: a plain module of ONE network that shows its hidden layers and its activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from lop_lightning.networks.layers import HiddenLayer


@dataclass
class Trace:
    """Everything a forward pass shows: the output, and each hidden layer's values before and after its nonlinearity."""

    output: Tensor
    preactivations: dict[str, Tensor] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)


class Network(nn.Module, ABC):
    """A network with no seed axis, no method and no trainer.

    Subclasses take ``input_shape`` and ``output_size`` (from the stream) and their own settings, and implement
    :meth:`trace` and :meth:`hidden_layers`. Fresh weights come from the global generator, seeded by the caller.
    """

    @abstractmethod
    def trace(self, inputs: Tensor) -> Trace:
        """The forward pass with all it shows. ``inputs [B, *input_shape]``, ``output [B, output_size]``."""

    @abstractmethod
    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """The layer view, in order from input to output."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Output and post-activation values by layer name."""
        trace = self.trace(inputs)
        return trace.output, trace.activations


NetworkFactory = Callable[..., Network]
"""Builds a network from ``input_shape`` and ``output_size``; a partial of a network class with its own settings."""
