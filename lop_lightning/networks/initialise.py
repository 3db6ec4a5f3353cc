"""The initial distributions of weights, under one set of names for networks and for reborn units."""

from __future__ import annotations

import math

import torch
from torch import nn

from lop_lightning.errors import check_choice
from lop_lightning.networks.activations import gain
from lop_lightning.networks.layers import Draw

INITIALISATIONS = ("kaiming", "kaiming_normal", "default", "xavier", "lecun", "xavier_normal")


def draw(initialisation: str, fan_in: int, fan_out: int, activation: str = "linear") -> Draw:
    """The distribution of one layer's weights.

    ========== ================================================
    kaiming    U(±gain·√(3/fan_in)) (He et al. 2015)
    kaiming_normal  N(0, gain²/fan_in) (He et al. 2015)
    default    U(±√(1/fan_in)) (PyTorch's own)
    xavier     U(±gain·√(6/(fan_in+fan_out))) (Glorot & Bengio 2010)
    lecun      U(±√(3/fan_in))
    xavier_normal  N(0, 2/(fan_in+fan_out))
    ========== ================================================

    For a convolution the fans are channels times the places of a kernel.

    Raises:
        ConfigError: ``initialisation`` is none of these.
    """
    check_choice("initialisation", initialisation, INITIALISATIONS)
    if initialisation == "xavier_normal":
        return Draw("normal", math.sqrt(2.0 / (fan_in + fan_out)))
    if initialisation == "kaiming_normal":
        return Draw("normal", gain(activation) / math.sqrt(fan_in))
    bounds = {
        "kaiming": gain(activation) * math.sqrt(3.0 / fan_in),
        "default": math.sqrt(1.0 / fan_in),
        "xavier": gain(activation) * math.sqrt(6.0 / (fan_in + fan_out)),
        "lecun": math.sqrt(3.0 / fan_in),
    }
    return Draw("uniform", bounds[initialisation])


@torch.no_grad()
def fill(layer: nn.Linear | nn.Conv2d, distribution: Draw) -> None:
    """Draws the layer's weights anew, in place, from the global generator, and zeroes its bias."""
    if distribution.distribution == "normal":
        nn.init.normal_(layer.weight, 0.0, distribution.scale)
    else:
        nn.init.uniform_(layer.weight, -distribution.scale, distribution.scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
