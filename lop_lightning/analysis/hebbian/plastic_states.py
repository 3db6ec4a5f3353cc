"""The plastic matrices P while a network watches a movie, and how large they get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lop_lightning.errors import LopError
from lop_lightning.networks import Network
from lop_lightning.networks.plastic import PlasticLayer
from lop_lightning.networks.plastic_network import PlasticNetwork

BLOCK = 500
"""Frames whose matrices are held at once where norms alone are wanted."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class States:
    """The matrices of one layer at some frames.

    Attributes:
        plastic: P ``[n, H, F]``, as each frame meets it.
        effective: The weights that inputs meet, W + P (additive) or W ∘ (1 + P) (multiplicative) ``[n, H, F]``.
    """

    plastic: Array
    effective: Array


def layers_of(network: PlasticNetwork) -> dict[str, PlasticLayer]:
    """All layers by name, those too whose weights stay as they are."""
    named = {f"layers.{index}": layer for index, layer in enumerate(network.layers)}
    return {name: layer for name, layer in named.items() if isinstance(layer, PlasticLayer)}


def plastic_layers(network: Network) -> dict[str, PlasticLayer]:
    """The layers of a network whose weights change while it reads, by name; none of a network that has no such."""
    found = layers_of(network) if isinstance(network, PlasticNetwork) else {}
    return {name: layer for name, layer in found.items() if layer.plasticity is not None}


@torch.no_grad()
def states(network: Network, inputs: Tensor, window: range) -> dict[str, States]:
    """The matrices of each plastic layer at the frames of a window, from the plain recurrence.

    Args:
        network: The network.
        inputs: A movie ``[1, frames, d]``.
        window: The frames.

    Raises:
        LopError: a matrix is not finite.
    """
    layers = plastic_layers(network)
    if not layers:
        return {}
    assert isinstance(network, PlasticNetwork)
    found = network.plastic_states(inputs[:, : window.stop], slice(window.start, window.stop))
    for name, p in found.items():
        if not p.isfinite().all():
            raise LopError(f"P of {name} is not finite by frame {window.stop}: λ or η exploded")
    return {
        name: States(found[name][0].double().numpy(), layer.effective(found[name][0]).double().numpy())
        for name, layer in layers.items()
    }


def norms(network: Network, inputs: Tensor, block: int = BLOCK) -> pd.DataFrame:
    """How large P is at every frame of a movie.

    Args:
        network: The network.
        inputs: A movie ``[1, frames, d]``.
        block: Frames whose matrices are held at once.

    Raises:
        LopError: as :func:`states`.

    Returns:
        Columns ``frame``, ``layer``, ``norm``, ‖P‖ (Frobenius), and ``share``, ‖E - W‖ / ‖W‖ with E the weights that
        inputs meet: P (additive) or W ∘ P (multiplicative), relative to W.
    """
    rows, weights = [], {name: layer.weights().detach() for name, layer in plastic_layers(network).items()}
    for begin in range(0, inputs.shape[1], block):
        window = range(begin, min(begin + block, inputs.shape[1]))
        for name, found in states(network, inputs, window).items():
            w = weights[name].double().numpy()
            norm = np.linalg.norm(found.plastic, axis=(1, 2))
            share = np.linalg.norm(found.effective - w, axis=(1, 2)) / np.linalg.norm(w)
            rows.append(pd.DataFrame({"frame": np.array(window), "layer": name, "norm": norm, "share": share}))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["frame", "layer", "norm", "share"])
