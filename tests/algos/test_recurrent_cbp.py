"""Continual backprop on gated recurrent networks: what exactly the rebirth of a unit changes, and what it does not."""

from functools import partial
from itertools import product

import pytest
import torch
from bench import train
from sequences_bench import (
    CELLS,
    FEATURES,
    GATES,
    HIDDEN,
    IMAGES,
    STREAMS,
    masks_of,
    named,
    recurrent,
    scramble,
    sequences,
    union,
)

from lop_lightning.algos import ContinualBackprop
from lop_lightning.algos.reset import reset_units
from lop_lightning.optimizers import SGD, Adam

BOUND = HIDDEN**-0.5
LAYERS = ["layers.0.forwards", "layers.0.backwards", "layers.1.forwards", "layers.1.backwards"]


def reborn(learner, layer, units, optimizer=None, transferred=None, row=0):
    """Units of one layer of one seed are reborn."""
    view = named(learner, layer)
    if transferred is not None:
        transferred = {reads: torch.tensor([transferred], dtype=torch.float64) for reads in view.readings}
    reset_units(learner.population, view, torch.tensor([row]), torch.tensor([units]), LAYERS.index(layer), optimizer,
                transferred=transferred)  # fmt: skip


def taken(tensors):
    return {name: t.clone() for name, t in tensors.items()}


@pytest.mark.parametrize("transfer", [True, False])
@pytest.mark.parametrize("units", [[2], [0, 3]])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("cell", CELLS)
def test_exactly_the_units_own_entries_change(cell, layer, units, transfer):
    learner = recurrent(cell, seeds=(0, 1), optimizer=Adam())
    scramble(learner)
    params, memory = learner.population.params, learner.population.state["optimizer"]
    before, remembered = taken(params), {slot: taken(tensors) for slot, tensors in memory.items()}
    reborn(learner, layer, units, learner.optimizer, [0.5 + unit for unit in units] if transfer else None, row=1)
    masks = masks_of(learner, cell, layer, units)
    own, gates, count = union(masks, "incoming", "columns", "readers"), GATES[cell], len(units)
    changed = union(masks, "incoming", "columns", "readers", "transfer") if transfer else own
    for name, p in params.items():
        assert torch.equal(p[1] != before[name][1], changed[name]), name
        assert torch.equal(p[0], before[name][0])
        assert not p[1][masks["columns"][name] | masks["readers"][name]].any()
        fresh = p[1][masks["incoming"][name] & ~masks["columns"][name]]
        assert fresh.unique().numel() == fresh.numel()
        assert not fresh.numel() or fresh.abs().max() <= BOUND
        for slot in ("first", "second"):
            assert torch.equal(memory[slot][name][1], remembered[slot][name][1].masked_fill(own[name], 0))
            assert torch.equal(memory[slot][name][0], remembered[slot][name][0])
    # The numbers of the specification, section 3.8 (b).
    features = FEATURES if layer.startswith("layers.0") else 2 * HIDDEN
    sizes = {kind: sum(int(mask.sum()) for mask in masks[kind].values()) for kind in masks}
    assert sizes["incoming"] == count * (gates * (features + HIDDEN) + 2 * gates)
    assert sizes["columns"] == count * gates * HIDDEN
    assert sizes["readers"] == count * (2 if layer.startswith("layers.1") else 2 * gates * HIDDEN)
    index, _, direction = layer.rpartition(".")
    other = f"{index}.{'backwards' if direction == 'forwards' else 'forwards'}."
    assert not any(mask.any() for name, mask in changed.items() if name.startswith(other))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_optimizer_counts_the_updates_of_the_unit_from_then_on(cell, layer):
    learner = recurrent(cell, optimizer=Adam())
    train(learner, *sequences(3))
    memory = learner.population.state["optimizer"]
    reborn(learner, layer, [2], learner.optimizer)
    own = union(masks_of(learner, cell, layer, [2]), "incoming", "columns", "readers")
    for name, mask in own.items():
        age = memory["steps_0"][name][0]
        if mask.ndim > 1:
            age = torch.minimum(age[:, None], memory["steps_1"][name][0])
        assert torch.equal(age.double(), 3.0 * ~mask), name


@pytest.mark.parametrize("cell", CELLS)
def test_fresh_weights_and_biases_are_drawn_as_pytorch_draws_them(cell):
    learner = recurrent(cell, spec=IMAGES, hidden=64, layers=1, bidirectional=False)
    scramble(learner)
    reset_units(learner.population, learner.layers[0], torch.tensor([0]), torch.arange(64)[None], 0, None)
    params, values = learner.population.params, []
    for part in ("weight_ih", "bias_ih", "bias_hh"):
        fresh = params[f"layers.0.forwards.{part}"]
        assert 0.95 / 8 < fresh.abs().max() <= 1 / 8
        assert fresh.mean().item() == pytest.approx(0, abs=0.02)
        assert fresh.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.12)
        values.append(fresh.flatten())
    assert torch.cat(values).unique().numel() == GATES[cell] * 64 * (FEATURES + 2)
    assert not params["layers.0.forwards.weight_hh"].any()  # all columns are those of fresh units


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_unit_that_nobody_hears_is_reborn_unnoticed(cell, stream, layer):
    learner = recurrent(cell, spec=STREAMS[stream])
    x, params = sequences(1, spec=STREAMS[stream])[0][0], learner.population.params
    masks = masks_of(learner, cell, layer, [1])
    for name, mask in union(masks, "columns", "readers").items():
        params[name][0, mask] = 0
    before = learner.trace(learner.population, x)
    reborn(learner, layer, [1], transferred=[5.0])
    after = learner.trace(learner.population, x)
    assert torch.equal(after.output, before.output)
    assert not torch.allclose(after.activations[layer][..., 1], before.activations[layer][..., 1])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_silent_unit_is_reborn_unnoticed(cell, layer):
    learner = recurrent(cell)
    x, params = sequences(1)[0][0], learner.population.params
    for name, mask in masks_of(learner, cell, layer, [1])["incoming"].items():
        params[name][0, mask] = 0
    before = learner.trace(learner.population, x)
    assert not before.activations[layer][..., 1].any()
    reborn(learner, layer, [1], transferred=[0.0])
    after = learner.trace(learner.population, x)
    torch.testing.assert_close(after.output, before.output, rtol=1e-12, atol=1e-14)
    assert after.activations[layer][..., 1].any()


def constant(learner, cell, layer, unit, value=0.7):
    """The unit's h becomes one number at all steps, whatever it reads."""
    params = learner.population.params
    for name, mask in masks_of(learner, cell, layer, [unit])["incoming"].items():
        params[name][0, mask] = 0
    gates = {"lstm": (50, -50, value, 50), "gru": (50, -50, value)}[cell]  # nothing of the state before is kept
    params[f"{layer}.bias_ih"][0, unit::HIDDEN] = torch.tensor(gates, dtype=torch.float64)
    h = torch.tensor(value, dtype=torch.float64).tanh()
    return h.tanh() if cell == "lstm" else h


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("cell", CELLS)
def test_biases_take_over_a_constant_unit(cell, stream, layer):
    """Found by the running means of training itself. What feeds back is 0 before the first step: so it is cut here."""
    frozen, spec = partial(ContinualBackprop, replacement_rate=0.0), STREAMS[stream]
    learner = recurrent(cell, frozen, optimizer=SGD(0.0), spec=spec)
    x, y = sequences(3, spec=spec)
    h = constant(learner, cell, layer, 1)
    columns = masks_of(learner, cell, layer, [1])["columns"][f"{layer}.weight_hh"]
    learner.population.params[f"{layer}.weight_hh"][0, columns] = 0
    train(learner, x, y)
    before = learner.trace(learner.population, x[0])
    torch.testing.assert_close(before.activations[layer][..., 1], h.expand(1, 6, 5))
    state, view = learner.population.state["method"][layer], named(learner, layer)
    means = {reads: learner.statistics.mean_activation(state, reads)[:, [1]] for reads in view.readings}
    for mean in means.values():
        torch.testing.assert_close(mean, h.expand(1, 1), rtol=1e-12, atol=0)
    reset_units(learner.population, view, torch.tensor([0]), torch.tensor([[1]]), 0, None, transferred=means)
    after = learner.trace(learner.population, x[0])
    torch.testing.assert_close(after.output, before.output, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("cell", CELLS)
def test_each_bias_takes_over_the_mean_of_what_its_consumer_reads(cell, layer):
    method = partial(ContinualBackprop, replacement_rate=0.0, decay_rate=0.8)
    learner = recurrent(cell, method, readout="last_position")
    train(learner, *sequences(3))
    params, state = learner.population.params, learner.population.state["method"][layer]
    before, unbiased = taken(params), {name: mean / (1 - 0.8**3) for name, mean in state.items()}
    onwards = {"layers.1.forwards": "final", "layers.1.backwards": "first"}.get(layer)
    view, row, units = named(learner, layer), torch.tensor([0]), torch.tensor([[2, 0]])
    learner._rebirth(learner.population, LAYERS.index(layer), view, row, units)
    masks = masks_of(learner, cell, layer, [0, 2])
    for name, mask in masks["transfer"].items():
        if not mask.any():
            continue
        feeds_back = name == f"{layer}.bias_hh"
        reads = "mean_activation" if onwards is None else f"mean_activation_{onwards}"
        mean = unbiased["mean_activation_earlier" if feeds_back else reads][0]
        start = 0 if feeds_back else HIDDEN * layer.endswith("backwards")
        weight = before[name.replace("bias", "weight")][0]
        share = sum(weight[:, start + unit] * mean[unit] for unit in (0, 2))
        moved = (params[name] - before[name])[0]
        torch.testing.assert_close(moved[mask], share[mask], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_the_step_of_the_others_stays_as_it_was_once_the_constant_has_been_seen(cell):
    """Also through the GRU's reset gate, which multiplies what feeds back together with its bias."""
    learner = recurrent(cell, layers=1)
    h = constant(learner, cell, "layers.0.backwards", 1)
    zeros = torch.zeros(1, *IMAGES.input_shape, dtype=torch.float64)
    shown = [learner.network(0).unrolled(zeros)]
    reborn(learner, "layers.0.backwards", [1], transferred=[h.item()])
    shown.append(learner.network(0).unrolled(zeros))
    state = torch.rand(HIDDEN * (2 if cell == "lstm" else 1), dtype=torch.float64)
    state[1] = h
    x = torch.randn(FEATURES, dtype=torch.float64)
    then, now = (one.steps["layers.0.backwards"](x, state).unflatten(0, (-1, HIDDEN)) for one in shown)
    others = [0, 2, 3]
    torch.testing.assert_close(now[:, others], then[:, others], rtol=1e-11, atol=1e-12)
    assert not torch.allclose(now[:, 1], then[:, 1])


@pytest.mark.parametrize(("cell", "stream"), product(CELLS, STREAMS))
@pytest.mark.parametrize("optimizer", [SGD(0.05, momentum=0.9), Adam()], ids=["sgd", "adam"])
def test_events_of_training_change_nothing_else(monkeypatch, cell, stream, optimizer):
    """Rebirths as they happen, several layers at a time: the reborn units' entries, and their readers' biases."""
    settings = {"replacement_rate": 0.1, "maturity_threshold": 2}
    spec = STREAMS[stream]
    learner = recurrent(cell, partial(ContinualBackprop, **settings), optimizer=optimizer, spec=spec)
    real, events = learner.event, []

    def event(population):
        before = taken(population.params)
        real(population)
        whole = {name: torch.zeros_like(p[0], dtype=torch.bool) for name, p in before.items()}
        for layer in LAYERS:
            state = population.state["method"][layer]
            units = (state["age"][0] == 0).nonzero().flatten().tolist()
            assert not any(quantity[0, units].any() for quantity in state.values())
            assert all(quantity[0, state["age"][0] > 0].all() for quantity in state.values())
            for kind, masks in masks_of(learner, cell, layer, units).items() if units else ():
                for name, mask in masks.items():
                    whole[name] |= mask
                    if kind == "columns":  # a reader reborn after the unit has drawn its own weights to it
                        assert not population.params[name][0, mask].any()
            events.extend((layer, unit) for unit in units)
        for name, p in population.params.items():
            assert torch.equal(p[0] != before[name][0], whole[name]), name

    monkeypatch.setattr(learner, "event", event)
    for source in range(4):
        train(learner, *sequences(10, spec=spec, source=source))
    assert {layer for layer, _ in events} == set(LAYERS)
    assert len(events) > 8
