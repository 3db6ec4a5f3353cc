"""Noise of a network's own, by its key and a clock: the same for one seed alone and among others, and after a stop."""

from __future__ import annotations

import torch
from torch import nn

from lop_lightning.randomness import key


def register_noise(network: nn.Module, purpose: str) -> None:
    """Gives a network the buffers ``noise_key``, from the seed that it is built with, and ``noise_clock``, 0.

    They are for :func:`lop_lightning.randomness.uniform` and ``normal``. A pass in training is to put
    ``noise_clock + 1`` into the buffers of its trace, so that the next one has other noise.

    Args:
        network: The network.
        purpose: What the noise is for; another purpose is other noise.
    """
    network.register_buffer("noise_key", torch.tensor(key(torch.initial_seed(), purpose)))
    network.register_buffer("noise_clock", torch.tensor(0))
