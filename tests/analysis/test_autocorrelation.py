import numpy as np
import pytest
import torch
from scipy import signal

from lop_lightning.analysis.timescales.autocorrelation import Autocovariance, autocorrelation, autocovariance
from lop_lightning.errors import ConfigError


def by_the_formula(x, max_lag, lost=0):
    """Mean over trials of Σ y_t y_{t+l} / (n - lost - l), one product after another."""
    y = x - x.mean(1, keepdims=True)
    n = x.shape[1]
    return np.stack([(y[:, : n - lag] * y[:, lag:]).sum(1).mean(0) / (n - lost - lag) for lag in range(max_lag + 1)])


def test_the_published_code_replayed(golden):
    file = golden("timescales_analysis")["autocorrelation"]
    x = torch.tensor(file["series"], dtype=torch.float64)[..., None]
    published = np.array(file["covariance"])
    np.testing.assert_allclose(autocovariance(x, 6, reference_compat=True)[:, 0], published, atol=1e-14)
    n, lags = 8, np.arange(7)
    np.testing.assert_allclose(autocovariance(x, 6)[:, 0], published * (n - 1 - lags) / (n - lags), atol=1e-14)


@pytest.mark.parametrize("compat", [False, True])
def test_pieces_give_what_the_whole_series_gives(compat):
    draw = np.random.default_rng(1)
    x = 50 * draw.normal(size=(3, 1, 4)) + np.cumsum(draw.normal(size=(3, 700, 4)), 1)
    expected = by_the_formula(x, 30, int(compat))
    for cuts in ([], [1], [5, 5, 12, 29, 30, 31], sorted(draw.integers(0, 700, 40)), range(1, 700)):
        pieces = Autocovariance(30, compat)
        for piece in np.split(x, list(cuts), 1):
            pieces.add(torch.from_numpy(piece))
        np.testing.assert_allclose(pieces.result(), expected, rtol=1e-10, atol=1e-10)
        assert pieces.steps == 700


def test_lags_up_to_the_last_step():
    x = np.random.default_rng(2).normal(size=(2, 9, 3))
    np.testing.assert_allclose(autocovariance(torch.from_numpy(x), 8), by_the_formula(x, 8), atol=1e-13)
    np.testing.assert_allclose(autocovariance(torch.from_numpy(x), 0)[0], x.var(1).mean(0), rtol=1e-12)


def test_the_mean_over_trials_is_of_covariances():
    x = torch.tensor([[[1.0], [-1.0]], [[3.0], [-3.0]]])  # variances 1 and 9
    assert autocovariance(x, 0).item() == 5
    pieces = Autocovariance(0)
    pieces.add(x)
    assert pieces.of_trials().flatten().tolist() == [1, 9]


def test_float32_far_from_zero_loses_nothing():
    x = (1000 + np.random.default_rng(3).normal(size=(1, 5000, 2))).astype(np.float32)
    np.testing.assert_allclose(autocovariance(torch.from_numpy(x), 5), by_the_formula(x.astype(float), 5), rtol=1e-9)


def test_an_autoregressive_process():
    # c(l) / c(0) = φ^l; its estimate over 4 · 10⁵ steps is off by about sqrt(2τ / steps) = 0.007 at τ = 10.
    tau = np.array([0.5, 2.0, 10.0])
    noise = np.random.default_rng(4).normal(size=(4, 100_000, 3))
    x = np.stack([signal.lfilter([1], [1, -np.exp(-1 / t)], noise[..., i], axis=1) for i, t in enumerate(tau)], -1)
    found = autocorrelation(autocovariance(torch.from_numpy(x), 20))
    np.testing.assert_allclose(found, np.exp(-np.arange(21)[:, None] / tau), atol=0.03)


def test_what_does_not_vary_has_no_autocorrelation_and_spoils_nothing():
    x = torch.randn(2, 400, 3, generator=torch.Generator().manual_seed(0))
    expected = autocovariance(x, 4)[:, 0]
    x[..., 1], x[1, 200, 2] = 0.1, float("nan")
    covariance = autocovariance(x, 4)
    assert torch.equal(covariance[:, 0], expected)
    assert (covariance[:, 1] == 0).all()
    assert covariance[:, 2].isnan().all()
    found = autocorrelation(covariance)
    assert found[:, 1:].isnan().all()
    assert found[0, 0] == 1


def test_series_that_are_none():
    with pytest.raises(ConfigError, match="max_lag=5 is not legal: expected less than the 5 steps of the series"):
        autocovariance(torch.zeros(1, 5, 1), 5)
    with pytest.raises(ConfigError, match="less than the 4 steps"):
        autocovariance(torch.zeros(1, 5, 1), 4, reference_compat=True)
    with pytest.raises(ConfigError, match="max_lag=-1"):
        Autocovariance(-1)
    with pytest.raises(ValueError, match=r"\[trials, t, units\], got \[5\]"):
        autocovariance(torch.zeros(5), 1)
    pieces = Autocovariance(1)
    pieces.add(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=r"the next steps of \[2, 4\] series, got \[2, 3, 5\]"):
        pieces.add(torch.zeros(2, 3, 5))
