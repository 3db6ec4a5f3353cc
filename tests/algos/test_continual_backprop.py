"""Continual backprop on one small network: who is reborn, when, and what exactly changes."""

from functools import partial

import pytest
import torch
from bench import EAGER, assert_same, chunk, copy, data, make, train

from lop_lightning.algos import ContinualBackprop
from lop_lightning.algos.reset import reset_units
from lop_lightning.errors import ConfigError, RunError
from lop_lightning.networks import MLP, Linear
from lop_lightning.optimizers import SGD, Adam, AdamW, Muon
from lop_lightning.tasks.base import StreamSpec


def cbp(seeds=(0,), optimizer=None, hidden=(5, 3), activation="tanh", **settings):
    return make(partial(ContinualBackprop, **settings), seeds, optimizer, EAGER, hidden, activation=activation)


class Watch:
    """Writes down every rebirth: (layer, seeds, units, ages before, utilities before)."""

    def __init__(self, monkeypatch):
        self.found = []
        monkeypatch.setattr("lop_lightning.algos.continual_backprop.reset_units", self)

    def __call__(self, population, layer, seeds, units, channel, **rest):
        state = population.state["method"][layer.name]
        self.found.append((layer.name, seeds, units, state["age"].clone(), state["utility"].clone()))
        reset_units(population, layer, seeds, units, channel, **rest)


@pytest.mark.parametrize("accumulate", [True, False])
@pytest.mark.parametrize("maturity", [0, 4])
def test_only_mature_units_of_least_utility_are_reborn(monkeypatch, accumulate, maturity):
    watch = Watch(monkeypatch)
    learner = cbp((0, 1), hidden=(8, 6), replacement_rate=0.07, maturity_threshold=maturity, decay_rate=0.9,
                  accumulate=accumulate)  # fmt: skip
    for _ in range(6):
        train(learner, *data(20, 2))
    assert len(watch.found) > 10
    for _, seeds, units, age, utility in watch.found:
        worth = utility / (1 - 0.9**age)
        for seed, chosen in zip(seeds.tolist(), units):
            assert (age[seed, chosen] > maturity).all()
            spared = [i for i in range(age.shape[1]) if age[seed, i] > maturity and i not in chosen.tolist()]
            assert not spared or worth[seed, chosen].max() <= worth[seed, spared].min()
            assert worth[seed, chosen].tolist() == sorted(worth[seed, chosen].tolist())


def test_the_number_reborn_is_the_rate_times_the_eligible(monkeypatch):
    watch = Watch(monkeypatch)
    learner = cbp(hidden=(8, 6), replacement_rate=0.05, maturity_threshold=3)
    earned = {"layers.0": 0.0, "layers.1": 0.0}
    for _ in range(150):
        for layer in earned:
            ages = learner.population.state["method"][layer]["age"]
            earned[layer] += 0.05 * int((ages + 1 > 3).sum())
        train(learner, *data(1))
    for layer, budget in earned.items():
        spent = sum(units.shape[1] for name, _, units, _, _ in watch.found if name == layer)
        assert spent == int(budget + 1e-9)


def test_running_means_are_the_formulas():
    learner = cbp(replacement_rate=0.0, decay_rate=0.8, utility="adaptable_contribution")
    inputs, targets = data(4)
    mean, utility = torch.zeros(5).double(), torch.zeros(5).double()
    for number in range(4):
        hidden = learner.trace(learner.population, inputs[number]).activations["layers.0"][0]
        train(learner, inputs[number : number + 1], targets[number : number + 1])
        mean = 0.8 * mean + 0.2 * hidden.mean(0)
        entering = learner.population.params["layers.0.weight"][0].abs().mean(1)
        leaving = learner.population.params["layers.1.weight"][0].abs().mean(0)
        spread = (hidden - mean / (1 - 0.8 ** (number + 1))).abs().mean(0)
        utility = 0.8 * utility + 0.2 * leaving * spread / entering
    state = learner.population.state["method"]["layers.0"]
    torch.testing.assert_close(state["mean_activation"][0], mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(state["utility"][0], utility, rtol=1e-12, atol=0)
    assert (state["age"] == 4).all()


def rebirth(optimizer, layer=0, units=((1, 3),), **settings):
    """A learner trained a little, its copies before and after units of one layer were reborn by hand."""
    learner = cbp(optimizer=optimizer, replacement_rate=0.0, hidden=(5, 4), **settings)
    train(learner, *data(6))
    before = {name: p.clone() for name, p in learner.population.params.items()}
    memory = {slot: {n: t.clone() for n, t in tensors.items()}
              for slot, tensors in learner.population.state["optimizer"].items()}  # fmt: skip
    reset_units(learner.population, learner.layers[layer], torch.tensor([0]), torch.tensor(units), layer, optimizer)
    return learner, before, memory


@pytest.mark.parametrize(
    "optimizer", [SGD(0.05, momentum=0.9), Adam(), AdamW(), Muon()], ids=lambda o: type(o).__name__
)
@pytest.mark.parametrize("layer", [0, 1])
def test_exactly_the_units_own_entries_change(optimizer, layer):
    learner, before, memory = rebirth(optimizer, layer)
    own = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in before.items()}
    own[f"layers.{layer}.weight"][0, [1, 3]] = True
    own[f"layers.{layer}.bias"][0, [1, 3]] = True
    own[f"layers.{layer + 1}.weight"][0, :, [1, 3]] = True
    params = learner.population.params
    for name, mask in own.items():
        assert torch.equal(params[name] != before[name], mask)
    assert not params[f"layers.{layer}.bias"][own[f"layers.{layer}.bias"]].any()
    assert not params[f"layers.{layer + 1}.weight"][own[f"layers.{layer + 1}.weight"]].any()
    moments = 0
    for slot, tensors in learner.population.state["optimizer"].items():
        for name, tensor in tensors.items():
            if slot.startswith("steps_"):
                continue
            moments += 1
            assert torch.equal(tensor, memory[slot][name].masked_fill(own[name], 0))
            assert (memory[slot][name] != 0).all()
    assert moments >= len(own)
    counts = learner.population.state["optimizer"]
    for name, rows in counts.get("steps_0", {}).items():
        age = torch.minimum(rows[0][:, None], counts["steps_1"][name]) if name in counts["steps_1"] else rows
        assert torch.equal(age.reshape(own[name].shape), torch.full_like(age, 6).reshape(own[name].shape) * ~own[name])


def test_fresh_weights_come_from_the_networks_own_distribution():
    learner = cbp(replacement_rate=0.0, hidden=(400,), activation="relu")
    weight = learner.population.params["layers.0.weight"]
    old, bound = weight.clone(), (2 * 3 / 4) ** 0.5
    reset_units(learner.population, learner.layers[0], torch.tensor([0]), torch.arange(400)[None], 0, None)
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert (weight != old).all()
    assert weight.unique().numel() == 1600


@pytest.mark.parametrize("layer", [0, 1])
def test_a_unit_that_nobody_listens_to_is_reborn_unnoticed(layer):
    learner = cbp(replacement_rate=0.0)
    learner.population.params[f"layers.{layer + 1}.weight"][:, :, 1] = 0
    x = data(1)[0][0]
    before = learner.trace(learner.population, x).output
    reset_units(learner.population, learner.layers[layer], torch.tensor([0]), torch.tensor([[1]]), 0, None,
                transferred={"every": torch.tensor([[5.0]]).double()})  # fmt: skip
    assert torch.equal(learner.trace(learner.population, x).output, before)


@pytest.mark.parametrize("transfer", [True, False])
def test_bias_transfer_keeps_the_function_where_activations_are_constant(monkeypatch, transfer):
    """With one unchanging input and no learning, f̂ is the activation itself, so a rebirth leaves no trace."""
    watch = Watch(monkeypatch)
    learner = cbp(
        optimizer=SGD(0.0), hidden=(6, 5), replacement_rate=0.04, maturity_threshold=2, bias_transfer=transfer
    )
    x = data(1, batch=1)[0][0]
    output = learner.trace(learner.population, x).output
    changes = []
    for _ in range(60):
        train(learner, x[None], data(1, batch=1)[1])
        new = learner.trace(learner.population, x).output
        changes.append((new - output).abs().max().item())
        output = new
    assert len(watch.found) > 10
    assert (max(changes) < 1e-12) == transfer


def test_bias_transfer_keeps_the_mean_output_of_a_varying_unit():
    learner = cbp(optimizer=SGD(0.0), hidden=(6,), replacement_rate=0.0, decay_rate=0.0)
    inputs, targets = data(1, batch=64)
    train(learner, inputs, targets)
    mean = learner.population.state["method"]["layers.0"]["mean_activation"][:, [2, 4]]
    before = learner.trace(learner.population, inputs[0]).output
    reset_units(learner.population, learner.layers[0], torch.tensor([0]), torch.tensor([[2, 4]]), 0, None,
                transferred={"every": mean})  # fmt: skip
    after = learner.trace(learner.population, inputs[0]).output
    torch.testing.assert_close(after.mean(1), before.mean(1), rtol=1e-12, atol=1e-12)
    assert (after - before).abs().max() > 0.01


def test_the_optimizer_keeps_its_memory_when_told_to():
    for reset in (True, False):
        learner = cbp(optimizer=Adam(), replacement_rate=1.0, maturity_threshold=4, reset_optimizer=reset)
        train(learner, *data(5))
        assert (learner.population.state["method"]["layers.0"]["age"] == 0).all()
        assert bool(learner.population.state["optimizer"]["first"]["layers.0.weight"].any()) != reset


def test_chance_falls_differently_for_every_seed():
    learner = cbp((0, 1, 2), replacement_rate=0.1, maturity_threshold=1, accumulate=False)
    train(learner, *data(30, 3))
    assert learner.population.state["method"]["layers.0"]["age"].sum(1).unique().numel() > 1
    assert len({repr(clocks) for clocks in learner.population.host["clocks"]}) == 3


def test_no_rate_is_plain_backprop():
    plain, learner = make(), cbp(replacement_rate=0.0)
    for one in (plain, learner):
        train(one, *data(8))
    for name, p in plain.population.params.items():
        assert torch.equal(p, learner.population.params[name])


def test_prepared_again_with_other_seeds_it_is_as_new():
    spec = StreamSpec((4,), 2, "mse", torch.float64)
    used = cbp((0, 1), replacement_rate=0.1, maturity_threshold=1, accumulate=False)
    train(used, *data(30, 2))
    used.prepare(spec, [5, 6])
    new = cbp((5, 6), replacement_rate=0.1, maturity_threshold=1, accumulate=False)
    assert_same(used.population, new.population)
    for learner in (used, new):
        train(learner, *data(30, 2))
    assert_same(used.population, new.population)


def test_another_population_does_not_disturb_the_first():
    learner, alone = (cbp(replacement_rate=0.1, maturity_threshold=1, accumulate=False) for _ in range(2))
    other = learner.new_population("fresh")
    assert copy(other)[0][0].ne(copy(learner.population)[0][0]).all()
    for first in range(0, 30, 5):
        inputs, targets = data(5, source=first)
        train(learner, inputs, targets)
        learner.train_chunk(other, chunk(targets[..., [0, 1, 0, 1]], targets))
        train(alone, inputs, targets)
    assert_same(learner.population, alone.population)


@pytest.mark.parametrize(
    ("key", "value"),
    [("replacement_rate", 1.5), ("decay_rate", 1.0), ("maturity_threshold", -1), ("utility", "contributoin"),
     ("initialisation", "he"), ("reference_compat", True), ("reference_compat", "resgnt")],
)  # fmt: skip
def test_bad_settings_are_named(key, value):
    with pytest.raises(ConfigError, match=key):
        ContinualBackprop(partial(MLP), SGD(), **{key: value})


def test_a_network_without_units_is_refused_in_one_line():
    learner = ContinualBackprop(Linear, SGD())
    with pytest.raises(RunError, match="model: this network shows no hidden layer") as refusal:
        learner.prepare(StreamSpec((4,), 2, "mse"), [0])
    assert "\n" not in str(refusal.value)
