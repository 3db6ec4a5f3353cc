"""The rule of the authors' own layers of continual backprop (CBPLinear and CBPConv), where it departs from the method.

Units are replaced within the backward pass, before the optimiser's step, which then moves the new weights by the old
gradients: outgoing weights become -α·(old gradient) instead of 0. At each backward pass ages and the budget grow as in
the method; when the budget holds a unit, the utility is the mean of |w_out| · |h̄| over the outgoing weights, where h̄ is
the last batch, or with η > 0 a running average of batches, example by example, with signs and without bias correction,
in which evaluation passes take part. There is no bias transfer, and the optimiser forgets nothing.
Source: the code of Dohare et al. (2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lop_lightning.errors import ConfigError

if TYPE_CHECKING:
    from lop_lightning.layers.continual_backprop import ContinualBackpropLayer


def running_average(old: Tensor | None, features: Tensor, decay_rate: float) -> Tensor:
    """h̄ ← ηh̄ + (1-η)h, from 0.

    Raises:
        ConfigError: η > 0, and the batch has another size than the one before.
    """
    if old is None or not decay_rate:
        return (1 - decay_rate) * features
    if old.shape != features.shape:
        raise ConfigError("input", list(features.shape), f"batches like the last, {list(old.shape)}")
    return decay_rate * old + (1 - decay_rate) * features


@torch.no_grad()
def replace_in_backward(layer: ContinualBackpropLayer) -> None:
    """What the authors' layer does once its input has a gradient, before the weights that enter the units have one."""
    assert layer.average is not None
    layer.updates += 1
    layer.age += 1
    eligible = layer.age > layer.maturity_threshold
    count = layer.spend(eligible)
    if not count:
        return
    layer.utility.copy_(layer.units.contribution(layer.average.abs().mean(0)))
    candidates = eligible.nonzero().flatten()
    units = candidates[torch.topk(-layer.utility[candidates], count).indices]  # theirs, and so its choice among equals
    # Through .data, as theirs: the rest of the backward pass then meets the new weights, and no error.
    written = {name: tensor.data for name, tensor in layer.units.tensors().items()}
    layer.units.rebirth(written, units, layer.fresh(count), None)
    layer.age[units] = 0
