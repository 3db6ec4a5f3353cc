"""Time scales of networks with gates: their whole state piece by piece, and how long their gates keep it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lop_lightning.errors import ConfigError, check_choice
from lop_lightning.networks.recurrent import GatedNetwork

Array = NDArray[np.float64]

_KEEPING = ("forget", "update")  # the gate that the old state is multiplied by: f of the LSTM, z of the GRU


class GatedStates(nn.Module):
    """A gated network in one direction, for :func:`~lop_lightning.analysis.timescales.simulate.simulate`.

    Its state is that of all layers side by side, of each h and then (LSTM) c; :meth:`columns` says which is where. Such
    networks begin at zero: simulate with ``initial_state=0``.

    Args:
        network: The network; its layers read from the first step to the last.

    Raises:
        ConfigError: a layer reads backwards too.
    """

    def __init__(self, network: GatedNetwork) -> None:
        super().__init__()
        if network.directions != ("forwards",):
            raise ConfigError("bidirectional", True, "false: what is read backwards cannot be run piece by piece")
        self.network = network

    def columns(self, part: str, layer: int = -1) -> slice:
        """Where ``hidden`` (h) or ``cell`` (c) of a layer is in the state.

        Raises:
            ConfigError: the network has no such part.
        """
        check_choice("part", part, ("hidden", "cell")[: self.network.cell.parts])
        width, parts = self.network.hidden, self.network.cell.parts
        start = (layer % len(self.network.layers) * parts + (part == "cell")) * width
        return slice(start, start + width)

    def states(self, x: Tensor, h0: Tensor | None = None) -> Tensor:
        """States after each step of ``x [B, T, F]`` from ``h0`` (``None``: zeros), ``[B, T, n]``."""
        cell, width = self.network.cell, self.network.hidden
        layers = [dict(layer["forwards"].named_parameters()) for layer in self.network.layers]  # type: ignore[index]
        state = x.new_zeros(len(x), len(layers) * cell.parts * width) if h0 is None else h0
        seen = []
        for read in x.unbind(1):
            before = state.split(width, 1)
            after: list[Tensor] = []
            for index, params in enumerate(layers):
                new, _ = cell.step(params, read, before[index * cell.parts : (index + 1) * cell.parts])
                read = new[0]
                after += new
            state = torch.cat(after, 1)
            seen.append(state)
        return torch.stack(seen, 1)


def forget_timescale(gate: ArrayLike) -> Array:
    """1 / (1 - mean gate), in steps: how long a cell keeps its state if its forget gate keeps to its mean.

    Infinite for a gate that never closes.

    Args:
        gate: Values of the gate, ``[..., units]``; the mean is over all axes but the last.

    Source: spec of the time-scale system, section 4.1.

    >>> forget_timescale([[0.7], [0.8]]).round(6).tolist()
    [4.0]
    """
    values = np.asarray(gate, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return 1 / (1 - values.reshape(-1, values.shape[-1]).mean(0))


def forget_timescales(network: GatedNetwork, x: Tensor) -> dict[str, Array]:
    """:func:`forget_timescale` of every unit, by layer, over sequences ``x`` of one length.

    Of a GRU it is the time scale of the update gate, which the old state is multiplied by.
    """
    with torch.no_grad():
        gates = network.unrolled(x).gates
    return {
        layer: forget_timescale(next(own[name] for name in _KEEPING if name in own).cpu().numpy())
        for layer, own in gates.items()
    }
