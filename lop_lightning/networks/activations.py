"""The nonlinearities, each with its gain for initialisation, and the derivative that "frozen" units are judged by."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lop_lightning.errors import check_choice

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "selu": F.selu,
    "elu": F.elu,
    "gelu": F.gelu,
    "swish": F.silu,
    "erf": torch.erf,
    "linear": lambda z: z,
}

# Kaiming gains. Those with no agreed value (swish, elu, gelu) take ReLU's, as Dohare et al. do for swish and elu.
_GAINS = {"tanh": 5.0 / 3.0, "selu": 0.75, "sigmoid": 1.0, "erf": 1.0, "linear": 1.0}


def activation(name: str) -> Activation:
    """The nonlinearity called ``name``; raises ``ConfigError`` when there is none."""
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def gain(name: str) -> float:
    """The factor that keeps the variance of a signal through the nonlinearity (He et al. 2015; PyTorch's table)."""
    return _GAINS.get(name, math.sqrt(2.0 / (1 + 0.01**2)) if name == "leaky_relu" else math.sqrt(2.0))


def derivative(name: str, preactivation: Tensor) -> Tensor:
    """f'(z), element by element, for a tensor of pre-activations; exact, by automatic differentiation."""
    function = activation(name)
    with torch.enable_grad():
        z = preactivation.detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(z).sum(), z)
    return slope
