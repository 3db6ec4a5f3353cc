import numpy as np
import pandas as pd
import pytest

from lop_lightning.analysis.loss_of_plasticity import contrast, early_late, headline_metric, performance_metrics
from lop_lightning.analysis.runs import read_run


def rewrite(run, rows):
    """Replace a run's record by (seed, task, metric, value) rows."""
    frame = pd.DataFrame(rows, columns=["seed", "task", "metric", "value"])
    frame = frame.assign(epoch=0, update=frame.task, layer="")
    columns = ["seed", "task", "epoch", "update", "layer", "metric", "value"]
    frame[columns].to_csv(run.directory / "record.csv", index=False, na_rep="nan")
    return read_run(run.directory)


def line(metric, start, slope, seeds=4, tasks=20):
    return [(s, t, metric, start + slope * t + 0.01 * s * (t + 1)) for s in range(seeds) for t in range(tasks)]


@pytest.mark.parametrize(
    ("metric", "slope", "verdict"),
    [
        ("online_accuracy", -0.3, "lost"),
        ("online_accuracy", 0.3, "improved"),
        ("online_loss", 0.3, "lost"),
        ("online_loss", -0.3, "improved"),
        ("online_loss", -0.015, "kept"),
    ],
)
def test_sign_and_verdict(make_run, metric, slope, verdict):
    run = rewrite(make_run(), line(metric, 1.0, slope))
    result = early_late(run, metric)
    assert result.window == 2
    assert result.verdict == verdict
    series = run.series(metric)
    change = series.iloc[:, -2:].mean(axis=1) - series.iloc[:, :2].mean(axis=1)
    np.testing.assert_allclose(result.loss, -change if metric == "online_accuracy" else change)
    assert result.interval.estimate == pytest.approx(result.loss.mean())


def test_a_diverged_seed_is_left_out_and_counted(make_run):
    rows = line("online_loss", 1.0, 0.1)
    rows = [(s, t, m, np.nan if s == 2 and t > 10 else v) for s, t, m, v in rows]
    result = early_late(rewrite(make_run(), rows), "online_loss")
    assert result.interval.n == 3
    assert result.verdict == "lost"


def test_seeds_that_stopped_earlier_are_judged_by_their_own_last_tasks(make_run):
    rows = [row for row in line("online_loss", 0.0, 1.0, seeds=2) if row[0] == 1 or row[1] < 10]
    result = early_late(rewrite(make_run(), rows), "online_loss", window=1)
    assert result.tasks == 10
    assert result.late[0] == pytest.approx(9.0)
    assert result.late[1] == pytest.approx(19.2)


def test_one_seed_is_undecided(make_run):
    assert early_late(make_run(seeds=1), "online_accuracy").verdict == "undecided"


def test_losses_of_the_mixture_are_compared_in_decades(make_run):
    run = make_run(task="gmm")
    rows = [
        (s, t, "min_loss", 0.0 if s == 0 and t == 0 else 10.0 ** (-9 + t + 0.1 * s)) for s in range(4) for t in range(8)
    ]
    result = early_late(rewrite(run, rows), "min_loss", window=1)
    assert result.decades
    assert result.loss.tolist()[1:] == pytest.approx([7.0] * 3)
    assert result.early[0] == pytest.approx(-8.9)  # the smallest positive loss of the run
    assert result.verdict == "lost"


def test_errors_name_what_is_wrong(make_run):
    run = make_run(tasks=10)
    with pytest.raises(ValueError, match="6 tasks at either end need 12"):
        early_late(run, "online_loss", window=6)
    with pytest.raises(ValueError, match="'weight_magnitude' is no performance"):
        early_late(run, "weight_magnitude")
    with pytest.raises(ValueError, match="'val_loss' is not in the record"):
        early_late(run, "val_loss")


def test_headline(make_run):
    classification, regression = make_run(), make_run("cbp", classification=False)
    assert headline_metric([classification]) == "online_accuracy"
    assert headline_metric([classification, regression]) == "online_loss"
    assert performance_metrics(regression) == ["online_loss", "post_loss", "min_loss", "final_loss"]


def test_contrast_is_paired_by_seed(make_run):
    bp, cbp = make_run("bp", decay=0.4, seeds=6), make_run("cbp", decay=0.0, seeds=4)
    interval = contrast(early_late(cbp, "online_accuracy"), early_late(bp, "online_accuracy"))
    assert interval.n == 4
    assert interval.high < 0
