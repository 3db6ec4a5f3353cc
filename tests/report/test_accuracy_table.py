"""``accuracy.csv`` and its table: which accuracy, which base, what is shown."""

import io

import pandas as pd
from rich.console import Console
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.find import find_runs
from lop_lightning.report.accuracy import (
    ACCURACY_HEADER,
    accuracy_cells,
    accuracy_footnote,
    accuracy_rows,
    accuracy_table,
)
from lop_lightning.report.main import main

BP = [[0.5, 0.4], [0.5, 0.3]]


def write(root, algo, accuracy=None, metric="test_accuracy", **config):
    return write_exact(root, rows_of(metric, accuracy or BP), algo, name=f"{algo}{len(config)}", **config)


def test_the_report_has_them(tmp_path, capsys):
    write(tmp_path / "runs", "bp")
    write(tmp_path / "runs", "l2", [[0.5, 0.6], [0.6, 0.7]])
    out = tmp_path / "out"
    assert main([str(tmp_path / "runs"), f"--out={out}"]) == 0
    text = capsys.readouterr().out
    assert "accuracy over the stream" in text
    assert "+41.2" in text  # 0.6 against 0.425
    page = (out / "report.html").read_text()
    assert "relative gain %" in page
    assert "of two tasks only" in page
    table = pd.read_csv(out / "accuracy.csv")
    assert {"estimate", "low", "high", "level", "n", "seeds", "kind", "unit", "against"} <= set(table.columns)
    assert table[table.label == "l2"].measure.tolist() == [
        "mean_accuracy", "first_accuracy", "last_accuracy", "lowest_accuracy", "degradation", "slope", "relative_gain"
    ]  # fmt: skip
    assert main([str(tmp_path / "runs"), f"--out={out}", "--relative-to=l2"]) == 0
    table = pd.read_csv(out / "accuracy.csv")
    assert table[table.measure == "relative_gain"][["label", "against"]].values.tolist() == [["bp", "l2"]]


def test_no_accuracy_no_file(tmp_path, capsys):
    write(tmp_path / "runs", "bp", metric="online_loss")
    write(tmp_path / "both", "bp")
    for runs, options in (("runs", []), ("both", ["--metrics=test_accuracy"])):
        assert main([str(tmp_path / runs), f"--out={tmp_path / 'out' / runs}", *options]) == 0
    assert not (tmp_path / "out" / "runs" / "accuracy.csv").exists()
    assert (tmp_path / "out" / "both" / "accuracy.csv").exists()


def test_runs_are_measured_by_the_accuracy_that_all_have(tmp_path):
    both = [*rows_of("test_accuracy", BP), *rows_of("online_accuracy", BP)]
    write_exact(tmp_path, both, "bp")
    write(tmp_path, "l2", metric="online_accuracy")
    write(tmp_path, "cbp", metric="online_loss")
    rows = accuracy_rows(find_runs([tmp_path]))
    assert {(row["label"], row["metric"]) for row in rows} == {("bp", "online_accuracy"), ("l2", "online_accuracy")}
    assert accuracy_rows(find_runs([tmp_path]), ["online_loss"]) == []
    assert {row["metric"] for row in accuracy_rows(find_runs([tmp_path]), ["test_accuracy"])} == {"test_accuracy"}


def test_cells_say_what_is_missing(tmp_path):
    write(tmp_path, "bp")
    lost = write(tmp_path, "l2", [[0.5, 0.6], [float("nan"), 0.7]])
    (lost / "summary.json").unlink()
    rows = accuracy_rows(find_runs([tmp_path]))
    bp, l2 = accuracy_cells(rows)
    assert len(bp) == len(ACCURACY_HEADER)
    assert bp[:2] == ["bp", "test_accuracy"]
    assert bp[-2:] == ["", "2"]
    assert l2 == ["l2 (unfinished)", "test_accuracy", "0.550", "-20.0", "+22.2", "1 of 2"]
    assert "over bp, on the tasks that both have" in accuracy_footnote(rows)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(accuracy_table([row for row in rows if row["label"] == "bp"], "stream"))
    text = console.export_text()
    assert "test_accuracy" in text
    assert "relative gain" not in text
