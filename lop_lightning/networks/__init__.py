"""Plain modules of one network, with the layer view that methods and metrics know them by."""

from lop_lightning.networks.base import Network, NetworkFactory, Trace
from lop_lightning.networks.convnet import ConvNet
from lop_lightning.networks.hebbff import HebbFF
from lop_lightning.networks.hebbian import DynamicReadout, Memo, NonlinearReadout, Stack
from lop_lightning.networks.layers import Draw, FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.networks.mlp import MLP, Linear
from lop_lightning.networks.mpn import MPN
from lop_lightning.networks.plastic_network import PlasticNetwork
from lop_lightning.networks.recurrent import GRU, LSTM, RNN
from lop_lightning.networks.resnet import ResNet18

__all__ = [
    "GRU", "LSTM", "MLP", "MPN", "RNN", "ConvNet", "Draw", "DynamicReadout", "FanIn", "FanOut", "HebbFF",
    "HiddenLayer", "LeakyNetwork", "Linear", "Memo", "Network", "NetworkFactory", "NonlinearReadout",
    "PlasticNetwork", "ResNet18", "Stack", "Trace", "UnitSlice",
]  # fmt: skip
