import itertools
import time

import numpy as np
import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.networks.ltu import LTUNetwork, draw_ltu_network, thresholds
from lop_lightning.randomness import generator
from lop_lightning.tasks import SlowlyChangingRegression, slowly_changing_regression

MODES = ("redraw", "flip_one")


def network(weight, bias, output_weight, output_bias, beta, reference):
    return LTUNetwork(weight, bias, output_weight, output_bias, thresholds(weight, bias, beta, reference))


def test_target_network_of_the_reference(golden):
    case = golden("slowly_changing_regression")["ltu_net"]
    parts = [torch.tensor(case[name]) for name in ("W1", "b1", "W2", "b2")]
    target, x = network(*parts, case["beta"], reference=True), torch.tensor(case["x"])
    assert target.threshold.tolist() == case["tau"]
    assert target.hidden(x).tolist() == case["hidden"]
    assert target(x).tolist() == case["y"]


def reference_stream(flip_one):
    """The published draws, in the published order, from torch's global generator: 5 periods of 10,000 rows."""

    def bits(*shape):
        return torch.randint(0, 2, shape).float()

    torch.manual_seed(11)
    torch.nn.Linear(20, 100), torch.nn.Linear(100, 1)
    weights = [2 * bits(*shape) - 1 for shape in ((100, 20), (100,), (1, 100), (1,))]
    slow = bits(5, 15)
    if flip_one:
        for period, flipped in enumerate(torch.randint(0, 15, (4,)), start=1):
            slow[period] = slow[period - 1]
            slow[period, flipped] = 1 - slow[period, flipped]
    return weights, slow, torch.cat([slow.repeat_interleave(10_000, 0), bits(50_000, 5)], dim=1)


@pytest.mark.parametrize("mode", ["resample_all", "flip_one"])
def test_targets_of_the_reference(golden, mode):
    case = golden("slowly_changing_regression")["slowly_changing_regression"][mode]
    with torch.random.fork_rng():
        weights, slow, x = reference_stream(mode == "flip_one")
    assert slow.tolist() == case["flipping_bits_per_period"]
    target = network(*weights, 0.7, reference=True)
    assert target.threshold[:10].tolist() == case["tau_first"]
    y = target(x)[:, 0]
    assert y[:8].tolist() == case["y_first"]
    assert y[::10_000].tolist() == case["y_at_period_starts"]
    assert y.mean().item() == pytest.approx(case["y_mean"], rel=1e-6)
    assert y.var().item() == pytest.approx(case["y_var"], rel=1e-6)


def test_thresholds_count_the_negative_terms():
    drawn = draw_ltu_network(generator(0, "test"), 20, 100, 0.7)
    assert {value for part in drawn[:4] for value in part.unique().tolist()} <= {-1.0, 1.0}
    negative = (drawn.input_weight < 0).sum(1) + (drawn.input_bias < 0)
    assert torch.allclose(drawn.threshold, 0.7 * 21 - negative)
    slip = thresholds(drawn.input_weight, drawn.input_bias, 0.7, reference=True) - drawn.threshold
    assert torch.allclose(slip, torch.where(drawn.input_bias > 0, -0.5, 1.5), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slow_bits", [15, 20, 9])
def test_the_table_and_the_rows_are_the_same(monkeypatch, mode, slow_bits):
    def stream():
        return SlowlyChangingRegression(mode=mode, slow_bits=slow_bits, task_length=300, seeds=[3, 1])

    looked_up = [(c.inputs, c.targets) for c in stream().task_chunks(4)]
    monkeypatch.setattr(slowly_changing_regression, "TABLE_PATTERNS", 0)
    evaluated = [(c.inputs, c.targets) for c in stream().task_chunks(4)]
    assert all(torch.equal(a, b) for one, two in zip(looked_up, evaluated, strict=True) for a, b in zip(one, two))


def test_slow_bits_stand_still_and_coins_are_fair():
    inputs, _ = SlowlyChangingRegression().task(0, 3).train
    assert torch.equal(inputs[:, :15], inputs[:1, :15].expand(10_000, 15))
    assert ((inputs == 0) | (inputs == 1)).all()
    assert inputs[:, 15:].mean(0).tolist() == pytest.approx([0.5] * 5, abs=0.03)
    pairs = np.corrcoef(inputs[:, 15:].T) - np.eye(5)
    assert np.abs(pairs).max() < 0.05


def test_targets_are_those_of_the_network():
    for slip in (False, True):
        stream = SlowlyChangingRegression(reference_threshold=slip, task_length=100)
        inputs, targets = stream.task(5, 2).train
        assert torch.equal(targets, stream.target(5)(inputs))
    assert not torch.equal(stream.target(5).input_weight, stream.target(6).input_weight)


def test_flip_one_inverts_one_bit_a_task(monkeypatch):
    monkeypatch.setattr(slowly_changing_regression, "FLIP_BLOCK", 16)  # so that blocks are crossed
    stream = SlowlyChangingRegression(mode="flip_one", task_length=1)
    slow = [np.array(stream.task(2, index).info["slow_bits"]) for index in range(600)]
    steps = [a ^ b for a, b in itertools.pairwise(slow)]
    assert all(step.sum() == 1 for step in steps)
    counts = np.sum(steps, axis=0)
    assert counts.min() > 15  # 40 expected
    assert SlowlyChangingRegression(mode="flip_one", task_length=1).task(2, 599).info["slow_bits"] == slow[-1].tolist()


def test_redraw_redraws_them_all():
    stream = SlowlyChangingRegression(task_length=1)
    slow = np.array([stream.task(0, index).info["slow_bits"] for index in range(400)])
    assert slow.mean(0) == pytest.approx([0.5] * 15, abs=0.12)
    assert (slow[1:] != slow[:-1]).sum(1).mean() == pytest.approx(7.5, abs=0.5)


@pytest.mark.parametrize("mode", MODES)
def test_no_slow_bits(mode):
    inputs, _ = SlowlyChangingRegression(mode=mode, slow_bits=0, inputs=8).task(0, 1).train
    assert inputs.mean(0).tolist() == pytest.approx([0.5] * 8, abs=0.03)


def test_inputs_beyond_32_bits():
    inputs, _ = SlowlyChangingRegression(slow_bits=0, inputs=62, task_length=2000).task(0, 1).train
    assert inputs.mean(0).tolist() == pytest.approx([0.5] * 62, abs=0.06)


def test_a_hundred_seeds_are_light_and_quick():
    stream = SlowlyChangingRegression(seeds=100, mode="flip_one")
    start = time.process_time()
    loaded = stream.load(50_000)
    assert time.process_time() - start < 3.0  # measured: 0.2 s for the first, 0.01 s for the next
    assert sum(t.nbytes for t in (loaded.inputs, loaded.targets, loaded.codes, loaded.first_rows)) < 2e6
    chunk = next(stream.task_chunks(0))
    assert chunk.inputs.nbytes <= 32 * 2**20
    assert chunk.inputs.shape == (1000, 100, 1, 20)


def test_own_generator_is_pinned(sha256):
    inputs, targets = SlowlyChangingRegression(task_length=64).task(3, 7).train
    assert sha256(inputs) == PINNED[0]
    assert sha256(targets) == PINNED[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("mode", "flipone"), ("inputs", 0), ("slow_bits", 21), ("slow_bits", -1), ("target_units", 0), ("beta", 1.5),
     ("task_length", 0), ("reference_threshold", 1), ("batch_size", 0), ("inputs", 200)],
)  # fmt: skip
def test_wrong_settings_name_their_key(key, value):
    with pytest.raises(ConfigError, match=f"^{key}="):
        SlowlyChangingRegression(**{key: value})


def test_the_nearest_mode_is_named():
    with pytest.raises(ConfigError, match="did you mean 'flip_one'"):
        SlowlyChangingRegression(mode="flipone")


PINNED = (
    "449ae4537208c93cc451c87db984b61611fcc7f9bbb20907294d34f70ee38723",
    "cb549c66439dc0d2d3e8e503c99b4e372bdca55ae8543eba495ffeaffe7a555d",
)
