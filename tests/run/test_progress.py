"""What a person sees while it trains."""

import io
import re

import pytest
from lab import TINY, Cut, PowerCut, configuration
from rich.console import Console

from lop_lightning.callbacks import ProgressBar
from lop_lightning.experiment import prepare
from lop_lightning.trainer import stream_trainer

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def shown(tmp_path, terminal, settings=(), extra=(), **options):
    """What a bar writes during a run."""
    bar, output = ProgressBar(**options), io.StringIO()
    bar.console = Console(file=output, force_terminal=terminal, width=80, legacy_windows=False, _environ={})
    experiment = prepare(configuration((*TINY, *settings), tmp_path))
    trainer = stream_trainer(experiment.stream, [*extra, experiment.watcher, bar], "cpu")
    try:
        trainer.fit(experiment.learner, datamodule=experiment.stream)
    finally:
        text = output.getvalue()
    return text


def test_one_line_on_a_terminal_of_80_columns(tmp_path):
    text = shown(tmp_path, True)
    assert (text.count(HIDE), text.count(SHOW)) == (1, 1)
    lines = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text).replace("\r", "\n").split("\n")
    frames = [line for line in lines if line.strip()]
    assert all(frame.startswith("task ") for frame in frames)
    assert frames[0].startswith("task 1/3 ")
    assert "100%" in frames[-1]
    assert "updates/s" in frames[-1]
    assert "accuracy" in frames[-1]
    assert not any("compiling" in frame for frame in frames)


def test_how_much_is_done_is_there_at_any_speed(tmp_path, monkeypatch):
    """A machine so quick that the line does not fit."""
    monkeypatch.setattr("lop_lightning.callbacks.progress._speed_text", lambda *_: "503 updates/s 1.01k seed-updates/s")
    assert "100%" in shown(tmp_path, True)


def test_the_cursor_comes_back_after_an_exception(tmp_path):
    output = io.StringIO()
    bar = ProgressBar()
    bar.console = Console(file=output, force_terminal=True, width=80, legacy_windows=False, _environ={})
    experiment = prepare(configuration(TINY, tmp_path))
    with pytest.raises(PowerCut):
        stream_trainer(experiment.stream, [Cut(8), experiment.watcher, bar], "cpu").fit(
            experiment.learner, datamodule=experiment.stream
        )
    assert output.getvalue().count(SHOW) == 1


def test_plain_lines_where_there_is_no_terminal(tmp_path):
    lines = shown(tmp_path, False, log_seconds=0).splitlines()
    assert len(lines) == 12
    pattern = r"task [123]/3  [\d.]+k? updates/s [\d.]+k? seed-updates/s  \d+ s left  accuracy [\d.]+  loss [\d.]+"
    assert all(re.fullmatch(pattern, line) for line in lines), lines
    assert shown(tmp_path, False, log_seconds=1000) == ""


def test_regression_has_no_accuracy(tmp_path):
    settings = ("task=slowly_changing_regression", "task.task_length=9")
    kept = [s for s in TINY if not s.startswith(("task", "callbacks.continual"))]
    experiment = prepare(configuration((*kept, *settings, "task.tasks=2", "seeds=1"), tmp_path))
    bar, output = ProgressBar(log_seconds=0), io.StringIO()
    bar.console = Console(file=output, width=80)
    stream_trainer(experiment.stream, [experiment.watcher, bar], "cpu").fit(
        experiment.learner, datamodule=experiment.stream
    )
    last = output.getvalue().splitlines()[-1]
    assert re.fullmatch(r"task 2/2  [\d.]+k? updates/s  0 s left  loss [\d.e-]+", last), last


def test_silent(tmp_path):
    assert shown(tmp_path, True, enabled=False) == ""
