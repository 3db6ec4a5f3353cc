import numpy as np
import pandas as pd
import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.curves import (
    Axis,
    consecutive_means,
    curve,
    fitting_bin,
    layer_mean_curve,
    level_of,
    named_run,
    reference_among,
    relative,
)
from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.runs import read_run

NAN = float("nan")


def frame(rows, columns=None):
    return pd.DataFrame(rows, columns=pd.Index(columns or range(len(rows[0])), name="task"))


def test_bins_are_consecutive_and_drop_the_remainder():
    table = consecutive_means(frame([[1.0, 3, 5, 9, 100], [0, 0, 2, 4, 100]]), 2)
    assert table.to_numpy().tolist() == [[2, 7], [0, 3]]
    assert table.columns.tolist() == [0.5, 2.5]
    assert table.columns.name == "task"
    assert consecutive_means(frame([[1.0, 2, 3]]), 3).to_numpy().tolist() == [[2]]
    assert consecutive_means(frame([[1.0, 2]]), 3).shape == (1, 0)
    with pytest.raises(ValueError, match="bins of 0 tasks"):
        consecutive_means(table, 0)


def test_bins_are_of_task_numbers_where_not_every_task_was_measured():
    table = consecutive_means(frame([[1.0, 2, 3, 4]], [4, 9, 14, 17]), 10)  # 18 tasks: the second bin is not whole
    assert table.to_numpy().tolist() == [[1.5]]
    assert table.columns.tolist() == [4.5]


def test_a_seed_that_diverged_in_a_bin_is_nan_there():
    table = consecutive_means(frame([[1.0, 1, NAN, 1], [2, 4, 6, 8]]), 2)
    np.testing.assert_equal(table.to_numpy(), [[1, NAN], [3, 7]])


def test_published_bins_shrink_in_short_streams():
    assert [fitting_bin(50, tasks) for tasks in (2000, 100, 99, 20, 3)] == [50, 50, 9, 2, 1]
    assert fitting_bin(1, 1) == 1


def test_against_the_update(tmp_path):
    rows = [*rows_of("online_loss", [[[1.0, 2], [3, 4], [5, 7]]]), *rows_of("dead_units", [[0.1, 0.3, 0.8]], "a")]
    run = read_run(write_exact(tmp_path, [*rows, *rows_of("dead_units", [[0.3, 0.5, 0.8]], "b")]))
    by_row = curve(run, "online_loss", axis=Axis("update"))
    assert by_row.loc[0].to_dict() == {5: 1, 10: 2, 15: 3, 20: 4, 25: 5, 30: 7}
    binned = curve(run, "online_loss", axis=Axis("update", 2))
    assert binned.loc[0].to_dict() == {20: 2.5}
    assert binned.columns.name == "update"
    assert curve(run, "online_loss").loc[0].to_dict() == {0: 1.5, 1: 3.5, 2: 6}
    best = curve(run.changed(over_epochs="max"), "dead_units", "a", Axis("update"))
    assert best.loc[0].to_dict() == {10: 0.1, 20: 0.3, 30: 0.8}
    layers = layer_mean_curve(run, "dead_units", Axis("update", 2))
    assert layers.loc[0].to_dict() == pytest.approx({20: 0.3})


def test_relative_values_are_paired_by_seed_and_task():
    a = pd.DataFrame([[1.0, 2, 3], [4, 5, 6]], index=[0, 1])
    b = pd.DataFrame([[0.5, 1.5], [9, 9]], index=[1, 7])
    difference = relative(a, b)
    assert difference.index.tolist() == [1]
    assert difference.to_numpy().tolist() == [[3.5, 3.5]]


def test_one_level_for_a_run():
    level = level_of(frame([[1.0, 3], [2, 6], [6, NAN]]))
    assert level.estimate == pytest.approx((2 + 4 + 6) / 3)
    half = 4.302652729911275 * 2 / np.sqrt(3)  # t with 2 degrees of freedom, standard deviation 2
    assert [level.low, level.high] == pytest.approx([4 - half, 4 + half])
    assert level_of(frame([[1e-4, 1e-2], [1e-1, 1e-1]]), log=True).estimate == pytest.approx(1e-2)


def test_runs_are_named_by_label_method_or_network(tmp_path):
    rows = rows_of("online_loss", [[1.0], [2.0]])
    write_exact(tmp_path, rows, "cbp")
    write_exact(tmp_path, rows, "bp", model="linear")
    runs = find_runs([tmp_path])
    assert [run.label for run in runs] == ["bp linear", "cbp mlp"]
    assert named_run(runs, "bp linear") is named_run(runs, "bp") is named_run(runs, "linear") is runs[0]
    assert named_run(runs, "l2") is None
    with pytest.raises(ValueError, match=r"no run is called 'cbp mpl': .*did you mean 'cbp mlp'"):
        reference_among(runs, "cbp mpl")
    write_exact(tmp_path, rows, "bp", model="mlp")
    with pytest.raises(ValueError, match="'bp' could be any of 'bp linear', 'bp mlp'"):
        named_run(find_runs([tmp_path]), "bp")


def test_a_reference_shares_seeds(tmp_path):
    write_exact(tmp_path, rows_of("online_loss", [[1.0], [2.0]]), "cbp")
    write_exact(tmp_path, rows_of("online_loss", [[1.0]], first_seed=1), "bp")
    assert reference_among(find_runs([tmp_path]), "bp").algo == "bp"
    write_exact(tmp_path, rows_of("online_loss", [[1.0]], first_seed=7), "l2")
    with pytest.raises(ValueError, match="'l2' and 'bp' share no seed"):
        reference_among(find_runs([tmp_path]), "bp")
