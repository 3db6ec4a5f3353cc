"""A gated network step by step, with all that the quick pass keeps to itself: slow, and plainly the formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lop_lightning.networks.cells import Cell
from lop_lightning.networks.time import reverse

Step = Callable[[Tensor, Tensor], Tensor]
"""(what is read ``[F]``, the state before ``[P·H]``) -> the state after: one example, all parts of the state."""


@dataclass
class Unrolled:
    """What a gated network does at every step.

    Attributes:
        output: The network's output.
        read: What each layer and direction reads, ``[B, T, F]``, by its name.
        states: Its whole state after each step, ``[B, T, P·H]``: h, then (LSTM) c.
        gates: Its gates ``[B, T, H]``, by name of the layer, then of the gate.
        steps: Its step of one example.
        lengths: Steps of each sequence that are no padding, ``None``: all.
    """

    output: Tensor
    read: dict[str, Tensor] = field(default_factory=dict)
    states: dict[str, Tensor] = field(default_factory=dict)
    gates: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    lengths: Tensor | None = None


def unroll_layer(
    cell: Cell, params: Mapping[str, Tensor], x: Tensor, nudge: Tensor | None
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """States ``[B, T, P·H]``, gates and h of one direction over ``x [T, B, F]``; ``nudge [B, T, H]`` is added to h."""
    width = params["weight_hh"].shape[1]
    state = tuple(x.new_zeros(x.shape[1], width) for _ in range(cell.parts))
    states, shown = [], []
    for t in range(len(x)):
        state, gates = cell.step(params, x[t], state)
        if nudge is not None:
            state = (state[0] + nudge[:, t], *state[1:])
        states.append(torch.cat(state, 1))
        shown.append(gates)
    together = {name: torch.stack([gates[name] for gates in shown], 1) for name in cell.gates}
    all_states = torch.stack(states, 1)
    return all_states, together, all_states[..., :width]


def one_step(cell: Cell, params: Mapping[str, Tensor]) -> Step:
    """The step of one example, from its whole state to its whole state."""

    def step(x: Tensor, state: Tensor) -> Tensor:
        after, _ = cell.step(params, x[None], tuple(part[None] for part in state.chunk(cell.parts)))
        return torch.cat(after, 1)[0]

    return step


def unroll(
    cell: Cell, layers: nn.ModuleList, x: Tensor, lengths: Tensor | None, nudges: Mapping[str, Tensor]
) -> Unrolled:
    """All layers over ``x [T, B, F]``; the output is left to the network."""
    result = Unrolled(x, lengths=lengths)
    ends = None if lengths is None else lengths[None]
    for index, layer in enumerate(layers):
        outputs = []
        for direction, own in layer.items():  # type: ignore[operator]
            name, params = f"layers.{index}.{direction}", dict(own.named_parameters())
            read = x if direction == "forwards" else _reverse(x, ends)
            result.states[name], result.gates[name], h = unroll_layer(cell, params, read, nudges.get(name))
            result.read[name], result.steps[name] = read.transpose(0, 1), one_step(cell, params)
            h = h.transpose(0, 1)
            outputs.append(h if direction == "forwards" else _reverse(h, ends))
        x = torch.cat(outputs, 2)
    return result


def _reverse(x: Tensor, ends: Tensor | None) -> Tensor:
    """Each sequence of ``x [T, B, F]`` in reverse."""
    return reverse(x.transpose(1, 2)[:, None], ends)[:, 0].transpose(1, 2)
