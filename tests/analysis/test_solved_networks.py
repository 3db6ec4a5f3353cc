from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_networks import as_dms, curriculum_run, exact_parity, last_bits_parity, random_solved, shares

import lop_lightning.analysis
from lop_lightning.analysis import load_network
from lop_lightning.analysis.timescales import depth, streaming
from lop_lightning.analysis.timescales.depth import DURATIONS, accuracy_by_depth
from lop_lightning.analysis.timescales.solved import load_solved, solved_networks
from lop_lightning.analysis.timescales.streaming import quiz, relative_accuracy, streaming_accuracy
from lop_lightning.errors import ConfigError, LopError
from lop_lightning.networks import LSTM, MLP
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.networks.recurrent import GRU
from lop_lightning.tasks.bit_sequences import BitSequences

PARITY = {"name": "parity", "_target_": "lop_lightning.tasks.parity.Parity", "tasks": 4, "batch_size": 4}
LEAKY = {"name": "leaky", "_target_": "lop_lightning.networks.LeakyNetwork", "hidden": 5}


def network(seed, heads, make=LeakyNetwork, hidden=5, **settings):
    torch.manual_seed(seed)
    return make((9, 1), 2 * heads, hidden=hidden, ragged=True, heads=heads, **settings)


@pytest.fixture
def run(tmp_path):
    """Seed 0 has solved 2 and 5, seed 4 nothing; five readouts were there at the end."""
    kept = {(0, 0, 0): network(7, 1), (0, 2, 2): network(1, 3), (0, 2, 5): network(2, 5), (4, 0, 0): network(3, 1)}
    return curriculum_run(tmp_path / "run", {"task": PARITY, "model": LEAKY}, kept), kept


def test_what_was_solved_and_how_it_is_loaded(run):
    path, kept = run
    assert solved_networks(path) == {0: [2, 5]}
    before = torch.random.get_rng_state()
    for (seed, low, high), own in kept.items():
        again = load_network(path, N=high, seed=seed)
        assert type(again) is LeakyNetwork
        assert not again.training
        assert {k: v.tolist() for k, v in again.state_dict().items()} == {
            k: v.tolist() for k, v in own.state_dict().items()
        }
        solved = load_solved(path, seed, high)
        assert (solved.seed, solved.low, solved.high, solved.updates) == (seed, low, high, 100 * high)
        assert (solved.question, solved.sequences.values, solved.heads) == ("parity", "zero_one", "by_n")
    assert torch.equal(before, torch.random.get_rng_state())
    assert load_solved(path, 0, 5).head_count == 5
    assert load_solved(path, 0, 5).head_of(4) == 2
    assert load_solved(path, 0, 0).head_of(2) == 0


def test_readouts_go_by_n_or_by_place():
    by_n = random_solved(heads=6)
    window = replace(by_n, low=4, high=6, first_n=2)
    assert [window.head_of(n) for n in (2, 4, 6, 7)] == [0, 2, 4, 5]
    placed = replace(window, heads="position")
    assert [placed.head_of(n) for n in (4, 6, 9)] == [0, 2, 5]
    with pytest.raises(LopError, match=r"seed 0 that solved N=6 has no readout for N=3: it has those for N = 4 to 9$"):
        placed.head_of(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"N": 4, "seed": 0}, r"seed 0 of .* has not solved N=4: it solved 2, 5, the nearest is 5$"),
        ({"N": 5, "seed": 4}, r"seed 4 of .* it solved none, the nearest is 0 \(before training\); seeds that did: 0$"),
        ({"N": 5, "seed": 1}, r"seed 1 is not in .*: its seeds are 0, 4$"),
        ({"N": 5}, "needs the seed, and either"),
        ({"N": 5, "task": 1, "seed": 0}, "needs the seed, and either"),
        ({"task": 1, "seed": 0}, "has no networks from before task 1"),
    ],
)
def test_networks_that_are_not_there(run, arguments, message):
    with pytest.raises(LopError, match=message) as caught:
        load_network(run[0], **arguments)
    assert "\n" not in str(caught.value)


def test_runs_of_another_kind(tmp_path):
    with pytest.raises(LopError, match="only runs of task=parity and task=dms keep them"):
        load_network(tmp_path, N=2, seed=0)
    digits = {"name": "d", "_target_": "lop_lightning.tasks.GaussianMixtures"}
    mlp = {"name": "mlp", "_target_": "lop_lightning.networks.MLP"}
    made = MLP((20,), 5)
    path = curriculum_run(tmp_path / "other", {"task": digits, "model": mlp}, {(0, 2, 2): made})
    with pytest.raises(LopError):
        load_solved(path, 0, 2)
    path = curriculum_run(tmp_path / "odd", {"task": PARITY, "model": LEAKY}, {(0, 2, 2): network(0, 1, hidden=6)})
    with pytest.raises(LopError, match=r"is not what the run's configuration describes: .*size mismatch") as caught:
        load_network(path, N=2, seed=0)
    assert "\n" not in str(caught.value)
    stranger = {**LEAKY, "_target_": "os.system"}
    path = curriculum_run(tmp_path / "stranger", {"task": PARITY, "model": stranger}, {(0, 2, 2): network(0, 1)})
    with pytest.raises(LopError, match="is in no YAML of conf/, so it is not run; trust=True allows it"):
        load_network(path, N=2, seed=0)


def test_it_is_exported_and_records_are_read_without_it():
    assert lop_lightning.analysis.load_network is load_network
    with pytest.raises(AttributeError, match="no attribute 'load_networks'"):
        _ = lop_lightning.analysis.load_networks


@pytest.mark.parametrize(("make", "name"), [(LSTM, "lstm"), (GRU, "gru")])
def test_gated_networks_too(tmp_path, make, name):
    model = {"name": name, "_target_": f"lop_lightning.networks.{make.__name__}", "hidden": 5, "bidirectional": False}
    task = {**PARITY, "values": "plus_minus", "probability": 0.5}
    made = network(1, 4, make, bidirectional=False).eval()
    path = curriculum_run(tmp_path / "run", {"task": task, "model": model}, {(2, 2, 5): made})
    solved = load_solved(path, 2, 5)
    table = accuracy_by_depth(solved, [3, 5], batches=2, batch_size=40)
    # The same sequences read as in training, whole.
    for batch in range(2):
        draw = streaming.generator(0, "accuracy by depth", 2, 5, batch)
        bits = BitSequences("plus_minus", 0.5, ()).draw(draw, 5, 40)
        outputs = made((2 * bits.float() - 1)[..., None])[0].unflatten(1, (4, 2))
        for n in (3, 5):
            right = outputs[:, n - 2].argmax(1) == bits[:, -n:].long().sum(1) % 2
            found = table[(table.asked == n) & (table.batch == batch)].accuracy.item()
            assert found == pytest.approx(right.double().mean().item())
    # At every step the readout sees the states of that step.
    asked = quiz(solved, 3, repeats=2, warm_up=5, steps=12)
    expected = []
    for end in range(6, 18):
        said = made((2 * asked.bits[:, :end].float() - 1)[..., None])[0].unflatten(1, (4, 2))[:, 1].argmax(1)
        expected.append(said == asked.bits[:, end - 3 : end].long().sum(1) % 2)
    found = streaming_accuracy(solved, 3, repeats=2, warm_up=5, steps=12)
    np.testing.assert_allclose(found, torch.stack(expected, 1).double().mean(1))


def test_streaming_accuracy_of_networks_that_are_always_right():
    solved = exact_parity([2, 3, 4])
    for n in (2, 3, 4):
        assert streaming_accuracy(solved, n).tolist() == [1.0] * 10
    only = exact_parity([5])
    assert streaming_accuracy(only, repeats=3).tolist() == [1.0] * 3
    # x[t] = x[t-1] is when the parity of both is even
    assert streaming_accuracy(as_dms(exact_parity([2])), repeats=3).tolist() == [0.0] * 3
    assert streaming_accuracy(exact_parity([2]), question="dms", repeats=3).tolist() == [0.0] * 3
    wrong = streaming_accuracy(replace(exact_parity([3]), low=2, high=2, heads="position"), 2, repeats=20)
    assert 0.45 < wrong.mean() < 0.55


def test_streaming_accuracy_is_that_of_a_loop_over_steps(monkeypatch):
    solved = random_solved(heads=3)
    asked = quiz(solved, 4, repeats=4, seed=5, warm_up=7, steps=90)
    assert asked.bits.shape == (4, 97)
    assert torch.equal(asked.answers, last_bits_parity(asked.bits, 4)[:, -90:])
    assert 0 <= asked.h0.min() <= asked.h0.max() <= 0.1
    expected = shares(solved.network, 2, asked.bits, asked.answers, asked.h0)
    assert 0.3 < expected.mean() < 0.7
    for numbers in (2**24, 1, 500):  # in one piece, step by step, and in pieces of some steps
        monkeypatch.setattr(streaming, "_NUMBERS", numbers)
        found = streaming_accuracy(solved, 4, repeats=4, seed=5, warm_up=7, steps=90)
        np.testing.assert_allclose(found, expected)
    other = quiz(solved, 4, repeats=4, seed=6, warm_up=7, steps=90)
    assert not torch.equal(asked.bits, other.bits)
    assert not torch.equal(asked.bits, quiz(replace(solved, seed=1), 4, repeats=4, seed=5, warm_up=7, steps=90).bits)


def test_in_continuous_time_a_bit_lasts_and_the_answer_is_read_at_its_end():
    solved = exact_parity([2, 3], repeats=(1, 4))
    with torch.no_grad():
        solved.network.tau[:-2] = 1e-3  # below Δt: no leak, so that the chain shifts with every step
    assert streaming_accuracy(solved, 3, repeats=3).tolist() == [1.0] * 3  # the first k of training is 1
    held = streaming_accuracy(solved, 3, repeats=6, hold=3)  # all three steps see the same bit: its parity is its own
    asked = quiz(solved, 3, repeats=6, hold=3)
    last = asked.bits[:, -1000:].long()
    np.testing.assert_allclose(held, (last == asked.answers).double().mean(1))
    with pytest.raises(ConfigError, match=r"hold=2 is not legal: expected 1, because .* discrete time"):
        streaming_accuracy(exact_parity([2]), hold=2)


def test_relative_accuracy():
    assert relative_accuracy([0.95, 0.5, 0.4], [0.9, 1.0]) == pytest.approx([1.0, 0.0, -0.1 / 0.45])
    assert relative_accuracy([0.95, 0.5], [0.9, 1.0], "max") == pytest.approx([0.9, 0.0])
    assert np.isnan(relative_accuracy([0.7], [0.5])).all()
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        relative_accuracy([0.7], [0.8], "meen")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warm_up": 1}, "warm_up=1 is not legal: expected a whole number of at least 2"),
        ({"question": "paritty"}, "did you mean 'parity'"),
        ({"repeats": 0}, "repeats=0"),
        ({"n": 0}, "has no readout for N=0: it has those for N = 3"),
    ],
)
def test_questions_that_cannot_be_asked(settings, message):
    with pytest.raises(LopError, match=message):
        streaming_accuracy(exact_parity([3]), **settings)


def test_networks_without_states_are_refused():
    solved = replace(exact_parity([3]), network=MLP((4,), 2))
    with pytest.raises(LopError, match="a MLP has no states that can be run on: use leaky, lstm or gru"):
        streaming_accuracy(solved)


def test_accuracy_by_depth_knows_what_was_solved_and_what_was_not():
    solved = replace(exact_parity([2, 3, 4]), low=2, high=3)
    with torch.no_grad():
        solved.network.head.weight[-2:] = 0  # the readout of N = 4 says: odd, always
        solved.network.head.bias[-2:] = torch.tensor([0.0, 1.0])
    calls = []
    table = accuracy_by_depth(solved, batches=20, progress=lambda *at: calls.append(at))
    assert list(table.columns) == depth.COLUMNS
    assert calls[0] == (1, 20)
    assert calls[-1] == (20, 20)
    assert set(table.N) == {3}
    means = table.groupby("asked").agg(accuracy=("accuracy", "mean"), trained=("trained", "first"))
    assert means.accuracy[2] == means.accuracy[3] == 1
    assert means.accuracy[4] == pytest.approx(4 / 10, abs=0.03)  # P(odd) = N / (2 (N + 1)) as p is U(0, 1)
    assert means.trained.to_dict() == {2: True, 3: True, 4: False}
    again = accuracy_by_depth(solved, batches=20)
    assert again.equals(table)
    assert not accuracy_by_depth(solved, batches=20, seed=1).equals(table)


def test_accuracy_by_how_long_a_bit_lasts(monkeypatch):
    solved = exact_parity([2, 3], repeats=(2, 3))
    with torch.no_grad():
        solved.network.tau[:-2] = 1e-3
    table = accuracy_by_depth(solved, durations=[1, 2, 7], batches=3, batch_size=64)
    assert set(table.k) == {1, 2, 7}
    assert (table[table.k == 1].accuracy == 1).all()
    # With k ≥ 3 the last three steps see the last bit alone: sequences are the same for every k.
    for batch in range(3):
        bits = solved.sequences.draw(streaming.generator(0, "accuracy by depth", 3, 3, batch), 3, 64).long()
        for n, sees in ((2, lambda b: 0 * b[:, -1]), (3, lambda b: b[:, -1])):
            right = (sees(bits) == bits[:, -n:].sum(1) % 2).double().mean().item()
            row = table[(table.k == 7) & (table.asked == n) & (table.batch == batch)]
            assert row.accuracy.item() == pytest.approx(right)
    monkeypatch.setattr(depth, "_NUMBERS", 1)  # bit by bit
    assert accuracy_by_depth(solved, durations=[1, 2, 7], batches=3, batch_size=64).equals(table)
    assert set(accuracy_by_depth(solved, batches=1, batch_size=4).k) == {2, 3}
    assert len(DURATIONS) == 33
    assert DURATIONS[18:27] == (19, 20, 25, 30, 35, 40, 45, 50, 60)
    with pytest.raises(ConfigError, match=r"durations=.* discrete time"):
        accuracy_by_depth(exact_parity([2]), durations=[1, 2])
