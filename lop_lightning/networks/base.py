"""What a network is: a plain module of ONE network that shows its hidden layers and its activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lop_lightning.networks.layers import HiddenLayer
from lop_lightning.networks.readout import Readout
from lop_lightning.networks.unrolled import Unrolled


@dataclass
class Trace:
    """Everything a forward pass shows: the output, and each hidden layer's values before and after its nonlinearity.

    ``buffers`` are the new values of those buffers that a forward pass in training mode moves (the running statistics
    of batch normalisation), by full name. A pass never writes to a buffer itself. ``lengths [B]`` says how many steps
    of each sequence are no padding, ``None`` that all are.
    """

    output: Tensor
    preactivations: dict[str, Tensor] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    lengths: Tensor | None = None


class Network(nn.Module, ABC):
    """A network with no seed axis, no method and no trainer.

    Subclasses take ``input_shape`` and ``output_size`` (from the stream) and their own settings, and implement
    :meth:`trace` and :meth:`hidden_layers`. Fresh weights come from the global generator, seeded by the caller.

    Attributes:
        remedy: What may keep the loss finite where it has not stayed so, in settings.
    """

    remedy: ClassVar[str] = "lower optimizer.lr"

    @abstractmethod
    def trace(self, inputs: Tensor) -> Trace:
        """The forward pass with all it shows. ``inputs [B, *input_shape]``, ``output [B, output_size]``."""

    @abstractmethod
    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """The layer view, in order from input to output."""

    def unrolled(self, inputs: Tensor, nudges: Mapping[str, Tensor] | None = None) -> Unrolled | None:
        """The recurrent layers step by step (slow); ``None``: the network has none.

        ``nudges [B, T, H]``, by layer, are added to h after each step: the gradient by them is that by the states.
        """
        return None

    def ask(self, heads: tuple[int, int] | None) -> None:
        """From now on computes this many heads from this one on, ``(first, count)``; ``None``: all of them."""
        for module in self.modules():
            if isinstance(module, Readout):
                module.asked = heads

    def projected(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Parameters after an update, those that have left their legal range put back to its edge."""
        return params

    def constants(self) -> dict[tuple[str, str], Tensor]:
        """Scalars of the network's own worth watching, by (quantity, layer): a decay, the size of a learning rate."""
        return {}

    @abstractmethod
    def output_parameters(self) -> tuple[str, ...]:
        """Names of the parameters of the output layer (the head), which some streams and methods begin anew."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Output and post-activation values by layer name."""
        trace = self.trace(inputs)
        return trace.output, trace.activations


class Tracer(nn.Module):
    """Makes a network's trace callable through ``functional_call``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Trace:
        """See :meth:`Network.trace`."""
        return self.network.trace(inputs)


class Constants(nn.Module):
    """Makes a network's constants callable through ``functional_call``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self) -> dict[tuple[str, str], Tensor]:
        """See :meth:`Network.constants`."""
        return self.network.constants()


class Unroller(nn.Module):
    """Makes a recurrent network's steps callable through ``functional_call``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, nudges: Mapping[str, Tensor] | None = None) -> Unrolled | None:
        """See :meth:`Network.unrolled`."""
        return self.network.unrolled(inputs, nudges)


@torch.no_grad()
def stacked_trace(tracer: Tracer, tensors: dict[str, Tensor], inputs: Tensor, loops: bool = False) -> Trace:
    """What S networks with stacked parameters and buffers show on ``inputs [S, N, ...]``; all get a seed axis.

    ``loops`` takes the networks one after another, which is quicker where they convolve on a CPU.
    """

    def one(tensors: dict[str, Tensor], x: Tensor) -> tuple[dict[str, Tensor], ...]:
        trace = traced(tracer, tensors, x)
        whole = {"output": trace.output}
        if trace.lengths is not None:  # a transform returns tensors alone
            whole["lengths"] = trace.lengths
        return whole, trace.preactivations, trace.activations

    if not loops:
        shown = torch.vmap(one)(tensors, inputs)
    else:
        rows = [one({name: t[seed] for name, t in tensors.items()}, inputs[seed]) for seed in range(len(inputs))]
        shown = tuple({name: torch.stack([row[name] for row in part]) for name in part[0]} for part in zip(*rows))
    whole, preactivations, activations = shown
    return Trace(whole["output"], preactivations, activations, lengths=whole.get("lengths"))


def traced(tracer: Tracer, tensors: dict[str, Tensor], inputs: Tensor) -> Trace:
    """The trace of the network whose parameters and buffers are ``tensors``."""
    return functional_call(tracer, {f"network.{name}": tensor for name, tensor in tensors.items()}, (inputs,))


@torch.no_grad()
def stacked_constants(tracer: Tracer, tensors: dict[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """What :meth:`Network.constants` gives for S networks with stacked parameters and buffers, ``[S]`` each."""
    module = Constants(tracer.network)

    def one(tensors: dict[str, Tensor]) -> dict[tuple[str, str], Tensor]:
        return functional_call(module, {f"network.{name}": t for name, t in tensors.items()}, ())

    return torch.vmap(one)(tensors)


NetworkFactory = Callable[..., Network]
"""Builds a network from ``input_shape`` and ``output_size``; a partial of a network class with its own settings."""
