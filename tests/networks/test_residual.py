"""The residual network: its numbers against the formula written out, and its layer view by brute force."""

import math

import pytest
import torch
from torch.nn import functional as F

from lop_lightning.networks import ResNet18, resnet

IMAGES = (2, 7, 6)


def residual():
    return ResNet18(IMAGES, 3, widths=(4, 6), blocks=(2, 2)).double()


def images(*count):
    return torch.randn(*count, *IMAGES, dtype=torch.float64)


def plain_residual(w, x, training):
    """Output and recorded values of the small residual network, written out; moves the statistics in ``w``."""

    def part(x, path, stride=1, padding=1):
        z = F.conv2d(x, w[f"{path}.conv.weight"], w[f"{path}.conv.bias"], stride, padding)
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(z, *(w[f"{path}.norm.{name}"] for name in names), training, 0.1, 1e-5)

    shown = {"stem": part(x, "stem").relu()}
    x = shown["stem"]
    for block, stride in enumerate([1, 1, 2, 1]):
        name = f"blocks.{block}"
        shown[f"{name}.inner"] = part(x, f"{name}.first", stride).relu()
        skip = part(x, f"{name}.downsample", 2, 0) if block == 2 else x
        x = shown[f"{name}.output"] = (part(shown[f"{name}.inner"], f"{name}.second") + skip).relu()
    shown["blocks.3.output"] = x.mean((2, 3))
    return shown["blocks.3.output"] @ w["head.weight"].T + w["head.bias"], shown


@pytest.mark.parametrize("training", [True, False])
def test_the_residual_network_is_the_formula(shaken, training):
    torch.manual_seed(0)
    network, x = shaken(residual()).train(training), images(5)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trace = network.trace(x)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    output, shown = plain_residual(before, x, training)
    torch.testing.assert_close(trace.output, output)
    assert list(trace.activations) == list(shown) == [layer.name for layer in network.hidden_layers()]
    torch.testing.assert_close(trace.activations, shown)
    moved = {name for name, _ in network.named_buffers()} if training else set()
    assert set(trace.buffers) == moved
    torch.testing.assert_close(trace.buffers, {name: before[name] for name in moved})
    for layer in network.hidden_layers():
        before_relu = layer.samples(trace.preactivations[layer.name])
        activation = trace.activations[layer.name]
        if layer.unit_axis == -1:
            torch.testing.assert_close(before_relu.relu().reshape(5, -1, layer.width).mean(1), activation)
        else:
            torch.testing.assert_close(before_relu.relu(), layer.samples(activation))


def test_the_residual_network_of_the_paper():
    torch.manual_seed(0)
    network = ResNet18((3, 32, 32), 100)
    assert sum(p.numel() for p in network.parameters()) == 11_224_932
    layers = network.hidden_layers()
    assert [layer.width for layer in layers] == [64] * 5 + [128] * 4 + [256] * 4 + [512] * 4
    with torch.no_grad():
        trace = network.trace(torch.randn(2, 3, 32, 32))
    assert [trace.activations[layer.name].shape[-1] for layer in layers] == [32] * 5 + [16] * 4 + [8] * 4 + [4] * 3 + [
        512
    ]
    for name, parameter in network.named_parameters():
        if "norm" in name or name.endswith("bias"):
            assert torch.equal(parameter, torch.full_like(parameter, float(name.endswith("weight"))))
        else:
            std = math.sqrt((1 if name == "head.weight" else 2) / parameter[0].numel())
            assert parameter.std().item() == pytest.approx(std, rel=4 / (2 * parameter.numel()) ** 0.5)
    for layer in layers:
        for entry in layer.fan_in:
            fan_in = network.get_parameter(entry.units.parameter)[0].numel()
            assert entry.draw.scale == pytest.approx(math.sqrt(2 / fan_in))


def test_the_view_of_a_residual_network():
    network = residual()
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    layers = {layer.name: layer for layer in network.hidden_layers()}
    for layer in layers.values():
        owned = [*(entry.units for entry in layer.fan_in), *layer.bias, *(place for place, _ in layer.norm)]
        for place in [*owned, *(entry.units for entry in layer.fan_out)]:
            assert tensors[place.parameter].shape[place.axis] == layer.width == place.width
        assert [value for _, value in layer.norm] == [1, 0, 0, 1] * len(layer.fan_in)
    enters = {name: [entry.units.parameter for entry in layer.fan_in] for name, layer in layers.items()}
    leaves = {name: [entry.units.parameter for entry in layer.fan_out] for name, layer in layers.items()}
    assert enters["stem"] == ["stem.conv.weight"]
    assert enters["blocks.2.inner"] == ["blocks.2.first.conv.weight"]
    assert enters["blocks.2.output"] == ["blocks.2.second.conv.weight", "blocks.2.downsample.conv.weight"]
    assert enters["blocks.3.output"] == ["blocks.3.second.conv.weight"]
    assert leaves["blocks.2.inner"] == ["blocks.2.second.conv.weight"]
    stage_end = ["blocks.2.first.conv.weight", "blocks.2.downsample.conv.weight"]
    assert leaves["stem"] == ["blocks.0.first.conv.weight", "blocks.1.first.conv.weight", *stage_end]
    assert leaves["blocks.0.output"] == ["blocks.1.first.conv.weight", *stage_end]
    assert leaves["blocks.1.output"] == stage_end
    assert leaves["blocks.2.output"] == ["blocks.3.first.conv.weight", "head.weight"]
    assert leaves["blocks.3.output"] == ["head.weight"]
    biases = {name: [entry.bias for entry in layer.fan_out] for name, layer in layers.items()}
    assert biases.pop("blocks.3.output") == ["head.bias"]
    assert not any(bias for layer in biases.values() for bias in layer)


def changed(at, network, layer, unit, x, monkeypatch):
    """How far the output moves when the unit's channel is disturbed, and when all that enters the unit is."""
    before, distances = network(x)[0], []
    with monkeypatch.context() as patch:

        def disturbed(trace, name, z):
            h = relu(trace, name, z)
            return h + F.one_hot(unit, z.shape[1])[:, None, None] * torch.rand_like(h) if name == layer.name else h

        relu = resnet._shown
        patch.setattr(resnet, "_shown", disturbed)
        distances.append((network(x)[0] - before).abs().max().item())
    other = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for place in [*(entry.units for entry in layer.fan_in), *layer.bias, *(place for place, _ in layer.norm)]:
        own = at(other, place, unit)
        own += torch.rand_like(own)
    distances.append((torch.func.functional_call(network, other, (x,))[0] - before).abs().max().item())
    return distances


def test_nothing_reads_a_reborn_residual_unit(shaken, at, monkeypatch):
    """With all its columns cleared a unit is unheard; with any of its consumers left, it is heard."""
    torch.manual_seed(0)
    network, x = shaken(residual()).eval(), images(3)
    original = {name: p.detach().clone() for name, p in network.named_parameters()}
    unit = torch.tensor(1)
    with torch.no_grad():
        for layer in network.hidden_layers():
            for spared in [None, *layer.fan_out]:
                network.load_state_dict(original, strict=False)
                for out in layer.fan_out:
                    if out is not spared:
                        at(dict(network.named_parameters()), out.units, unit)[:] = 0
                distances = changed(at, network, layer, unit, x, monkeypatch)
                assert max(distances) < 1e-12 if spared is None else min(distances) > 1e-6, (layer.name, spared)
