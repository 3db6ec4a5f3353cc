"""Accuracy over a stream: every measure by hand, seeds that diverged, and the gain relative to a base."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.accuracy_measures import accuracy_measures, accuracy_metric, relative_gain, seed_measures
from lop_lightning.analysis.relative_gain import fieller_bounds, paired_gain, unpaired_gain
from lop_lightning.analysis.runs import read_run

T2 = 4.30265273  # the 97.5 % quantile of Student's t with two degrees of freedom


def run_of(tmp_path, values, algo="bp", metric="test_accuracy", more=(), **kwargs):
    name = f"{algo}{len(list(tmp_path.rglob('record.csv')))}"
    first_seed = kwargs.pop("first_seed", 0)
    return read_run(
        write_exact(tmp_path, [*rows_of(metric, values, first_seed=first_seed), *more], algo, name=name, **kwargs)
    )


def measures(run, base=None, metric="test_accuracy"):
    return {measure.name: measure for measure in accuracy_measures(run, metric, base)}


def test_the_definitions_by_hand(tmp_path):
    """Section 6's columns for two seeds of five tasks of two epochs; A_t is the accuracy after the second."""
    first = [[0.5, 0.9], [0.4, 0.8], [0.3, 0.7], [0.2, 0.3], [0.1, 0.6]]
    second = [[0.7, 0.8], [0.7, 0.8], [0.7, 0.8], [0.7, 0.8], [0.5, 1.0]]
    found = measures(run_of(tmp_path, [first, second]))
    by_hand = {
        "mean_accuracy": (0.66, 0.84),  # (0.9 + 0.8 + 0.7 + 0.3 + 0.6) / 5
        "first_accuracy": (0.9, 0.8),
        "last_accuracy": (0.6, 1.0),
        "lowest_accuracy": (0.3, 0.8),
        "degradation": (100 * 0.3 / 0.9, -25.0),
        # Σ (t - 2)(A_t - mean) / Σ (t - 2)²: (-1.8 - 0.8 + 0.3 + 1.2) / 10 and (-1.6 - 0.8 + 0.8 + 2.0) / 10
        "slope": (-11.0, 4.0),
        "first_epoch_first_fifth": (0.5, 0.7),
        "first_epoch_last_fifth": (0.1, 0.5),
    }
    assert list(found) == list(by_hand)
    for name, (one, other) in by_hand.items():
        interval = found[name].interval
        assert interval.estimate == pytest.approx((one + other) / 2)
        assert interval.high - interval.low == pytest.approx(12.7062047 * abs(one - other))
        assert (interval.n, found[name].tasks) == (2, 5)
    assert found["slope"].unit == "fraction per 100 tasks"


def test_the_reference_s_numbers_of_one_run(tmp_path):
    """Of one seed there is the number and no interval: mean 3/5, degradation 100 (1 - 0.35) / 1."""
    run = run_of(tmp_path, [[1.0, 0.75, 0.5, 0.4, 0.35]], metric="online_accuracy")
    found = measures(run, metric="online_accuracy")
    assert found["mean_accuracy"].interval.estimate == pytest.approx(0.6)
    assert found["degradation"].interval.estimate == pytest.approx(65.0)
    assert math.isnan(found["degradation"].interval.low)
    assert "first_epoch_first_fifth" not in found  # bins of an online series are no epochs


def test_two_points_mislead_and_the_others_see_it(tmp_path):
    """The accuracy collapses and recovers on the last task: no degradation, but a low mean and a low minimum."""
    found = seed_measures(run_of(tmp_path, [[0.9, 0.1, 0.1, 0.1, 0.9]]), "test_accuracy").loc[0]
    assert found["degradation"] == 0
    assert found["lowest_accuracy"] == 0.1
    assert found["mean_accuracy"] == pytest.approx(0.42)


def test_tasks_that_were_not_measured_leave_gaps_in_the_slope(tmp_path):
    rows = [row for row in rows_of("test_accuracy", [[1.0, 9, 9, 0.7, 0.6]]) if row[1] not in (1, 2)]
    run = read_run(write_exact(tmp_path, rows))
    assert seed_measures(run, "test_accuracy").loc[0, "slope"] == pytest.approx(-10.0)  # tasks 0, 3 and 4


def test_one_task_has_neither_degradation_nor_slope(tmp_path):
    assert list(measures(run_of(tmp_path, [[0.5]]))) == [
        "mean_accuracy", "first_accuracy", "last_accuracy", "lowest_accuracy"
    ]  # fmt: skip


def test_seeds_that_diverged_are_left_out_and_counted(tmp_path):
    """A dropped seed goes on with the accuracy of its first class; NaN weights have an argmax too."""
    dropped = [(1, 1, 0, 15, "", "dropped_at_update", 5.0)]
    run = run_of(tmp_path, [[0.8, 0.6], [0.9, 0.1], [math.nan, 0.5], [0.6, 0.6]], more=dropped)
    for measure in measures(run).values():
        assert measure.interval.n == 2
    table = seed_measures(run, "test_accuracy")
    assert table.loc[[1, 2]].isna().to_numpy().all()
    assert table.loc[0, "mean_accuracy"] == pytest.approx(0.7)


def test_an_accuracy_of_zero_on_the_first_task_has_no_degradation(tmp_path):
    found = measures(run_of(tmp_path, [[0.0, 0.5], [0.5, 0.25]]))
    assert found["degradation"].interval.n == 1
    assert found["degradation"].interval.estimate == 50.0
    assert found["mean_accuracy"].interval.n == 2


def test_the_accuracy_that_all_runs_have(tmp_path):
    test, online = run_of(tmp_path, [[0.5]]), run_of(tmp_path, [[0.5]], metric="online_accuracy")
    both = run_of(tmp_path, [[0.5]], more=rows_of("online_accuracy", [[0.4]]))
    assert accuracy_metric([test, both]) == accuracy_metric([both]) == "test_accuracy"
    assert accuracy_metric([online, both]) == accuracy_metric([both], ["online_accuracy"]) == "online_accuracy"
    assert accuracy_metric([online, test]) is None


# ---- relative gain


def test_the_gain_is_the_ratio_of_means_over_shared_seeds_and_tasks(tmp_path):
    base = run_of(tmp_path, [[0.5, 0.5, 0.1], [0.25, 0.75, 0.1], [0.1, 0.1, 0.1]])  # a task more than the method has
    run = run_of(tmp_path, [[0.5, 0.7], [0.9, 0.9], [0.0, 0.0]], "l2", first_seed=0)
    gain = relative_gain(run, base, "test_accuracy")
    # means over two tasks: 0.6, 0.9, 0.0 over 0.5, 0.5, 0.1: 1.5 / 1.1
    assert gain.interval.estimate == pytest.approx(100 * 0.4 / 1.1)
    assert (gain.interval.n, gain.tasks, gain.against, gain.unit) == (3, 2, "bp", "%")
    assert gain.interval.kind == "paired Fieller"
    assert "relative_gain" not in measures(base, base)


def test_a_seed_that_diverged_in_one_of_them_is_no_pair(tmp_path):
    base = run_of(tmp_path, [[0.5], [0.4], [math.nan]])
    run = run_of(tmp_path, [[0.6], [math.nan], [0.9]], "l2")
    gain = relative_gain(run, base, "test_accuracy").interval
    assert gain.n == 1
    assert gain.estimate == pytest.approx(20.0)
    assert math.isnan(gain.low)


def test_other_seeds_and_other_tasks_are_not_paired(tmp_path):
    base = run_of(tmp_path, [[0.5, 0.3], [0.6, 0.4]])
    seeds = run_of(tmp_path, [[0.8, 0.8], [0.6, 0.6]], "l2", first_seed=7)
    tasks = run_of(tmp_path, [[0.8, 0.8], [0.6, 0.6]], "l2", task__source="mnist")
    longer = run_of(tmp_path, [[0.8, 0.8], [0.6, 0.6]], "l2", task__tasks=2)
    for run, kind in ((seeds, "unpaired Fieller"), (tasks, "unpaired Fieller"), (longer, "paired Fieller")):
        gain = relative_gain(run, base, "test_accuracy").interval
        assert gain.kind == kind
        assert gain.estimate == pytest.approx(100 * 0.25 / 0.45)
        assert gain.n == 2


def test_fieller_is_the_set_of_ratios_that_a_t_test_does_not_reject():
    method, base = np.array([0.7, 0.8, 0.6]), np.array([0.5, 0.7, 0.5])
    spread = np.cov(method, base) / 3
    estimate, low, high = fieller_bounds(np.array([method.mean(), base.mean()]), spread, 2, 0.95)
    assert estimate == pytest.approx(2.1 / 1.7)
    for ratio in (low, high):
        rest = method - ratio * base
        assert abs(rest.mean()) / (rest.std(ddof=1) / math.sqrt(3)) == pytest.approx(T2)
    assert low < estimate < high


def test_a_base_that_may_be_zero_has_no_bounded_gain():
    assert np.isnan(fieller_bounds(np.array([0.5, 0.1]), np.diag([0.01, 0.01]), 2, 0.95)[1:]).all()


def test_from_ten_seeds_on_pairs_are_bootstrapped():
    base = pd.Series(np.linspace(0.3, 0.6, 12))
    gain = paired_gain(1.2 * base, base)
    assert gain.kind == "paired BCa bootstrap"
    assert (gain.estimate, gain.low, gain.high) == pytest.approx((20.0, 20.0, 20.0))  # the ratio never varies
    alone = unpaired_gain(1.2 * base, base)
    assert alone.low < 10 < 30 < alone.high
    noisy = paired_gain(1.2 * base + np.resize([0.02, -0.02], 12), base)
    assert alone.low < noisy.low < 20 < noisy.high < alone.high
