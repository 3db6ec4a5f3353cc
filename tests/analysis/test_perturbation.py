from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from memory_networks import exact_parity, random_solved, shares
from scipy import stats

from lop_lightning.analysis.timescales.perturbation import (
    COLUMNS,
    EPSILONS,
    KINDS,
    compared,
    directions,
    network_means,
    perturbation,
    perturbed,
    perturbed_values,
)
from lop_lightning.analysis.timescales.streaming import quiz
from lop_lightning.errors import LopError
from lop_lightning.networks import GRU

PUBLISHED_W = [0, 0.01, 0.0215443, 0.0464159, 0.1, 0.215443, 0.464159, 1, 2.15443, 4.64159, 10]


def off_diagonal(w):
    return w[~torch.eye(len(w), dtype=torch.bool)]


def test_the_published_sizes():
    assert EPSILONS[KINDS["normalized_rnn"]] == pytest.approx(PUBLISHED_W, rel=1e-5)
    sizes = EPSILONS[KINDS["additive_tau"]]
    assert len(sizes) == 14
    assert sizes[:3] == pytest.approx([0, 1e-3, 0.00215443], rel=1e-5)
    assert sizes[-1] == pytest.approx(10)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 2.0])
def test_what_is_changed_and_by_how_much(epsilon):
    network = random_solved(n=9).network
    w, tau = network.recurrent.weight.detach().clone(), network.tau.detach().clone()
    changed = {}
    for kind in KINDS:
        d = directions(network, kind, 0, 5, 0)
        assert torch.equal(d, directions(network, kind, 0, 5, 0))
        assert not torch.equal(d, directions(network, kind, 1, 5, 0))
        assert not torch.equal(d, directions(network, kind, 0, 6, 0))
        assert not torch.equal(d, directions(network, kind, 0, 5, 1))
        changed[kind] = perturbed_values(network, kind, epsilon, d)
    for kind in ("normalized_rnn", "multiplicative_rnn"):
        assert changed[kind].diagonal().tolist() == [0] * 9
    moved = off_diagonal(changed["normalized_rnn"] - w)
    assert moved.norm().item() == pytest.approx(epsilon * off_diagonal(w).norm().item(), rel=1e-5)
    factors = off_diagonal(changed["multiplicative_rnn"] / w)
    assert 1 - 1e-6 <= factors.min() <= factors.max() <= 1 + epsilon + 1e-6
    assert factors.mean().item() == pytest.approx(1 + epsilon / 2, abs=0.2 * epsilon + 1e-6)
    for kind in ("normalized_tau_abs", "normalized_tau"):
        assert (changed[kind] - tau).norm().item() == pytest.approx(epsilon * tau.norm().item(), rel=1e-5, abs=1e-6)
    assert (changed["normalized_tau_abs"] >= tau).all()
    if epsilon:
        assert (changed["normalized_tau"] < tau).any()
        added = (changed["additive_tau"] - tau) / epsilon
        torch.testing.assert_close(added, directions(network, "additive_tau", 0, 5, 0), atol=1e-5, rtol=1e-5)
    assert torch.equal(network.recurrent.weight, w)
    assert torch.equal(network.tau, tau)


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_is_that_of_the_perturbed_networks_step_by_step(kind):
    solved = random_solved(n=7, heads=3, seed=4)
    asked = quiz(solved, 3, repeats=3, steps=200)
    calls = []
    table = perturbation(
        solved, kind, [0.5, 0.0, 4.0], 3, repeats=3, steps=200, progress=lambda *at: calls.append(at)
    )  # fmt: skip
    assert list(table.columns) == COLUMNS
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert table.epsilon.drop_duplicates().tolist() == [0.0, 0.5, 4.0]
    for (epsilon, repeat), own in table.groupby(["epsilon", "repeat"]):
        other = perturbed(solved, kind, epsilon, repeat).network
        expected = shares(other, 1, asked.bits[[repeat]], asked.answers[[repeat]], asked.h0[[repeat]])
        np.testing.assert_allclose(own.accuracy, expected, atol=1.01 / 200)
        moved = off_diagonal(other.recurrent.weight - solved.network.recurrent.weight), other.tau - solved.network.tau
        weight_moves, tau_moves = (bool(t.count_nonzero()) for t in moved)
        assert weight_moves == (epsilon > 0 and kind.endswith("rnn"))
        assert tau_moves == (epsilon > 0 and not kind.endswith("rnn"))


@pytest.mark.parametrize("kind", ["normalized_rnn", "normalized_tau_abs"])
def test_a_network_that_is_always_right_is_wrong_in_the_end(kind):
    table = perturbation(exact_parity([4]), kind, repeats=6, steps=400)
    means = table.groupby("epsilon").relative.mean()
    assert means[0.0] == 1
    assert means.iloc[1] > 0.95
    assert abs(means.iloc[-1]) < 0.2
    assert len(means) == len(EPSILONS[KINDS[kind]])
    again = perturbation(exact_parity([4]), kind, repeats=6, steps=400)
    pd.testing.assert_frame_equal(table, again)


def test_what_accuracy_is_relative_to():
    solved = exact_parity([3])
    with torch.no_grad():
        solved.network.head.weight[1, 4] = 0  # wrong where all three bits are ones
    for baseline in ("mean", "max"):
        table = perturbation(solved, epsilons=[0.2], repeats=5, steps=200, baseline=baseline)
        known = table[table.epsilon == 0].accuracy
        assert 0.8 < known.min() < known.max() < 0.95  # 7/8
        np.testing.assert_allclose(table.relative, (table.accuracy - 0.5) / (known.agg(baseline) - 0.5))


def table_of(values):
    """``{seed: {epsilon: [relative, …]}}`` as a table."""
    rows = [(s, e, r, v) for s, own in values.items() for e, vs in own.items() for r, v in enumerate(vs)]
    return pd.DataFrame(rows, columns=["seed", "epsilon", "repeat", "relative"])


def test_two_sets_of_networks_are_compared():
    a = {0: {0.0: [1.0, 1.0], 0.1: [0.4, 0.5]}, 1: {0.0: [1.0, 1.0], 0.1: [0.3, 0.4]}, 2: {0.1: [0.2, 0.45]}}
    b = {0: {0.0: [1.0, 1.0], 0.1: [0.9, 1.0]}, 1: {0.0: [1.0, 1.0], 0.1: [0.9, 0.8]}, 2: {0.1: [0.95, 0.9], 1.0: [0]}}
    found = compared(table_of(a), table_of(b))
    assert found.epsilon.tolist() == [0.0, 0.1]
    nothing, row = found.iloc[0], found.iloc[1]
    assert np.isnan(nothing.p)
    assert nothing.stars == 0
    x, y = [0.4, 0.5, 0.3, 0.4, 0.2, 0.45], [0.9, 1.0, 0.9, 0.8, 0.95, 0.9]
    assert (row.n_a, row.n_b, row.networks) == (6, 6, 3)
    assert (row.mean_a, row.std_a) == (pytest.approx(np.mean(x)), pytest.approx(np.std(x, ddof=1)))
    pooled = np.sqrt((np.var(x, ddof=1) + np.var(y, ddof=1)) / 6)
    assert row.t == pytest.approx((np.mean(x) - np.mean(y)) / pooled)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(row.t), 10))
    assert 1e-6 < row.p < 1e-5
    assert row.stars == 5  # .05, 1e-2, 1e-3, 1e-4, 1e-5
    differences = np.array([0.45 - 0.95, 0.35 - 0.85, 0.325 - 0.925])
    half = stats.t.ppf(0.975, 2) * differences.std(ddof=1) / np.sqrt(3)
    assert row.difference == pytest.approx(differences.mean())
    assert (row.low, row.high) == (
        pytest.approx(differences.mean() - half), pytest.approx(differences.mean() + half),
    )  # fmt: skip
    assert row.interval.startswith("paired")
    shifted = {seed + 10: own for seed, own in b.items()}
    other = compared(table_of(a), table_of(shifted)).iloc[1]
    assert other.interval == "unpaired t (Welch)"
    assert (other.p, other.difference) == (row.p, pytest.approx(row.difference))
    means = network_means(table_of(a)).set_index("epsilon")
    assert means["mean"][0.1] == pytest.approx((0.45 + 0.35 + 0.325) / 3)
    assert means.networks.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "normalised_rnn"}, "did you mean 'normalized_rnn'"),
        ({"baseline": "best"}, "baseline=best"),
        ({"n": 12}, "no readout for N=12"),
        ({"repeats": 0}, "repeats=0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(LopError, match=message):
        perturbation(random_solved(), **settings)


def test_networks_without_time_constants():
    gru = GRU((9, 1), 6, hidden=4, bidirectional=False, ragged=True, heads=3)
    with pytest.raises(LopError, match="a GRU has no time constants"):
        perturbation(replace(random_solved(), network=gru))
