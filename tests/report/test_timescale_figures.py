"""Figures of analyses of curriculum runs: what is drawn of tables written by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic_runs import line

from lop_lightning.report.figures import Plot, save
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.steps_figure import steps_plot
from lop_lightning.report.timescale_figures import COLOURS, OTHER, PLOTS, Shown, distributions, lines

T = 12.706204736432095
"""97.5 % quantile of Student's t with one degree of freedom."""


def shown(table, label="cumulative", curriculum="cumulative", task="parity"):
    return Shown(label, curriculum, task, pd.DataFrame(table))


def units(values, **columns):
    """Rows of {(seed, N): values of its units}."""
    rows = [(seed, n, unit, value) for (seed, n), own in values.items() for unit, value in enumerate(own)]
    return pd.DataFrame(rows, columns=["seed", "N", "unit", "tau"]).assign(**columns)


TAUS = {(0, 2): [1.0, 3.0], (1, 2): [2.0, 6.0], (0, 3): [0.5, 4.5, 4.0], (1, 3): [0.25, 0.75, 8.0], (1, 5): [7.0]}


def test_time_constants_are_averaged_over_units_and_then_over_networks():
    plots = PLOTS["tau"]([shown(units(TAUS))])
    assert list(plots) == ["tau_mean", "tau_std", "tau_stuck", "tau_distribution"]
    assert line(plots["tau_mean"], "cumulative") == {2: 3, 3: 3, 5: 7}
    numbers = plots["tau_mean"].numbers()
    assert numbers.columns.tolist() == ["line", "N", "mean", "low", "high", "n", "kind"]
    assert numbers["n"].tolist() == [2, 2, 1]
    assert numbers["kind"].tolist() == ["t"] * 3
    np.testing.assert_allclose(numbers[["low", "high"]], [[3 - T, 3 + T], [3, 3], [np.nan, np.nan]])
    assert line(plots["tau_std"], "cumulative")[2] == 1.5  # of 1, 3 and of 2, 6: 1 and 2
    assert line(plots["tau_stuck"], "cumulative") == pytest.approx({2: 0, 3: 0.5, 5: 0})
    assert isinstance(plots["tau_distribution"], Figure)


def network_table():
    found = units({(0, 2): [0.5, 2.0, 4.0, 9.0], (1, 2): [0.2, 0.3, 3.0, np.nan]}, kind="unit")
    found = found.rename(columns={"tau": "tau_net"})
    columns = {"model": [1, 2, 1, 2, 1, 1, 2, 0], "tau2": [np.nan, 2, np.nan, 9, np.nan, np.nan, 3, np.nan],
               "aic1": [0.0] * 8, "aic2": [1, -1, 1, -1, 1, 1, -1, np.nan],
               "bic1": [0.0] * 8, "bic2": [1, 1, 1, -1, 1, 1, -1, np.nan]}  # fmt: skip
    trials = pd.DataFrame({"seed": [0, 0, 1, 1], "N": 2, "kind": "trial", "dimension": [3, 4, 2, 3.0]})
    return pd.concat([found.assign(**columns), trials])


def test_time_constants_of_activity_leave_out_units_at_one_and_below():
    plots = PLOTS["network"]([shown(network_table())])
    assert list(plots) == ["tau_net_mean", "tau_net_std", "tau_net_median", "tau_net_excluded", "tau_net_double",
                           "tau_net_agreement", "tau_net_distribution"]  # fmt: skip
    found = {name: line(plot, "cumulative")[2] for name, plot in plots.items() if isinstance(plot, Plot)}
    assert found["tau_net_mean"] == (5 + 3) / 2
    assert found["tau_net_std"] == pytest.approx(np.std([2, 4, 9]) / 2)
    assert found["tau_net_median"] == (3 + 0.3) / 2
    assert found["tau_net_excluded"] == (1 / 4 + 3 / 4) / 2
    assert found["tau_net_double"] == (2 / 4 + 1 / 4) / 2
    assert found["tau_net_agreement"] == (3 / 4 + 1) / 2  # of the fitted ones


def test_dimensions_are_those_of_trials():
    plots = PLOTS["dimension"]([shown(network_table())])
    assert list(plots) == ["dimension"]
    assert line(plots["dimension"], "cumulative") == {2: 3}


def test_other_analyses():
    accuracy = {"seed": [0, 0, 1, 1], "N": 4, "asked": [3, 4, 3, 4], "accuracy": [1.0, 0.9, 0.8, 0.5]}
    plot = PLOTS["accuracy"]([shown(accuracy)])["accuracy"]
    assert line(plot, "cumulative") == {3: 0.9, 4: 0.7}
    assert plot.numbers().columns[1] == "N_of_the_readout"

    duration = {"seed": [0] * 4, "N": 4, "k": [1, 1, 2, 2], "asked": [3, 4, 3, 4], "accuracy": [1.0, 0.8, 0.6, 0.5]}
    plot = PLOTS["duration"]([shown(duration)])["duration"]
    assert line(plot, "cumulative") == {1: 0.9, 2: 0.55}
    assert plot.panel.log_x

    perturb = {"seed": [0, 0, 0, 0, 1, 1], "N": 4, "kind": "additive_tau", "epsilon": [0, 0, 0.1, 0.1, 0, 0.1],
               "relative": [0.9, 1.1, 0.2, 0.4, 1.0, 0.5]}  # fmt: skip
    plots = PLOTS["perturb"]([shown(perturb)])
    assert list(plots) == ["perturbation_additive_tau"]
    assert line(plots["perturbation_additive_tau"], "cumulative") == pytest.approx({0: 1, 0.1: 0.4})

    retrain = {"seed": [0, 0, 0, 0, 1, 1], "N": [4, 4, 4, 4, 6, 6], "asked": [4, 4, 5, 5, 6, 7],
               "period": [0, 1, 0, 1, 1, 1], "accuracy": [0.1, 0.9, 0.2, 0.7, 0.8, 0.5]}  # fmt: skip
    plot = PLOTS["retrain"]([shown(retrain)])["retraining"]
    assert line(plot, "cumulative") == pytest.approx({0: 0.85, 1: 0.6})  # after the last period


def test_ablation_has_a_bar_for_each_group_and_a_dot_for_each_network():
    rows = [(0, 4, "baseline", np.nan, 1.0), (1, 4, "baseline", np.nan, 0.9), (0, 4, "slowest", 5.0, 0.6),
            (0, 4, "slowest", 3.0, 0.4), (1, 4, "slowest", 2.0, 0.3), (0, 4, "fastest", 1.0, 0.95),
            (1, 4, "fastest", 1.0, 0.95)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["seed", "N", "kind", "tau", "accuracy"])
    figure = PLOTS["ablate"]([shown(table), shown(table[table["seed"] == 0], "single", "single")])["ablation"]
    axes, alone = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.95, 0.4, 0.95])
    assert [dots.get_ydata().tolist() for dots in axes.lines] == [[1.0, 0.9], [0.5, 0.3], [0.95, 0.95]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        "baseline",
        "slowest\nτ = 3.00",
        "fastest\nτ = 1.00",
    ]
    (interval,) = axes.collections[1].get_segments()
    assert interval[:, 1] == pytest.approx([0.4 - T / 10, 0.4 + T / 10])
    assert axes.get_ylim()[0] < 0.3  # all dots can be seen
    assert alone.get_title(loc="left") == "single\nN = 4"
    assert "(n = 1–2)" in " ".join(figure.get_supxlabel().split())


def test_runs_of_one_colour_have_another_style():
    tables = {"one": pd.DataFrame({2: [1.0]}), "two": pd.DataFrame({2: [2.0]}), "three": pd.DataFrame({2: [3.0]})}
    runs = [shown({}, "one"), shown({}, "two"), shown({}, "three", "single", "dms")]
    drawn = lines(runs, tables, "", "").panel.lines
    assert [one.colour for one in drawn] == [COLOURS["cumulative", "parity"]] * 2 + [COLOURS["single", "dms"]]
    assert drawn[0].style == drawn[2].style != drawn[1].style
    assert lines([shown({}, "one", "none", "")], tables, "", "").panel.lines[0].colour == OTHER


def test_steps_are_geometric_means_over_the_seeds_that_solved():
    table = pd.DataFrame({"seed": [0, 1, 0, 1], "N": [2, 2, 3, 3], "updates": [10, 1000, 20, 50],
                          "total": [10, 1000, 30, 1050], "solved": [True, True, True, False]})  # fmt: skip
    plot = steps_plot([shown(table)], [Shown("fresh", "none", "", table.assign(updates=7))])
    assert line(plot, "cumulative") == pytest.approx({2: 100, 3: 20})
    assert line(plot, "fresh") == pytest.approx({2: 7, 3: 7})
    assert plot.numbers()["n"].tolist() == [2, 1, 2, 1]
    assert plot.panel.log


def test_a_distribution_is_of_shares_and_holds_what_is_large_in_its_last_bin():
    values = {(0, n): [1.0] * 999 + [1e6] for n in (2, 3, 4, 5, 6, 7)} | {(1, 7): [1.0] * 1000}
    (axes,) = distributions([shown(units(values))], "tau", "τ").axes
    assert [patch.get_label() for patch in axes.patches] == ["N = 2", "N = 4", "N = 5", "N = 7"]
    shares = [patch.get_data().values for patch in axes.patches]
    assert [own.sum() for own in shares] == pytest.approx([1] * 4)
    assert shares[0][-1] == pytest.approx(1 / 1000)
    assert shares[3][-1] == pytest.approx(1 / 2000)
    strength = [patch.get_alpha() for patch in axes.patches]
    assert strength == sorted(strength)
    assert strength[-1] == 1


def test_a_run_without_time_constants_leaves_an_empty_place(tmp_path, recwarn):
    silent = network_table().assign(tau_net=np.nan, model=0)
    runs = [shown(network_table()), replace(shown(silent), label="silent")]
    plots = PLOTS["network"](runs)
    assert line(plots["tau_net_mean"], "cumulative") == {2: 4}
    assert plots["tau_net_mean"].numbers().set_index("line").loc["silent", "n"] == 0
    left, right = plots["tau_net_distribution"].axes
    assert len(left.patches) == 1
    assert not right.patches
    assert right.get_title(loc="left") == "silent"
    names = {path.name for name, plot in plots.items() for path in save(plot, OutputFolder(tmp_path), name)}
    assert "tau_net_distribution.svg" in names
    assert not [str(one.message) for one in recwarn]
