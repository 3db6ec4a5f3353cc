import pandas as pd
from synthetic_runs import write_run

from lop_lightning.analysis.best import CAVEAT
from lop_lightning.report.main import main

METRICS = "--metrics=online_accuracy"


def test_a_sweep_gives_its_best_to_the_terminal_the_page_and_a_file(tmp_path, capsys):
    for lr, decay in ((0.1, 0.4), (0.01, 0.1), (0.001, 0.3)):
        for algo in ("bp", "l2"):
            write_run(tmp_path / "runs", algo, tasks=10, decay=decay, name=str(lr), optimizer__lr=lr)
    write_run(tmp_path / "runs", "bp", tasks=10, decay=0.0, name="new", optimizer__lr=0.5, done=False)
    write_run(tmp_path / "runs", "cbp", tasks=10, decay=0.0)
    assert main([str(tmp_path / "runs"), METRICS]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "best setting of each method" in out
    assert "3 (1 unfinished)" in out
    assert CAVEAT in out
    folder = tmp_path / "runs" / "permuted_mnist" / "mlp" / "report"
    best = pd.read_csv(folder / "best.csv")
    assert best.label.tolist() == ["bp lr=0.01", "l2 lr=0.01"]
    assert best.settings.tolist() == ["optimizer.lr=0.01"] * 2
    assert best[["candidates", "diverged", "unfinished", "n", "window"]].to_numpy().tolist() == [
        [3, 0, 1, 5, 1], [3, 0, 0, 5, 1]
    ]  # fmt: skip
    assert ((best.low < best.estimate) & (best.estimate < best.high)).all()
    assert best.caveat.unique().tolist() == [CAVEAT]
    page = (folder / "report.html").read_text()
    assert "<td>optimizer.lr=0.01</td>" in page
    assert CAVEAT in page
    assert best.rule[0] in page


def test_without_a_choice_there_is_no_table(tmp_path, capsys):
    for algo in ("bp", "cbp"):
        write_run(tmp_path / "runs", algo, tasks=6)
    assert main([str(tmp_path / "runs"), METRICS]) == 0
    assert "best setting" not in capsys.readouterr().out
    folder = tmp_path / "runs" / "permuted_mnist" / "mlp" / "report"
    assert not (folder / "best.csv").exists()
    assert "best run" not in (folder / "report.html").read_text()
