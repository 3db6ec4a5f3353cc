"""Runs of different streams: apart with a word, refused by name, and side by side when told to."""

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import line, rows_of, write_exact

from lop_lightning.analysis.find import find_runs, group_by_task, labelled_across
from lop_lightning.analysis.labels import ELSEWHERE, stream_differences
from lop_lightning.records.run_directory import VOLATILE
from lop_lightning.report.choice import Choice
from lop_lightning.report.compare import comparison_figures
from lop_lightning.report.figures import Plot
from lop_lightning.report.main import main
from lop_lightning.report.streams import not_compared, stream_of

HINT = "; --across-streams compares them all the same"


def write(root, algo, accuracy, source="digits", length=25, **task):
    """A run of one epoch a task; ``accuracy`` is [seeds][tasks]."""
    rows = [
        *rows_of("test_accuracy", accuracy),
        *rows_of("test_loss", 1 - np.asarray(accuracy)),
        *rows_of("online_loss", 1 - np.asarray(accuracy)),
    ]
    task = {f"task__{key}": value for key, value in task.items()}
    return write_exact(root, rows, algo, name=f"{source}{length}{task}", task__source=source, task__max_length=length,
                       **task)  # fmt: skip


@pytest.fixture
def two(tmp_path):
    """bp and l2 on one stream, bp on another; three seeds each."""
    root = tmp_path / "runs"
    write(root, "bp", [[0.5, 0.3], [0.6, 0.4], [0.7, 0.5]])
    write(root, "l2", [[0.6, 0.6], [0.7, 0.7], [0.8, 0.8]])
    write(root, "bp", [[0.9, 0.9], [0.8, 0.8], [0.7, 0.7]], "mnist", 50)
    return root


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.count("\n") == 1
    return error.removeprefix("lop-report: ").strip()


def test_they_are_reported_apart_and_one_line_says_why(two, tmp_path, capsys):
    assert main([str(two), f"--out={tmp_path / 'out'}", "--metrics=test_accuracy"]) == 0
    error = capsys.readouterr().err
    assert error == (
        "lop-report: runs of 2 streams were reported separately and not compared with each other, since their streams "
        f"differ in task.source digits / mnist, task.max_length 25 / 50{HINT}\n"
    )
    assert (tmp_path / "out" / "permuted_images_source=digits_max_length=25" / "test_accuracy.png").exists()
    accuracy = pd.read_csv(tmp_path / "out" / "accuracy.csv")
    gains = accuracy[accuracy.measure == "relative_gain"]
    assert gains.label.tolist() == ["l2"]  # nothing of the other stream has a base
    assert gains.estimate.tolist() == pytest.approx([100 * (0.7 - 0.5) / 0.5])


def test_one_stream_is_one_silence(two, tmp_path, capsys):
    write(tmp_path / "one", "bp", [[0.5, 0.3]], data_dir="here")
    write(tmp_path / "one", "l2", [[0.5, 0.3]], data_dir="there")  # where the data lie is not what they are
    options = [f"--out={tmp_path / 'out'}", "--metrics=test_accuracy"]
    assert main([str(tmp_path / "one"), *options]) == main([str(tmp_path / "one"), *options, "--across-streams"]) == 0
    assert capsys.readouterr().err == ""
    assert ("task", *ELSEWHERE) in VOLATILE


def test_a_run_of_another_stream_is_no_reference(two, tmp_path, capsys):
    for option in ("relative-to", "horizontal"):
        assert refusal(capsys, two, f"--{option}=l2", f"--out={tmp_path / 'out'}") == (
            f"argument --{option}: permuted_images has a run called 'l2', but 'bp' is of another stream, that differs "
            f"in task.source digits / mnist, task.max_length 25 / 50{HINT}"
        )
    assert not (tmp_path / "out").exists()
    options = [f"--out={tmp_path / 'out'}", "--metrics=test_accuracy", "--relative-to=bp"]
    assert main([str(two), *options]) == 0  # each stream has its own
    capsys.readouterr()
    assert "not with --figures" in refusal(capsys, two, "--figures=dohare2024", "--across-streams")


def test_across_streams_all_runs_are_in_one_figure(two, tmp_path, capsys):
    options = ["--across-streams", "--relative-to=bp source=digits max_length=25", "--horizontal=l2"]
    assert main([str(two), f"--out={tmp_path / 'out'}", *options]) == 0
    assert capsys.readouterr().err == ""
    labels = {f"bp source={source} max_length={length}" for source, length in (("digits", 25), ("mnist", 50))}
    for metric in ("test_accuracy", "test_loss", "online_loss"):
        drawn = set(pd.read_csv(tmp_path / "out" / f"{metric}.csv")["line"])
        assert drawn == {*labels, "l2 source=digits max_length=25 (mean)"}
    contrasts = pd.read_csv(tmp_path / "out" / "contrasts.csv").set_index("label")
    assert contrasts.loc["l2 source=digits max_length=25", "kind"] == "t"
    assert contrasts.loc["bp source=mnist max_length=50", "kind"] == "unpaired t (Welch)"
    accuracy = pd.read_csv(tmp_path / "out" / "accuracy.csv")
    gains = accuracy[accuracy.measure == "relative_gain"].set_index("label")
    assert gains.loc["bp source=mnist max_length=50", "kind"] == "unpaired Fieller"
    assert gains.loc["bp source=mnist max_length=50", "estimate"] == pytest.approx(60.0)
    assert gains.loc["l2 source=digits max_length=25", "kind"] == "paired Fieller"


def test_what_is_not_paired_says_so(two):
    runs = labelled_across(find_runs([two]))
    choice = Choice(relative_to="bp source=digits max_length=25")
    figures = dict(comparison_figures(runs, choice))
    plot = figures["relative_test_accuracy"]()
    # 0.8 - 0.6, then 0.8 - 0.4; Welch, each s = 0.1 of three seeds: (0.1² / 3 + 0.1² / 3)^½ · t_4 = 0.0816 · 2.776
    numbers = plot.numbers().set_index("line")
    other = numbers.loc["bp source=mnist max_length=50"]
    assert other["mean"].tolist() == pytest.approx([0.2, 0.4])
    assert (other["high"] - other["mean"]).tolist() == pytest.approx([0.22669587] * 2)
    assert set(other["kind"]) == {"unpaired t (Welch)"}
    assert line(plot, "l2 source=digits max_length=25") == {1: 0.1, 2: 0.3}
    assert set(numbers.loc["l2 source=digits max_length=25", "kind"]) == {"t"}
    for name in ("relative_test_accuracy", "test_accuracy", "loss_of_plasticity_test_accuracy"):
        drawn = figures[name]()
        figure = drawn.figure() if isinstance(drawn, Plot) else drawn
        assert "different streams" in figure.axes[0].get_title(loc="left").replace("\n", " ")
        assert "different streams (task.source digits / mnist" in figure.get_supxlabel().replace("\u00a0", " ")
    assert "runs of other tasks unpaired" in plot.source


def test_hyper_parameters_and_the_best_are_looked_for_within_a_stream(tmp_path):
    for length in (10, 25, 40):
        for lr in (0.1, 0.2):
            rows = rows_of("online_accuracy", [[0.5, lr]])
            name = f"{length}{lr}"
            write_exact(tmp_path, rows, name=name, task__max_length=length, optimizer__lr=lr)
    runs = labelled_across(find_runs([tmp_path]))
    figures = dict(comparison_figures(runs))
    assert "sensitivity_lr" not in figures  # two values in each stream, not six
    plot = figures["sensitivity_max_length"]()
    assert line(plot, "bp lr=0.1") == {10: 0.1, 25: 0.1, 40: 0.1}
    assert line(plot, "bp lr=0.2") == {10: 0.2, 25: 0.2, 40: 0.2}


def test_differences_are_named_as_on_the_command_line(tmp_path):
    configs = [{"task": {"name": "a", "composed": c, "n": n}} for c in (True, False) for n in range(6)]
    assert stream_differences(configs) == ["task.composed true / false", "task.n 0 / 1 / 2 / 3 / …"]
    other = {"task": {"name": "b", "classes": 7}}
    assert stream_differences([configs[0], other]) == ["task a / b"]
    assert stream_differences([configs[0], configs[0]]) == []
    write(tmp_path, "bp", [[0.5, 0.3]])
    write(tmp_path, "l2", [[0.5, 0.3]], length=50)
    runs = find_runs([tmp_path])
    assert stream_of(runs) == "different streams (task.max_length 25 / 50)"
    assert stream_of(runs[:1]) == "permuted_images"
    assert "runs of 2 streams" in not_compared(group_by_task(runs))
