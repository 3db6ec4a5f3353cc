"""Continual backprop as a layer: what counts as an update, and that it is a module like others."""

import re
from copy import deepcopy
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
import torch
from plain_loop import assert_same, batches, close, descend, flush, mlp, numbers
from torch import nn
from torch.utils.checkpoint import checkpoint

from lop_lightning.algos.replacement import new_clock, next_accumulated, replaced
from lop_lightning.layers import ContinualBackpropLayer

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"


def test_only_training_passes_with_a_backward_pass_count():
    network, layers = mlp()
    x = batches(1)[0][0]
    before = numbers(network)
    network(x)  # never goes back
    network.eval()
    network(x).sum().backward()
    network.train()
    with torch.no_grad():
        network(x)
    flush(layers)
    assert_same(before, numbers(network))
    network(x).sum().backward()
    assert [int(layer.updates) for layer in layers] == [0, 0]
    network.eval()(x)  # an evaluation does nothing that is due
    assert [int(layer.updates) for layer in layers] == [0, 0]
    network.train()(x)  # the next training pass does
    assert [layer.age.tolist() for layer in layers] == [[1.0] * 5, [1.0] * 3]
    flush(layers)
    assert [int(layer.updates) for layer in layers] == [1, 1]


def test_a_graph_gone_through_twice_and_a_loss_on_two_passes_are_one_update():
    data = batches(2)
    (network, layers), (whole, others) = mlp(), mlp()
    output = network(data[0][0])
    output.sum().backward(retain_graph=True)
    flush(layers)
    output.square().sum().backward()
    flush(layers)
    assert [int(layer.updates) for layer in layers] == [1, 1]
    network, layers = mlp()
    (network(data[0][0]).sum() + network(data[1][0]).sum()).backward()
    whole(torch.cat([data[0][0], data[1][0]])).sum().backward()
    flush((*layers, *others))
    for one, other in zip(layers, others):
        assert int(one.updates) == 1
        close(one.mean_activation, other.mean_activation)
        close(one.utility, other.utility)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_changes_nothing(reentrant):
    """Each half is computed again within the backward pass, when the units of the other may be weighed already."""
    results = []
    for again in (lambda part, x: part(x), partial(checkpoint, use_reentrant=reentrant)):
        network, layers = mlp()
        data = [(x.requires_grad_(), y) for x, y in batches(20)]
        optimizer = torch.optim.SGD(network.parameters(), 0.05)
        descend(network, optimizer, data, lambda x, n=network, a=again: n[6](a(n[3:6], a(n[:3], x))))
        flush(layers)
        results.append(numbers(network))
    for name, tensor in results[0].items():
        close(results[1][name], tensor)
    assert results[0]["2.updates"] == 20


# ---- a module like others


def test_state_parameters_copies_and_checkpoints():
    network, layers = mlp()
    assert len(list(network.parameters())) == 6
    assert not list(layers[0].parameters())
    assert list(layers[0].modules()) == [layers[0]]
    assert list(layers[0].state_dict()) == ["age", "mean_activation", "utility", "budget", "updates"]
    assert len(network.state_dict()) == 6 + 2 * 5
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    descend(network, optimizer, batches(9))  # what is due of the ninth is copied too
    layers[0].optimizer = optimizer
    twin, before = deepcopy(network), numbers(network)
    assert twin[2].units.modules["incoming"] is twin[0]
    assert twin[2].optimizer is None
    assert layers[0].optimizer is optimizer
    descend(twin, torch.optim.SGD(twin.parameters(), 0.05), batches(20, 2))
    assert_same(before, numbers(network))
    layers[0].optimizer = None
    descend(network, optimizer, batches(20, 2))
    flush((*layers, twin[2], twin[5]))
    assert_same(numbers(network), numbers(twin))
    resumed, others = mlp(seed=4)
    descend(resumed, torch.optim.SGD(resumed.parameters(), 0.05), batches(1))  # due, but of another run
    resumed.load_state_dict(network.state_dict())
    for net, end in ((network, layers), (resumed, others)):
        descend(net, torch.optim.SGD(net.parameters(), 0.05), batches(20, 3))
        flush(end)
    assert_same(numbers(network), numbers(resumed))


def test_it_survives_torch_save(tmp_path):
    network, layers = mlp()
    torch.save(network, tmp_path / "network.pt")
    loaded = torch.load(tmp_path / "network.pt", weights_only=False)
    for net in (network, loaded):
        descend(net, torch.optim.SGD(net.parameters(), 0.05), batches(12))
    flush((*layers, loaded[2], loaded[5]))
    assert_same(numbers(network), numbers(loaded))
    assert layers[0].updates == 12


def test_randomness_is_its_own():
    results = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        network, layers = mlp()
        layers[0].seed = layers[1].seed = seed
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        descend(network, torch.optim.SGD(network.parameters(), 0.0), batches(8))
        flush(layers)
        assert torch.equal(torch.get_rng_state(), state)
        results.append(numbers(network))
    assert_same(results[0], results[1])
    assert not torch.equal(results[0]["0.weight"], results[2]["0.weight"])


def test_two_layers_of_one_shape_draw_different_weights():
    linear = [nn.Linear(3, 3) for _ in range(3)]
    layers = [ContinualBackpropLayer(linear[i], linear[i + 1]) for i in (1, 0)]  # in any order
    assert not torch.equal(layers[0].fresh(2), layers[1].fresh(2))
    assert [layer._place() for layer in layers] == [1, 0]


def test_the_budget_is_exact():
    """ρ = 0.1 and ten eligible units buy one at every update; sums of floats would sometimes lag."""
    incoming, outgoing = nn.Linear(2, 10), nn.Linear(10, 1)
    layer = ContinualBackpropLayer(incoming, outgoing, replacement_rate=0.1, maturity_threshold=0)
    for update in range(50):
        outgoing(layer(incoming(torch.randn(4, 2)))).sum().backward()
        layer.flush()
        assert int((layer.age == 0).sum()) == 1, update
        assert int(layer.budget) == 0


def test_sequences_are_folded():
    results = []
    x = torch.randn(2, 6, 3)
    for shape in ((2, 6, 3), (12, 3)):
        torch.manual_seed(0)
        incoming, outgoing = nn.Linear(3, 4), nn.Linear(4, 1)
        layer = ContinualBackpropLayer(incoming, outgoing, utility="adaptable_contribution")
        outgoing(layer(incoming(x.reshape(shape)).tanh())).sum().backward()
        layer.flush()
        results.append(layer.utility)
    torch.testing.assert_close(*results)
    assert results[0].all()


def test_the_example_of_the_page_runs():
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = {}
        exec(code, names)
    layers = names["layers"]
    assert [layer.units.width for layer in layers] == [8, 32]
    for layer in layers:
        assert int(layer.updates) == 100
        clock, found = new_clock(layer.units.width, 20), []
        while (event := next_accumulated(clock, Fraction(1, 100)))[0] <= 100:
            found.extend([100 - event[0]] * event[1])
            replaced(clock, *event, 20)
        young = sorted(int(age) for age in layer.age if age <= 20)  # who cannot have been reborn twice since
        assert young == sorted(age for age in found if age <= 20) != []
