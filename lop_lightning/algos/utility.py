"""How much a hidden unit is worth: the instantaneous utilities of continual backprop.

Notation: h the unit's activation over the batch (and over the places of its map, if it is a filter), f̂ its
bias-corrected running mean, |w_in| and |w_out| the mean magnitudes of the weights that enter and leave it. Source:
Dohare et al. (2024), methods, and the types of its code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lop_lightning.networks import FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.time import reading_weights
from lop_lightning.optimizers.base import Params


def unit_means(values: Tensor, unit_axis: int) -> Tensor:
    """Mean ``[width]`` over every axis but the units': over examples, and over places in space or time."""
    units = unit_axis % values.ndim
    return values.mean([axis for axis in range(values.ndim) if axis != units])


def means_read(values: Tensor, layer: HiddenLayer, reads: str, lengths: Tensor | None) -> Tensor:
    """Mean ``[width]`` over what a consumer reads: over examples, places, and those states of a sequence."""
    if not layer.is_sequence:
        return unit_means(values, layer.unit_axis)
    return torch.einsum("bt,btu->u", reading_weights(reads, lengths, values), values)


def mean_magnitude(places: Sequence[UnitSlice], params: Params) -> Tensor:
    """Mean absolute weight ``[width]`` of each unit over all the places its weights lie in."""
    totals = [_total_magnitude(place, params[place.parameter]) for place in places]
    return _summed(totals) / _entries(places, params)


def _total_magnitude(place: UnitSlice, weight: Tensor) -> Tensor:
    """Sum of |w| over the entries of each unit."""
    columns = weight.ndim == 2 and place.axis == 1 and weight.shape[1] == place.width
    if not columns:
        return place.rows(weight.abs()).sum(1)
    # Column sums in two stages, a few rows at a time: memory is then read along its rows, twice as fast.
    rows = next(size for size in range(16, 0, -1) if weight.shape[0] % size == 0)
    return weight.abs().reshape(-1, rows, weight.shape[1]).sum(1).sum(0)


def _total_of_others(entry: FanOut, params: Params) -> Tensor:
    """Sum of |w| over the entries of each unit, without those that lead back to the unit itself."""
    total = _total_magnitude(entry.units, params[entry.units.parameter])
    if entry.own is None:
        return total
    gates = params[entry.units.parameter].abs().unflatten(0, (entry.own.outer, entry.own.width))
    return total - gates.diagonal(dim1=1, dim2=2).sum(0)


def _summed(totals: list[Tensor]) -> Tensor:
    return torch.stack(totals).sum(0) if len(totals) > 1 else totals[0]


def _entries(places: Sequence[UnitSlice], params: Params) -> int:
    """Number of weights that a unit has in all these places."""
    counts = [params[place.parameter].numel() // params[place.parameter].shape[place.axis] for place in places]
    return sum(count * place.outer * place.inner for count, place in zip(counts, places))


@dataclass
class Evidence:
    """What a utility may look at: one layer of one network after an update; every quantity is ``[width]``.

    Attributes:
        layer: The layer.
        params: Parameters after the optimiser's step.
        activation: The batch's activations from before the step, ``[N, width]`` or with axes of space or time.
        mean_activation: f̂ of what consumers read, by :attr:`HiddenLayer.readings`.
        lengths: Steps of each sequence that are no padding ``[N]``; ``None``: all.
    """

    layer: HiddenLayer
    params: Params
    activation: Tensor
    mean_activation: dict[str, Tensor]
    lengths: Tensor | None = None

    @property
    def incoming(self) -> Tensor:
        """Mean |w_in|."""
        return mean_magnitude([entry.units for entry in self.layer.fan_in], self.params)

    @property
    def outgoing(self) -> Tensor:
        """Mean |w_out|; the weights with which a recurrent unit feeds back to itself count as 0."""
        totals = [_total_of_others(entry, self.params) for entry in self.layer.fan_out]
        return _summed(totals) / _entries([entry.units for entry in self.layer.fan_out], self.params)

    @property
    def deviation(self) -> Tensor:
        """Mean of |h - f̂|, over all ways in which h is read."""
        return torch.stack([self._seen(self._deviations(reads), reads) for reads in self.layer.readings]).mean(0)

    @property
    def contribution(self) -> Tensor:
        """Mean over the outgoing weights of |w_out| times the mean |h| that the weight is multiplied with."""
        return self._weighed(lambda reads: self.activation.abs())

    @property
    def centred_contribution(self) -> Tensor:
        """As :attr:`contribution`, with |h - f̂| in the place of |h|."""
        return self._weighed(self._deviations)

    def _deviations(self, reads: str) -> Tensor:
        places_after = self.activation.ndim - 1 - self.layer.unit_axis % self.activation.ndim
        return (self.activation - self.mean_activation[reads][(..., *[None] * places_after)]).abs()

    def _seen(self, values: Tensor, reads: str) -> Tensor:
        return means_read(values, self.layer, reads, self.lengths)

    def _weighed(self, sizes_as: Callable[[str], Tensor]) -> Tensor:
        """Outgoing weights times what they multiply: the same for all weights of a unit, unless its map was flattened.

        A consumer of a flattened map has a weight for every position, which sees that position alone. Consumers of a
        sequence read different states, and what a recurrent unit feeds back to itself is worth nothing to the others.
        """
        places = [entry.units for entry in self.layer.fan_out]
        if self.layer.is_sequence:
            sizes_read = {reads: self._seen(sizes_as(reads), reads) for reads in self.layer.readings}
            worth = [_total_of_others(entry, self.params) * sizes_read[entry.reads] for entry in self.layer.fan_out]
            return _summed(worth) / _entries(places, self.params)
        sizes = sizes_as("every")
        if all(place.inner == 1 for place in places):
            return self.outgoing * unit_means(sizes, self.layer.unit_axis)
        at = sizes.mean(0).flatten(1)  # [width, positions]
        totals = []
        for place in places:
            weight = place.rows(self.params[place.parameter].abs()).reshape(place.width, place.outer, place.inner, -1)
            seen = at if place.inner > 1 else at.mean(1, keepdim=True)
            totals.append((weight.sum((1, 3)) * seen).sum(1))
        return _summed(totals) / _entries(places, self.params)


UTILITIES: dict[str, Callable[[Evidence], Tensor]] = {
    "contribution": lambda e: e.contribution,
    "adaptable_contribution": lambda e: e.centred_contribution / e.incoming,
    "zero_contribution": lambda e: e.centred_contribution,
    "weight": lambda e: e.outgoing,
    "adaptation": lambda e: 1 / e.incoming,
    "feature_by_input": lambda e: e.deviation / e.incoming,
    "random": lambda e: torch.zeros_like(e.outgoing),
}
