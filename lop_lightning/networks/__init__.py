"""Plain modules of one network, with the layer view that methods and metrics know them by."""

from lop_lightning.networks.base import Network, NetworkFactory, Trace
from lop_lightning.networks.layers import Draw, FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.mlp import MLP, Linear

__all__ = [
    "MLP", "Draw", "FanIn", "FanOut", "HiddenLayer", "Linear", "Network", "NetworkFactory", "Trace", "UnitSlice",
]  # fmt: skip
