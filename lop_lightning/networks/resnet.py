"""The residual network for small images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from lop_lightning.networks.base import Network, Trace
from lop_lightning.networks.batch_norm import BatchNorm
from lop_lightning.networks.initialise import Draw, draw, fill
from lop_lightning.networks.layers import FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.shapes import check_counts, image_shape


class ConvNorm(nn.Module):
    """A convolution with bias, then batch normalisation; weights N(0, 2/fan_in), biases 0."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        self.norm = BatchNorm(outputs)
        self.draw: Draw = draw("kaiming_normal", inputs * kernel**2, outputs * kernel**2, "relu")
        fill(self.conv, self.draw)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The normalised maps, and the new running statistics."""
        return self.norm(self.conv(x))


class Block(nn.Module):
    """A basic residual block: relu(second(relu(first(x))) + x); ``downsample``, if any, brings the last x to size."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3)
        changes = stride != 1 or inputs != outputs
        self.downsample = ConvNorm(inputs, outputs, 1, stride) if changes else None


class ResNet18(Network):
    """A stem (3x3, stride 1), stages of basic blocks, the mean over places, and a linear head.

    Each stage but the first halves the maps. Every convolution has a bias and is followed by batch normalisation.
    Activations are those after each ReLU: ``stem``, and of block i ``blocks.i.inner`` and ``blocks.i.output``; the last
    block's output is recorded as its mean over places ``[B, C]``. Pre-activations are the values before these ReLUs
    (the last block's with channels last).

    Args:
        input_shape: ``(channels, height, width)``.
        output_size: Number of outputs.
        widths: Channels of each stage.
        blocks: Blocks of each stage.

    Raises:
        ConfigError: examples are no images, or a setting is illegal.

    Source: He et al. (2016), as Dohare et al. (2024) changed it for CIFAR-100: 11,224,932 parameters for 100 outputs.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
    ) -> None:
        super().__init__()
        colours, _, _ = image_shape(input_shape)
        check_counts("widths", widths)
        check_counts("blocks", blocks, len(widths))
        self.stem = ConvNorm(colours, widths[0], 3)
        outputs = [width for width, count in zip(widths, blocks) for _ in range(count)]
        begins = {sum(blocks[:stage]) for stage in range(1, len(blocks))}
        self.blocks = nn.ModuleList(
            Block(a, b, 2 if index in begins else 1) for index, (a, b) in enumerate(pairwise([widths[0], *outputs]))
        )
        self.head = nn.Linear(widths[-1], output_size)
        fill(self.head, draw("kaiming_normal", widths[-1], output_size))

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`."""
        trace = Trace(inputs)
        z = _normalised(self.stem, "stem", inputs, trace)
        x = _shown(trace, "stem", z)
        for index, block in enumerate(cast(list[Block], self.blocks)):
            name = f"blocks.{index}"
            h = _shown(trace, f"{name}.inner", _normalised(block.first, f"{name}.first", x, trace))
            z = _normalised(block.second, f"{name}.second", h, trace)
            if block.downsample is not None:
                x = _normalised(block.downsample, f"{name}.downsample", x, trace)
            z = z + x
            x = _shown(trace, f"{name}.output", z)
        # Both values of the last layer count its units along the last axis.
        trace.preactivations[f"{name}.output"] = z.movedim(1, -1)
        trace.activations[f"{name}.output"] = pooled = x.mean((2, 3))
        trace.output = self.head(pooled)
        return trace

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """An inner unit is a filter; a unit of the stem or of a block's output is a channel of the residual stream.

        A channel's fan-in is the main path first, then the downsampling convolution, where the block has one. Its
        fan-out is all that reads it, the direct consumer first: identity skips carry it to the later blocks of its
        stage, and on to the next stage's first block or the head. When these columns are zero, nothing reads it.
        """
        layers = [self._layer("stem", ("stem",), self._readers(0))]
        last = len(self.blocks) - 1
        for index, block in enumerate(cast(list[Block], self.blocks)):
            name = f"blocks.{index}"
            layers.append(self._layer(f"{name}.inner", (f"{name}.first",), (f"{name}.second.conv",)))
            paths = (f"{name}.second",) if block.downsample is None else (f"{name}.second", f"{name}.downsample")
            axis, bias = (-1, "head.bias") if index == last else (1, None)
            layers.append(self._layer(f"{name}.output", paths, self._readers(index + 1), axis, bias))
        return tuple(layers)

    def _readers(self, position: int) -> tuple[str, ...]:
        """Modules that read the residual stream's channels from before block ``position`` on."""
        readers = []
        for index in range(position, len(self.blocks)):
            readers.append(f"blocks.{index}.first.conv")
            if cast(Block, self.blocks[index]).downsample is not None:
                return (*readers, f"blocks.{index}.downsample.conv")
        return (*readers, "head")

    def _layer(
        self, name: str, paths: tuple[str, ...], readers: tuple[str, ...], axis: int = 1, bias: str | None = None
    ) -> HiddenLayer:
        parts = [cast(ConvNorm, self.get_submodule(path)) for path in paths]
        width = parts[0].conv.out_channels
        fresh = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        return HiddenLayer(
            name=name,
            width=width,
            activation="relu",
            fan_in=tuple(
                FanIn(UnitSlice(f"{path}.conv.weight", 0, width), part.draw) for path, part in zip(paths, parts)
            ),
            # A convolution has no bias here: the normalisation after it takes away any mean that a unit contributed.
            fan_out=tuple(FanOut(UnitSlice(f"{reader}.weight", 1, width), bias) for reader in readers),
            bias=tuple(UnitSlice(f"{path}.conv.bias", 0, width) for path in paths),
            norm=tuple(
                (UnitSlice(f"{path}.norm.{key}", 0, width), value) for path in paths for key, value in fresh.items()
            ),
            unit_axis=axis,
        )

    def output_parameters(self) -> tuple[str, ...]:
        """See :class:`Network`."""
        return "head.weight", "head.bias"


def _normalised(part: ConvNorm, path: str, x: Tensor, trace: Trace) -> Tensor:
    """The part's output; its new running statistics go into the trace."""
    z, moved = part(x)
    trace.buffers.update({f"{path}.norm.{key}": value for key, value in moved.items()})
    return z


def _shown(trace: Trace, name: str, z: Tensor) -> Tensor:
    """relu(z); both go into the trace."""
    trace.preactivations[name], trace.activations[name] = z, torch.relu(z)
    return trace.activations[name]
