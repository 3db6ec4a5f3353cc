"""The matrices that training has made, slow weights and learning rates, and their singular values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lop_lightning.analysis.hebbian.plastic_states import layers_of, plastic_layers
from lop_lightning.networks import Network
from lop_lightning.networks.plastic_network import PlasticNetwork

Array = NDArray[np.float64]
COLUMNS = ["matrix", "layer", "number", "value"]


@torch.no_grad()
def weights(network: Network) -> dict[str, Array]:
    """Name -> matrix of slow weights, without the readout's: W ``[H, F]`` of each layer.

    Synapses that are not there are 0. Of other networks all matrices among their parameters.
    """
    if isinstance(network, PlasticNetwork):
        return {name: layer.weights().double().numpy() for name, layer in layers_of(network).items()}
    readout = network.output_parameters()
    matrices = {name: p for name, p in network.named_parameters() if p.ndim == 2 and name not in readout}
    return {name.removesuffix(".weight"): p.double().numpy() for name, p in matrices.items()}


@torch.no_grad()
def readout(network: Network) -> Array:
    """The readout's weight ``[outputs, units]``."""
    return network.get_parameter(network.output_parameters()[0]).double().numpy()


@torch.no_grad()
def rates(network: Network) -> dict[str, Array]:
    """Layer -> η ``[H, F]``, ``[H, 1]`` or ``[1, F]`` of plastic layers that have more than one."""
    found = {name: layer.rates() for name, layer in plastic_layers(network).items()}
    return {name: eta.double().numpy() for name, eta in found.items() if eta.numel() > 1}


def singular_values(network: Network) -> pd.DataFrame:
    """Singular values of every W and η that has more than one row and column, largest first.

    Returns:
        Columns ``matrix`` (``W`` or ``η``), ``layer``, ``number`` from 1, and ``value``.
    """
    found = []
    for matrix, named in (("W", weights(network)), ("η", rates(network))):
        for name, values in named.items():
            if min(values.shape) > 1:
                own = np.linalg.svd(values, compute_uv=False)
                numbers = np.arange(1, len(own) + 1)
                found.append(pd.DataFrame({"matrix": matrix, "layer": name, "number": numbers, "value": own}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=COLUMNS)
