import dataclasses

import numpy as np
import pytest
import torch
from scipy import signal
from scipy.optimize import curve_fit

from lop_lightning.analysis.timescales.autocorrelation import autocovariance
from lop_lightning.analysis.timescales.exponential_fits import DOUBLE, SINGLE, exclude, fit_timescales, summary
from lop_lightning.errors import ConfigError

LAGS = np.arange(31.0)


def single(lags, a, tau):
    return a * np.exp(-lags / tau)


def double(lags, a, c, tau1, tau2):
    return a * (c * np.exp(-lags / tau1) + (1 - c) * np.exp(-lags / tau2))


def scipys(model, y, upper):
    """Residual sum of squares of the fit that the published code makes, from the middle of all bounds."""
    found, _ = curve_fit(model, LAGS, y, bounds=([0] * len(upper), upper), maxfev=2000)
    return ((model(LAGS, *found) - y) ** 2).sum()


def noisy(units, seed):
    """Series that begin at 1: single and double exponentials with noise, and some that oscillate."""
    draw, series = np.random.default_rng(seed), []
    for unit in range(units):
        tau1, tau2 = np.exp(draw.uniform(np.log(0.3), np.log(120), 2))
        c = draw.uniform() if unit % 2 else 1.0
        y = double(LAGS, 1, c, tau1, tau2) * (np.cos(draw.uniform(0, 1) * LAGS) if unit % 5 == 0 else 1)
        y = y + 10 ** draw.uniform(-5, -1.5) * draw.normal(size=31)
        series.append(y / y[0])
    return np.stack(series, 1)


@pytest.mark.parametrize("case", ["single_tau5", "double_2_20_c0.6", "double_0.8_40_c0.9"])
def test_the_published_code_replayed(golden, case):
    file = golden("timescales_analysis")["fits"][case]
    fits = fit_timescales(file["lags"])
    assert fits.model.tolist() == [file["model"]]
    found = [fits.tau1[0], fits.tau2[0]][: file["model"]]
    np.testing.assert_allclose(found, file["tau"], rtol=1e-3)
    assert fits.tau_net[0] == max(found)


def test_no_fit_is_worse_than_scipys_and_many_are_better():
    series = noisy(60, seed=0)
    fits = fit_timescales(series)
    for ours, model, upper in ((fits.rss1, single, [1, 100]), (fits.rss2, double, [1, 1, 100, 100])):
        theirs = np.array([scipys(model, y, upper) for y in series.T])
        assert (ours <= theirs * (1 + 1e-6)).all()
        assert (ours < 0.99 * theirs).any()  # scipy's single start is not always a good one


def test_the_sums_of_squares_are_those_of_the_curves_within_bounds():
    series = noisy(80, seed=1)
    for criterion in ("aic", "bic"):
        fits = fit_timescales(series, criterion=criterion)
        rss = ((fits.curve(LAGS) - series) ** 2).sum(0)
        np.testing.assert_allclose(rss, np.where(fits.model == DOUBLE, fits.rss2, fits.rss1), rtol=1e-6, atol=1e-20)
        for share in (fits.a, fits.c):
            assert ((share >= 0) & (share <= 1 + 1e-12)).all()
        assert ((fits.tau1 >= 0) & (fits.tau_net <= 100) & (fits.tau1 <= fits.tau_net)).all()
        assert (fits.rss2 <= fits.rss1).all()


def test_exact_curves_are_found_exactly():
    fits = fit_timescales(np.stack([3 * single(LAGS, 1, 7), double(LAGS, 1, 0.3, 1.5, 25)], 1))
    assert fits.model.tolist() == [SINGLE, DOUBLE]
    np.testing.assert_allclose([fits.tau1[0], fits.tau1[1], fits.tau2[1]], [7, 1.5, 25], rtol=1e-8)
    np.testing.assert_allclose([fits.a[0], fits.a[1], fits.c[1]], [1, 1, 0.3], rtol=1e-8)
    assert fits.c[0] == 1
    assert np.isnan(fits.tau2[0])


def test_time_scales_of_simulated_processes():
    draw = np.random.default_rng(2)
    tau, share = np.array([[3.0, 3.0], [2.0, 20.0], [0.8, 10.0]]), [0.5, 0.6, 0.7]
    units = []
    for (quick, slow), c in zip(tau, share):
        parts = []
        for t, variance in ((quick, c), (slow, 1 - c)):
            phi = np.exp(-1 / t)
            noise = np.sqrt(variance * (1 - phi**2)) * draw.normal(size=(10, 100_000))
            parts.append(signal.lfilter([1], [1, -phi], noise, axis=1))
        units.append(sum(parts))
    fits = fit_timescales(autocovariance(torch.from_numpy(np.stack(units, -1)), 30))
    np.testing.assert_allclose(fits.tau_net, tau[:, 1], rtol=0.1)
    np.testing.assert_allclose(fits.tau1[1:], tau[1:, 0], rtol=0.1)
    np.testing.assert_allclose(fits.c[1:], share[1:], atol=0.05)


def test_bounds():
    slower = single(LAGS, 1, 400)
    white = np.where(LAGS == 0, 1.0, 0.0)
    alternating = (-0.9) ** LAGS
    fits = fit_timescales(np.stack([slower, white, alternating], 1))
    assert fits.tau_net[0] == 100
    assert fits.at_bound.tolist() == [True, False, False]
    assert (fits.model[1], fits.tau_net[1], fits.a[1], fits.rss1[1]) == (SINGLE, 0, 1, 0)
    assert fits.curve(LAGS)[:, 1].tolist() == white.tolist()
    assert fits.tau_net[2] < 0.2


def test_criteria_by_hand():
    fits = fit_timescales(noisy(40, seed=3))
    n = 31
    np.testing.assert_allclose(fits.aic1, 4 + n * np.log(fits.rss1 / n))
    np.testing.assert_allclose(fits.aic2, 8 + n * np.log(fits.rss2 / n))
    np.testing.assert_allclose(fits.bic1, 2 * np.log(n) + n * np.log(fits.rss1 / n))
    np.testing.assert_allclose(fits.bic2, 4 * np.log(n) + n * np.log(fits.rss2 / n))
    assert (fits.model == np.where(fits.aic2 < fits.aic1, DOUBLE, SINGLE)).all()
    stricter = fit_timescales(noisy(40, seed=3), criterion="bic")
    assert (stricter.model == np.where(fits.bic2 < fits.bic1, DOUBLE, SINGLE)).all()
    assert (stricter.model <= fits.model).all()  # ln 31 > 2: BIC asks more for a parameter


def test_what_has_no_autocorrelation_has_no_time_scale_and_spoils_nothing():
    good = double(LAGS, 1, 0.5, 1, 15)
    bad = np.where(LAGS == 7, np.nan, good)
    fits = fit_timescales(np.stack([np.zeros(31), good, bad], 1))
    assert fits.model.tolist() == [0, DOUBLE, 0]
    assert fits.tau_net[1] == pytest.approx(15)
    for field in dataclasses.fields(fits):
        values = getattr(fits, field.name)
        if values is not fits.criterion and field.name not in ("model", "at_bound"):
            assert np.isnan(values[[0, 2]]).all(), field.name
    nothing = summary(fit_timescales(np.zeros((31, 2))))
    assert (nothing["nan"], nothing["excluded"]) == (1, 1)
    assert np.isnan([nothing["mean"], nothing["std"], nothing["median"], nothing["agreement"]]).all()


def test_who_is_left_out_of_the_mean_and_what_is_said_of_it():
    taus = [0.5, 2.0, 4.0, 200.0]
    series = np.stack([*(single(LAGS, 1, t) for t in taus), np.zeros(31), double(LAGS, 1, 0.5, 1, 12)], 1)
    fits = fit_timescales(series)
    assert exclude(fits.tau_net).tolist() == [True, False, False, False, True, False]
    told = summary(fits)
    kept = [2, 4, 100, 12]
    assert told["mean"] == pytest.approx(np.mean(kept), rel=1e-6)
    assert told["std"] == pytest.approx(np.std(kept), rel=1e-6)
    assert told["median"] == pytest.approx(4, rel=1e-6)
    assert told["mean_all"] == pytest.approx(np.mean([0.5, *kept]), rel=1e-6)
    assert [told[name] for name in ("excluded", "double", "at_most_1", "nan", "at_bound")] == pytest.approx(
        [2 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 6]
    )
    assert told["agreement"] == 1


def test_a_unit_is_fitted_alike_alone_and_among_many():
    series = noisy(300, seed=4)
    together = fit_timescales(series)
    for unit in (0, 127, 128, 299):
        alone = fit_timescales(series[:, unit])
        np.testing.assert_allclose(alone.tau_net, together.tau_net[unit], rtol=1e-6)
        np.testing.assert_allclose(alone.rss2, together.rss2[unit], rtol=1e-9)


def test_settings_that_are_not_legal():
    with pytest.raises(ConfigError, match="max_lag=30 is not legal: expected at most 19"):
        fit_timescales(np.zeros((20, 1)))
    with pytest.raises(ConfigError, match=r"criterion=acc is not legal.*did you mean 'aic'"):
        fit_timescales(np.zeros((31, 1)), criterion="acc")
    with pytest.raises(ConfigError, match="max_lag=2"):
        fit_timescales(np.zeros((31, 1)), max_lag=2)
