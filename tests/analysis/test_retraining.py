from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from memory_networks import curriculum_run, exact_parity, random_solved
from torch.nn import functional as F

from lop_lightning.analysis.timescales import retraining as module
from lop_lightning.analysis.timescales.perturbation import compared, perturbed
from lop_lightning.analysis.timescales.retraining import COLUMNS, last_period, retraining, run_optimizer
from lop_lightning.errors import LopError
from lop_lightning.networks import LSTM
from lop_lightning.optimizers import SGD
from lop_lightning.randomness import stable_hash
from lop_lightning.tasks import Parity

STILL = SGD(lr=0.0)
PUBLISHED = SGD(lr=0.05, momentum=0.1, nesterov=True, clip=2.0)
QUICK = {"updates": 3, "check_batches": 4, "batch_size": 16}


def test_without_learning_it_is_what_it_was():
    solved = replace(exact_parity([2, 3, 4]), low=2, high=4)
    calls = []
    table = retraining(solved, STILL, span=2, periods=2, progress=lambda *at: calls.append(at), **QUICK)
    assert list(table.columns) == COLUMNS
    assert calls[-1] == (6, 6)
    assert table.asked.tolist() == [4, 4, 5, 5, 6, 6]
    assert table.period.tolist() == [0, 1] * 3
    assert table.updates.tolist() == [3, 6] * 3
    assert table.accuracy[:2].tolist() == [1.0, 1.0]  # the readout of N = 4 goes on
    assert table.relative[:2].tolist() == [1.0, 1.0]
    assert (table.accuracy[2:] < 0.9).all()
    np.testing.assert_allclose(table.relative, (table.accuracy - 0.5) / 0.5)
    assert last_period(table).asked.tolist() == [4, 5, 6]
    assert set(last_period(table).period) == {1}


def by_hand(solved, head, n, periods, updates, check_batches, batch_size, seed=0):
    """The same with PyTorch's own optimiser and clipping, one network, one N."""
    own = stable_hash(seed, "retraining", solved.seed, n)
    stream = Parity(periods, "none", start_n=n, batch_size=batch_size, updates_per_task=updates,
                    check_batches=check_batches, seeds=[own])  # fmt: skip
    network = module.deepcopy(solved.network).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.1, nesterov=True)
    accuracies, norms = [], []
    for period in range(periods):
        for update in range(updates):
            x, targets = stream.batches(period, [update], stream.places)
            trace = network.trace(x[0, 0])
            optimizer.zero_grad()
            F.cross_entropy(trace.output[:, 2 * head : 2 * head + 2], targets[0, 0, :, 0]).backward()
            norms.append(torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0).item())
            optimizer.step()
            network.noise_clock.copy_(trace.buffers["noise_clock"])
        with torch.no_grad():
            network.eval()
            right = [
                (network(x[0])[0][:, 2 * head : 2 * head + 2].argmax(1) == targets[0, :, 0]).double().mean()
                for x, targets in stream.checks(period)
            ]
            network.train()
        accuracies.append(torch.stack(right).mean().item())
    assert max(norms) > 2
    return accuracies, network.state_dict()


def test_every_n_is_trained_from_the_same_network_by_the_same_rule(monkeypatch):
    solved = random_solved(n=6, heads=3, seed=1, dynamics="mod", activation="leaky_relu", initial_state=4.0)
    with torch.no_grad():
        solved.network.head.weight.mul_(20)  # gradients that are clipped
    ends, checked = [], module._checked
    monkeypatch.setattr(module, "_checked", lambda *at: ends.append(at[1]) or checked(*at))
    before = {name: t.clone() for name, t in solved.network.state_dict().items()}
    settings = {"updates": 5, "check_batches": 6, "batch_size": 32}
    table = retraining(solved, PUBLISHED, [2, 4, 6], periods=3, **settings)
    expected, states = zip(*(by_hand(solved, 2, n, 3, **settings) for n in (2, 4, 6)))
    assert len(set(expected[0])) > 1
    np.testing.assert_allclose(table.accuracy.to_numpy().reshape(3, 3), expected, atol=1.1 / 192)
    for row, state in enumerate(states):
        for name, t in state.items():
            torch.testing.assert_close(ends[-1][f"network.{name}"][row], t, atol=1e-5, rtol=1e-4)
    first = table[table.asked == 2].accuracy.to_numpy()
    relative = np.where(first > 0.5, (np.array(expected) - 0.5) / (first - 0.5), np.nan)
    assert np.isfinite(relative).any()
    np.testing.assert_allclose(table.relative.to_numpy().reshape(3, 3), relative, rtol=0.2, atol=0.1)
    assert all(torch.equal(t, before[name]) for name, t in solved.network.state_dict().items())
    assert not solved.network.training
    assert solved.network.head.asked is None
    monkeypatch.setattr(module, "_NUMBERS", 1)  # one after another
    apart = retraining(solved, PUBLISHED, [6, 4, 2], periods=3, **settings)
    np.testing.assert_allclose(apart.accuracy, table.accuracy, atol=2.1 / 192)
    assert apart.asked.tolist() == table.asked.tolist()
    alone = retraining(solved, PUBLISHED, [4], periods=3, **settings)
    np.testing.assert_allclose(alone.accuracy, table[table.asked == 4].accuracy, atol=2.1 / 192)


def test_it_learns_and_repairs():
    solved = exact_parity([2])
    broken = perturbed(solved, "normalized_rnn", 0.8)
    still = retraining(broken, STILL, [2], periods=1, updates=1, check_batches=10, batch_size=64)
    mended = retraining(broken, PUBLISHED, [2], periods=2, updates=150, check_batches=10, batch_size=64)
    assert still.accuracy[0] < 0.95
    assert mended.accuracy[1] > still.accuracy[0] + 0.03
    assert mended.accuracy[1] > 0.98


@pytest.mark.parametrize("repeats", [(), (2, 3)])
def test_other_kinds_of_networks(repeats):
    if repeats:
        solved = exact_parity([2, 3], repeats=repeats)
    else:
        torch.manual_seed(0)
        lstm = LSTM((9, 1), 4, hidden=4, bidirectional=False, ragged=True, heads=2)
        solved = replace(random_solved(), network=lstm.eval(), high=3, question="dms")
    table = retraining(solved, PUBLISHED, span=1, periods=1, **QUICK)
    assert table.updates.tolist() == [3 * max(1, len(repeats))] * 2
    assert table.accuracy.between(0, 1).all()
    again = retraining(solved, PUBLISHED, span=1, periods=1, **QUICK)
    pd.testing.assert_frame_equal(table, again)


def test_two_sets_are_compared_by_n():
    one = [retraining(replace(exact_parity([2]), seed=s), STILL, span=1, periods=1, **QUICK) for s in range(3)]
    two = [table.assign(relative=table.relative - 0.25) for table in one]
    found = compared(last_period(pd.concat(one)), last_period(pd.concat(two)), by="asked")
    assert found.asked.tolist() == [2, 3]
    assert found.difference.tolist() == pytest.approx([0.25, 0.25])
    assert found.networks.tolist() == [3, 3]


def test_the_optimizer_of_a_run(tmp_path):
    node = {"name": "sgd", "_target_": "lop_lightning.optimizers.SGD", "lr": 0.05, "momentum": 0.1, "clip": 2.0}
    task = {"name": "parity", "_target_": "lop_lightning.tasks.parity.Parity"}
    path = curriculum_run(tmp_path / "run", {"task": task, "optimizer": node}, {})
    found = run_optimizer(path)
    assert (type(found), found.lr, found.momentum, found.clip) == (SGD, 0.05, 0.1, 2.0)
    path = curriculum_run(tmp_path / "odd", {"task": task, "optimizer": {**node, "_target_": "os.system"}}, {})
    with pytest.raises(LopError, match="is in no YAML of conf/"):
        run_optimizer(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"periods": 0}, "periods=0"),
        ({"ns": []}, r"ns=\[\] is not legal: expected at least one N"),
        ({"ns": [1]}, "ns=1 is not legal: expected a whole number of at least 2"),
        ({"span": -1}, "span=-1"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(LopError, match=message):
        retraining(random_solved(), STILL, **QUICK, **settings)
