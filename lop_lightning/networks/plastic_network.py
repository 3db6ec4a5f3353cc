"""What networks of plastic layers share: how they read sequences, what they show, and their layer view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from lop_lightning.errors import ConfigError, check_count
from lop_lightning.networks.base import Network, Trace
from lop_lightning.networks.layers import Draw, FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.plastic import PlasticLayer
from lop_lightning.networks.plastic_loop import Recurrence
from lop_lightning.networks.plasticity import MEMORYLESS, drawn
from lop_lightning.networks.time import ended, pick
from lop_lightning.networks.unrolled import Unrolled

UNSTABLE = "λ or η of a plastic layer may be unstable: lower {}, or optimizer.lr, or set optimizer.clip=1"
"""The remedy of plastic networks, with the settings that λ and η begin with."""


class PlasticNetwork(Network):
    """Plastic layers over a sequence, one after another, and a linear readout of the last one's units.

    A sequence is read frame by frame; an image row by row from the top, all channels of a row together. Every sequence
    of every batch has plastic matrices of its own, which begin with zeros. Layer i is called ``layers.<i>``; its
    activations and pre-activations ``[B, T, H]`` are those of each frame.

    Args:
        input_shape: ``(T, F)``, ``(rows, columns)`` or ``(channels, rows, columns)``.
        layers: The layers.
        readout: Weight and bias of the readout, ``[outputs, units]`` and ``[outputs]``.
        ragged: Sequences may end early, and are NaN from there on; those of a batch end together.
        read_every: The readout is read after every so many frames, ``[B, T/read_every·outputs]``, reading after
            reading, those of padding finite; ``None``: after the last frame.

    Raises:
        ConfigError: inputs are no sequences, or ``read_every`` does not divide their length.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        layers: Sequence[PlasticLayer],
        readout: tuple[nn.Parameter, nn.Parameter],
        ragged: bool,
        read_every: int | None,
    ) -> None:
        super().__init__()
        self.ragged, self.read_every = ragged, read_every
        self.layers = nn.ModuleList(layers)
        self.head = nn.Module()
        self.head.weight, self.head.bias = readout
        if read_every is not None:
            check_count("read_every", read_every)
            if input_shape[-2] % read_every:
                raise ConfigError("read_every", read_every, f"a divisor of {input_shape[-2]}, the frames of a sequence")

    # ---- dynamics

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`."""
        x, lengths = self._frames(inputs)
        trace, hs = Trace(x), []
        for name, (h, a) in zip(self._names, self._through(x, lengths)):
            hs.append(h)
            trace.activations[name], trace.preactivations[name] = h.transpose(0, 1), a.transpose(0, 1)
        trace.lengths = None if lengths is None else lengths.expand(len(inputs))
        trace.output = self._read_out(self._seen_by_head(hs), trace.lengths)
        return trace

    def unrolled(self, inputs: Tensor, nudges: Mapping[str, Tensor] | None = None) -> Unrolled:
        """See :class:`Network`; no gates, and no steps of one example, whose state would be a matrix."""
        x, lengths = self._frames(inputs)
        shown, hs, given = Unrolled(x), [], nudges or {}
        shown.lengths = None if lengths is None else lengths.expand(len(inputs))
        for name, layer in zip(self._names, self._plastic_layers):
            nudge = given[name].transpose(0, 1) if name in given else None
            hs.append(ended(layer.recur(x, self._writes(x), nudge).h, lengths))
            shown.read[name], shown.states[name] = x.transpose(0, 1), hs[-1].transpose(0, 1)
            x = self._read_next(x, hs[-1])
        shown.output = self._read_out(self._seen_by_head(hs), shown.lengths)
        return shown

    def plastic_states(self, inputs: Tensor, frames: slice = slice(None)) -> dict[str, Tensor]:
        """P ``[B, n, H, F]`` of each plastic layer, by its name, as it meets each of some frames of the inputs.

        ``layers[i].effective(P)`` are the weights that the frame then meets.
        """
        x, _ = self._frames(inputs)
        found = {}
        for name, layer in zip(self._names, self._plastic_layers):
            shown: Recurrence = layer.recur(x, self._writes(x), kept=range(*frames.indices(len(x))))
            if layer.plasticity is not None:
                found[name] = shown.p.transpose(0, 1)
            x = self._read_next(x, shown.h)
        return found

    def _frames(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The frames ``[T, B, F]``, and how many of them are no padding (None: all)."""
        lengths = None
        if self.ragged:
            lengths = (~inputs[0, :, 0].isnan()).sum().clamp(min=1)  # one length a batch
            inputs = inputs.nan_to_num(0.0)
        return inputs.movedim(-2, 0).flatten(2), lengths

    def _through(self, x: Tensor, lengths: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Of every layer, h and a ``[T, B, H]``; h is 0 after the sequences' end."""
        shown = []
        for index, layer in enumerate(self._plastic_layers):
            shown.append(layer(x, lengths, self._writes(x), self._noise(index, x)))
            x = self._read_next(x, shown[-1][0])
        return shown

    def _read_next(self, x: Tensor, h: Tensor) -> Tensor:
        """What the layer after one that read ``x`` and gave ``h`` reads."""
        return h

    def _seen_by_head(self, hs: list[Tensor]) -> Tensor:
        """Of h of all layers, what the readout reads."""
        return hs[-1]

    def _writes(self, x: Tensor) -> Tensor | None:
        """At which frames P is written to; see :func:`lop_lightning.networks.plastic_loop.recur`."""
        return None

    def _noise(self, layer: int, x: Tensor) -> Tensor | None:
        """What is added to a layer's sums ``[T, B, H]``; ``None``: nothing."""
        return None

    def _read_out(self, h: Tensor, lengths: Tensor | None) -> Tensor:
        if self.read_every is not None:
            return self._outputs(h[self.read_every - 1 :: self.read_every].transpose(0, 1)).flatten(1)
        return self._outputs(pick(h.transpose(0, 1), "final", lengths))

    def _outputs(self, h: Tensor) -> Tensor:
        return nn.functional.linear(h, self.head.weight, self.head.bias)  # type: ignore[arg-type]

    @property
    def _plastic_layers(self) -> list[PlasticLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    @property
    def _names(self) -> list[str]:
        return [f"layers.{index}" for index in range(len(self.layers))]

    # ---- what methods and metrics know

    def projected(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """See :class:`Network`: λ in its range."""
        legal = dict(params)
        for name, layer in zip(self._names, self._plastic_layers):
            if f"{name}.decay" in params:
                legal[f"{name}.decay"] = layer.projected(params[f"{name}.decay"])
        return legal

    def constants(self) -> dict[tuple[str, str], Tensor]:
        """See :class:`Network`: mean λ, and mean, standard deviation and Euclidean norm of η, of each plastic layer."""
        found = {}
        for name, layer in zip(self._names, self._plastic_layers):
            if layer.plasticity is None:
                continue
            if layer.plasticity.decay != MEMORYLESS:
                found["decay", name] = layer.decays().mean()
            eta = layer.rates()
            measured = {"mean": eta.mean(), "std": eta.std(correction=0), "norm": eta.square().sum().sqrt()}
            found |= {(f"eta_{quantity}", name): value for quantity, value in measured.items()}
        return found

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """See :class:`Network`: rows of W enter a unit, columns of the next layer's leave it.

        A unit owns its rows of η, its λ and its row of P(0). Of a next layer that is additive its columns of η and
        P(0) leave it too: without them nothing of it is written. (A next layer's η that is one number, or one a unit,
        has no columns, and writes down what a unit does even if its column of W is zero.)
        """
        return tuple(self._view(index) for index in range(len(self.layers)))

    def _view(self, index: int) -> HiddenLayer:
        name, layer = self._names[index], self._plastic_layers[index]
        width = layer.units
        return HiddenLayer(
            name=name,
            width=width,
            activation=layer.activation,
            fan_in=(FanIn(UnitSlice(f"{name}.weight", 0, width), layer.draws.weight),),
            fan_out=self._leaving(index),
            bias=(UnitSlice(f"{name}.bias", 0, width),),
            bias_draw=layer.draws.bias,
            is_sequence=True,
            own=tuple((UnitSlice(f"{name}.{own}", 0, width), draw) for own, draw in layer.own_rows().items()),
        )

    def _leaving(self, index: int) -> tuple[FanOut, ...]:
        if index == len(self.layers) - 1:
            return (self._to_head(self._plastic_layers[index].units),)
        name, width = self._names[index + 1], self._plastic_layers[index].units
        columns = (FanOut(UnitSlice(f"{name}.{own}", 1, width)) for own in self._plastic_layers[index + 1].columns())
        return FanOut(UnitSlice(f"{name}.weight", 1, width), f"{name}.bias"), *columns

    def _to_head(self, width: int, start: int = 0) -> FanOut:
        """All states count where several are read: those between two readings become what is read, through P."""
        reads = "final" if self.read_every is None else "every"
        return FanOut(UnitSlice("head.weight", 1, width, start=start), "head.bias", reads)

    def output_parameters(self) -> tuple[str, ...]:
        """See :class:`Network`."""
        return "head.weight", "head.bias"


def features(input_shape: Sequence[int]) -> int:
    """Numbers F in a frame.

    Raises:
        ConfigError: inputs are no sequences.
    """
    if len(input_shape) not in (2, 3):
        shape = [int(size) for size in input_shape]
        raise ConfigError("input_shape", shape, "sequences [frames,features], or images [channels,rows,columns]")
    return math.prod(input_shape) // input_shape[-2]


def readout(weight: Draw, bias: Draw, outputs: int, units: int) -> tuple[nn.Parameter, nn.Parameter]:
    """A readout's fresh weight ``[outputs, units]`` and bias ``[outputs]``."""
    return drawn(weight, outputs, units), drawn(bias, outputs)
