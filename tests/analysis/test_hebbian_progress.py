"""How far runs have come, from records written by hand."""

import pytest
from hebbian_networks import curriculum_rows, hebbian_run

from lop_lightning.analysis.hebbian.progress import reached, stages, trained_over_updates
from lop_lightning.analysis.runs import read_run
from lop_lightning.errors import LopError

STOPPED = {  # seed -> (R trained, greatest R solved afterwards, given up) of each period of 10 updates
    0: [(1, 0, 0), (1, 1, 0), (2, 2, 0), (3, 2, 0), (3, 2, 0), (3, 2, 0)],
    1: [(1, 1, 0), (2, 1, 0), (2, 1, 0), (2, 1, 1), (2, 1, 1), (2, 1, 1)],  # it stays where it gave up
    4: [(1, 1, 0), (2, 1, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0)],  # 2 was the last to be solved
}
SOLVED_AFTER = {(0, 1): 17, (0, 2): 4, (1, 0): 9, (4, 0): 10, (4, 2): 13}
ADVANCED = {0: [(1, 0, 0), (1, 0, 1), (2, 2, 0), (3, 2, 1), (5, 2, 0)]}


def run_of(tmp_path, ways, solved_after=None):
    return read_run(hebbian_run(tmp_path, rows=curriculum_rows(ways, solved_after=solved_after), seeds=list(ways)))


def test_stages_of_seeds_that_solve_give_up_or_go_on(tmp_path):
    table = stages(run_of(tmp_path, STOPPED, SOLVED_AFTER))
    assert table.columns.tolist() == ["seed", "R", "updates", "total", "solved", "capped"]
    assert table.to_numpy().tolist() == [
        [0, 1, 17, 20, True, False],
        [0, 2, 4, 30, True, False],
        [0, 3, 30, 60, False, False],  # up to now
        [1, 1, 9, 10, True, False],
        [1, 2, 30, 40, False, True],
        [4, 1, 10, 10, True, False],
        [4, 2, 13, 30, True, False],
    ]


def test_stages_of_a_seed_that_goes_on_without_having_solved(tmp_path):
    table = stages(run_of(tmp_path, ADVANCED, {(0, 2): 6}))
    assert table.to_numpy().tolist() == [
        [0, 1, 20, 20, False, True],
        [0, 2, 6, 30, True, False],
        [0, 3, 10, 40, False, True],
        [0, 5, 10, 50, False, False],
    ]


def test_the_greatest_r(tmp_path):
    table = reached(run_of(tmp_path, STOPPED, SOLVED_AFTER))
    assert table.index.tolist() == [0, 1, 4]
    assert table.to_numpy().tolist() == [[2, 3, 0], [1, 2, 1], [2, 2, 0]]
    assert table.columns.tolist() == ["solved", "attempted", "capped"]
    assert reached(run_of(tmp_path / "b", ADVANCED, {(0, 2): 6})).to_numpy().tolist() == [[2, 5, 1]]


def test_a_staircase_has_the_ends_of_its_steps(tmp_path):
    table = trained_over_updates(run_of(tmp_path, STOPPED, SOLVED_AFTER))
    assert table.columns.name == "update"
    # seeds 1 and 4 go on after 10 updates, seed 0 after 20 and 30; from 40 on all stay
    assert table.columns.tolist() == [0, 10, 20, 30, 40, 60]
    assert table.loc[0].tolist() == [1, 1, 1, 2, 3, 3]
    assert table.loc[4].tolist() == [1, 1, 2, 2, 2, 2]
    still = {0: [(3, 0, 0)] * 5}
    assert trained_over_updates(run_of(tmp_path / "b", still)).to_dict("list") == {0: [3], 50: [3]}
    assert trained_over_updates(run_of(tmp_path / "c", {0: [(3, 0, 0)]})).to_dict("list") == {0: [3], 10: [3]}


def test_a_period_that_is_half_written_does_not_count(tmp_path):
    rows = curriculum_rows({0: [(1, 1, 0), (2, 1, 0)]}, solved_after={(0, 0): 5})
    cut = [row for row in rows if not (row[1] == 1 and row[5] in ("solved_r", "capped"))]
    assert stages(read_run(hebbian_run(tmp_path, rows=cut))).to_numpy().tolist() == [[0, 1, 5, 10, True, False]]


def test_runs_without_a_curriculum_over_r(tmp_path):
    run = read_run(hebbian_run(tmp_path, rows=[(0, 0, 0, 10, "", "online_accuracy", 0.5)]))
    for look in (stages, reached, trained_over_updates):
        with pytest.raises(LopError, match="has no curriculum over R: it is no run of task=familiarity or task=scenes"):
            look(run)
