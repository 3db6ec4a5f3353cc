"""How long it took to solve each N, from records written by hand."""

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.runs import read_run
from lop_lightning.analysis.timescales.steps import by_n, fresh_steps, solved_line, updates_to_solve
from lop_lightning.errors import LopError
from lop_lightning.timescales import main

UPDATES = 10


def record(periods):
    """Rows of seed -> [(lowest, highest, solved afterwards), …], a period of ten updates each."""
    rows = []
    for seed, own in periods.items():
        for task, values in enumerate(own):
            at = (seed, task, 0, (task + 1) * UPDATES)
            rows += [(*at, "", name, value) for name, value in zip(("lowest_n", "highest_n", "solved_n"), values)]
            rows.append((*at, f"N.{values[0]:03d}", "head_accuracy", 0.5))
    return rows


def write(root, periods, name="run", model="leaky", algo="curriculum", **settings):
    task = {f"task__{key}": value for key, value in settings.items()}
    return write_exact(root, record(periods), algo, "parity", name, model, **task)


def found(root, periods, **settings):
    table = updates_to_solve(read_run(write(root, periods, **settings)))
    assert list(table.columns) == ["seed", "N", "updates", "total", "solved"]
    return table, [tuple(row) for row in table.itertuples(index=False)]


def test_two_seeds_by_a_cumulative_curriculum(tmp_path):
    table, rows = found(tmp_path, {
        1: [(2, 2, 0), (2, 2, 2), (2, 3, 3), (2, 4, 3), (2, 4, 3)],
        0: [(2, 2, 2), (2, 3, 2), (2, 3, 2), (2, 3, 3), (2, 4, 4)],
    }, curriculum="cumulative")  # fmt: skip
    assert rows == [
        (0, 2, 10, 10, True), (0, 3, 30, 40, True), (0, 4, 10, 50, True),
        (1, 2, 20, 20, True), (1, 3, 10, 30, True), (1, 4, 20, 50, False),
    ]  # fmt: skip
    wide = by_n(table)
    assert (wide.index.tolist(), wide.columns.tolist()) == ([0, 1], [2, 3, 4])
    np.testing.assert_array_equal(wide, [[10, 30, 10], [20, 10, np.nan]])
    assert by_n(table, "total").loc[0].tolist() == [10, 40, 50]
    assert by_n(table).columns.name == "N"


def test_a_range_that_is_made_smaller_and_one_that_is_practised(tmp_path):
    """Seed 0 adds four N, gives half of them back and then solves them all; seed 5 ends at 3 and stays there."""
    _, rows = found(tmp_path, {
        0: [(2, 2, 2), *[(2, 6, 2)] * 3, (2, 4, 2), (2, 4, 4), (2, 6, 6)],
        5: [(2, 2, 0), (2, 2, 2), (2, 3, 2), (2, 3, 3), (2, 3, 3), (2, 3, 3), (2, 3, 3)],
    }, curriculum="adaptive")  # fmt: skip
    assert rows == [
        (0, 2, 10, 10, True), (0, 6, 30, 40, False), (0, 4, 20, 60, True), (0, 6, 10, 70, True),
        (5, 2, 20, 20, True), (5, 3, 20, 40, True),
    ]  # fmt: skip


def test_of_an_n_that_was_solved_later_the_figure_has_the_updates_that_did_it(tmp_path):
    table, _ = found(tmp_path, {0: [(2, 5, 0), (2, 5, 0), (2, 3, 3), (2, 5, 5)]}, curriculum="adaptive")
    assert by_n(table).loc[0].to_dict() == {3: 10, 5: 10}


def test_nothing_solved_is_a_table_without_columns(tmp_path):
    table, rows = found(tmp_path, {0: [(3, 3, 0)] * 4, 1: [(3, 3, 0)] * 4}, curriculum="none")
    assert rows == [(0, 3, 40, 40, False), (1, 3, 40, 40, False)]
    assert by_n(table).shape[1] == 0


def test_windows_that_slide_are_told_apart_by_both_ends(tmp_path):
    _, rows = found(tmp_path, {0: [(2, 4, 4), (3, 5, 4), (3, 5, 5), (4, 6, 5)]}, curriculum="sliding")
    assert rows == [(0, 4, 10, 10, True), (0, 5, 20, 30, True), (0, 6, 10, 40, False)]


def test_runs_that_each_begin_at_one_n(tmp_path):
    runs = [
        read_run(write(tmp_path, periods, name, curriculum="none", start_n=n))
        for name, n, periods in (
            ("two", 2, {0: [(2, 2, 0), (2, 2, 2), (2, 2, 2)], 1: [(2, 2, 2)] * 3}),
            ("four", 4, {0: [(4, 4, 0)] * 3, 1: [(4, 4, 0), (4, 4, 0), (4, 4, 4)]}),
        )
    ]
    table = fresh_steps(runs)
    wide = by_n(table)
    assert wide[2].tolist() == [20, 10]
    assert wide.loc[1].tolist() == [10, 30]
    assert np.isnan(wide.loc[0, 4])
    assert fresh_steps([]).columns.tolist() == ["seed", "N", "updates", "total", "solved"]


def test_a_run_without_a_curriculum_of_n(tmp_path):
    run = read_run(write_exact(tmp_path, rows_of("online_loss", [[0.5, 0.4]])))
    with pytest.raises(LopError, match=r"has no curriculum: it is no run of task=parity or task=dms$"):
        updates_to_solve(run)


# ---- what the command makes a line of the figure


def steps_of(folder, out, capsys):
    """Line -> {N: (mean, seeds)} of ``lop-timescales steps``."""
    assert main(["steps", str(folder), "--out", str(out)]) == 0
    names = ["steps_to_solve.png", "steps_to_solve.svg", "steps_to_solve.csv", "steps_to_solve_all.csv"]
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    table = pd.read_csv(out / "steps_to_solve.csv")
    assert table.columns.tolist() == ["line", "N", "mean", "low", "high", "n", "kind"]
    return {label: {n: (mean, seeds) for n, mean, seeds in zip(own["N"], own["mean"].round(6), own["n"])}
            for label, own in table.groupby("line", sort=False)}  # fmt: skip


def test_fresh_networks_are_one_line_whatever_their_n(tmp_path, capsys):
    runs = tmp_path / "runs"
    write(runs, {0: [(2, 2, 2), (2, 3, 3)], 1: [(2, 2, 2), (2, 3, 2)]}, "ladder", curriculum="cumulative", start_n=2)
    for n in (2, 3):
        solved = {0: [(n, n, n)] * 4, 1: [(n, n, 0)] * 3 + [(n, n, n)]}
        write(runs, solved, f"fresh{n}", curriculum="none", start_n=n)
    lines = steps_of(runs, tmp_path / "out", capsys)
    assert lines == {"parity, cumulative": {2: (10, 2), 3: (10, 1)},
                     "fresh, parity, N alone": {2: (20, 2), 3: (20, 2)}}  # fmt: skip
    rows = pd.read_csv(tmp_path / "out" / "steps_to_solve_all.csv")
    assert set(rows["run"]) == {"parity, cumulative", "fresh, parity, N alone"}
    assert rows[~rows["solved"]][["seed", "N", "updates"]].to_numpy().tolist() == [[1, 3, 10]]


def test_fresh_networks_on_all_n_up_to_one_begin_with_the_first_alone(tmp_path, capsys):
    runs = tmp_path / "runs"
    for heads in (1, 2, 3):
        own = {0: [(2, 1 + heads, 0)] * heads + [(2, 1 + heads, 1 + heads)]}
        write(runs, own, f"fresh{heads}", curriculum="none", start_n=2, init_heads=heads)
    assert steps_of(runs, tmp_path / "out", capsys) == {
        "fresh, parity, all N up to N": {2: (20, 1), 3: (30, 1), 4: (40, 1)}
    }


def test_fresh_networks_of_different_models_are_not_thrown_together(tmp_path, capsys):
    runs = tmp_path / "runs"
    for model, periods in (("leaky", 1), ("gru", 2)):
        for n in (2, 3):
            own = {0: [(n, n, 0)] * periods + [(n, n, n)]}
            write(runs, own, f"{model}{n}", model, curriculum="none", start_n=n)
    assert steps_of(runs, tmp_path / "out", capsys) == {
        "fresh, parity, N alone, gru": {2: (30, 1), 3: (30, 1)},
        "fresh, parity, N alone, leaky": {2: (20, 1), 3: (20, 1)},
    }


def test_a_figure_of_nothing_solved(tmp_path, capsys):
    write(tmp_path / "runs", {0: [(3, 3, 0)] * 2}, curriculum="none", start_n=3)
    assert steps_of(tmp_path / "runs", tmp_path / "out", capsys) == {}


def test_the_line_says_how_far_each_seed_has_come(tmp_path):
    periods = {0: [(2, 2, 2), (2, 3, 3)], 1: [(2, 2, 0), (2, 2, 2)], 2: [(2, 2, 2), (2, 3, 2)]}
    line = solved_line(read_run(write(tmp_path, periods, curriculum="cumulative")))
    # std 0.577, of three seeds; t of two degrees is 4.303
    assert line.startswith("solved   N = 2.3 [0.9, 3.8], n = 3 (seed by seed 2, 2, 3)")


def test_a_run_without_a_curriculum_has_no_such_line(tmp_path):
    assert (
        solved_line(read_run(write_exact(tmp_path, [(0, 0, 0, 1, "", "online_loss", 1.0)], "bp", "gmm", "run"))) is None
    )
