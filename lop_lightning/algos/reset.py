"""How a hidden unit is reborn, written once for every method, network and optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lop_lightning.algos.population import Population
from lop_lightning.errors import RunError
from lop_lightning.networks import Draw, HiddenLayer
from lop_lightning.optimizers import Optimizer


def check_has_units(layers: Sequence[HiddenLayer], purpose: str) -> None:
    """Raises :class:`RunError` when a network shows no hidden layer to a method that renews units."""
    if not layers:
        raise RunError(f"model: this network shows no hidden layer, and {purpose}")


def fresh_weights(draw: Draw, keys: Tensor, clock: int, channel: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """New incoming weights ``[R, *shape]`` for R seeds: a pure function of each seed's key and the clock."""
    return draw.sample(keys, clock, channel, shape, like)


@torch.no_grad()
def reset_units(
    population: Population,
    layer: HiddenLayer,
    seeds: Tensor,
    units: Tensor,
    channel: int,
    optimizer: Optimizer | None,
    draws: tuple[Draw, ...] | None = None,
    transferred: Mapping[str, Tensor] | None = None,
    kept: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Gives units new incoming weights and no outgoing ones, in place, for some seeds of a population.

    In this order: each consumer's bias takes over what the units contributed on average, b ← b + Σᵢ V·ᵢ f̂ᵢ (if asked);
    the incoming weights and the units' own parameters are drawn anew, biases too (or become 0, as the layer says),
    normalisation becomes what a fresh unit has; the outgoing weights V become 0, those of a recurrent unit to itself as
    well; the optimiser forgets all these entries.

    Args:
        population: Changed in place.
        layer: The layer that the units belong to.
        seeds: Rows ``[R]`` of the seed axis.
        units: Units ``[R, k]``.
        channel: Keeps the random numbers of different layers apart.
        optimizer: Whose memory is cleared; ``None`` leaves it.
        draws: Distribution for each entry of the layer's fan-in; by default the network's own.
        transferred: Mean activations f̂ ``[R, k]`` that consumers' biases take over, by what the consumers read (see
            :attr:`HiddenLayer.readings`); ``None`` for no transfer.
        kept: Slots of the optimiser that it does not forget, by what they belong to: ``incoming`` weights, the units'
            ``own`` biases and normalisation, ``outgoing`` weights.
    """
    params, row = population.params, seeds[:, None]
    for fan_out in layer.fan_out:
        if transferred is not None and fan_out.bias is not None:
            weight = params[fan_out.units.parameter].movedim(1 + fan_out.units.axis, 1)
            entries = fan_out.units.entries(units)
            share = transferred[fan_out.reads].repeat_interleave(entries.shape[1] // units.shape[1], dim=1)
            leaving = weight[row, entries].flatten(3).sum(-1) if weight.ndim > 3 else weight[row, entries]
            params[fan_out.bias][seeds] += torch.einsum("rko,rk->ro", leaving, share)
    fresh = [(entry.units, draws[n] if draws else entry.draw) for n, entry in enumerate(layer.fan_in)]
    if layer.bias_draw is not None:
        fresh += [(place, layer.bias_draw) for place in layer.bias]
    fresh += layer.own
    for number, (place, draw) in enumerate(fresh):
        weight, entries = params[place.parameter].movedim(1 + place.axis, 1), place.entries(units)
        shape, keys = (entries.shape[1], *weight.shape[2:]), population.keys[seeds]
        weight[row, entries] = fresh_weights(draw, keys, population.updates, 16 * channel + number, shape, weight)
    zeros = layer.bias if layer.bias_draw is None else ()
    for place, value in [*((bias, 0.0) for bias in zeros), *layer.norm]:
        population.tensors[place.parameter].movedim(1 + place.axis, 1)[row, place.entries(units)] = value
    for fan_out in layer.fan_out:
        weight = params[fan_out.units.parameter].movedim(1 + fan_out.units.axis, 1)
        weight[row, fan_out.units.entries(units)] = 0
    if optimizer is not None:
        owners = {
            "incoming": [entry.units for entry in layer.fan_in],
            "own": [*layer.bias, *(place for place, _ in (*layer.norm, *layer.own))],
            "outgoing": [entry.units for entry in layer.fan_out],
        }
        for owner, places in owners.items():
            memory = population.state["optimizer"]
            memory = {slot: tensors for slot, tensors in memory.items() if slot not in (kept or {}).get(owner, ())}
            for place in places:
                optimizer.forget(memory, place, seeds, units)
