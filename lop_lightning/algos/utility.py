"""How much a hidden unit is worth: the instantaneous utilities of continual backprop.

Notation: h the unit's activation over the batch, f̂ its bias-corrected running mean, |w_in| and |w_out| the mean
magnitudes of the weights that enter and leave it. Source: Dohare et al. (2024), methods, and the types of its code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lop_lightning.networks import HiddenLayer, UnitSlice
from lop_lightning.optimizers.base import Params


def mean_magnitude(places: Sequence[UnitSlice], params: Params) -> Tensor:
    """Mean absolute weight ``[width]`` of each unit over all the places its weights lie in."""
    totals = [_total_magnitude(place, params[place.parameter]) for place in places]
    counts = [params[place.parameter].numel() // params[place.parameter].shape[place.axis] for place in places]
    entries = sum(count * place.outer * place.inner for count, place in zip(counts, places))
    return torch.stack(totals).sum(0) / entries if len(totals) > 1 else totals[0] / entries


def _total_magnitude(place: UnitSlice, weight: Tensor) -> Tensor:
    """Sum of |w| over the entries of each unit."""
    columns = weight.ndim == 2 and place.axis == 1 and weight.shape[1] == place.width
    if not columns:
        return place.rows(weight.abs()).sum(1)
    # Column sums in two stages, a few rows at a time: memory is then read along its rows, twice as fast.
    rows = next(size for size in range(16, 0, -1) if weight.shape[0] % size == 0)
    return weight.abs().reshape(-1, rows, weight.shape[1]).sum(1).sum(0)


@dataclass
class Evidence:
    """What a utility may look at: one layer of one network after an update; every quantity is ``[width]``.

    Attributes:
        layer: The layer.
        params: Parameters after the optimiser's step.
        samples: Activations ``[N, width]`` from before the step.
        mean_activation: f̂.
    """

    layer: HiddenLayer
    params: Params
    samples: Tensor
    mean_activation: Tensor

    @property
    def incoming(self) -> Tensor:
        """Mean |w_in|."""
        return mean_magnitude([entry.units for entry in self.layer.fan_in], self.params)

    @property
    def outgoing(self) -> Tensor:
        """Mean |w_out|."""
        return mean_magnitude([entry.units for entry in self.layer.fan_out], self.params)

    @property
    def activity(self) -> Tensor:
        """Mean over the batch of |h|."""
        return self.samples.abs().mean(0)

    @property
    def deviation(self) -> Tensor:
        """Mean over the batch of |h - f̂|."""
        return (self.samples - self.mean_activation).abs().mean(0)


UTILITIES: dict[str, Callable[[Evidence], Tensor]] = {
    "contribution": lambda e: e.outgoing * e.activity,
    "adaptable_contribution": lambda e: e.outgoing * e.deviation / e.incoming,
    "zero_contribution": lambda e: e.outgoing * e.deviation,
    "weight": lambda e: e.outgoing,
    "adaptation": lambda e: 1 / e.incoming,
    "feature_by_input": lambda e: e.deviation / e.incoming,
    "random": lambda e: torch.zeros_like(e.mean_activation),
}
