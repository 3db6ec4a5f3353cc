"""The layer in a plain loop gives the learner's numbers, and clears what an optimiser holds of reborn units."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from plain_loop import EAGER, batches, close, descend, flush, mlp

from lop_lightning.algos import ContinualBackprop, Execution
from lop_lightning.layers.units import UTILITIES
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD
from lop_lightning.tasks.base import Chunk, Position, StreamSpec


def assert_is_population(network, layers, population):
    for index, module in enumerate(network[place] for place in (0, 3, 6)):
        for kind, tensor in module.named_parameters():
            close(tensor.detach(), population.params[f"layers.{index}.{kind}"][0])
    for index, layer in enumerate(layers):
        for quantity, tensor in population.state["method"][f"layers.{index}"].items():
            close(getattr(layer, quantity), tensor[0])


@pytest.mark.parametrize("utility", UTILITIES)
def test_it_is_the_learner_in_a_plain_loop(utility):
    """Same data, same weights, same seed: the same numbers, fresh weights too, with momentum, after every update."""
    spec = StreamSpec((4,), 2, "mse", torch.float64)
    learner = ContinualBackprop(partial(MLP, hidden=[5, 3], activation="tanh"), SGD(0.05, momentum=0.9),
                                Execution(compile=False), utility=utility, **EAGER)  # fmt: skip
    learner.prepare(spec, [7])
    trained = [mlp(utility=utility, seed=7) for _ in range(2)]
    data, optimizers = batches(40), []
    for network, layers in trained:
        for index, module in enumerate(network[place] for place in (0, 3, 6)):
            module.load_state_dict({k: learner.population.params[f"layers.{index}.{k}"][0] for k in ("weight", "bias")})
        optimizers.append(torch.optim.SGD(network.parameters(), 0.05, momentum=0.9))
        for layer in layers:
            layer.optimizer, layer.seed = optimizers[-1], 7
    (flushed, layers), (lazy, late) = trained
    young = [0, 0]
    for number, (x, y) in enumerate(data):
        step = Chunk(x[None, None], y[None, None], Position(0, 0, number), Position(0, 0, number + 1))
        learner.train_chunk(learner.population, step)
        descend(flushed, optimizers[0], [(x, y)])
        flush(layers)
        assert_is_population(flushed, layers, learner.population)
        young = [count + int((layer.age == 0).sum()) for count, layer in zip(young, layers)]
        descend(lazy, optimizers[1], [(x, y)])
    assert min(young) > 5
    flush(reversed(late))  # in any order
    assert_is_population(lazy, late, learner.population)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)])
@pytest.mark.parametrize("given", [True, False])
def test_the_optimiser_forgets_exactly_the_reborn(kind, given):
    (network, layers), (twin, _) = mlp(), mlp(replacement_rate=0.0)
    optimizer, other = kind(network.parameters(), lr=0.01), kind(twin.parameters(), lr=0.01)
    if given:
        for layer in layers:
            layer.optimizer = optimizer
    data = batches(5)  # 0.1 x 5 eligible units at updates 3 and 4: one unit of the first layer is reborn at the fourth
    for net, opt in ((network, optimizer), (twin, other)):
        descend(net, opt, data[:4])
    before = deepcopy(optimizer.state_dict()["state"])
    flush(layers)
    after, (unit,) = optimizer.state_dict()["state"], (layers[0].age == 0).nonzero().flatten().tolist()
    assert not (layers[1].age == 0).any()
    for number in range(6):
        for slot, memory in after[number].items():
            meant = before[number][slot].clone()
            if given and slot != "step":
                if number in (0, 1):
                    meant[unit] = 0
                elif number == 2:
                    meant[:, unit] = 0
            assert torch.equal(memory, meant)
            assert torch.equal(before[number][slot], other.state_dict()["state"][number][slot])
    changed = [~torch.eq(p, q) for p, q in zip(network.parameters(), twin.parameters())]
    assert changed[0].any(1).nonzero().flatten().tolist() == [unit]
    assert changed[1].nonzero().flatten().tolist() == [unit]
    assert changed[2].any(0).nonzero().flatten().tolist() == [unit]
    assert changed[3].all()  # the transferred mean
    assert not any(c.any() for c in changed[4:])
    assert not network[3].weight[:, unit].any()


def test_gradients_of_the_reborn_wait_for_no_step():
    """A loop that adds up the gradients of two passes: the second begins with the rebirth of all units."""
    network, layers = mlp(replacement_rate=1.0, maturity_threshold=0)
    (first, _), (second, _) = batches(2)
    network(first).square().sum().backward()
    network(second).square().sum().backward()
    assert [int(layer.updates) for layer in layers] == [1, 1]
    alone, _ = mlp(replacement_rate=0.0)
    alone.load_state_dict(network.state_dict())
    alone(second).square().sum().backward()
    for p, q in zip(network[:4].parameters(), alone[:4].parameters(), strict=True):
        close(p.grad, q.grad)
    assert not torch.allclose(network[6].bias.grad, alone[6].bias.grad)  # the output's own sum goes on
