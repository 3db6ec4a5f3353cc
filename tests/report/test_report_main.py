import io
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from synthetic_runs import write_run

from lop_lightning.report.main import main
from lop_lightning.report.table import COLUMNS, run_table, summary_rows

METRICS = "--metrics=online_accuracy,dead_units"  # a whole report takes longer than a test should


def message(capsys, *arguments):
    """Exit code and the one line on stderr."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("lop-report: ")
    return caught.value.code, error


def test_a_report(tmp_path, capsys):
    for algo, decay in (("bp", 0.4), ("cbp", 0.0)):
        write_run(tmp_path / "runs", algo, tasks=12, decay=decay, done=algo == "bp")
    assert main([str(tmp_path / "runs"), METRICS]) == 0
    out = capsys.readouterr().out
    assert "lost" in out
    assert "cbp (unfinished)" in out
    folder = tmp_path / "runs" / "permuted_mnist" / "mlp" / "report"
    page = (folder / "report.html").read_text()
    assert "http" not in page
    assert "<script" not in page
    assert "<link" not in page
    assert page.count("data:image/svg+xml;base64,") == 2 * 2 + 3
    assert "prefers-color-scheme: dark" in page
    summary = pd.read_csv(folder / "summary.csv")
    assert list(summary.columns) == list(COLUMNS)
    assert summary.set_index("label").loc["bp", "verdict"] == "lost"
    contrasts = pd.read_csv(folder / "contrasts.csv")
    assert contrasts.verdict.tolist() == ["lost less"]
    for name in ("online_accuracy.png", "loss_of_plasticity_online_accuracy.svg", "dead_units_layer_mean.png"):
        assert (folder / name).exists()
    assert main([str(tmp_path / "runs"), METRICS]) == 0  # its own files it may write again


def test_different_streams_are_compared_separately(tmp_path):
    for algo in ("bp", "cbp"):
        write_run(tmp_path / "runs", algo, tasks=6, seeds=2)
        write_run(tmp_path / "runs", algo, tasks=6, seeds=2, task="slowly_changing_regression", classification=False)
    assert main([str(tmp_path / "runs"), "--metrics=online_accuracy,online_loss", f"--out={tmp_path / 'here'}"]) == 0
    assert (tmp_path / "here" / "permuted_mnist" / "loss_of_plasticity_online_accuracy.png").exists()
    assert (tmp_path / "here" / "slowly_changing_regression" / "loss_of_plasticity_online_loss.png").exists()


def test_one_run_of_one_task(tmp_path):
    run = write_run(tmp_path, tasks=1, seeds=1)
    assert main([str(run), METRICS]) == 0
    assert (run / "figures" / "online_accuracy.png").exists()
    assert (run / "report" / "report.html").exists()


def test_wrong_paths_and_arguments_are_one_line(tmp_path, capsys):
    run = write_run(tmp_path / "runs", tasks=6)
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, name in (
        ([tmp_path / "absent"], "absent"),
        ([run, empty], str(empty)),
        ([run, "--level=95"], "--level"),
        ([run, "--window=0"], "--window"),
        ([run, "--window=4"], "--window"),
        ([run, "--metrics=online_acuracy"], "did you mean 'online_accuracy'"),
        ([run, "--metrics=,"], "--metrics"),
        ([run, "--colour"], "--colour"),
        ([], "RUNS"),
    ):
        code, error = message(capsys, *arguments)
        assert code == 2
        assert name in error
    assert not (run / "figures").exists()


def test_nothing_it_did_not_make_is_overwritten(tmp_path, capsys):
    run = write_run(tmp_path, tasks=6)
    mine = run / "figures" / "online_accuracy.png"
    mine.parent.mkdir()
    mine.write_text("mine")
    code, error = message(capsys, run, METRICS)
    assert code == 2
    assert "online_accuracy.png" in error
    assert mine.read_text() == "mine"


def test_a_run_that_recorded_nothing_is_left_out(tmp_path, capsys):
    full, begun = write_run(tmp_path, tasks=6), write_run(tmp_path, "cbp", tasks=6)
    (begun / "record.csv").write_text("seed,task,epoch,update,layer,metric,value\n")
    assert main([str(tmp_path), METRICS]) == 0
    assert "has recorded nothing yet, left out" in capsys.readouterr().err
    assert (full / "figures" / "online_accuracy.svg").exists()
    assert message(capsys, begun)[0] == 2


def test_tables_need_no_matplotlib(tmp_path):
    run = write_run(tmp_path, tasks=6)
    program = (
        "import sys; from lop_lightning.report.table import run_table; "
        "from lop_lightning.analysis.runs import read_run; "
        "run_table(read_run(sys.argv[1])); sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(run)], check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())}
    )


def test_the_table_of_a_run(make_run):
    run = make_run(tasks=20, seeds=4)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(run_table(run))
    text = console.export_text()
    assert "online_accuracy" in text
    assert "95 % t interval" in text
    row = summary_rows(run)[0]
    assert tuple(row) == COLUMNS
    assert row["window"] == 2
    assert row["low"] < row["difference"] < row["high"]
    assert summary_rows(make_run("cbp", tasks=1)) == []
    console.print(run_table(make_run("l2", tasks=1)))
