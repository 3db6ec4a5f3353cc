import numpy as np
import pandas as pd
import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.curves import Axis
from lop_lightning.analysis.find import find_runs
from lop_lightning.report.bands import band, caption
from lop_lightning.report.choice import Choice
from lop_lightning.report.colours import METHODS, SPARE, method_colours, shades
from lop_lightning.report.compare import comparison_figures
from lop_lightning.report.main import main
from lop_lightning.report.run_figures import figures_of
from lop_lightning.report.vocabulary import axis_label, is_fraction, title


@pytest.fixture
def two(tmp_path):
    """A run of four tasks of two epochs for each of two methods; the seeds that both have are 1 and 2."""
    for algo, shift, first in (("bp", 0.0, 0), ("cbp", 0.1, 1)):
        accuracy = np.array([[[0.1, 0.2], [0.4, 0.3], [0.5, 0.6], [0.8, 0.7]]] * 3)
        accuracy += shift * np.arange(1, 4)[:, None, None]
        rows = [
            *rows_of("test_accuracy", accuracy, first_seed=first),
            *rows_of("online_loss", 1 - accuracy, first_seed=first),
            *rows_of("weight_magnitude", accuracy[..., 0], first_seed=first),
        ]
        write_exact(tmp_path / "runs", rows, algo)
    return tmp_path / "runs"


def numbers(runs, name, over=None, **choice):
    """What a comparison draws."""
    found = [run.changed(over_epochs=over) for run in find_runs([runs])]
    return dict(comparison_figures(found, Choice(**choice)))[name]().numbers()


def means(table, label):
    rows = table[table["line"] == label]
    return dict(zip(rows.iloc[:, 1], rows["mean"].round(6)))


def test_the_last_epoch_unless_told_otherwise(two):
    table = numbers(two, "test_accuracy")
    assert means(table, "bp") == {1: 0.2, 2: 0.3, 3: 0.6, 4: 0.7}
    assert table["n"].tolist() == [3] * 8
    assert means(numbers(two, "test_accuracy", "best"), "bp") == {1: 0.2, 2: 0.4, 3: 0.6, 4: 0.8}
    assert means(numbers(two, "online_loss", "best"), "bp") == {1: 0.85, 2: 0.65, 3: 0.45, 4: 0.25}


def test_bins_and_updates(two):
    assert means(numbers(two, "test_accuracy", axis=Axis(bin=3)), "bp") == {2: round(1.1 / 3, 6)}
    assert means(numbers(two, "test_accuracy", axis=Axis("update", 2)), "bp") == {20: 0.25, 40: 0.65}
    expected = {5: 0.1, 10: 0.2, 15: 0.4, 20: 0.3, 25: 0.5, 30: 0.6, 35: 0.8, 40: 0.7}
    assert means(numbers(two, "test_accuracy", axis=Axis("update")), "bp") == expected
    losses = means(numbers(two, "online_loss", axis=Axis("update")), "bp")
    assert losses == {x: round(1 - y, 6) for x, y in expected.items()}


def test_relative_to_a_run_paired_by_seed_and_task(two):
    table = numbers(two, "relative_test_accuracy", relative_to="bp")
    # seeds 1 and 2 have the first and second shift of cbp, 0.1 and 0.2; bp's seeds are equal
    assert table["line"].unique().tolist() == ["cbp"]
    assert table["mean"].tolist() == pytest.approx([0.15] * 4)
    assert table["n"].tolist() == [2] * 4
    assert table["low"].tolist() == pytest.approx([0.15 - 12.706204736 * 0.05] * 4)


def test_another_runs_level(two):
    table = numbers(two, "test_accuracy", horizontal="bp")
    assert table["line"].tolist() == ["cbp"] * 4 + ["bp (mean)"]
    assert table["mean"].iloc[-1] == pytest.approx(0.45)
    assert np.isnan(table["task"].iloc[-1])


def test_the_command_line(two, tmp_path):
    out = tmp_path / "out"
    options = ["--over-epochs=max", "--x=update", "--bin=2", "--relative-to=bp", "--horizontal=bp"]
    assert main([str(two), f"--out={out}", "--metrics=test_accuracy", *options]) == 0
    table = pd.read_csv(out / "test_accuracy.csv")
    assert means(table, "cbp") == {20: 0.5, 40: 0.9}
    assert table["mean"].iloc[-1] == pytest.approx(0.5)
    assert means(pd.read_csv(out / "relative_test_accuracy.csv"), "cbp") == {20: 0.15, 40: 0.15}
    summary = pd.read_csv(out / "summary.csv").set_index("label")
    assert summary.loc["bp", "last_tasks"] == pytest.approx(0.8)
    assert (out / "relative_test_accuracy.svg").exists()


def test_wrong_options_are_one_line_and_leave_nothing(two, tmp_path, capsys):
    write_exact(two, rows_of("online_loss", [[1.0] * 4], first_seed=9), "l2")
    for option, words in (
        (
            "--over-epochs=men",
            "argument --over-epochs: 'men' is none of last, max, min, best, mean; did you mean 'mean'?",
        ),
        ("--x=tasks", "argument --x: 'tasks' is none of task, update; did you mean 'task'?"),
        ("--bin=0", "argument --bin: '0' is no number of tasks"),
        ("--bin=five", "argument --bin: 'five' is no number of tasks"),
        ("--bin=5", "argument --bin: 5 tasks are more than the 4 of"),
        ("--figures=dohare2024 --x=update", "argument --x: not with --figures, a paper's figures have their own"),
        ("--figures=dohare2024 --over-epochs=max", "argument --over-epochs: not with --figures"),
        ("--figures=dohare", "argument --figures: 'dohare' is none of dohare2024; did you mean 'dohare2024'?"),
        (
            "--relative-to=cpb",
            "argument --relative-to: no run is called 'cpb': there are bp, cbp, l2; did you mean 'cbp'?",
        ),
        ("--relative-to=bp", "argument --relative-to: 'l2' and 'bp' share no seed, so they cannot be paired"),
        ("--horizontal=linear", "argument --horizontal: no run is called 'linear': there are bp, cbp, l2"),
    ):
        with pytest.raises(SystemExit) as caught:
            main([str(two), f"--out={tmp_path / 'out'}", *option.split()])
        error = capsys.readouterr().err
        assert caught.value.code == 2
        assert error.startswith(f"lop-report: {words}")
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(two.rglob("figures"))


def test_the_caption_says_what_stands_for_a_task(two):
    run = find_runs([two])[0]
    for over, word in ((None, "last"), ("max", "largest"), ("min", "smallest"), ("mean", "mean")):
        figure = dict(figures_of(run.changed(over_epochs=over)))["test_accuracy"]()
        caption = figure.get_supxlabel().replace("\u00a0", " ").replace("\n", " ")
        assert f"each task: the {word} of its epochs" in caption
    for name in ("online_loss", "weight_magnitude"):
        assert "epochs" not in dict(figures_of(run))[name]().get_supxlabel()
    by_row = dict(figures_of(run, Choice(axis=Axis("update"))))["test_accuracy"]()
    assert "epochs" not in by_row.get_supxlabel()


def test_long_records_against_the_update_are_binned_in_rows():
    table = pd.DataFrame(np.arange(600.0)[None], columns=pd.Index(np.arange(600) * 10 + 10, name="update"))
    result = band(table)
    assert result.x[:2].tolist() == [60, 120]
    assert result.mean[:2].tolist() == [2.5, 8.5]
    assert "each point: mean of 6 rows" in caption([result])
    assert "mean of 6 tasks" in caption([band(table, bin_width=6)])


def test_a_table_without_points_is_drawn_as_nothing():
    result = band(pd.DataFrame(np.zeros((3, 0))), bin_width=5)
    assert len(result.x) == 0
    assert caption([result]) == "no finite value"


def test_colours_of_the_new_methods(tmp_path):
    names = ("bp", "cbp", "l2", "shrink_and_perturb", "redo", "head_reset", "retrain", "linear")
    assert len({METHODS[name] for name in names}) == len(names)
    assert not set(METHODS.values()) & set(SPARE)
    rows = rows_of("online_loss", [[1.0]])
    write_exact(tmp_path, rows, "bp", model="linear")
    write_exact(tmp_path, rows, "bp", model="mlp")
    colours = method_colours(find_runs([tmp_path]))
    assert colours == {"bp linear": METHODS["linear"], "bp mlp": METHODS["bp"]}
    assert shades(["redo", "new"]) == [METHODS["redo"], SPARE[0]]


def test_names_of_what_is_measured_elsewhere():
    assert title("next_effective_rank") == "Effective rank, next task's data before learning it"
    assert title("previous_srank_99") == "srank, 99 % of Σσ, data of all earlier tasks"
    assert axis_label("next_rarely_active_units") == "fraction of units"
    assert is_fraction("previous_rarely_active_units")
    assert title("start_dead_units") == "Dead units, new task before learning it"
    assert title("validation_accuracy") == "Validation accuracy"
    assert axis_label("test_loss") == "loss"
    assert is_fraction("test_class_accuracy")


def test_comparisons_hold_classes_relatives_and_sensitivities(tmp_path):
    for lr in (0.1, 0.01, 0.001):
        rows = [*rows_of("online_loss", [[1.0, lr]]), *rows_of("test_class_accuracy", [[0.5]], "class.00")]
        write_exact(tmp_path, rows, name=str(lr), optimizer__lr=lr)
    runs = find_runs([tmp_path])
    names = list(dict(comparison_figures(runs, Choice(relative_to="bp lr=0.01"))))
    assert names == [
        "online_loss", "loss_of_plasticity_online_loss", "test_class_accuracy_by_class", "relative_online_loss",
        "sensitivity_lr",
    ]  # fmt: skip
