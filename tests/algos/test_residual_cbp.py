"""The authors' generate-and-test for residual networks, replayed call by call on prescribed activations."""

from functools import partial

import pytest
import torch
from bench import EAGER, pattern
from torch import nn

from lop_lightning.algos import ContinualBackprop, Step
from lop_lightning.errors import ConfigError
from lop_lightning.networks import Draw, FanIn, FanOut, HiddenLayer, Network, Trace, UnitSlice
from lop_lightning.networks.batch_norm import BatchNorm
from lop_lightning.optimizers import SGD
from lop_lightning.tasks.base import StreamSpec

numbers = partial(torch.tensor, dtype=torch.float64)
FRESH = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
LAYERS = {"conv1": (3, "conv2", 1), "conv2": (4, "fc", -1)}


class TwoNormalised(Network):
    """The file's modules, and one more path in and one more reader each, which the authors' code does not see."""

    def __init__(self, input_shape, output_size):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, padding=1), BatchNorm(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 4, 3, padding=1), BatchNorm(4)
        self.fc = nn.Linear(4, output_size)
        self.skip, self.skip_bn, self.reader = nn.Conv2d(3, 4, 1), BatchNorm(4), nn.Conv2d(3, 4, 1)

    def trace(self, inputs):
        h, _ = self.bn1(self.conv1(inputs))
        z, _ = self.bn2(self.conv2(torch.relu(h)))
        return Trace(self.fc(torch.relu(z).mean((2, 3))))

    def hidden_layers(self):
        layers = []
        for name, (width, reader, axis) in LAYERS.items():
            paths, norms = ([name], [name.replace("conv", "bn")]) if axis == 1 else ([name, "skip"], ["bn2", "skip_bn"])
            readers = [reader, "reader"] if axis == 1 else [reader]
            layers.append(
                HiddenLayer(
                    name, width, "relu",
                    fan_in=tuple(FanIn(UnitSlice(f"{path}.weight", 0, width), self.draw(path)) for path in paths),
                    fan_out=tuple(FanOut(UnitSlice(f"{path}.weight", 1, width), f"{path}.bias") for path in readers),
                    bias=tuple(UnitSlice(f"{path}.bias", 0, width) for path in paths),
                    norm=tuple((UnitSlice(f"{n}.{k}", 0, width), v) for n in norms for k, v in FRESH.items()),
                    unit_axis=axis,
                )
            )  # fmt: skip
        return tuple(layers)

    def draw(self, path):
        return Draw("normal", (2 / self.get_submodule(path).weight[0].numel()) ** 0.5)

    def output_parameters(self):
        return "fc.weight", "fc.bias"


@pytest.mark.parametrize("name", ["contribution", "weight"])
def test_every_call_of_the_authors_code(golden, monkeypatch, name):
    file = golden("residual_cbp")
    calls, reborn = file["cases"][name], {}

    def fresh_weights(draw, keys, clock, channel, shape, like):
        assert (draw.distribution, channel % 16) == ("normal", 0)
        assert draw.scale == pytest.approx(file["stds"][channel // 16], rel=1e-12)
        reborn[channel // 16] = True
        return numbers(calls[clock - 1]["fresh"][channel // 16])[None]

    monkeypatch.setattr("lop_lightning.algos.reset.fresh_weights", fresh_weights)
    learner = ContinualBackprop(
        TwoNormalised, SGD(0.1, momentum=0.9), EAGER, replacement_rate=file["replacement_rate"], utility=name,
        maturity_threshold=file["maturity_threshold"], decay_rate=file["decay_rate"], reference_compat="res_gnt",
    )  # fmt: skip
    learner.prepare(StreamSpec((2, 4, 4), 2, "cross_entropy", torch.float64), [0])
    population = learner.population
    for path, values in file["initial"].items():
        population.tensors[path].copy_(numbers(values)[None])
    for momentum in population.state["optimizer"]["momentum"].values():
        momentum.fill_(0.5)
    unseen = {path: population.tensors[path].clone() for path in population.tensors if path not in file["initial"]}
    budget = [0.0, 0.0]
    for s, expected in enumerate(calls, start=1):
        activations = {
            "conv1": torch.relu(pattern((2, 3, 2, 2), 5, 3, 19, 8, 2 * (s - 1))),
            "conv2": torch.relu(pattern((2, 4), 5, 7, 19, 8, 3 * (s - 1) + 1)),
        }
        one = {path: p[0] for path, p in population.params.items()}
        method = {layer: {n: q[0] for n, q in held.items()} for layer, held in population.state["method"].items()}
        step = learner.after_update(Step(one, {}, method, one, activations, {}, {}))
        for layer, held in step.method.items():
            for quantity, value in held.items():
                population.state["method"][layer][quantity].copy_(value[None])
        population.updates = s
        before = {layer: held["age"].clone() for layer, held in step.method.items()}
        if learner.next_event(population) == s:
            learner.event(population)
        for index, layer in enumerate(LAYERS):
            state, units = population.state["method"][layer], expected["replaced"][index]
            assert state["age"][0].tolist() == expected["ages_after"][index]
            assert [i for i, age in enumerate(state["age"][0]) if age == 0] == units
            magnitude, utility = numbers(expected["magnitude"][index]), numbers(expected["utility"][index])
            torch.testing.assert_close(state["magnitude"][0], magnitude, rtol=0, atol=1e-7)
            if units:
                torch.testing.assert_close(state["utility"][0], utility, rtol=0, atol=1e-7)
            budget[index] += 0.1 * len(before[layer]) * bool((before[layer] > 3).any()) - len(units)
            assert budget[index] == pytest.approx(expected["budget"][index], abs=1e-12)
        for path, values in expected["after"].items():
            assert torch.equal(population.tensors[path][0], numbers(values)), path
    assert set(reborn) == {0, 1}
    assert all(torch.equal(population.tensors[path], p) for path, p in unseen.items())
    assert all((m == 0.5).all() for m in population.state["optimizer"]["momentum"].values())


@pytest.mark.parametrize(("key", "value"), [("utility", "adaptation"), ("accumulate", False)])
def test_what_the_authors_code_has_not_is_said(key, value):
    with pytest.raises(ConfigError, match=key):
        ContinualBackprop(TwoNormalised, SGD(), reference_compat="res_gnt", **{key: value})
