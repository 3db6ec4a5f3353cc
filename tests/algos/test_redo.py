"""ReDo: who is dormant, when they are recycled, and exactly which numbers that changes."""

from functools import partial

import pytest
import torch
from bench import EAGER, OPTIMIZERS, assert_same, chunk, copy, data, make, train

from lop_lightning.algos.redo import ReDo, dormant
from lop_lightning.algos.step import Step
from lop_lightning.errors import ConfigError
from lop_lightning.networks import MLP, HiddenLayer
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import StreamSpec
from lop_lightning.trees import leaves

LAYERS = {"0": "layers.0", "2": "layers.1", "4": "layers.2"}
eager = partial(ReDo, threshold=0.85, period=3)  # some tanh units, but not all, are below 0.85 of the mean


def numbers(values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("compat", [True, False])
def test_the_authors_code_replayed(golden, monkeypatch, compat):
    """Prescribed features, fresh weights from the file; the momentum tells the house's rule from theirs."""
    file, calls = golden("redo"), []

    def fresh_weights(draw, keys, clock, channel, shape, like):
        assert (draw.distribution, clock) == ("uniform", file["reset_period"])
        assert draw.scale == pytest.approx(file["bounds"][channel // 16], rel=1e-12)
        calls.append(channel // 16)
        units = file["replaced_at_second_call"][channel // 16]
        assert shape[0] == len(units)
        return numbers(file["params_after_second_call"][list(LAYERS)[channel // 16]]["weight"])[None, units]

    monkeypatch.setattr("lop_lightning.algos.reset.fresh_weights", fresh_weights)
    network, spec = partial(MLP, hidden=[4, 4]), StreamSpec((3,), 2, "mse", torch.float64)
    settings = {"threshold": file["threshold"], "period": file["reset_period"], "reference_compat": compat}
    learner = ReDo(network, SGD(0.0, momentum=0.9), EAGER, **settings)
    after_update = learner.after_update

    def prescribed(step):
        step.activations = {f"layers.{index}": features[:, index] for index in range(2)}
        return after_update(step)

    learner.after_update = prescribed
    learner.prepare(spec, [0])
    for key, layer in LAYERS.items():
        for kind, values in file["initial_params"][key].items():
            learner.population.params[f"{layer}.{kind}"].copy_(numbers(values)[None])
    before = {name: p.clone() for name, p in learner.population.params.items()}
    learner.population.state["optimizer"]["momentum"]["layers.2.weight"].fill_(1.0)
    features = numbers(file["features_history"])  # of two samples, the same at both calls
    for call in range(2):
        x, y = torch.ones(1, 1, 2, 3).double(), torch.ones(1, 1, 2, 2).double()
        learner.train_chunk(learner.population, chunk(x, y, call))
        if not call:
            assert all(torch.equal(before[name], p) for name, p in learner.population.params.items())
    assert calls == [0, 1]
    for key, layer in LAYERS.items():
        for kind, values in file["params_after_second_call"][key].items():
            assert torch.equal(learner.population.params[f"{layer}.{kind}"][0], numbers(values))
    assert learner.population.host["reborn"] == {"layers.0": [1], "layers.1": [2]}
    momentum = learner.population.state["optimizer"]["momentum"]["layers.2.weight"][0]
    assert (momentum[:, [1, 2]] != 0).all() == compat
    assert (momentum[:, [0, 3]] != 0).all()


def test_activity_is_the_mean_over_examples_and_places():
    learner = make(ReDo)
    inputs, targets = data(1)
    hidden = learner.trace(learner.population, inputs[0]).activations["layers.1"][0]
    train(learner, inputs, targets)
    activity = learner.population.state["method"]["layers.1"]["activity"][0]
    torch.testing.assert_close(activity, hidden.abs().sum(0) / 3, rtol=1e-12, atol=0)
    learner.layers = (HiddenLayer("maps", 2, "tanh", (), (), unit_axis=1),)
    maps = torch.arange(-11.0, 13.0).reshape(2, 2, 3, 2)
    step = learner.after_update(Step({}, {}, {}, {}, {"maps": maps}, {}, {}))
    expected = [
        sum(abs(x) for x in range(first, first + 6)) + sum(range(first + 12, first + 18)) for first in (-11, -5)
    ]
    torch.testing.assert_close(step.method["maps"]["activity"], torch.tensor(expected) / 12)


def test_dormant_is_the_score():
    activity = numbers([[1.0, 2.0, 3.0, 0.0], [0.1, 0.1, 0.1, 0.1]])
    assert dormant(activity, 0.0).tolist() == [[False, False, False, True], [False] * 4]
    assert dormant(activity, 2 / 3).tolist() == [[True, False, False, True], [False] * 4]  # at most, not below
    assert dormant(activity, 1.0).tolist() == [[True, False, False, True], [True] * 4]


def test_a_silent_layer_is_reborn_as_a_whole_and_not_in_the_authors_code():
    silent = torch.zeros(2, 3)
    silent[1, 0] = 1
    assert dormant(silent, 0.025).tolist() == [[True] * 3, [False, True, True]]
    assert dormant(silent, 0.025, undefined_at_rest=True).tolist() == [[False] * 3, [False, True, True]]
    for compat in (False, True):
        learner = make(partial(ReDo, period=2, reference_compat=compat), activation="relu")
        learner.population.params["layers.0.bias"].fill_(-100.0)
        train(learner, *data(2))
        assert learner.population.host["reborn"]["layers.0"] == [0 if compat else 5]
        assert (learner.population.params["layers.0.bias"] == (-100.0 if compat else 0.0)).all()


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("reset_optimizer", [True, False])
def test_exactly_the_entries_of_dormant_units_change(kind, reset_optimizer):
    """Beside an undisturbed twin that learns on the same data up to the moment of rebirth."""
    learner = make(partial(eager, reset_optimizer=reset_optimizer), (4, 1), OPTIMIZERS[kind]())
    twin = make(partial(eager, period=1000), (4, 1), OPTIMIZERS[kind]())
    inputs, targets = data(3, 2)
    train(learner, inputs, targets)
    train(twin, inputs, targets)
    touched = {}
    for number in range(2):
        activity = twin.population.state["method"][f"layers.{number}"]["activity"]
        reborn = activity / activity.mean(1, keepdim=True) <= 0.85
        assert 0 < reborn.sum() < reborn.numel()
        assert learner.population.host["reborn"][f"layers.{number}"] == reborn.sum(1).tolist()
        touched[number] = reborn
    ours, theirs = learner.population, twin.population
    none = torch.zeros(2, 4, dtype=torch.bool)
    for number in range(3):
        rows = touched.get(number, torch.zeros(2, 2, dtype=torch.bool))
        columns = touched.get(number - 1, none)
        fresh, gone = rows[:, :, None].expand(-1, -1, columns.shape[1]), columns[:, None].expand(-1, rows.shape[1], -1)
        weight, bias = f"layers.{number}.weight", f"layers.{number}.bias"
        assert torch.equal(ours.params[weight] == theirs.params[weight], ~(fresh | gone))
        assert (ours.params[weight][gone & ~fresh] == 0).all()
        assert (ours.params[weight][fresh] != 0).all()
        assert torch.equal(ours.params[bias] == theirs.params[bias], ~rows)
        assert (ours.params[bias][rows] == 0).all()
        for slot in ("momentum", "first", "second"):
            if slot in ours.state["optimizer"]:
                own, other = (p.state["optimizer"][slot] for p in (ours, theirs))
                cleared = (fresh | gone) if reset_optimizer else torch.zeros_like(fresh)
                torch.testing.assert_close(own[weight], other[weight].masked_fill(cleared, 0), rtol=0, atol=0)
                cleared = rows if reset_optimizer else torch.zeros_like(rows)
                torch.testing.assert_close(own[bias], other[bias].masked_fill(cleared, 0), rtol=0, atol=0)


def test_rebirth_is_at_multiples_of_the_period_and_nowhere_else():
    learner, counts = make(eager, (4, 1)), []
    for update in range(1, 8):
        train(learner, *data(1, 2, source=update))
        counts.append(sum(map(sum, learner.population.host["reborn"].values())))
    assert counts[0] == counts[1] == 0 < counts[2] == counts[3] == counts[4] < counts[5] == counts[6]


def test_seeds_together_are_seeds_alone():
    inputs, targets = data(13, 3)
    together = make(eager, (3, 0, 8))
    train(together, inputs, targets)
    reborn = together.population.host["reborn"]
    assert len({tuple(counts) for counts in zip(*reborn.values())}) > 1  # seeds differ in how many
    for row, seed in enumerate((3, 0, 8)):
        alone = make(eager, (seed,))
        train(alone, inputs[:, row : row + 1], targets[:, row : row + 1])
        assert alone.population.host["reborn"] == {name: [counts[row]] for name, counts in reborn.items()}
        for a, b in zip(leaves(together.population.state), leaves(alone.population.state), strict=True):
            torch.testing.assert_close(a[row], b[0], rtol=1e-11, atol=1e-13)
    again = make(eager, (3, 0, 8))
    train(again, inputs, targets)
    assert_same(together.population, again.population)


@pytest.mark.parametrize("stop", range(1, 8))
def test_resumed_at_any_update_is_uninterrupted(stop):
    inputs, targets = data(8, 2)
    straight, stopped, resumed = (make(eager, (4, 1), Adam(0.01)) for _ in range(3))
    train(straight, inputs, targets)
    train(stopped, inputs[:stop], targets[:stop])
    saved = stopped.population.saved(stopped.seeds)
    before = copy(stopped.population)
    resumed.population.load(saved, resumed.seeds)
    train(resumed, inputs[stop:], targets[stop:])
    assert_same(straight.population, resumed.population)
    assert_same(before, stopped.population)  # the counts of rebirths are no shared list


def test_fresh_weights_come_from_the_initial_distribution():
    learner = make(partial(ReDo, threshold=1e9, period=1), hidden=(200, 100))
    initial = {name: p.abs().max() for name, p in learner.population.params.items() if name.endswith("weight")}
    train(learner, *data(1))
    weight = learner.population.params["layers.1.weight"]
    bound = 5 / 3 * (3 / 200) ** 0.5  # kaiming, tanh
    assert initial["layers.1.weight"] <= bound
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert (learner.population.params["layers.2.weight"] == 0).all()


@pytest.mark.parametrize(
    ("key", "value"),
    [("threshold", -0.1), ("period", 0), ("period", 2.5), ("reset_optimizer", "no"), ("reference_compat", 1)],
)
def test_bad_settings_are_named(key, value):
    with pytest.raises(ConfigError, match=f"^{key}={value} is not legal: expected"):
        make(partial(ReDo, **{key: value}))
