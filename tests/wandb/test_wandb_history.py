"""Rows of the record -> rows of W&B's history: numbers done by hand, and whole equals task by task."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from lop_lightning.analysis.statistics import seed_interval
from lop_lightning.wandb_tools.history import AXES, history, name_of, places_of
from lop_lightning.wandb_tools.tail import RecordTail

T_975 = 12.706204736174698
"""The 97.5 % quantile of Student's t with one degree of freedom, from the tables."""
HEADER = "seed,task,epoch,update,layer,metric,value\n"
SMALL = """\
4,0,0,2,,online_loss,1
7,0,0,2,,online_loss,3
4,0,0,8,,online_loss,5
7,0,0,8,,online_loss,7
4,0,0,8,fc.0,dead_units,0.25
7,0,0,8,fc.0,dead_units,0.75
4,0,0,8,class.03,test_class_accuracy,1
7,0,0,8,class.03,test_class_accuracy,1
4,1,0,16,,weight_norm,10
7,1,0,16,,weight_norm,inf
"""


def tail(path, text, header=HEADER):
    path.write_text(header + text)
    return RecordTail(path)


def test_by_hand(tmp_path):
    rows, tasks = tail(tmp_path / "record.csv", SMALL).take()
    assert tasks == [0, 1]
    assert places_of(rows, tasks) == [(0, 0, 2), (0, 0, 8), (0, 1, 8), (1, 1, 16)]
    first, second, whole, last = history(rows, tasks, 2)
    half = T_975  # of two values that are 2 apart: s/√2 = 1
    assert first == pytest.approx(
        {"task": 0, "update": 2, "updates/online_loss": 2,
         "updates/online_loss_low": 2 - half, "updates/online_loss_high": 2 + half}
    )  # fmt: skip
    assert second["updates/online_loss"] == 6
    assert whole == pytest.approx({
        "task": 0, "update": 8,
        # the first bin is of two updates, the second of six
        "seeds/online_loss/4": (2 * 1 + 6 * 5) / 8, "seeds/online_loss/7": (2 * 3 + 6 * 7) / 8,
        "performance/online_loss": 5, "performance/online_loss_low": 5 - half, "performance/online_loss_high": 5 + half,
        "layers/fc.0/dead_units": 0.5, "layers/fc.0/dead_units_low": 0.5 - half / 4,
        "layers/fc.0/dead_units_high": 0.5 + half / 4,
        "classes/03/test_class_accuracy": 1, "classes/03/test_class_accuracy_low": 1,
        "classes/03/test_class_accuracy_high": 1,
    })  # fmt: skip
    assert last == {
        "task": 1,
        "update": 16,
        "plasticity/weight_norm": 10,
        "seeds/weight_norm/4": 10,
    }  # no bounds of one


@pytest.mark.parametrize(
    ("per_seed", "shown"),
    [
        ("none", set()),
        ("network", {"seeds/online_loss/4", "seeds/online_loss/7"}),
        (
            "all",
            {f"seeds/{n}/{s}" for n in ("online_loss", "fc.0/dead_units", "03/test_class_accuracy") for s in (4, 7)},
        ),
    ],
)
def test_which_seeds_are_shown(tmp_path, per_seed, shown):
    rows, _ = tail(tmp_path / "record.csv", SMALL).take()
    (*_, whole) = history(rows, [0], 2, per_seed)
    assert {name for name in whole if name.startswith("seeds/")} == shown


def test_every_name_has_an_axis():
    places = (("post_loss", ""), ("weight_norm", ""), ("rank", "a"), ("x", "class.01"), ("x", "lag.07"))
    names = [name_of(*place) for place in places]
    assert names == ["performance/post_loss", "plasticity/weight_norm", "layers/a/rank", "classes/01/x", "lags/07/x"]
    assert {AXES[name.partition("/")[0] + "/"] for name in [*names, "seeds/x/1"]} == {"task"}
    assert AXES["updates/"] == "update"


def stream(tasks, seeds, generator):
    lines = []
    for task in range(tasks):
        for update in (3, 5, 10) if task % 3 else (10,):
            lines += [f"{s},{task},0,{10 * task + update},,online_loss,{generator.normal():.9g}\n" for s in seeds]
        lines += [f"{s},{task},0,{10 * task + 10},fc,rank,{generator.normal():.9g}\n" for s in seeds]
    return lines


@pytest.mark.parametrize("seeds", [3, 12])
def test_task_by_task_is_all_at_once(tmp_path, seeds):
    lines = stream(7, range(seeds), np.random.default_rng(0))
    rows, tasks = tail(tmp_path / "whole.csv", "".join(lines)).take()
    whole = history(rows, tasks, seeds)
    assert [(row["task"], row["update"]) for row in whole] == [(p[0], p[2]) for p in places_of(rows, tasks)]
    growing = tail(tmp_path / "record.csv", "")
    assert growing.take()[1] == []
    parts, content = [], "".join(lines)
    cuts = [0, 100, 711, 712, len(content) // 2, len(content)]  # in the middle of lines
    for begin, end in pairwise(cuts):
        with growing.path.open("a") as file:
            file.write(content[begin:end])
        rows, tasks = growing.take(max(growing.last_task(), 0))
        parts += history(rows, tasks, seeds)
    rows, tasks = growing.take()
    assert tasks == [6]
    parts += history(rows, tasks, seeds)
    assert len(parts) == len(whole)
    for one, other in zip(parts, whole):  # sums of a table and of its columns may be rounded otherwise
        assert one == pytest.approx(other, rel=1e-12)


def test_the_interval_is_that_of_the_reports(tmp_path):
    lines = stream(2, range(11), np.random.default_rng(1))
    rows, tasks = tail(tmp_path / "record.csv", "".join(lines)).take()
    values = [float(line.split(",")[-1]) for line in lines if ",1,0,20,fc,rank" in line]
    interval = seed_interval(values)
    assert interval.kind == "BCa bootstrap"
    row = history(rows, tasks, 11)[-1]
    assert (row["layers/fc/rank_low"], row["layers/fc/rank_high"]) == (interval.low, interval.high)


def test_a_seed_that_diverged_is_left_out_from_there_on(tmp_path):
    text = "".join(f"{s},{t},0,{t + 1},,update_size,{s + t}\n" for t in range(3) for s in (1, 2))
    rows, tasks = tail(tmp_path / "record.csv", text.replace("1,1,0", "2,1,0,1,,dropped_at_update,0\n1,1,0", 1)).take()
    means = [row["plasticity/update_size"] for row in history(rows, tasks, 2)]
    assert means == [1.5, 2, 3]
    assert "seeds/update_size/2" not in history(rows, [1], 2)[0]
    assert not any("dropped" in name for row in history(rows, tasks, 2) for name in row)


def test_an_empty_record(tmp_path):
    rows, tasks = tail(tmp_path / "record.csv", "", header="seed,ta").take()
    assert (len(rows), tasks) == (0, [])
    assert isinstance(rows, pd.DataFrame)
    assert history(rows, tasks, 2) == []
