"""Convolutional networks: their numbers against plain PyTorch, and their layer views by brute force."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lop_lightning.errors import ConfigError, RunError
from lop_lightning.networks import MLP, ConvNet, ResNet18
from lop_lightning.networks.base import Tracer, stacked_trace, traced
from lop_lightning.networks.batch_norm import BatchNorm
from lop_lightning.networks.initialise import draw

IMAGES = (2, 12, 10)


def convnet(**settings):
    settings = {"channels": (3, 4), "kernels": (3, 2), "hidden": (5, 6), **settings}
    return ConvNet(IMAGES, 3, **settings).double()


def residual():
    return ResNet18(IMAGES, 3, widths=(4, 6), blocks=(2, 2)).double()


def images(*count):
    return torch.randn(*count, *IMAGES, dtype=torch.float64)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.3, "eps": 0.01}])
def test_batch_normalisation_is_that_of_torch(shaken, settings):
    torch.manual_seed(0)
    ours, theirs = shaken(BatchNorm(3, **settings).double()), nn.BatchNorm2d(3, **settings).double()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    for _ in range(4):
        x, direction = 3 * torch.randn(5, 3, 4, 2, dtype=torch.float64) + 7, torch.rand(5, 3, 4, 2)
        before = {name: buffer.clone() for name, buffer in ours.named_buffers()}
        results = []
        for norm in (ours, theirs):
            leaf = x.clone().requires_grad_()
            y, moved = norm(leaf) if norm is ours else (norm(leaf), {})
            grads = torch.autograd.grad((y * direction).sum(), [leaf, norm.weight, norm.bias])
            results.append([y, *grads])
            if norm is ours:
                assert all(torch.equal(buffer, before[name]) for name, buffer in ours.named_buffers())
                assert not any(value.requires_grad for value in moved.values())
                new = moved
        torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)
        ours.load_state_dict({**ours.state_dict(), **new})
        for name, buffer in ours.named_buffers():
            torch.testing.assert_close(buffer, getattr(theirs, name), rtol=1e-10, atol=1e-12)
    ours.eval(), theirs.eval()
    y, moved = ours(x)
    torch.testing.assert_close(y, theirs(x))
    assert moved == {}


def test_batch_normalisation_of_a_constant_channel():
    norm = BatchNorm(1)
    y, moved = norm(torch.full((4, 1, 3, 3), 0.7))
    assert y.abs().max() < 1e-3
    assert 0.9 <= moved["running_var"] <= 0.9001
    with pytest.raises(RunError, match="batch_size"):
        norm(torch.ones(1, 1, 1, 1))


def test_the_convnet_is_the_formula():
    """Under the same seed it is, weight by weight, the plain modules in the order that they are used."""
    torch.manual_seed(3)
    network = ConvNet((3, 32, 32), 2)
    torch.manual_seed(3)
    convolutions = [nn.Conv2d(3, 32, 5), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 128, 3)]
    linear = [nn.Linear(512, 128), nn.Linear(128, 128), nn.Linear(128, 2)]
    assert sum(p.numel() for p in network.parameters()) == 177_218
    x = torch.randn(4, 3, 32, 32)
    trace = network.trace(x)
    names = ["convolutions.0", "convolutions.1", "convolutions.2", "layers.0", "layers.1"]
    assert list(trace.activations) == list(trace.preactivations) == names
    h, sides = x, []
    for layer, name in zip([*convolutions, *linear[:2]], names):
        z = layer(h.flatten(1) if name == "layers.0" else h)
        h = F.max_pool2d(z.relu(), 2) if z.ndim == 4 else z.relu()
        torch.testing.assert_close(trace.preactivations[name], z)
        torch.testing.assert_close(trace.activations[name], h)
        sides.append((z.shape[-1], h.shape[-1]))
    assert sides[:3] == [(28, 14), (12, 6), (4, 2)]
    torch.testing.assert_close(trace.output, linear[2](h))
    assert [layer.unit_axis for layer in network.hidden_layers()] == [1, 1, 1, -1, -1]
    assert [layer.width for layer in network.hidden_layers()] == [32, 64, 128, 128, 128]


def test_initial_weights_of_convolutions():
    torch.manual_seed(0)
    network = ConvNet((3, 12, 12), 2, (60, 40), (3, 2), (), "tanh", "kaiming_normal")
    scales = [5 / 3 / math.sqrt(27), 5 / 3 / math.sqrt(240), 1 / math.sqrt(160)]
    for layer, known, scale in zip([*network.convolutions, *network.layers], network.draws, scales):
        assert (known.distribution, known.scale) == ("normal", pytest.approx(scale))
        assert layer.weight.std().item() == pytest.approx(scale, rel=4 / (2 * layer.weight.numel()) ** 0.5)
        assert not layer.bias.any()
    assert draw("xavier", 60 * 9, 40 * 9).scale == pytest.approx(math.sqrt(6 / 900))
    assert MLP((8,), 2, initialisation="kaiming_normal").draws[0].scale == pytest.approx(0.5)
    layers = ConvNet((3, 32, 32), 2).hidden_layers()
    assert [x.fan_in[0].draw.scale ** -2 for x in layers] == pytest.approx([75, 288, 576, 512, 128])


@pytest.mark.parametrize("settings", [{}, {"hidden": ()}, {"channels": (3,), "kernels": (4,)}])
def test_the_view_of_a_convnet(shaken, at, settings):
    """A unit that always says 2 is a unit without columns whose consumers' biases hold twice their sum."""
    torch.manual_seed(0)
    network, x = shaken(convnet(**settings)), images(5)
    original = {name: p.detach().clone() for name, p in network.named_parameters()}
    full = network(x)[0]
    for layer in network.hidden_layers():
        for unit in torch.arange(layer.width):
            constant, cut = ({name: p.clone() for name, p in original.items()} for _ in range(2))
            for tensors in (constant, cut):
                for entry in layer.fan_in:
                    at(tensors, entry.units, unit)[:] = 0
                at(tensors, layer.bias[0], unit)[:] = 2
            for out in layer.fan_out:
                columns = at(cut, out.units, unit)
                cut[out.bias] += 2 * columns.transpose(0, 1).flatten(1).sum(1)
                columns[:] = 0
            outputs = [torch.func.functional_call(network, tensors, (x,))[0] for tensors in (constant, cut)]
            torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
            assert not torch.allclose(outputs[0], full)


@pytest.mark.parametrize("make", [convnet, residual])
def test_two_seeds_together_are_two_networks(shaken, make):
    torch.manual_seed(0)
    networks = [shaken(make()) for _ in range(2)]
    x, y = images(2, 4), torch.randint(3, (2, 4))
    stacked = torch.func.stack_module_state(networks)
    tracer = Tracer(make().to("meta"))

    def one(params, buffers, x, y):
        def objective(params):
            trace = traced(tracer, {**params, **buffers}, x)
            shown = trace.preactivations, trace.activations
            return F.cross_entropy(trace.output, y), ({"": trace.output}, *shown, trace.buffers)

        return torch.func.grad(objective, has_aux=True)(params)

    grads, shown = torch.vmap(one)(*stacked, x, y)
    for seed, network in enumerate(networks):
        trace = network.trace(x[seed])
        F.cross_entropy(trace.output, y[seed]).backward()
        own = ({"": trace.output}, trace.preactivations, trace.activations, trace.buffers)
        expected = [{name: p.grad for name, p in network.named_parameters()}, *own]
        together = [{n: t[seed] for n, t in part.items()} for part in (grads, *shown)]
        torch.testing.assert_close(together, expected, rtol=1e-9, atol=1e-11)
        assert set(network.output_parameters()) < set(expected[0])
    tensors = {name: t.detach() for part in stacked for name, t in part.items()}
    measured = [stacked_trace(Tracer(make().eval()), tensors, x, loops).output for loops in (False, True)]
    torch.testing.assert_close(*measured)
    torch.testing.assert_close(measured[0][1], networks[1].eval()(x[1])[0])


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [(ConvNet, {"input_shape": (64,)}, "input_shape=.*64.*images"),
     (ConvNet, {"input_shape": (1, 8, 8)}, "kernels=.*8x8 image"),
     (ConvNet, {"channels": (), "kernels": ()}, "kernels=.*at least one"),
     (ConvNet, {"channels": 32}, "channels=32"), (ConvNet, {"channels": (3, 0, 3)}, "channels=0"),
     (ConvNet, {"kernels": (5, 3)}, "kernels=.*3 of them"), (ConvNet, {"kernels": (5, 3, 0)}, "kernels=0"),
     (ConvNet, {"hidden": 128}, "hidden=128"), (ConvNet, {"activation": "rleu"}, "activation=rleu.*'relu'"),
     (ConvNet, {"initialisation": "kaiming_norm"}, "initialisation=.*'kaiming_normal'"),
     (ResNet18, {"input_shape": (64,)}, "input_shape=.*64.*images"),
     (ResNet18, {"widths": "64"}, "widths=64"), (ResNet18, {"widths": (4, 0, 4, 4)}, "widths=0"),
     (ResNet18, {"blocks": (2, 2)}, "blocks=.*4 of them"), (ResNet18, {"blocks": (2, 2, 2, 0)}, "blocks=0")],
)  # fmt: skip
def test_bad_settings_are_named(network, settings, message):
    with pytest.raises(ConfigError, match=message):
        network(**{"input_shape": (3, 32, 32), "output_size": 2, **settings})


def test_heads():
    assert convnet(hidden=()).output_parameters() == ("layers.0.weight", "layers.0.bias")
    for network in (convnet(), residual()):
        assert [network.get_parameter(name).shape[0] for name in network.output_parameters()] == [3, 3]
