import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.find import find_runs, group_by_task
from lop_lightning.analysis.runs import read_run
from lop_lightning.analysis.sensitivity import final_performance, sweeps

ROWS = rows_of("online_loss", [[1.0, 2.0]])


def found(tmp_path):
    return [(sweep.key, sweep.label, sweep.values) for sweep in sweeps(find_runs([tmp_path]))]


def test_a_sweep_is_three_runs_that_differ_in_one_number(tmp_path):
    for lr in (0.1, 0.001):
        write_exact(tmp_path, ROWS, name=f"{lr}", optimizer__lr=lr)
    write_exact(tmp_path, ROWS, "l2", optimizer__lr=0.01)  # another method
    write_exact(tmp_path, ROWS, name="adam", optimizer__lr=0.01, optimizer__name="adam")  # another optimiser
    assert found(tmp_path) == []
    write_exact(tmp_path, rows_of("online_loss", [[1.0, 2.0]], first_seed=9), name="0.03", optimizer__lr=0.03)
    assert found(tmp_path) == [("optimizer.lr", "bp", (0.001, 0.03, 0.1))]


def test_a_grid_is_a_sweep_of_each_key_for_each_value_of_the_other(tmp_path):
    for lr in (0.1, 0.01, 0.001):
        for noise in (0, 1e-5, 1e-4):
            write_exact(tmp_path, ROWS, "snp", name=f"{lr}{noise}", optimizer__lr=lr, algo__noise=noise)
    assert found(tmp_path) == [
        *(("algo.noise", f"snp lr={lr}", (0.0, 1e-5, 1e-4)) for lr in (0.001, 0.01, 0.1)),
        *(("optimizer.lr", f"snp noise={noise}", (0.001, 0.01, 0.1)) for noise in ("0", "1e-05", "0.0001")),
    ]


def test_words_and_switches_are_no_numbers(tmp_path):
    for i, value in enumerate((True, False, "auto", None)):
        write_exact(tmp_path, ROWS, name=str(i), algo__transfer=value)
    assert found(tmp_path) == []


def test_final_performance(tmp_path):
    run = read_run(write_exact(tmp_path, rows_of("online_loss", [[1.0, 2, 4], [1, float("nan"), 6]])))
    assert final_performance(run, "online_loss").tolist() == [4, 6]
    last = final_performance(run, "online_loss", window=2)
    assert last[0] == 3
    assert last.isna().tolist() == [False, True]
    with pytest.raises(ValueError, match="4 last tasks are more than the 3"):
        final_performance(run, "online_loss", window=4)


def test_streams_of_different_length_can_be_one(tmp_path):
    write_exact(tmp_path, ROWS, "bp", task__tasks=2)
    write_exact(tmp_path, ROWS, "cbp", task__tasks=5)
    runs = find_runs([tmp_path])
    assert [len(group) for group in group_by_task(runs)] == [1, 1]
    assert [len(group) for group in group_by_task(runs, any_length=True)] == [2]
