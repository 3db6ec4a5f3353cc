from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_networks import exact_parity, random_solved, shares

from lop_lightning.analysis.timescales import ablation as module
from lop_lightning.analysis.timescales.ablation import COLUMNS, ablated, ablation, group_means
from lop_lightning.analysis.timescales.streaming import quiz
from lop_lightning.errors import LopError
from lop_lightning.networks import LSTM
from lop_lightning.networks.leaky import LeakyNetwork


def test_units_that_do_nothing_and_units_that_do():
    """The spare units are the slowest; unit 0 holds the last bit, and is the fastest."""
    solved = exact_parity([3])
    calls = []
    table = ablation(solved, count=2, repeats=4, steps=400, progress=lambda *at: calls.append(at))
    assert list(table.columns) == COLUMNS
    assert calls == [(5, 5)]
    assert set(table.N) == set(table.asked) == {3}
    slowest, fastest = (table[table.kind == kind] for kind in ("slowest", "fastest"))
    assert slowest.unit.drop_duplicates().tolist() == [6, 5]
    assert slowest.tau.drop_duplicates().tolist() == [7, 5]
    assert fastest.unit.drop_duplicates().tolist() == [0, 1]
    assert (slowest.accuracy == 1).all()
    assert (slowest.relative == 1).all()
    assert (table[table.kind == "baseline"].accuracy == 1).all()
    # Without unit 0 nothing of earlier bits is known: what is left says that the last bit is one.
    answers = quiz(solved, 3, repeats=4, steps=400)
    last = (answers.bits[:, -400:] == answers.answers).double().mean(1).numpy()
    np.testing.assert_allclose(fastest[fastest.unit == 0].accuracy, last)
    means = group_means(table).set_index("kind")
    assert means.tau.round(6).to_dict() == {"baseline": pytest.approx(np.nan, nan_ok=True), "slowest": 6.0,
                                            "fastest": pytest.approx((0.5 + 0.5 + 0.4 / 6) / 2, abs=1e-6)}  # fmt: skip
    assert means.accuracy["slowest"] == 1


def silent(network, unit, head):
    """The weights without a unit: there are only n - 1."""
    keep = [i for i in range(network.hidden) if i != unit]
    outputs = len(network.head.weight)
    smaller = LeakyNetwork(
        (9, 1), outputs, len(keep), network.dynamics, network.activation, ragged=True, heads=outputs // 2
    )
    state = network.state_dict()
    cut = {name: state[name][keep] for name in ("tau", "inward.weight", "inward.bias", "recurrent.bias")}
    cut |= {"recurrent.weight": state["recurrent.weight"][keep][:, keep], "head.weight": state["head.weight"][:, keep]}
    smaller.load_state_dict({**smaller.state_dict(), **cut, "head.bias": state["head.bias"]})
    return smaller, keep


@pytest.mark.parametrize("dynamics", ["default", "mod"])
def test_an_ablated_unit_is_one_that_is_not_there(dynamics):
    solved = random_solved(n=7, heads=3, seed=4, dynamics=dynamics)
    asked = quiz(solved, 3, repeats=5, steps=300)
    table = ablation(solved, 3, count=3, groups=("slowest", "fastest", "random"), repeats=5, steps=300)
    assert table.unit.nunique() > 6
    for unit, own in table[table.unit >= 0].drop_duplicates(["unit", "repeat"]).groupby("unit"):
        smaller, keep = silent(solved.network, unit, 1)
        expected = shares(smaller, 1, asked.bits, asked.answers, asked.h0[:, keep])
        np.testing.assert_allclose(own.sort_values("repeat").accuracy, expected, atol=1.01 / 300)
    baseline = table[table.kind == "baseline"].accuracy
    np.testing.assert_allclose(
        baseline, shares(solved.network, 1, asked.bits, asked.answers, asked.h0), atol=1.01 / 300
    )


@pytest.mark.parametrize(
    ("settings", "zeros", "head"),
    [
        ({"mode": "readout"}, {}, 2),
        ({"reference_compat": True}, {"recurrent.weight", "inward.weight"}, 0),
        ({"mode": "readout", "reference_compat": True}, {}, 0),
        ({}, {"recurrent.weight", "inward.weight", "inward.bias", "recurrent.bias"}, 2),
    ],
)
def test_what_is_set_to_zero(settings, zeros, head):
    network = random_solved(n=5, heads=4).network
    before = {name: t.clone() for name, t in network.state_dict().items()}
    changed = ablated(network, [3, -1, 0], 2, **settings)
    assert set(changed) == {"head.weight", *zeros}
    for name, variants in changed.items():
        assert torch.equal(variants[1], before[name])
        expected = before[name].clone()
        if name == "head.weight":
            expected[2 * head : 2 * head + 2, 3] = 0
        else:
            expected[3] = 0
            if name == "recurrent.weight":
                expected[:, 3] = 0
        assert torch.equal(variants[0], expected)
        assert variants[2].count_nonzero() < before[name].count_nonzero()
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_the_published_ablation_leaves_another_readout_alone():
    """A unit that only shouts through its bias: it is still heard by readout 1, though not by readout 0."""
    solved = random_solved(n=5, heads=2, seed=1)
    with torch.no_grad():
        for p in solved.network.parameters():
            p.zero_()
        solved.network.tau.copy_(torch.tensor([9.0, 1.0, 1.0, 1.0, 1.0]))
        solved.network.inward.bias[0] = 3.0
        solved.network.head.weight[1::2, 0] = 1.0
    # Both readouts always say "odd" with the unit, and "even" without: what they share adds up to 1.
    for n, compat, stays in ((2, False, False), (3, False, False), (2, True, False), (3, True, True)):
        table = ablation(solved, n, 1, ["slowest"], repeats=6, reference_compat=compat).set_index("kind")
        known, left = table.loc["baseline"].accuracy.to_numpy(), table.loc["slowest"].accuracy.to_numpy()
        np.testing.assert_allclose(left, known if stays else 1 - known)


def test_chunks_change_nothing_and_seeds_something(monkeypatch):
    solved = random_solved(n=8, seed=2)
    whole = ablation(solved, count=3, repeats=2, steps=200)
    monkeypatch.setattr(module, "_NUMBERS", 2 * 64)
    calls = []
    again = ablation(solved, count=3, repeats=2, steps=200, progress=lambda *at: calls.append(at))
    assert calls == [(2, 7), (4, 7), (6, 7), (7, 7)]
    np.testing.assert_allclose(again.accuracy, whole.accuracy)
    assert not ablation(solved, count=3, repeats=2, steps=200, seed=1).equals(whole)
    chosen = [ablation(solved, 4, 3, ["random"], repeats=1, steps=9, seed=seed).unit[1:].tolist() for seed in range(4)]
    assert all(len(set(units)) == 3 for units in chosen)
    assert len({tuple(units) for units in chosen}) > 1
    assert ablation(solved, 4, 50, ["random"], repeats=1, steps=9).unit[1:].nunique() == 8


def test_what_accuracy_is_relative_to():
    solved = exact_parity([3])
    with torch.no_grad():
        solved.network.head.weight[1, 4] = 0  # wrong where all three bits are ones
    for baseline in ("mean", "max"):
        table = ablation(solved, count=1, repeats=6, steps=200, baseline=baseline)
        known = table[table.kind == "baseline"].accuracy
        assert 0.8 < known.min() < known.max() < 0.95  # 7/8
        np.testing.assert_allclose(table.relative, (table.accuracy - 0.5) / (known.agg(baseline) - 0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": ["slow"]}, "did you mean 'slowest'"),
        ({"mode": "units"}, "did you mean 'unit'"),
        ({"baseline": "min"}, "baseline=min"),
        ({"count": 0}, "count=0"),
        ({"n": 9}, "no readout for N=9"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(LopError, match=message):
        ablation(random_solved(), **settings)


def test_networks_without_time_constants():
    lstm = LSTM((9, 1), 6, hidden=4, bidirectional=False, ragged=True, heads=3)
    with pytest.raises(LopError, match="a LSTM has no time constants: only networks of model=leaky have"):
        ablation(replace(random_solved(), network=lstm))
