"""The authors' generate-and-test for convolutional networks, replayed: every number of every step."""

from functools import partial

import pytest
import torch
from bench import EAGER, chunk, pattern
from torch import nn
from torch.nn import functional as F

from lop_lightning.algos import ContinualBackprop
from lop_lightning.algos.reset import reset_units
from lop_lightning.networks import Draw, FanIn, FanOut, HiddenLayer, Network, Trace, UnitSlice
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import StreamSpec

CASES = ["sgd_contribution", "sgd_adaptable_contribution", "sgd_zero_contribution", "sgd_adaptation",
         "adamgnt_contribution"]  # fmt: skip
NAMES = {"0": "conv1", "2": "conv2", "4": "fc", "6": "head"}
LAYERS = ("conv1", "conv2", "fc")
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
numbers = partial(torch.tensor, dtype=torch.float64)


class TwoConvolutions(Network):
    """The file's network: pooling after the first convolution alone; the second one's maps (2x2) are flattened."""

    def __init__(self, input_shape, output_size):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 2)
        self.fc, self.head = nn.Linear(16, 5), nn.Linear(5, output_size)

    def trace(self, inputs):
        pooled = F.max_pool2d(torch.relu(self.conv1(inputs)), 2)
        maps = torch.relu(self.conv2(pooled))
        hidden = torch.relu(self.fc(maps.flatten(1)))
        return Trace(self.head(hidden), {}, dict(zip(LAYERS, (pooled, maps, hidden))))

    def hidden_layers(self):
        widths, axes = (3, 4, 5), (1, 1, -1)
        consumers = (
            UnitSlice("conv2.weight", 1, 3),
            UnitSlice("fc.weight", 1, 4, inner=4),
            UnitSlice("head.weight", 1, 5),
        )
        return tuple(
            HiddenLayer(
                name, width, "relu",
                (FanIn(UnitSlice(f"{name}.weight", 0, width), Draw("uniform", 1.0)),),
                (FanOut(consumer, consumer.parameter.replace("weight", "bias")),),
                (UnitSlice(f"{name}.bias", 0, width),),
                unit_axis=axis,
            )
            for name, width, axis, consumer in zip(LAYERS, widths, axes, consumers)
        )  # fmt: skip

    def output_parameters(self):
        return "head.weight", "head.bias"


class Replay:
    """Trains on the file's data one update at a time, with the file's fresh weights."""

    def __init__(self, golden, name, monkeypatch, **settings):
        self.file, self.case, self.reborn, self.seen, self.ties = golden, golden["cases"][name], {}, None, 0
        monkeypatch.setattr("lop_lightning.algos.reset.fresh_weights", self.fresh_weights)
        monkeypatch.setattr("lop_lightning.algos.continual_backprop.reset_units", self.reset_units)
        defaults = {key: golden[key] for key in ("replacement_rate", "decay_rate", "maturity_threshold")}
        optimizer = SGD(0.01, momentum=0.9) if name.startswith("sgd") else Adam(0.01, reference_compat=True)
        settings = {"initialisation": "default", "reference_compat": "conv_gnt", **settings}
        learner = ContinualBackprop(
            TwoConvolutions, optimizer, EAGER, **defaults, utility=self.case["utility"], **settings
        )
        after_update = learner.after_update

        def spy(step):
            self.seen = after_update(step)
            return self.seen

        learner.after_update, learner._least_useful = spy, partial(self.least_useful, learner._least_useful)
        learner.prepare(StreamSpec((2, 8, 8), 2, "cross_entropy", torch.float64), [0])
        for key, module in NAMES.items():
            for kind, values in golden["initial_params"][key].items():
                learner.population.params[f"{module}.{kind}"].copy_(numbers(values)[None])
        self.inputs, self.targets = pattern((12, 8, 2, 8, 8), 11, 3, 23, 16, 5), torch.tensor(golden["targets"])
        self.learner, self.population = learner, learner.population

    def fresh_weights(self, draw, keys, clock, channel, shape, like):
        assert draw.distribution == "uniform"
        assert draw.scale == pytest.approx(self.file["bounds"][channel // 16], rel=1e-12)
        rows = torch.tensor(self.case["steps"][clock - 1]["fresh"][channel // 16], dtype=like.dtype)
        assert rows.shape == shape
        return rows[None]

    def least_useful(self, choose, population, number, layer, rows, count):
        """Our choice, but among units of exactly equal worth that of the file: the original leaves it to chance."""
        ours = choose(population, number, layer, rows, count)
        theirs = torch.tensor([self.case["steps"][population.updates - 1]["replaced"][number]])
        worth = self.learner.statistics.worth(population.state["method"][layer.name])[0]
        close(worth[ours], worth[theirs], rtol=1e-12, atol=0)
        self.ties += int(not torch.equal(ours, theirs))
        return theirs

    def reset_units(self, population, layer, seeds, units, channel, **rest):
        self.reborn[channel] = units[0].tolist()
        columns = layer.fan_out[0].units.entries(units)[0].tolist()
        assert columns == self.case["steps"][population.updates - 1]["columns"][channel]
        reset_units(population, layer, seeds, units, channel, **rest)

    def step(self, number):
        self.reborn = {}
        x, y = self.inputs[number][None, None], self.targets[number][None, None]
        return self.learner.train_chunk(self.population, chunk(x, y, number))[0, 0, 0]


@pytest.mark.parametrize("name", CASES)
def test_every_step_of_the_authors_code(golden, monkeypatch, name):
    file = golden("convolutional_cbp")
    assert set(CASES) == set(file["cases"])
    replay, budget = Replay(file, name, monkeypatch), [0.0] * 3
    for number, expected in enumerate(replay.case["steps"]):
        close(replay.step(number), numbers(expected["loss"]))
        for index, layer in enumerate(LAYERS):
            before, after = replay.seen.method[layer], replay.population.state["method"][layer]
            assert before["age"].tolist() == expected["ages"][index]
            close(before["mean_activation"], numbers(expected["mean_activation"][index]))
            close(before["utility"], numbers(expected["utility"][index]))
            reborn = expected["replaced"][index]
            assert replay.reborn.get(index, []) == reborn
            for quantity in after:
                kept = before[quantity].index_fill(0, torch.tensor(reborn, dtype=torch.long), 0)
                assert torch.equal(after[quantity][0], kept)
            assert after["age"][0].tolist() == expected["ages_after"][index]
            budget[index] += 0.1 * len(after["age"][0]) * bool((before["age"] > 3).any()) - len(reborn)
            assert budget[index] == pytest.approx(expected["budget"][index], abs=1e-12)
        for key, module in NAMES.items():
            for kind, values in expected["params_after"][key].items():
                close(replay.population.params[f"{module}.{kind}"][0], numbers(values))
        if "first" in expected:
            state = {slot: held["conv1.weight"][0] for slot, held in replay.population.state["optimizer"].items()}
            steps = torch.minimum(state["steps_0"][:, None], state["steps_1"][None, :])
            assert torch.equal(steps[..., None, None].expand(3, 2, 3, 3), numbers(expected["steps"]))
            close(state["first"], numbers(expected["first"]))
    assert replay.ties == (name == "sgd_adaptation")
    assert all(any(step["replaced"][index] for step in replay.case["steps"]) for index in range(3))


def test_without_compat_a_filter_is_forgotten_and_its_bias_handed_on(golden, monkeypatch):
    """One rebirth of a flattened filter under the method's own rules, beside the same one under the authors'."""
    ours, theirs = (
        Replay(golden("convolutional_cbp"), "adamgnt_contribution", monkeypatch, reference_compat=rules)
        for rules in ("none", "conv_gnt")
    )
    monkeypatch.setattr(
        "lop_lightning.algos.reset.fresh_weights", lambda *given: torch.full_like(given[5][:, [0]], 0.5)
    )
    monkeypatch.setattr("lop_lightning.algos.continual_backprop.reset_units", reset_units)
    for replay in (ours, theirs):
        replay.step(0)
        replay.learner._rebirth(replay.population, 1, replay.learner.views[1], torch.tensor([0]), torch.tensor([[2]]))
    method, before, after = ours.seen.method["conv2"], ours.seen.params, ours.population.params
    mean = method["mean_activation"][2] / (1 - 0.9)
    close(after["fc.bias"][0], before["fc.bias"] + before["fc.weight"][:, 8:12].sum(1) * mean)
    assert torch.equal(theirs.population.params["fc.bias"][0], before["fc.bias"])
    assert not after["fc.weight"][0, :, 8:12].any()
    for slot, kept in (("first", True), ("second", False)):
        own, other = (replay.population.state["optimizer"][slot] for replay in (ours, theirs))
        assert not own["conv2.weight"][0, 2].any()
        assert bool(other["conv2.weight"][0, 2].any()) == kept
        assert not own["fc.weight"][0, :, 8:12].any()
        assert torch.equal(own["fc.weight"], other["fc.weight"])
        assert own["conv2.weight"][0, [0, 1, 3]].ne(0).any(dim=(1, 2, 3)).all()
