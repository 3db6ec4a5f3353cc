import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic_runs import line, rows_of, write_exact

from lop_lightning.analysis.find import find_runs
from lop_lightning.report.choice import Choice
from lop_lightning.report.main import main
from lop_lightning.report.paper import paper_plots
from lop_lightning.report.paper_figures import PAPERS
from lop_lightning.report.vocabulary import is_fraction

DOHARE = Choice(figures="dohare2024")


def drawn(tmp_path, choice=DOHARE):
    """Name -> plot, and what is missing."""
    plots, missing = paper_plots(find_runs([tmp_path], any_length=True), choice)
    return {name: make() for name, make in plots}, missing


def test_regression_against_the_example_in_bins_of_two_tasks(tmp_path):
    for model, shift in (("mlp", 0.0), ("linear", 0.5)):
        values = [[0.4, 0.6, 0.8, 1.0, 9.0], [0.5, 0.7, 0.9, 1.1, 9.0]]
        rows = rows_of("online_loss", np.array(values) + shift, updates=10_000)
        write_exact(tmp_path, rows, task="slowly_changing_regression", model=model)
    plots, missing = drawn(tmp_path)
    assert missing == []
    assert list(plots) == ["online_performance"]
    plot = plots["online_performance"]
    assert line(plot, "bp mlp") == {20_000: 0.55, 40_000: 0.95}
    assert line(plot, "bp linear") == {20_000: 1.05, 40_000: 1.45}
    assert list(plot.numbers()) == ["line", "update", "mean", "low", "high", "n", "kind"]
    axes = plot.figure().axes[0]
    assert axes.get_xlabel() == "update"
    assert axes.get_ylabel() == "squared error"
    assert axes.get_ylim() not in ((0.4, 1.2), (0.6, 1.4))  # 1.45 lies in neither of the paper's
    caption = plot.figure().get_supxlabel().replace("\u00a0", " ").replace("\n", " ")
    for words in ("n = 2", "95 % t interval", "mean of 2 tasks"):
        assert words in caption


def test_permuted_mnist_in_per_cent(tmp_path):
    rows = [
        *rows_of("online_accuracy", [[0.92, 0.95, 0.93]]),
        *rows_of("weight_magnitude", [[0.01, 0.02, 0.03]]),
        *rows_of("start_dead_units", [[0.0, 0.1, 0.2]], "layers.0"),
        *rows_of("start_dead_units", [[0.0, 0.3, 0.3]], "layers.1"),
        *rows_of("dead_units", [[1.0, 1.0, 1.0]], "layers.0"),  # the paper measures on the new task
        *rows_of("effective_rank", [[10, 20, 5]], "layers.0"),
        *rows_of("effective_rank", [[10, 10, 10]], "layers.1"),
    ]
    write_exact(tmp_path, rows, "cbp", widths={"layers.0": 100, "layers.1": 50})
    plots, missing = drawn(tmp_path)
    assert missing == []
    assert line(plots["accuracy"], "cbp") == {1: 92, 2: 95, 3: 93}
    assert line(plots["weight_magnitude"], "cbp") == {1: 0.01, 2: 0.02, 3: 0.03}
    assert line(plots["dead_units"], "cbp") == {1: 0, 2: 20, 3: 25}
    assert line(plots["effective_rank"], "cbp") == {1: 15, 2: 20, 3: 12.5}
    limits = {name: plot.figure().axes[0].get_ylim() for name, plot in plots.items()}
    assert limits == {
        "accuracy": (91, 96), "weight_magnitude": (0, 0.1), "dead_units": (0, 30), "effective_rank": (0, 50),
    }  # fmt: skip
    write_exact(tmp_path, rows, "bp")  # does not say how wide it is: then none is drawn as a share
    plots, _ = drawn(tmp_path)
    assert line(plots["effective_rank"], "cbp") == {1: 10, 2: 15, 3: 7.5}
    assert plots["effective_rank"].panel.axis_label == "directions"


def test_permuted_mnist_at_several_rates_of_change(tmp_path):
    for length, values in ((250_000, np.arange(9) / 100), (1_000_000, [0.3, 0.4])):
        rows = rows_of("online_accuracy", [values], updates=length)
        write_exact(tmp_path, rows, name=str(length), task__task_length=length, task__tasks=len(values))
    write_exact(tmp_path, rows_of("online_accuracy", [[0.5]]), "cbp", task__task_length=10)  # shorter than a point
    plots, missing = drawn(tmp_path)
    assert missing == [f"{name}: no run recorded {metrics}" for name, metrics in (
        ("weight_magnitude", "start_weight_magnitude or weight_magnitude"),
        ("dead_units", "start_dead_units or dead_units"),
        ("effective_rank", "start_effective_rank or effective_rank"),
    )]  # fmt: skip
    plot = plots["rate_of_change"]
    assert line(plot, "bp task_length=250000") == {1_000_000: 1.5, 2_000_000: 5.5}
    assert line(plot, "bp task_length=1000000") == {1_000_000: 30, 2_000_000: 40}
    assert len(plot.figure().legends[0].get_texts()) == 2
    assert "mean of 4 tasks" in plot.figure().get_supxlabel().replace("\u00a0", " ")


def test_imagenet_takes_the_last_epoch_in_bins_with_the_linear_level(tmp_path):
    tasks = np.arange(105)
    accuracy = np.stack([tasks / 200, tasks / 200 + 0.1])[:, :, None] + np.array([0.5, 0.2])  # falls in the last epoch
    write_exact(tmp_path, rows_of("test_accuracy", accuracy - 0.2), "cbp", task="continual_imagenet", task__tasks=105)
    linear = rows_of("test_accuracy", [[0.7] * 100, [0.8] * 100])
    write_exact(tmp_path, linear, "bp", task="continual_imagenet", model="linear", task__tasks=100)
    plots, _ = drawn(tmp_path)
    plot = plots["test_accuracy"]
    first = 100 * (24.5 / 200 + 0.05)
    assert line(plot, "cbp mlp") == pytest.approx({25.5: first, 75.5: first + 25})
    level = plot.numbers().iloc[-1]
    assert level["line"] == "bp linear (mean)"
    assert np.isnan(level["task"])
    assert (level["mean"], level["n"]) == (pytest.approx(75), 2)
    axes = plot.figure().axes[0]
    assert [line.get_label() for line in axes.get_lines()] == ["bp linear (mean)", "cbp mlp"]
    assert "each task: the last of its epochs" in plot.figure().get_supxlabel().replace("\u00a0", " ")


def test_imagenet_in_a_short_stream(tmp_path):
    write_exact(tmp_path, rows_of("test_accuracy", [np.arange(20) / 20]), task="continual_imagenet")
    numbers = drawn(tmp_path)[0]["test_accuracy"].numbers()
    assert numbers["task"].tolist() == [1.5 + 2 * i for i in range(10)]


def write_cifar(tmp_path, algo, accuracy, first_seed=0, **config):
    shape = np.array(accuracy)[:, :, 0]
    rows = [
        *rows_of("test_accuracy", accuracy, first_seed=first_seed),
        *rows_of("test_loss", 3 - 2 * np.array(accuracy), first_seed=first_seed),
        *rows_of("next_rarely_active_units", 0 * shape + 0.25, first_seed=first_seed),
        *rows_of("next_effective_rank", 0 * shape + 256, first_seed=first_seed),
        *(row for row in rows_of("previous_srank_99", 0 * shape + 128, first_seed=first_seed) if row[1] > 0),
    ]
    config = {"task": "incremental_cifar", "task__classes_per_task": 5, "widths": {"a": 64, "b": 512}} | config
    write_exact(tmp_path, rows, algo, **config)


def test_cifar_against_the_retrained_network(tmp_path):
    write_cifar(tmp_path, "retrain", [[[0.8, 0.9], [0.7, 0.6]], [[0.8, 0.8], [0.6, 0.5]]])
    write_cifar(tmp_path, "bp", [[[0.6, 0.5], [0.4, 0.5]], [[0.9, 0.85], [0.5, 0.55]], [[0.0, 0.0], [0.0, 0.0]]])
    plots, missing = drawn(tmp_path)
    assert len(PAPERS["dohare2024"]["incremental_cifar"]) == len(plots) + len(missing) == 10
    relative = plots["relative_accuracy"].numbers()
    assert relative["line"].unique().tolist() == ["bp"]
    assert relative["number_of_classes"].tolist() == [5, 10]
    # the larger of the epochs, seeds 0 and 1: 0.6 - 0.9, 0.9 - 0.8; 0.5 - 0.7, 0.55 - 0.6
    assert relative["mean"].tolist() == pytest.approx([-10, -12.5])
    assert relative["n"].tolist() == [2, 2]
    half = 12.706204736174698 * np.std([-30, 10], ddof=1) / np.sqrt(2)
    assert relative["low"][0] == pytest.approx(-10 - half)
    assert line(plots["test_accuracy"], "retrain") == {5: 85, 10: 65}
    assert line(plots["test_loss"], "retrain") == {5: 1.3, 10: 1.7}
    assert line(plots["dormant_units_next"], "bp") == {5: 25, 10: 25}
    assert line(plots["effective_rank_next"], "bp") == {5: 50, 10: 50}
    assert line(plots["stable_rank_previous"], "bp") == {10: 25}
    axes = plots["relative_accuracy"].figure().axes[0]
    assert axes.get_xlabel() == "number of classes"
    assert axes.get_ylabel() == "difference (percentage points)"
    assert "largest of its epochs" in plots["relative_accuracy"].figure().get_supxlabel().replace("\u00a0", " ")


def test_what_cannot_be_drawn_is_said(tmp_path):
    write_cifar(tmp_path, "bp", [[[0.6, 0.5]]])
    plots, missing = drawn(tmp_path)
    assert "relative_accuracy" not in plots
    assert missing[0] == "relative_accuracy: no run is called 'retrain'"
    assert "weight_magnitude: no run recorded weight_magnitude" in missing
    write_cifar(tmp_path, "retrain", [[[0.6, 0.5]]], first_seed=4)
    with pytest.raises(ValueError, match="'bp' and 'retrain' share no seed"):
        drawn(tmp_path)


def test_nothing_to_draw_is_one_line(tmp_path):
    write_exact(tmp_path, rows_of("online_accuracy", [[0.5]]), task="continual_imagenet")
    with pytest.raises(ValueError, match="none of its figures can be drawn; left out test_accuracy: no run recorded"):
        drawn(tmp_path)


def test_the_command(tmp_path, capsys):
    write_cifar(tmp_path / "runs", "retrain", [[[0.8, 0.9], [0.7, 0.6]], [[0.8, 0.8], [0.6, 0.5]]])
    write_cifar(tmp_path / "runs", "bp", [[[0.6, 0.5], [0.4, 0.5]], [[0.9, 0.85], [0.5, 0.55]]])
    arguments = [str(tmp_path / "runs"), "--figures=dohare2024", f"--out={tmp_path / 'out'}"]
    assert main([*arguments, "--metrics=test_accuracy"]) == 0
    folder = tmp_path / "out" / "dohare2024"
    names = {"relative_accuracy", "test_accuracy"}
    files = {f"{name}.{kind}" for name in names for kind in ("png", "svg", "csv")}
    assert {path.name for path in folder.iterdir()} == files | {".lop-report"}
    table = pd.read_csv(folder / "relative_accuracy.csv")
    assert table["mean"].tolist() == pytest.approx([-10, -12.5])
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/svg+xml;base64,") == 2
    assert not list((tmp_path / "runs").rglob("figures"))
    contrasts = pd.read_csv(tmp_path / "out" / "contrasts.csv")
    # bp went from 0.5 to 0.5 and 0.85 to 0.55 in the last epoch, the retrained network from 0.9 to 0.6 and 0.8 to 0.5
    assert contrasts[["label", "against"]].to_numpy().tolist() == [["bp", "retrain"]]
    assert contrasts["difference"].tolist() == pytest.approx([-0.15])
    capsys.readouterr()
    write_exact(tmp_path / "gmm", rows_of("min_loss", [[0.1]]), task="gmm")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "gmm"), "--figures=dohare2024"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "dohare2024 has no figures of 'gmm'" in error
    assert not (tmp_path / "gmm" / "report").exists()


def test_the_registry_is_consistent():
    for figures in PAPERS["dohare2024"].values():
        assert len({figure.name for figure in figures}) == len(figures)
        for figure in figures:
            assert figure.unit in ("1", "%", "% of width")
            assert figure.x in ("task", "update", "classes")
            assert (figure.unit == "%") == all(is_fraction(metric) for metric in figure.metrics)
            assert all(low < high for low, high in figure.limits)


def test_left_out_figures_are_named_on_the_terminal(tmp_path):
    from lop_lightning.report.build import plan

    write_cifar(tmp_path, "bp", [[[0.6, 0.5]]])
    console = Console(file=io.StringIO(), width=200)
    assert plan({"incremental_cifar": find_runs([tmp_path])}, tmp_path / "out", DOHARE, console)
    assert "lop-report: left out relative_accuracy: no run is called 'retrain'" in console.file.getvalue()
    assert not (tmp_path / "out").exists()
