"""What the tests of the layers share: a small network with two of them, data, and a plain loop."""

from functools import partial

import torch
from torch import nn

from lop_lightning.layers import ContinualBackpropLayer

close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
EAGER = {"replacement_rate": 0.1, "maturity_threshold": 2, "decay_rate": 0.9}


def mlp(seed=0, **settings):
    """4-5-3-2, tanh, in double precision, with its two layers; the same weights for the same seed."""
    torch.manual_seed(seed)
    linear = [nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 2)]
    settings = {**EAGER, "initialisation": "kaiming", "activation": "tanh", **settings}
    layers = [ContinualBackpropLayer(linear[i], linear[i + 1], **settings) for i in range(2)]
    network = nn.Sequential(linear[0], nn.Tanh(), layers[0], linear[1], nn.Tanh(), layers[1], linear[2]).double()
    return network, layers


def batches(updates, source=1):
    rng = torch.Generator().manual_seed(source)
    draw = partial(torch.randn, generator=rng, dtype=torch.float64)
    return [(draw(3, 4), draw(3, 2)) for _ in range(updates)]


def descend(network, optimizer, data, passes=None):
    for x, y in data:
        optimizer.zero_grad()
        nn.functional.mse_loss((passes or network)(x), y).backward()
        optimizer.step()


def flush(layers):
    for layer in layers:
        layer.flush()


def numbers(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
