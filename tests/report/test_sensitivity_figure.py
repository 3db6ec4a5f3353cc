import numpy as np
import pytest
from synthetic_runs import line, rows_of, write_exact

from lop_lightning.analysis.find import find_runs
from lop_lightning.report.choice import Choice
from lop_lightning.report.paper import paper_plots


def drawn(tmp_path):
    """Name -> plot."""
    return {name: make() for name, make in paper_plots(find_runs([tmp_path]), Choice(figures="dohare2024"))[0]}


def test_single_classes_in_order_of_presentation(tmp_path):
    rows = [row for c in range(12) for row in rows_of("test_class_accuracy", [[c / 20], [c / 10]], f"class.{c:02d}")]
    write_exact(tmp_path, [*rows, *rows_of("test_accuracy", [[0.5], [0.5]])], task="incremental_cifar")
    plot = drawn(tmp_path)["test_class_accuracy_by_class"]
    assert line(plot, "bp") == pytest.approx({c + 1: 0.075 * c for c in range(12)})
    assert plot.figure().axes[0].get_xlabel() == "class in order of presentation"
    assert np.isfinite(plot.numbers()["low"]).all()


def test_sensitivity_is_final_performance_against_the_one_key_that_differs(tmp_path):
    for lr, final in ((0.1, 0.6), (0.01, 0.8), (0.001, 0.7)):
        rows = rows_of("online_accuracy", [[0.9, final], [0.9, final + 0.1]])
        write_exact(tmp_path, rows, name=str(lr), optimizer__lr=lr)
        write_exact(tmp_path, rows, "cbp", name=str(lr), optimizer__lr=lr, algo__rate=1e-4)
    plots = drawn(tmp_path)
    plot = plots["sensitivity_lr"]
    assert line(plot, "bp") == line(plot, "cbp") == {0.001: 0.75, 0.01: 0.85, 0.1: 0.65}
    axes = plot.figure().axes[0]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert "optimizer.lr" in plot.figure().get_supxlabel()


def test_a_sweep_with_zero_has_a_place_for_it(tmp_path):
    for noise in (0, 1e-5, 1e-4):
        rows = rows_of("online_accuracy", [[0.9, 0.5]])
        write_exact(tmp_path, rows, "snp", name=str(noise), algo__noise=noise)
    axes = drawn(tmp_path)["sensitivity_noise"].figure().axes[0]
    assert axes.get_xscale() == "symlog"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1e-05", "0.0001"]
