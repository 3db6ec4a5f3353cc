import numpy as np
import pytest
import torch
from torch import nn

from lop_lightning.analysis.timescales import simulate as module
from lop_lightning.analysis.timescales.exponential_fits import fit_timescales
from lop_lightning.analysis.timescales.gated import GatedStates, forget_timescale, forget_timescales
from lop_lightning.analysis.timescales.simulate import simulate
from lop_lightning.errors import ConfigError
from lop_lightning.networks.recurrent import GRU, LSTM


class Leaky(nn.Module):
    """h ← φ h + (1 - φ) Σ x, and a record of what was read and of all states."""

    def __init__(self, tau, dtype=torch.float64):
        super().__init__()
        self.phi = nn.Parameter(torch.exp(-1 / torch.tensor(tau, dtype=dtype)))
        self.read, self.seen, self.modes = [], [], []

    def states(self, x, h0=None):
        h = x.new_zeros(len(x), len(self.phi)) if h0 is None else h0
        states = []
        for t in range(x.shape[1]):
            h = self.phi * h + (1 - self.phi) * x[:, t, :1]
            states.append(h)
        if h0 is not None:
            self.read.append(x)
            self.seen.append(torch.stack(states, 1))
            self.modes.append((self.training, torch.is_grad_enabled()))
        return torch.stack(states, 1)

    @property
    def whole(self):
        return torch.cat(self.read, 1), torch.cat(self.seen, 1).numpy()


def test_moments_are_those_of_all_states_after_the_discarded_ones():
    network = Leaky([1.0, 4.0, 9.0])
    found = simulate(network, trials=3, steps=1200, discard=300, max_lag=5)
    x, states = network.whole
    assert x.shape == (3, 1500, 1)
    kept = states[:, 300:]
    y = kept - kept.mean(1, keepdims=True)
    for lag in range(6):
        per_trial = (y[:, : 1200 - lag] * y[:, lag:]).sum(1) / (1200 - lag)
        np.testing.assert_allclose(found.of_trials[:, lag], per_trial, rtol=1e-9)
        np.testing.assert_allclose(found.autocovariance[lag], per_trial.mean(0), rtol=1e-9)
        total = y.sum(-1)
        expected = ((total[:, : 1200 - lag] * total[:, lag:]).sum(1) / (1200 - lag)).mean()
        np.testing.assert_allclose(found.population[lag], expected, rtol=1e-9)
    for trial in range(3):
        np.testing.assert_allclose(found.covariance[trial], np.cov(kept[trial].T), rtol=1e-9)


def test_time_constants_of_leaky_units_are_found():
    tau = [1.5, 4.0, 12.0]
    found = simulate(Leaky(tau), trials=8, steps=20_000, probability=0.5)
    fits = fit_timescales(found.autocovariance)
    np.testing.assert_allclose(fits.tau_net, tau, rtol=0.08)
    # The variance of a leaky unit that reads bits: p (1 - p) (1 - φ)² / (1 - φ²).
    phi = np.exp(-1 / np.array(tau))
    np.testing.assert_allclose(found.autocovariance[0], 0.25 * (1 - phi) / (1 + phi), rtol=0.05)


def test_numbers_depend_on_the_seed_and_not_on_the_pieces(monkeypatch):
    first, other = Leaky([2.0, 5.0]), Leaky([2.0, 5.0])
    before = torch.get_rng_state()
    found = simulate(first, trials=2, steps=900, seed=3)
    monkeypatch.setattr(module, "_PIECE", 7)
    again = simulate(other, trials=2, steps=900, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.whole[0], other.whole[0])
    np.testing.assert_allclose(found.autocovariance, again.autocovariance, rtol=1e-10)
    np.testing.assert_allclose(found.covariance, again.covariance, rtol=1e-10)
    different = Leaky([2.0, 5.0])
    simulate(different, trials=2, steps=900, seed=4)
    assert not torch.equal(first.whole[0], different.whole[0])


def test_what_the_network_reads():
    network = Leaky([1.0])
    found = simulate(network, trials=40, steps=2000, values=(-1.0, 1.0))
    x, _ = network.whole
    assert set(x.unique().tolist()) == {-1, 1}
    np.testing.assert_allclose((x[..., 0] > 0).double().mean(1), found.probabilities, atol=0.05)
    assert found.probabilities.std() == pytest.approx(12**-0.5, abs=0.07)  # uniform
    network = Leaky([1.0])
    assert simulate(network, trials=4, steps=2000, probability=0.2).probabilities.tolist() == [0.2] * 4
    assert network.whole[0].mean().item() == pytest.approx(0.2, abs=0.02)


def test_first_states():
    for initial, high in ((0.0, 0.0), (0.1, 0.1)):
        network = Leaky([1e9] * 50)  # which keeps its state
        simulate(network, trials=4, steps=2, max_lag=0, initial_state=initial)
        first = network.whole[1][:, 0]
        assert first.min() >= 0
        assert high * 0.9 <= first.max() <= high + 1e-6


@pytest.mark.parametrize("repeats", [1, 3, 300])
def test_in_continuous_time_bits_last_and_the_step_is_given(repeats):
    network = Leaky([1.0])
    simulate(network, trials=5, steps=1000, discard=1, repeats=repeats)
    x, _ = network.whole
    assert x.shape == (5, 1001, 2)
    assert (x[..., 1] == 1 / repeats).all()
    bits = x[:, ::repeats, 0]
    assert torch.equal(x[..., 0], bits.repeat_interleave(repeats, 1)[:, :1001])
    assert 0 < bits.mean() < 1


def test_the_network_is_left_as_it_was_and_progress_is_told():
    network, told = Leaky([1.0]), []
    simulate(network, trials=1, steps=600, discard=0, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (600, 600)
    assert sorted(told) == told
    assert set(network.modes) == {(False, False)}
    assert network.training
    with pytest.raises(ZeroDivisionError):
        simulate(network, trials=1, steps=600, progress=lambda done, total: 1 // 0)
    assert network.training


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"trials": 0}, "trials=0"),
        ({"steps": 1}, "steps=1"),
        ({"discard": -1}, "discard=-1"),
        ({"steps": 20}, "max_lag=30 is not legal: expected a whole number of at least 0 and at most 18"),
        ({"probability": 1.5}, r"probability=1.5 is not legal: expected a number in \[0, 1\]"),
        ({"probability": "uniformly"}, "probability=uniformly is not legal: expected uniform or a number"),
        ({"repeats": 0}, "repeats=0"),
    ],
)
def test_settings_that_are_not_legal(setting, message):
    with pytest.raises(ConfigError, match=message):
        simulate(Leaky([1.0]), **setting)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_gated_networks_piece_by_piece(kind):
    torch.manual_seed(0)
    network = kind((10, 2), 3, hidden=4, layers=2, bidirectional=False)
    x = torch.randn(5, 10, 2)
    gated = GatedStates(network)
    with torch.no_grad():
        expected, whole = network.unrolled(x).states, gated.states(x)
        start = gated.states(x[:, :6])
        rest = gated.states(x[:, 6:], start[:, -1])
    assert torch.equal(torch.cat([start, rest], 1), whole)
    for layer in (0, 1):
        of_layer = expected[f"layers.{layer}.forwards"]
        torch.testing.assert_close(whole[..., gated.columns("hidden", layer)], of_layer[..., :4])
        if kind is LSTM:
            torch.testing.assert_close(whole[..., gated.columns("cell", layer)], of_layer[..., 4:])
    if kind is GRU:
        with pytest.raises(ConfigError, match="part=cell is not legal"):
            gated.columns("cell")


def test_gated_networks_can_be_simulated():
    torch.manual_seed(1)
    gated = GatedStates(LSTM((10, 1), 2, hidden=3, layers=1, bidirectional=False))
    found = simulate(gated, trials=2, steps=300, values=(-1, 1), probability=0.5, initial_state=0)
    assert found.autocovariance[:, gated.columns("cell")].shape == (31, 3)
    assert np.isfinite(found.autocovariance).all()
    with pytest.raises(ConfigError, match="bidirectional=true"):
        GatedStates(LSTM((10, 1), 2, hidden=3))


def test_how_long_gates_keep():
    assert forget_timescale([[[0.6, 1.0], [1.0, 1.0]], [[0.8, 1.0], [0.8, 1.0]]]).tolist() == pytest.approx([5, np.inf])
    network = LSTM((10, 1), 2, hidden=2, layers=1, bidirectional=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.layers[0]["forwards"].bias_ih[2:4] = torch.log(torch.tensor([0.9 / 0.1, 0.75 / 0.25]))  # σ⁻¹
    found = forget_timescales(network, torch.zeros(3, 10, 1))
    assert found["layers.0.forwards"].tolist() == pytest.approx([10, 4], rel=1e-5)
