"""Mirrors: the loggers are shown each task's mean over seeds; the record stays what it was."""

import csv
import math

import pytest
import torch
from lab import TINY, Cut, PowerCut, outcome, run
from lightning.pytorch.loggers import CSVLogger
from test_divergence import Poison

from lop_lightning.callbacks.mirror import Mirror
from lop_lightning.records import end_logging

MIRRORED = (*TINY, "logger=csv", "callbacks.fresh.mode=paired", "callbacks.fresh.count=2")


def sessions(directory):
    """The tables of the CSV logger, one a session: {(task, name): value}."""
    tables = []
    for path in sorted(directory.path.glob("csv/version_*/metrics.csv")):
        with path.open() as file:
            table = [{k: v for k, v in line.items() if v != ""} for line in csv.DictReader(file)]
        tables.append({(int(line["step"]), k): float(v) for line in table for k, v in line.items() if k != "step"})
    return tables


def means(directory, seeds):
    """The same, from the record."""
    groups = {}
    for line in directory.record.read_text().splitlines()[1:]:
        seed, task, _, _, layer, metric, value = line.split(",")
        if int(seed) in seeds and metric != "dropped_at_update":
            groups.setdefault((int(task), f"{layer}/{metric}" if layer else metric), []).append(float(value))
    return {place: sum(values) / len(values) for place, values in groups.items()}


def test_csv_has_the_means_of_the_tasks(tmp_path):
    directory = run(MIRRORED, tmp_path)
    (table,) = sessions(directory)
    assert table == pytest.approx(means(directory, (3, 1)))
    assert {(2, "fresh_post_loss"), (1, "layers.1/dead_units"), (0, "online_accuracy")} <= set(table)
    assert (1, "fresh_post_loss") not in table


def test_a_logger_does_not_change_the_run(tmp_path):
    with_logger, without = (
        run((*MIRRORED, *more), tmp_path / str(number)) for number, more in enumerate(((), ("logger=none",)))
    )
    assert outcome(with_logger) == outcome(without)


def test_a_task_that_was_cut_is_mirrored_whole(tmp_path):
    with pytest.raises(PowerCut):
        run(MIRRORED, tmp_path, Cut(22))  # the checkpoint is in the middle of the second task, a bin after its start
    directory = run(MIRRORED, tmp_path)
    first, second = sessions(directory)
    expected = means(directory, (3, 1))
    assert first == pytest.approx({place: value for place, value in expected.items() if place[0] == 0})
    assert second == pytest.approx({place: value for place, value in expected.items() if place[0] > 0})


def test_dropped_seeds_are_left_out(tmp_path):
    directory = run((*MIRRORED, "callbacks.continual.nonfinite=drop"), tmp_path, Poison(16))
    (table,) = sessions(directory)
    for name in ("post_loss", "online_loss"):
        assert math.isfinite(table[2, name])
        assert table[2, name] == pytest.approx(means(directory, (1,))[2, name])


def test_a_logger_that_cannot_begin_says_so_before_training(lop, tmp_path, monkeypatch):
    def refuse(self):
        raise OSError("no room\nfor it")

    monkeypatch.setattr("lightning.pytorch.loggers.CSVLogger.experiment", property(refuse))
    code, _, errors = lop(*TINY, "logger=csv")
    assert (code, errors) == (2, "lop: logger: no room for it; logger=none does without\n")
    assert not list(tmp_path.rglob("*.ckpt"))
    assert lop(*TINY)[0] == 0


def test_one_that_reads_the_record_is_told_the_tasks_and_nothing_else():
    told = []

    class Reader:
        def follow(self, task):
            told.append(task)

        def close(self):
            told.append("end")

    mirror = Mirror()
    for task in (4, 5):
        mirror.add(task, "post_loss", "", torch.tensor([1.0, 3.0]))
    mirror.log([Reader()], [True, True])
    mirror.log([Reader()], [True, True])  # what was shown is not shown again
    end_logging([Reader(), CSVLogger("somewhere")])
    assert told == [4, 5, "end"]
