"""Backprop, L2, and shrink and perturb against the formulas, by hand on plain modules."""

from functools import partial

import pytest
import torch
from bench import assert_same, chunk, data, make, train
from torch.nn import functional as F

from lop_lightning.algos import L2, Backprop, Execution, ShrinkAndPerturb
from lop_lightning.algos.losses import LOSSES, accuracy
from lop_lightning.errors import ConfigError
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD, Adam, AdamW
from lop_lightning.randomness import stable_hash
from lop_lightning.tasks.base import StreamSpec

close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-14)
TORCH = {"sgd": (lambda: SGD(0.05), partial(torch.optim.SGD, lr=0.05)),
         "adam": (lambda: Adam(0.01), partial(torch.optim.Adam, lr=0.01))}  # fmt: skip


def by_hand(learner, inputs, targets, optimizer, after=lambda network, before: None, penalty=lambda params: 0.0):
    """The plain PyTorch loop on a copy of seed 0's network; returns network and losses."""
    network = learner.network(0)
    optimizer = optimizer(network.parameters())
    losses = []
    for x, y in zip(inputs[:, 0], targets[:, 0]):
        loss = LOSSES[learner.spec.loss](network(x)[0], y)
        losses.append(loss.detach())
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        optimizer.zero_grad()
        (loss + penalty(network.parameters())).backward()
        optimizer.step()
        with torch.no_grad():
            after(network, before)
    return network, torch.stack(losses)


def check(learner, network):
    for name, p in network.named_parameters():
        close(learner.population.params[name][0], p.detach())


@pytest.mark.parametrize("kind", TORCH)
def test_backprop_is_the_plain_loop(kind):
    ours, theirs = TORCH[kind]
    learner, (inputs, targets) = make(Backprop, optimizer=ours()), data(15)
    network, losses = by_hand(learner, inputs, targets, theirs)
    measures = train(learner, inputs, targets)
    close(measures[:, 0, 0], losses)
    assert measures[..., 1].isnan().all()
    check(learner, network)


def test_classification_measures_the_prediction_before_the_update():
    spec = StreamSpec((4,), 3, "cross_entropy", torch.float64)
    learner, (inputs, targets) = make(Backprop, spec=spec), data(6, batch=9, spec=spec)
    network, losses = by_hand(learner, inputs, targets, partial(torch.optim.SGD, lr=0.05))
    first = accuracy("cross_entropy", learner.network(0)(inputs[0, 0])[0], targets[0, 0])
    measures = train(learner, inputs, targets)
    close(measures[:, 0, 0], losses)
    assert measures[0, 0, 1] == first
    check(learner, network)


def test_masked_outputs_neither_count_nor_learn():
    spec = StreamSpec((4,), 4, "cross_entropy", torch.float64)
    learner, (inputs, targets) = make(Backprop, (0, 1), spec=spec), data(5, 2, spec=spec)
    targets[:, 0], targets[:, 1] = targets[:, 0] % 2, 2 + targets[:, 1] % 2
    active = torch.tensor([[True, True, False, False], [False, False, True, True]])
    before = {name: p.clone() for name, p in learner.population.params.items()}
    loss = F.cross_entropy(learner.network(1)(inputs[0, 1])[0][:, 2:], targets[0, 1] - 2).detach()
    measures = learner.train_chunk(learner.population, chunk(inputs, targets, active=active))
    close(measures[0, 1, 0], loss)
    changed = learner.population.params["layers.2.bias"] != before["layers.2.bias"]
    assert torch.equal(changed, active)
    assert all(p.isfinite().all() for p in learner.population.params.values())


def test_accuracy():
    output = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
    assert accuracy("cross_entropy", output, torch.tensor([0, 1, 1, 1])) == 0.75
    assert accuracy("binary_cross_entropy", torch.tensor([[0.1], [-0.1]]), torch.tensor([[1.0], [1.0]])) == 0.5
    assert accuracy("mse", output, output).isnan()


@pytest.mark.parametrize("kind", TORCH)
def test_coupled_l2_is_weight_decay_in_the_gradient(kind):
    ours, theirs = TORCH[kind]
    learner, (inputs, targets) = make(partial(L2, weight_decay=0.3), optimizer=ours()), data(12)
    network, losses = by_hand(learner, inputs, targets, partial(theirs, weight_decay=0.3))
    measures = train(learner, inputs, targets)
    close(measures[:, 0, 0], losses)  # the penalty is no part of the recorded loss
    check(learner, network)


@pytest.mark.parametrize("kind", TORCH)
def test_decoupled_l2_shrinks_the_weights_from_before_the_step(kind):
    ours, theirs = TORCH[kind]
    learner, (inputs, targets) = make(partial(L2, weight_decay=0.3, mode="decoupled"), optimizer=ours()), data(12)

    def shrink(network, before):
        for name, p in network.named_parameters():
            p -= ours().lr * 0.3 * before[name]

    network, _ = by_hand(learner, inputs, targets, theirs, shrink)
    train(learner, inputs, targets)
    check(learner, network)


def test_l2_modes_agree_for_sgd_and_differ_for_adam():
    for optimizer, same in ((partial(SGD, 0.05), True), (partial(Adam, 0.05), False)):
        both = [
            make(partial(L2, weight_decay=0.3, mode=mode), optimizer=optimizer()) for mode in ("coupled", "decoupled")
        ]
        for learner in both:
            train(learner, *data(10))
        a, b = (learner.population.params["layers.0.weight"] for learner in both)
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12) == same


def test_decoupled_l2_with_adam_is_adamw():
    l2 = make(partial(L2, weight_decay=0.3, mode="decoupled"), optimizer=Adam(0.05))
    adamw = make(Backprop, optimizer=AdamW(0.05, weight_decay=0.3))
    for learner in (l2, adamw):
        train(learner, *data(10))
    for name, p in l2.population.params.items():
        close(p, adamw.population.params[name], rtol=1e-11)


def noise(seed, update, params, *purpose):
    """The definition: blocks of updates, each from its own generator, cut up in the order of the parameters."""
    size = sum(p.numel() for p in params)
    block = min(256, 2**18 // size)
    source = torch.Generator().manual_seed(stable_hash(seed, "noise", *purpose, update // block))
    row = torch.randn(block, size, generator=source, dtype=params[0].dtype)[update % block]
    return [part.reshape(p.shape) for part, p in zip(row.split([p.numel() for p in params]), params)]


def test_shrink_and_perturb_is_the_formula_with_its_counter_noise():
    method = partial(ShrinkAndPerturb, weight_decay=0.3, noise_std=0.02)
    learner, (inputs, targets) = make(method), data(8)
    clock = iter(range(8))

    def perturb(network, before):
        for p, epsilon in zip(network.parameters(), noise(0, next(clock), list(network.parameters()))):
            p += 0.02 * epsilon

    network, _ = by_hand(learner, inputs, targets, partial(torch.optim.SGD, lr=0.05, weight_decay=0.3), perturb)
    train(learner, inputs, targets)
    check(learner, network)


def shaken(seeds=(0,), updates=1, std=0.5, hidden=(60, 50)):
    """What the noise alone did: no learning, no shrinking."""
    method = partial(ShrinkAndPerturb, weight_decay=0.0, noise_std=std)
    learner = make(method, seeds, SGD(0.0), hidden=hidden)
    before = {name: p.clone() for name, p in learner.population.params.items()}
    train(learner, *data(updates, len(seeds)))
    return {name: (p - before[name]) / std for name, p in learner.population.params.items()}


def test_noise_is_standard_normal_in_every_parameter():
    for name, z in shaken((0, 1, 2)).items():
        n = z.numel()
        assert abs(z.mean()) < 4 / n**0.5, name
        assert abs(z.square().mean() - 1) < 4 * (2 / n) ** 0.5, name


def test_noise_adds_up_over_updates():
    z = shaken(updates=25)["layers.1.weight"]
    assert z.std() == pytest.approx(5.0, rel=0.06)


def test_noise_is_independent_over_seeds_updates_and_parameters():
    once, twice, seeds = shaken(), shaken(updates=2), shaken((0, 1))

    def own(z):
        return z["layers.1.weight"][0].flatten()

    def correlation(a, b):
        return torch.corrcoef(torch.stack([a, b]))[0, 1].abs().item()

    assert torch.allclose(own(once), own(seeds), atol=1e-12)
    bound = 4 / own(once).numel() ** 0.5
    assert correlation(own(once), own(twice) - own(once)) < bound
    assert correlation(seeds["layers.1.weight"][0].flatten(), seeds["layers.1.weight"][1].flatten()) < bound
    first = once["layers.0.weight"].flatten()
    assert correlation(first, own(once)[: len(first)]) < 4 / len(first) ** 0.5


def test_shrink_and_perturb_at_task_ends_alone():
    method = partial(ShrinkAndPerturb, when="task_end", shrink=0.3, noise_std=0.02, weight_decay=0.5)
    learner, plain, (inputs, targets) = make(method), make(Backprop), data(6)
    train(learner, inputs, targets)
    train(plain, inputs, targets)
    for name, p in plain.population.params.items():
        assert torch.equal(learner.population.params[name], p)
    train(learner, inputs, targets, ends_task=True)
    train(plain, inputs, targets, ends_task=True)
    epsilons = noise(0, 12, [p[0] for p in plain.population.params.values()], "task end")
    for (name, p), epsilon in zip(plain.population.params.items(), epsilons):
        close(learner.population.params[name][0], 0.7 * p[0] + 0.02 * epsilon)


def test_noise_is_the_same_in_chunks_that_cross_its_blocks():
    """3452 parameters: a block holds 75 updates."""
    method = partial(ShrinkAndPerturb, noise_std=0.1)
    whole, single = (
        make(method, (2, 5), hidden=(60, 50), execution=Execution(compile=False, unroll=4)) for _ in range(2)
    )
    inputs, targets = data(160, 2, batch=1)
    train(whole, inputs, targets)
    for k in range(160):
        train(single, inputs[k : k + 1], targets[k : k + 1])
    assert_same(whole.population, single.population)


def test_noise_of_a_late_update_is_its_own():
    learner = make(partial(ShrinkAndPerturb, weight_decay=0.0, noise_std=0.5), (3,), SGD(0.0), hidden=(60, 50))
    before = [p[0].clone() for p in learner.population.params.values()]
    learner.population.updates = 80  # in the second block
    train(learner, *data(1))
    for p, old, epsilon in zip(learner.population.params.values(), before, noise(3, 80, before)):
        close(p[0] - old, 0.5 * epsilon, rtol=1e-9, atol=1e-12)


def test_a_fresh_population_has_noise_of_its_own():
    learner = make(partial(ShrinkAndPerturb, noise_std=1.0), (0, 1), SGD(0.0))
    inputs, targets = data(1, 2)
    moved = []
    for population in (learner.population, learner.new_population("fresh", 0), learner.new_population("fresh", 1)):
        before = population.params["layers.0.weight"].clone()
        learner.train_chunk(population, chunk(inputs, targets))
        moved.append(population.params["layers.0.weight"] - before)
    assert torch.stack(moved).flatten(0, 1).unique(dim=0).shape[0] == 6


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [(L2, "weight_decay", -1), (L2, "mode", "copled"), (ShrinkAndPerturb, "noise_std", -1),
     (ShrinkAndPerturb, "shrink", 2), (ShrinkAndPerturb, "when", "never")],
)  # fmt: skip
def test_bad_settings_are_named(method, key, value):
    with pytest.raises(ConfigError, match=key):
        method(partial(MLP), SGD(), **{key: value})
