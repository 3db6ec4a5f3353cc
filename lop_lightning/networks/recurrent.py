"""Recurrent networks, LSTM and GRU with gates and RNN without, over rows of images, tokens or frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag
from lop_lightning.networks.base import Network, Trace
from lop_lightning.networks.cells import CELLS, Cell
from lop_lightning.networks.layers import Draw, FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.readout import Readout
from lop_lightning.networks.sequences import run, tile_rows
from lop_lightning.networks.time import pick, reverse
from lop_lightning.networks.unrolled import Unrolled, unroll

FINAL, LAST_POSITION = "final", "last_position"
PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Direction(nn.Module):
    """The parameters of one direction of one layer, all U(±1/√H) as PyTorch has them."""

    def __init__(self, inputs: int, hidden: int, gates: int) -> None:
        super().__init__()
        self.draw = Draw("uniform", 1 / math.sqrt(hidden))
        shapes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
        for name, shape in zip(PARAMETERS, shapes):
            fresh = torch.empty(shape).uniform_(-self.draw.scale, self.draw.scale)
            self.register_parameter(name, nn.Parameter(fresh))


class GatedNetwork(Network):
    """Layers of recurrent cells over a sequence, in one or both directions, and a linear readout of their states.

    An image ``[rows, columns]`` or ``[channels, rows, columns]`` is read row by row from the top, all channels of a row
    together; a sequence of tokens through an embedding, N(0, 1). Layer l, direction d is ``layers.<l>.forwards`` or
    ``.backwards``; its activations ``[B, T, H]`` are h after each step, in the order in which the direction reads, and
    its pre-activations what the unit's tanh is applied to (LSTM: c; GRU: the candidate's sum;
    RNN: its sum).

    Args:
        input_shape: ``(rows, columns)``, ``(channels, rows, columns)``, or ``(length,)`` of a sequence of tokens.
        output_size: Number of outputs.
        hidden: Units H a direction, in every layer.
        layers: Number of layers.
        bidirectional: Whether each layer also reads backwards.
        embedding: Features of a token.
        readout: ``final`` reads each direction's state after its own last step, so that both have seen the whole
            sequence. ``last_position`` reads both at the last position, where the backward direction has seen one
            step alone, as the published code does.
        pads: ``skipped``: a sequence ends with its last token. ``read``: padding is read as any other token, as the
            published code does.
        vocabulary: Number of tokens; ``None`` for real inputs. The stream says it, and what follows.
        ragged: Sequences of real numbers may end early; from there on they are NaN, which is never read.
        timed: The last feature of a step says how long the step lasts; it is read as any other.
        heads: Number of readouts that share the outputs.
        read_every: Outputs are read after every so many steps, ``[B, T/read_every·C]``, reading after reading, those of
            padding too; ``readout`` is then of no account. ``None``: once.

    Raises:
        ConfigError: a setting is out of its range, examples are no sequences or not made of whole readings, or what is
            read on the way would already have seen what comes.

    Source: PyTorch's ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``; the recurrent system's networks (spec, section 2).
    """

    cell_name: ClassVar[str]

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden: int = 25,
        layers: int = 1,
        bidirectional: bool = True,
        embedding: int = 64,
        readout: str = FINAL,
        pads: str = "skipped",
        vocabulary: int | None = None,
        ragged: bool = False,
        timed: bool = False,
        heads: int = 1,
        read_every: int | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("hidden", hidden), ("layers", layers), ("embedding", embedding)):
            check_count(name, count)
        check_flag("bidirectional", bidirectional)
        check_choice("readout", readout, (FINAL, LAST_POSITION))
        check_choice("pads", pads, ("skipped", "read"))
        features = embedding if vocabulary is not None else _features(input_shape)
        if read_every is not None:
            _check_readings(read_every, input_shape, bidirectional)
        self.hidden, self.readout, self.skips = hidden, readout, pads == "skipped" and vocabulary is not None
        self.ragged, self.read_every = ragged, read_every
        self.directions = ("forwards", "backwards") if bidirectional else ("forwards",)
        self.embedding = nn.Embedding(vocabulary, embedding) if vocabulary is not None else None
        width = hidden * len(self.directions)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {d: Direction(width if index else features, hidden, len(self.cell.gates)) for d in self.directions}
            )
            for index in range(layers)
        )
        self.head = Readout(width, output_size, heads)

    @property
    def cell(self) -> Cell:
        """The cell of all layers."""
        return CELLS[self.cell_name]

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`."""
        x, lengths = self.sequences(inputs)
        batch = x.shape[1]
        rows = tile_rows(batch, x.device)
        tiles, many = batch // rows, len(self.directions)
        trace = Trace(x, lengths=lengths)
        x = x.unflatten(1, (tiles, rows)).transpose(2, 3)  # [T, k, F, b]
        ends = None if lengths is None else lengths.view(tiles, rows)
        for index in range(len(self.layers)):
            both = torch.cat([x, reverse(x, ends)], 1) if many == 2 else x
            h, _, memory = run(both, *self._packed(index), self.cell_name)
            x = h if many == 1 else torch.cat([h[:, :tiles], reverse(h[:, tiles:], ends)], 2)
            for number, direction in enumerate(self.directions):
                own = slice(number * tiles, (number + 1) * tiles)
                trace.activations[f"layers.{index}.{direction}"] = _by_example(h[:, own])
                trace.preactivations[f"layers.{index}.{direction}"] = _by_example(memory[:, own, : self.hidden])
        trace.output = self._read_out(trace.activations, lengths)
        return trace

    def unrolled(self, inputs: Tensor, nudges: Mapping[str, Tensor] | None = None) -> Unrolled:
        """See :class:`Network`."""
        x, lengths = self.sequences(inputs)
        shown = unroll(self.cell, self.layers, x, lengths, nudges or {})
        states = {name: state[..., : self.hidden] for name, state in shown.states.items()}
        shown.output = self._read_out(states, lengths)
        return shown

    def _read_out(self, states: Mapping[str, Tensor], lengths: Tensor | None) -> Tensor:
        last = [states[f"layers.{len(self.layers) - 1}.{d}"] for d in self.directions]
        if self.read_every is not None:
            return self.head(last[0][:, self.read_every - 1 :: self.read_every]).flatten(1)
        return self.head(torch.cat([pick(h, self._reads(d), lengths) for d, h in zip(self.directions, last)], 1))

    def sequences(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the first layer reads ``[T, B, F]``, and how many steps of each are no padding ``[B]`` (None: all)."""
        if self.embedding is not None:
            lengths = (inputs != 0).sum(1) if self.skips else None
            return self.embedding(inputs.T), lengths
        lengths = None
        if self.ragged:
            begun = ~inputs[..., 0].isnan()
            inputs, lengths = inputs.nan_to_num(0.0), begun.sum(1)
        rows = inputs.movedim(-2, 0)  # [T, B, (C,) W]
        return rows.flatten(2), lengths

    def _packed(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        layer = cast(nn.ModuleDict, self.layers[index])
        own = [[getattr(layer[d], name) for d in self.directions] for name in PARAMETERS]
        return self.cell.pack(*(torch.stack(tensors) for tensors in own))

    def _reads(self, direction: str) -> str:
        """Which of a direction's states the head reads."""
        if self.read_every is not None:  # the states between two readings count as well: they become what is read
            return "every"
        return "first" if direction == "backwards" and self.readout == LAST_POSITION else "final"

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """A view for each direction of each layer: rows of all gates enter a unit, columns of all readers leave."""
        return tuple(self._view(index, d) for index in range(len(self.layers)) for d in self.directions)

    def _view(self, index: int, direction: str) -> HiddenLayer:
        width, gates, name = self.hidden, len(self.cell.gates), f"layers.{index}.{direction}"
        start = self.directions.index(direction) * width
        drawn = cast(Direction, self.get_submodule(name)).draw
        rows = {part: UnitSlice(f"{name}.{part}", 0, width, outer=gates) for part in PARAMETERS}
        recurrent = FanOut(
            UnitSlice(f"{name}.weight_hh", 1, width), f"{name}.bias_hh", reads="earlier", own=rows["weight_hh"]
        )
        if index == len(self.layers) - 1:
            onwards = [FanOut(UnitSlice("head.weight", 1, width, start=start), "head.bias", self._reads(direction))]
        else:
            onwards = [
                FanOut(UnitSlice(f"layers.{index + 1}.{d}.weight_ih", 1, width, start=start),
                       f"layers.{index + 1}.{d}.bias_ih")
                for d in self.directions
            ]  # fmt: skip
        return HiddenLayer(
            name=name,
            width=width,
            activation="tanh",
            fan_in=(FanIn(rows["weight_ih"], drawn), FanIn(rows["weight_hh"], drawn)),
            fan_out=(*onwards, recurrent),
            bias=(rows["bias_ih"], rows["bias_hh"]),
            bias_draw=drawn,
            is_sequence=True,
        )

    def output_parameters(self) -> tuple[str, ...]:
        """See :class:`Network`."""
        return "head.weight", "head.bias"


class LSTM(GatedNetwork):
    """:class:`GatedNetwork` of :class:`LSTMCell` (``model=lstm``)."""

    cell_name = "lstm"


class GRU(GatedNetwork):
    """:class:`GatedNetwork` of :class:`GRUCell` (``model=gru``)."""

    cell_name = "gru"


class RNN(GatedNetwork):
    """:class:`GatedNetwork` of :class:`PlainCell`, which has no gates (``model=rnn``)."""

    cell_name = "rnn"


def _check_readings(read_every: int, input_shape: Sequence[int], bidirectional: bool) -> None:
    check_count("read_every", read_every)
    steps = input_shape[0] if len(input_shape) == 1 else input_shape[-2]  # of tokens, of rows
    if steps % read_every:
        shape = [int(size) for size in input_shape]
        raise ConfigError("input_shape", shape, f"a number of steps that read_every={read_every} divides")
    if bidirectional:
        expected = "false: the network is read on the way, and one that also reads backwards has seen what comes"
        raise ConfigError("bidirectional", True, expected)


def _features(input_shape: Sequence[int]) -> int:
    """Numbers in one row of an image."""
    if len(input_shape) not in (2, 3):
        shape = [int(size) for size in input_shape]
        raise ConfigError("input_shape", shape, "images [rows,columns] or [channels,rows,columns], or tokens")
    return math.prod(input_shape) // input_shape[-2]


def _by_example(h: Tensor) -> Tensor:
    """``[T, k, H, b]`` as ``[k·b, T, H]``."""
    return h.permute(1, 3, 0, 2).flatten(0, 1)
