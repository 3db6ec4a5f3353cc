import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lop_lightning.analysis.statistics import (
    bootstrap_interval,
    iqm,
    paired_difference,
    seed_interval,
    t_interval,
    unpaired_difference,
)


@pytest.mark.parametrize(
    ("statistic", "method", "draw", "truth"),
    [
        ("mean", "bca", "normal", 0.0),
        ("mean", "bca", "exponential", 1.0),
        ("mean", "percentile", "normal", 0.0),
        ("median", "percentile", "normal", 0.0),
        ("iqm", "bca", "normal", 0.0),
    ],
)
def test_bootstrap_covers_the_truth_as_often_as_it_says(statistic, method, draw, truth):
    experiments, seeds = 400, 30
    values = getattr(np.random.default_rng(1), draw)(size=(seeds, experiments))
    interval = bootstrap_interval(values, statistic, level=0.9, resamples=600, method=method)
    coverage = ((interval.low <= truth) & (truth <= interval.high)).mean()
    assert 0.84 <= coverage <= 0.95  # nominal 0.9, ± 3 standard errors and the bootstrap's own shortfall


def test_bca_agrees_with_scipy():
    values = np.random.default_rng(2).exponential(size=25)
    ours = bootstrap_interval(values, resamples=40_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, method="BCa", random_state=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)
    assert ours.kind == "BCa bootstrap"


def test_small_samples_get_the_t_interval_which_covers():
    values = np.random.default_rng(3).normal(size=(5, 2000))
    interval = seed_interval(values, level=0.95)
    assert interval.kind == "t"
    assert ((interval.low <= 0) & (interval.high >= 0)).mean() == pytest.approx(0.95, abs=0.015)
    assert seed_interval(values.T[:20]).kind == "BCa bootstrap"


def test_t_interval_is_scipys():
    values = np.random.default_rng(4).normal(3, 2, size=7)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    interval = t_interval(values, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-10)


def test_reproducible_and_seeded_and_column_by_column():
    values = np.random.default_rng(5).normal(size=(12, 7))
    first, again = bootstrap_interval(values, seed=3), bootstrap_interval(values, seed=3)
    np.testing.assert_array_equal(first.low, again.low)
    assert not np.array_equal(first.low, bootstrap_interval(values, seed=4).low)
    alone = bootstrap_interval(values[:, 2], seed=3)
    assert (alone.low, alone.high) == pytest.approx((first.low[2], first.high[2]), rel=1e-12)


def test_global_generator_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap_interval(np.arange(12.0))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("make", [bootstrap_interval, t_interval, seed_interval])
def test_degenerate_samples(make):
    one, equal = make([2.5]), make(np.full(12, 0.1))
    assert one.estimate == 2.5
    assert one.n == 1
    assert np.isnan(one.low)
    assert np.isnan(one.high)
    assert equal.high - equal.low == pytest.approx(0, abs=1e-12)
    nothing = make([np.nan, np.nan])
    assert nothing.n == 0
    assert np.isnan(nothing.estimate)


def test_dropped_seeds_are_left_out_and_counted():
    values = np.random.default_rng(6).normal(size=(12, 3))
    values[[0, 5], 1] = np.nan, np.inf
    interval = bootstrap_interval(values, statistic="iqm")
    assert interval.n.tolist() == [12, 10, 12]
    kept = np.delete(values[:, 1], [0, 5])
    alone = bootstrap_interval(kept, statistic="iqm")
    assert (interval.estimate[1], interval.low[1]) == pytest.approx((alone.estimate, alone.low), rel=1e-12)


def test_iqm_is_the_trimmed_mean():
    values = np.random.default_rng(7).normal(size=(13, 4))
    np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=0))


def test_pairing_removes_what_the_seeds_share():
    rng = np.random.default_rng(8)
    shared, effect = rng.normal(0, 10, size=20), 0.5
    a, b = shared + effect + rng.normal(0, 0.1, 20), shared
    interval = paired_difference(a, b)
    assert interval.low > 0.4
    assert interval.high < 0.6


def test_paired_series_are_matched_by_seed():
    a = pd.Series([1.0, 2.0, 4.0], index=[0, 1, 2])
    b = pd.Series([3.0, 1.0, 0.0], index=[2, 1, 7])
    interval = paired_difference(a, b)
    assert interval.n == 2
    assert interval.estimate == pytest.approx(1.0)
    with pytest.raises(ValueError, match="nothing to pair"):
        paired_difference(a, pd.Series([1.0], index=[9]))
    with pytest.raises(ValueError, match="nothing to pair"):
        paired_difference([1.0, 2.0], [1.0])


def test_wrong_words_are_named():
    with pytest.raises(ValueError, match="'mode'"):
        bootstrap_interval([1.0, 2.0], statistic="mode")
    with pytest.raises(ValueError, match="level 95"):
        bootstrap_interval([1.0, 2.0], level=95)


def test_unpaired_difference_is_welchs():
    a, b = [1.0, 2.0, 3.0], [2.0, 2.5, 3.0, 3.5, np.nan]
    result = unpaired_difference(a, b)
    expected = stats.ttest_ind(a, b[:4], equal_var=False).confidence_interval(0.95)
    assert (result.estimate, result.low, result.high) == pytest.approx((-0.75, expected.low, expected.high))
    assert result.n == 3
    columns = unpaired_difference(np.array([a, a]).T, np.array([b, [5.0] * 5]).T)
    assert columns.low[0] == pytest.approx(result.low)
    assert columns.n.tolist() == [3, 3]


def test_unpaired_differences_of_one_seed_or_of_equal_seeds():
    alone = unpaired_difference([1.0], [3.0, 4.0])
    assert (alone.estimate, alone.n) == (-2.5, 1)
    assert np.isnan(alone.low)
    equal = unpaired_difference([1.0, 1.0], [3.0, 3.0])
    assert (equal.low, equal.high) == (-2.0, -2.0)
