"""Plain modules of one network, with the layer view that methods and metrics know them by."""

from lop_lightning.networks.base import Network, NetworkFactory, Trace
from lop_lightning.networks.convnet import ConvNet
from lop_lightning.networks.layers import Draw, FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.networks.mlp import MLP, Linear
from lop_lightning.networks.recurrent import GRU, LSTM, RNN
from lop_lightning.networks.resnet import ResNet18

__all__ = [
    "GRU", "LSTM", "MLP", "RNN", "ConvNet", "Draw", "FanIn", "FanOut", "HiddenLayer", "LeakyNetwork", "Linear",
    "Network", "NetworkFactory", "ResNet18", "Trace", "UnitSlice",
]  # fmt: skip
