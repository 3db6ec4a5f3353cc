"""The authors' generate-and-test, replayed: every number of every step, with their fresh weights and coins."""

from functools import partial

import numpy as np
import pytest
import torch
from bench import EAGER, chunk

from lop_lightning.algos import ContinualBackprop
from lop_lightning.algos.reset import reset_units
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import StreamSpec

CASES = [
    *(f"sgd_{utility}" for utility in (
        "contribution", "adaptable_contribution", "weight", "adaptation", "zero_contribution", "feature_by_input")),
    "adamgnt_contribution", "adamgnt_adaptable_contribution", "sgd_momentum_wd_adaptable_contribution",
    "sgd_contribution_probabilistic_rr0.1", "sgd_contribution_probabilistic_rr0.5",
]  # fmt: skip
LAYERS = {"0": "layers.0", "2": "layers.1", "4": "layers.2"}
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
numbers = partial(torch.tensor, dtype=torch.float64)


class Replay:
    """Trains on the file's data one update at a time, with the file's fresh weights and coins."""

    def __init__(self, golden, name, monkeypatch, reference_compat="gnt"):
        self.file, self.case = golden, golden["cases"][name]
        self.maturity, self.rate = (self.case["cbp"][k] for k in ("maturity_threshold", "replacement_rate"))
        self.reborn, self.drawn, self.seen = {}, [], None
        monkeypatch.setattr("lop_lightning.algos.reset.fresh_weights", self.fresh_weights)
        monkeypatch.setattr("lop_lightning.algos.continual_backprop.reset_units", self.reset_units)
        monkeypatch.setattr("lop_lightning.algos.continual_backprop.Coins", self.coins)
        settings = self.case["cbp"]
        learner = ContinualBackprop(
            partial(MLP, hidden=[5, 3], activation="relu"),
            self.optimizer(),
            EAGER,
            replacement_rate=self.rate,
            maturity_threshold=self.maturity,
            decay_rate=settings["decay_rate"],
            utility=settings["util_type"],
            accumulate=settings["accumulate"],
            initialisation="kaiming",
            reference_compat=reference_compat,
        )
        after_update = learner.after_update

        def spy(step):
            step = after_update(step)
            self.seen = step
            return step

        learner.after_update = spy
        learner.prepare(StreamSpec((4,), 2, "mse", torch.float64), [0])
        for key, layer in LAYERS.items():
            for kind, values in golden["initial_params"][key].items():
                learner.population.params[f"{layer}.{kind}"].copy_(numbers(values)[None])
        self.learner, self.population = learner, learner.population

    def optimizer(self):
        settings = dict(self.case["optimizer"])
        kind, lr = settings.pop("opt"), settings.pop("step_size")
        return Adam(lr, reference_compat=True) if kind == "adam" else SGD(lr, **settings)

    def fresh_weights(self, draw, keys, clock, channel, shape, like):
        layer = channel // 16
        assert draw.distribution == "uniform"
        assert draw.scale == pytest.approx(self.case["bounds"][layer], rel=1e-12)
        rows = torch.tensor(self.case["steps"][clock - 1]["new_incoming_weights"][layer], dtype=like.dtype)
        assert rows.shape == shape
        return rows[None]

    def reset_units(self, population, layer, seeds, units, channel, **rest):
        self.reborn[channel] = units[0].tolist()
        reset_units(population, layer, seeds, units, channel, **rest)

    def coins(self, seed, layer):
        """The file's script: one draw for each update and layer with eligible units and a quota below 1, in order."""
        script, table = list(self.case["scripted_uniform_draws_in_order"]), {}
        for update, step in enumerate(self.case["steps"], start=1):
            for number, ages in enumerate(step["age_at_test"]):
                if 0 < self.rate * sum(age > self.maturity for age in ages) < 1:
                    table[number, update] = script.pop(0)
        assert not script
        # Where the file draws none, a draw would win: it must not be asked for.
        return lambda update: np.array([table.get((layer, update), 0.0)])

    def step(self, number):
        x, y = (numbers(self.file[name][number])[None, None] for name in ("inputs", "targets"))
        self.reborn = {}
        return self.learner.train_chunk(self.population, chunk(x, y, number))[0, 0, 0]

    def check_params(self, params, expected):
        for key, layer in LAYERS.items():
            for kind, values in expected[key].items():
                close(params[f"{layer}.{kind}"].reshape(-1), numbers(values).reshape(-1))


@pytest.mark.parametrize("name", CASES)
def test_every_step_of_the_authors_code(golden, monkeypatch, name):
    file = golden("continual_backprop")
    assert set(CASES) == set(file["cases"])
    replay = Replay(file, name, monkeypatch)
    budget = [0.0, 0.0]
    for number, expected in enumerate(replay.case["steps"]):
        loss = replay.step(number)
        close(loss, numbers(expected["loss"]))
        replay.check_params(replay.seen.params, expected["after_optimizer_step"])
        for index in range(2):
            before = replay.seen.method[f"layers.{index}"]
            after = replay.population.state["method"][f"layers.{index}"]
            means = expected["mean_feature_act_before_replacement"][index]
            close(before["mean_activation"], numbers(means))
            close(before["utility"], numbers(expected["util_before_replacement"][index]))
            assert before["age"].tolist() == expected["age_at_test"][index]
            assert replay.reborn.get(index, []) == expected["replaced"][index]
            close(after["utility"][0], numbers(expected["util_after"][index]))
            close(after["mean_activation"][0], numbers(expected["mean_feature_act_after"][index]))
            assert after["age"][0].tolist() == expected["ages_after"][index]
            if replay.case["cbp"]["accumulate"]:
                eligible = int((before["age"] > replay.maturity).sum())
                budget[index] += replay.rate * eligible - len(replay.reborn.get(index, []))
                assert budget[index] == pytest.approx(expected["accumulator_after"][index], abs=1e-12)
        replay.check_params({n: p[0] for n, p in replay.population.params.items()}, expected["params_after"])
        if "adam_steps_first_weight_after" in expected:
            state = {slot: tensors["layers.0.weight"][0]
                     for slot, tensors in replay.population.state["optimizer"].items()}  # fmt: skip
            steps = torch.minimum(state["steps_0"][:, None], state["steps_1"][None, :])
            assert steps.tolist() == expected["adam_steps_first_weight_after"]
            close(state["first"], numbers(expected["adam_exp_avg_first_weight_after"]))
    assert any(any(step["replaced"]) for step in replay.case["steps"])


@pytest.mark.parametrize("name", [name for name in CASES if "probabilistic" not in name])
def test_the_bias_transfer_that_the_paper_means(golden, monkeypatch, name):
    replay = Replay(golden("continual_backprop"), name, monkeypatch, reference_compat="none")
    first = next(n for n, step in enumerate(replay.case["steps"]) if any(step["replaced"]))
    for number in range(first + 1):
        replay.step(number)
    meant = replay.case["steps"][first]["next_bias_if_transfer_worked"]
    for index in range(2):
        close(replay.population.params[f"layers.{index + 1}.bias"][0], numbers(meant[index]))
    assert meant[0] != replay.case["steps"][first]["after_optimizer_step"]["2"]["bias"]
