"""Convolutional networks: convolutions with pooling, then fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from lop_lightning.errors import ConfigError
from lop_lightning.networks.activations import activation as activation_function
from lop_lightning.networks.base import Network, Trace
from lop_lightning.networks.initialise import Draw, draw, fill
from lop_lightning.networks.layers import FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.mlp import through_layers
from lop_lightning.networks.shapes import check_counts, image_shape


class ConvNet(Network):
    """Convolutions (stride 1, no padding), each with activation and 2x2 max-pooling; fully connected layers; a head.

    A filter's recorded activation is its pooled map ``[B, C, H, W]``; its pre-activation is the convolution's output,
    whose maps are larger.

    Args:
        input_shape: ``(channels, height, width)``.
        output_size: Number of outputs.
        channels: Numbers of filters, from input to output.
        kernels: Side of the filters, one number a convolution.
        hidden: Widths of the fully connected hidden layers; may be empty.
        activation: ``relu``, ``tanh``, … (see :mod:`lop_lightning.networks.activations`).
        initialisation: Distribution of the weights (see :func:`lop_lightning.networks.initialise.draw`). ``default`` is
            PyTorch's own for biases too: U(±√(1/fan_in)). With any other, biases are 0 and the head has gain 1.

    Raises:
        ConfigError: examples are no images, they are too small for the layers, or a setting is illegal.

    Source: the network of Dohare et al. (2024) for Continual ImageNet; 177,218 parameters for 3x32x32 and 2 outputs.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        channels: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (5, 3, 3),
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        initialisation: str = "default",
    ) -> None:
        super().__init__()
        colours, height, width = image_shape(input_shape)
        check_counts("channels", channels)
        check_counts("kernels", kernels, len(channels))
        check_counts("hidden", hidden)
        self.activation_name = activation
        self.activation = activation_function(activation)
        places = _pooled(height, kernels) * _pooled(width, kernels)
        if not (channels and places):
            expected = f"convolutions that leave something of a {height}x{width} image (each cuts off its kernel "
            raise ConfigError(
                "kernels", list(kernels), expected + "minus 1, then pooling halves), and at least one of them"
            )
        self.channels, self.widths, self.places = list(channels), list(hidden), places
        sizes = list(zip(pairwise([colours, *channels]), kernels))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, kernel) for (a, b), kernel in sizes)
        flat = [channels[-1] * places, *hidden, output_size]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(flat))
        fans = [(a * kernel**2, b * kernel**2) for (a, b), kernel in sizes] + list(pairwise(flat))
        self.draws: list[Draw] = []
        for layer, (fan_in, fan_out) in zip([*self.convolutions, *self.layers], fans):
            nonlinearity = "linear" if layer is self.layers[-1] else activation
            self.draws.append(draw(initialisation, fan_in, fan_out, nonlinearity))
            if initialisation != "default":
                fill(layer, self.draws[-1])

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`; hidden layers are ``convolutions.i`` and ``layers.i``."""
        trace = Trace(inputs)
        for index, layer in enumerate(self.convolutions):
            z = layer(trace.output)
            trace.output = F.max_pool2d(self.activation(z), 2)
            trace.preactivations[f"convolutions.{index}"] = z
            trace.activations[f"convolutions.{index}"] = trace.output
        trace.output = trace.output.flatten(1)
        return through_layers(trace, self.layers, self.activation)

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """A filter's row enters it; its input channel of the next filters, or its flattened places, leave it."""
        convolutions = [f"convolutions.{index}" for index in range(len(self.channels))]
        names = [*convolutions, *(f"layers.{index}" for index in range(len(self.widths) + 1))]
        views = []
        for index, (width, (name, following)) in enumerate(zip([*self.channels, *self.widths], pairwise(names))):
            places = self.places if index == len(self.channels) - 1 else 1
            views.append(
                HiddenLayer(
                    name=name,
                    width=width,
                    activation=self.activation_name,
                    fan_in=(FanIn(UnitSlice(f"{name}.weight", 0, width), self.draws[index]),),
                    fan_out=(FanOut(UnitSlice(f"{following}.weight", 1, width, inner=places), f"{following}.bias"),),
                    bias=(UnitSlice(f"{name}.bias", 0, width),),
                    unit_axis=1 if index < len(self.channels) else -1,
                )
            )
        return tuple(views)

    def output_parameters(self) -> tuple[str, ...]:
        """See :class:`Network`."""
        last = len(self.widths)
        return f"layers.{last}.weight", f"layers.{last}.bias"


def _pooled(size: int, kernels: Sequence[int]) -> int:
    """Side of the maps after all convolutions and poolings; 0 when nothing is left."""
    for kernel in kernels:
        size = max(size - kernel + 1, 0) // 2
    return size
