"""Continual backprop on networks of maps: what a filter is worth, and what exactly its rebirth changes."""

from functools import partial

import pytest
import torch
from bench import EAGER, assert_same, chunk

from lop_lightning.algos import ContinualBackprop, Execution
from lop_lightning.algos.reference_rules import direct_path
from lop_lightning.algos.reset import reset_units
from lop_lightning.algos.utility import UTILITIES, Evidence
from lop_lightning.networks import ConvNet, FanIn, FanOut, HiddenLayer, ResNet18, UnitSlice
from lop_lightning.networks.initialise import draw
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import StreamSpec

SPEC = StreamSpec((2, 10, 10), 3, "cross_entropy", torch.float64)
NETWORKS = {
    "convolutional": (partial(ConvNet, channels=(3, 4), kernels=(3, 2), hidden=(5,)), 3),
    "residual": (partial(ResNet18, widths=(4, 6), blocks=(2, 1)), 7),
}
LAYERS = [(name, layer) for name, (_, count) in NETWORKS.items() for layer in range(count)]
UNITS = [0, 2]


def prepared(name, optimizer=None, seeds=(0, 1), execution=EAGER, **settings):
    network, layers = NETWORKS[name]
    learner = ContinualBackprop(network, optimizer or SGD(0.01), execution, **settings)
    learner.prepare(SPEC, list(seeds))
    assert len(learner.layers) == layers
    return learner


def scramble(learner):
    """Every number of the population becomes one that no rebirth would give; variances stay positive."""
    rng = torch.Generator().manual_seed(1)
    state = learner.population.state
    for tensors in (state["params"], state["buffers"], *state["optimizer"].values()):
        for tensor in tensors.values():
            tensor.copy_(1.5 + torch.rand(tensor.shape, generator=rng, dtype=tensor.dtype))


def reborn(learner, layer, units=UNITS, optimizer=None):
    """The units of the second seed are reborn."""
    reset_units(learner.population, layer, torch.tensor([1]), torch.tensor([units]), 0, optimizer)


def mark(masks, place):
    """Marks what the reborn units own along one axis of one parameter, by plain slices."""
    mask = masks[place.parameter][1].movedim(place.axis, 0)
    for unit in UNITS:
        mask[unit * place.inner : (unit + 1) * place.inner] = True


@pytest.mark.parametrize(("name", "number"), LAYERS)
def test_exactly_the_entries_of_the_layer_view_are_renewed(name, number):
    learner = prepared(name, Adam())
    scramble(learner)
    population, layer = learner.population, learner.layers[number]
    before = {path: p.clone() for path, p in population.tensors.items()}
    memory = {
        slot: {path: t.clone() for path, t in held.items()} for slot, held in population.state["optimizer"].items()
    }
    reborn(learner, layer, optimizer=learner.optimizer)
    masks = {path: torch.zeros_like(p, dtype=torch.bool) for path, p in before.items()}
    for place in [*(e.units for e in (*layer.fan_in, *layer.fan_out)), *layer.bias, *(p for p, _ in layer.norm)]:
        mark(masks, place)
    for path, mask in masks.items():
        assert torch.equal(population.tensors[path] != before[path], mask), path
        for slot in ("first", "second"):
            if path in memory[slot]:
                assert torch.equal(population.state["optimizer"][slot][path], memory[slot][path].masked_fill(mask, 0))
    for place, value in [*((bias, 0.0) for bias in layer.bias), *layer.norm]:
        assert (population.tensors[place.parameter][1, UNITS] == value).all()
    for entry in layer.fan_out:
        assert not place_of(population.params, entry.units).any()
    for entry in layer.fan_in:
        fresh = place_of(population.params, entry.units)
        assert fresh.unique().numel() == fresh.numel()
        assert fresh.abs().max() <= (entry.draw.scale if entry.draw.distribution == "uniform" else 6 * entry.draw.scale)
    assert len(layer.norm) == (4 * len(layer.fan_in) if name == "residual" else 0)


def place_of(params, place):
    return place.rows(params[place.parameter][1])[UNITS]


@pytest.mark.parametrize(("name", "number"), LAYERS)
def test_a_filter_that_nobody_reads_is_reborn_unnoticed(name, number):
    learner = prepared(name)
    scramble(learner)
    layer, x = learner.layers[number], torch.rand(2, 5, *SPEC.input_shape, dtype=SPEC.dtype)
    for place in (entry.units for entry in layer.fan_out):
        params = learner.population.params[place.parameter]
        params.movedim(1 + place.axis, 1)[:, place.entries(torch.tensor(UNITS))] = 0
    before = learner.trace(learner.population, x)
    reborn(learner, layer)
    after = learner.trace(learner.population, x)
    torch.testing.assert_close(after.output, before.output, rtol=1e-12, atol=0)
    assert not torch.equal(after.activations[layer.name], before.activations[layer.name])
    reborn(learner, layer, [1, 3] if layer.width > 3 else [1, 1])
    assert not torch.allclose(learner.trace(learner.population, x).output[1], before.output[1], rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rules", ["none", "conv_gnt", "res_gnt"])
def test_the_number_reborn_follows_the_rate(name, rules):
    learner = prepared(name, replacement_rate=0.06, maturity_threshold=3, reference_compat=rules)
    rng = torch.Generator().manual_seed(0)
    earned, spent = ({layer.name: 0.0 for layer in learner.layers} for _ in range(2))
    for update in range(30):
        ages = {layer: state["age"][0] + 1 for layer, state in learner.population.state["method"].items()}
        x = torch.rand(1, 2, 4, *SPEC.input_shape, generator=rng, dtype=SPEC.dtype)
        y = torch.randint(3, (1, 2, 4), generator=rng)
        learner.train_chunk(learner.population, chunk(x, y, update))
        for layer, age in ages.items():
            old = int((age > 3).sum())
            earned[layer] += 0.06 * (old if rules == "none" else len(age) * (old > 0))
            now = learner.population.state["method"][layer]["age"]
            assert (now == 0).sum(1).unique().numel() == 1
            spent[layer] += int((now[0] == 0).sum())
    assert spent == {layer: int(budget + 1e-9) for layer, budget in earned.items()}
    assert min(spent.values()) > 2


def test_the_mean_over_a_filters_weights_sees_what_each_is_multiplied_with():
    """A map of 3 filters and 4 places, read by a 1x1 convolution and, flattened, by a linear layer."""
    rng = torch.Generator().manual_seed(3)
    params = {
        "own.weight": torch.randn(3, 2, 3, 3, generator=rng),
        "conv.weight": torch.randn(6, 3, 1, 1, generator=rng),
        "linear.weight": torch.randn(5, 12, generator=rng),
    }
    layer = HiddenLayer(
        "own", 3, "tanh", (FanIn(UnitSlice("own.weight", 0, 3), draw("default", 18, 27)),),
        (FanOut(UnitSlice("conv.weight", 1, 3)), FanOut(UnitSlice("linear.weight", 1, 3, inner=4))), unit_axis=1,
    )  # fmt: skip
    maps, mean = torch.randn(7, 3, 2, 2, generator=rng), torch.randn(3, generator=rng)
    evidence = Evidence(layer, params, maps, {"every": mean})
    found = {name: UTILITIES[name](evidence) for name in UTILITIES}
    for unit in range(3):
        sizes = {"contribution": maps[:, unit].abs(), "zero_contribution": (maps[:, unit] - mean[unit]).abs()}
        entering = params["own.weight"][unit].abs().mean()
        for name, size in sizes.items():
            products = [w.abs() * size.mean() for w in params["conv.weight"][:, unit].flatten()]
            for place in range(4):
                seen = size.flatten(1)[:, place].mean()
                products += [w.abs() * seen for w in params["linear.weight"][:, 4 * unit + place]]
            expected = torch.stack(products).mean()
            torch.testing.assert_close(found[name][unit], expected)
            if name == "zero_contribution":
                torch.testing.assert_close(found["adaptable_contribution"][unit], expected / entering)
                torch.testing.assert_close(found["feature_by_input"][unit], size.mean() / entering)
        leaving = torch.cat(
            [params["conv.weight"][:, unit].flatten(), params["linear.weight"][:, 4 * unit :][:, :4].flatten()]
        )
        torch.testing.assert_close(found["weight"][unit], leaving.abs().mean())


def test_the_direct_path_of_a_residual_channel():
    layer = next(view for view in prepared("residual").layers if view.name == "blocks.2.output")
    direct = direct_path(layer)
    assert [entry.units.parameter for entry in layer.fan_in] == [
        "blocks.2.second.conv.weight", "blocks.2.downsample.conv.weight"]  # fmt: skip
    assert [entry.units.parameter for entry in direct.fan_in] == ["blocks.2.second.conv.weight"]
    assert [place.parameter for place in direct.bias] == ["blocks.2.second.conv.bias"]
    assert {place.parameter.rpartition(".")[0] for place, _ in direct.norm} == {"blocks.2.second.norm"}
    assert len(direct.norm) == 4
    stem = prepared("residual").layers[0]
    assert len(stem.fan_out) == 4  # both first convolutions of its stage, and two of the next block
    assert [entry.units.parameter for entry in direct_path(stem).fan_out] == ["blocks.0.first.conv.weight"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rules", ["none", "conv_gnt", "res_gnt"])
def test_seeds_lifted_together_are_seeds_one_after_another(name, rules):
    """Every state after seven updates and some rebirths: vmap over three seeds, and a loop over them."""
    rng = torch.Generator().manual_seed(2)
    x, y = (
        torch.rand(7, 3, 4, *SPEC.input_shape, generator=rng, dtype=SPEC.dtype),
        torch.randint(3, (7, 3, 4), generator=rng),
    )
    populations = []
    for lift in ("vmap", "loop"):
        learner = prepared(name, Adam(), (0, 1, 2), execution=Execution(compile=False, lift=lift),
                           replacement_rate=0.1, maturity_threshold=2, reference_compat=rules)  # fmt: skip
        learner.train_chunk(learner.population, chunk(x, y))
        populations.append(learner.population)
    assert_same(*populations, rtol=1e-6, atol=1e-9)
    assert all((state["age"] < 7).any() for state in populations[0].state["method"].values())
