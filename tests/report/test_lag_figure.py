"""Metrics of single lags: read apart from the layers, drawn against the lag; and the ends of tasks in time."""

import numpy as np
import pytest
from synthetic_runs import line, rows_of, write_exact

from lop_lightning.analysis.curves import Axis, task_ends
from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.runs import is_hidden_layer, read_run
from lop_lightning.report.choice import Choice
from lop_lightning.report.compare import comparison_figures
from lop_lightning.report.run_figures import figures_of
from lop_lightning.report.vocabulary import axis_label, is_fraction, title

METRIC = "state_gradient_norm"


def write(root, algo="bp", scale=1.0, tasks=20):
    """Two seeds, three lags; the norm is scale · 10^-lag · (task + 1), for the second seed a hundred times that."""
    norms = scale * np.arange(1, tasks + 1) * np.array([[1.0], [100.0]])
    rows = [row for lag in range(3) for row in rows_of(METRIC, norms * 10.0**-lag, f"lag.{lag:02d}")]
    rows += rows_of("dead_units", norms * 0, "layers.0") + rows_of("online_loss", norms)
    return write_exact(root, rows, algo)


def test_a_lag_is_no_layer(tmp_path):
    run = read_run(write(tmp_path))
    assert run.lag_metrics() == [METRIC]
    assert run.layer_metrics() == ["dead_units"]
    assert run.layers(METRIC) == run.class_metrics() == []
    assert run.metrics() == ["online_loss"]
    assert [is_hidden_layer(name) for name in ("layers.0", "", "class.01", "lag.01")] == [True, False, False, False]


def test_by_lag_is_the_mean_over_tasks_of_each_seed(tmp_path):
    run = read_run(write(tmp_path, tasks=4))
    table = run.by_lag(METRIC)
    assert table.columns.tolist() == [0, 1, 2]
    assert table.loc[0].tolist() == pytest.approx([2.5, 0.25, 0.025])
    assert run.by_lag(METRIC, [2, 3]).loc[1].tolist() == pytest.approx([350, 35, 3.5])
    assert run.lag_tasks(METRIC) == [0, 1, 2, 3]
    assert run.by_lag(METRIC, [3, 4]).isna().all().all()  # nothing was measured on task 4
    with pytest.raises(ValueError, match="'online_loss' is recorded for no lag"):
        run.by_lag("online_loss")
    with pytest.raises(ValueError, match="'online_loss' is recorded for no class"):
        run.by_class("online_loss")


def test_the_figure_of_a_run_has_its_first_and_last_tasks(tmp_path):
    run = read_run(write(tmp_path))
    figures = dict(figures_of(run))
    assert f"{METRIC}_by_layer" not in figures
    plot = figures[f"{METRIC}_by_lag"]()
    # geometric mean over seeds: ten times the mean over tasks 1–2 (1.5) and 19–20 (19.5)
    assert line(plot, "tasks 1–2") == pytest.approx({0: 15, 1: 1.5, 2: 0.15})
    assert line(plot, "tasks 19–20") == pytest.approx({0: 195, 1: 19.5, 2: 1.95})
    assert plot.panel.log
    figure = plot.figure()
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].get_xlabel() == "time steps back from the loss"
    assert list(line(dict(figures_of(run, Choice(window=1)))[f"{METRIC}_by_lag"](), "task 20")) == [0, 1, 2]
    assert f"{METRIC}_by_lag" not in dict(figures_of(run, Choice(metrics=["online_loss"])))


def test_a_comparison_has_the_last_tasks_of_each_run(tmp_path):
    write(tmp_path)
    write(tmp_path, "l2", 2.0)
    plot = dict(comparison_figures(find_runs([tmp_path])))[f"{METRIC}_by_lag"]()
    assert line(plot, "bp") == pytest.approx({0: 195, 1: 19.5, 2: 1.95})
    assert line(plot, "l2") == pytest.approx({0: 390, 1: 39, 2: 3.9})
    assert "mean over the last 2 tasks for which it was measured" in plot.source


def test_one_task_is_one_line(tmp_path):
    plot = dict(figures_of(read_run(write(tmp_path, tasks=1))))[f"{METRIC}_by_lag"]()
    assert [one.label for one in plot.panel.lines] == ["task 1"]


def test_names_of_recurrent_metrics():
    assert title(METRIC) == "Gradient of the loss by the hidden state"
    assert axis_label("recurrent_spectral_radius") == "ρ(∂sₜ/∂sₜ₋₁)"
    assert title("forget_gate_closed") == "Forget gate closed (< 0.1)"
    assert title("update_gate_open") == "Update gate open (> 0.9)"
    assert axis_label("reset_gate_closed") == "fraction of activations"
    assert is_fraction("input_gate_open")
    assert not is_fraction(METRIC)


# ---- the ends of tasks, where every epoch is a point


def test_the_ends_of_tasks_are_marked_where_epochs_are_points(tmp_path):
    accuracy = np.tile(np.linspace(0.2, 0.8, 30), (2, 10, 1))  # 10 tasks of 30 epochs, 30 updates each
    rows = [*rows_of("test_accuracy", accuracy, updates=30), *rows_of("min_loss", accuracy[..., 0], updates=30)]
    for algo in ("bp", "l2"):
        write_exact(tmp_path, rows, algo)
    runs, choice = find_runs([tmp_path]), Choice(axis=Axis("update"))
    ends = tuple(range(30, 300, 30))
    plot = dict(comparison_figures(runs, choice))["test_accuracy"]()
    assert plot.panel.ends == ends
    assert len(plot.panel.lines[0].band.x) == 300  # more than 200 rows, and none of them averaged away
    assert "dashed: a task ends" in plot.source
    figure = dict(figures_of(runs[0], choice))["test_accuracy"]()
    assert "dashed: a task ends" in figure.get_supxlabel().replace("\u00a0", " ")
    assert dict(comparison_figures(runs))["test_accuracy"]().panel.ends == ()
    assert dict(comparison_figures(runs, choice))["min_loss"]().panel.ends == ()  # one row a task: nothing within


def test_many_tasks_or_bins_are_not_marked(tmp_path):
    few, many = (
        read_run(write_exact(tmp_path, rows_of("test_accuracy", np.zeros((1, tasks, 2))), name=str(tasks)))
        for tasks in (60, 61)
    )
    assert len(task_ends(few, "test_accuracy", Axis("update"))) == 59
    assert task_ends(many, "test_accuracy", Axis("update")) == ()
    assert task_ends(few, "test_accuracy", Axis("update", 5)) == task_ends(few, "test_accuracy", Axis()) == ()
    assert task_ends(few.changed(over_epochs="max"), "test_accuracy", Axis("update")) == ()
