"""The same command again: shows the result, trains nothing."""

import json

import pytest
from lab import TINY, checkpoints, configuration, run

from lop_lightning.experiment import prepare


def state_of(directory):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.path.rglob("*") if path.is_file()}


def test_done_is_shown_and_not_done_again(lop, tmp_path):
    code, shown, errors = lop(*TINY)
    assert (code, errors) == (0, "")
    directory = prepare(configuration(TINY, tmp_path)).directory
    before = state_of(directory)
    code, again, errors = lop(*TINY)
    assert (code, again) == (0, shown)
    assert errors == f"lop: already done: {directory.path}\n"
    assert state_of(directory) == before
    for words in ("online_loss", "post_accuracy", str(directory.record), "lop-report"):
        assert words in shown


@pytest.mark.parametrize(
    "other",
    [
        "hardware.chunk=3", "hardware.lift=loop", "callbacks.checkpoint.keep=5", "callbacks.progress.log_seconds=1",
        "logger=csv",
    ],
)  # fmt: skip
def test_what_does_not_change_the_numbers_does_not_change_the_place(tmp_path, other):
    places = [prepare(configuration(settings, tmp_path)).directory.path for settings in (TINY, (*TINY, other))]
    assert places[0] == places[1]


@pytest.mark.parametrize(
    "other", ["seeds=[3,2]", "optimizer.lr=0.02", "task.n=17", "callbacks.continual.every_tasks=2"]
)
def test_what_changes_the_numbers_changes_the_place(tmp_path, other):
    places = [prepare(configuration(settings, tmp_path)).directory.path for settings in (TINY, (*TINY, other))]
    assert places[0] != places[1]


def test_ten_seeds_are_the_seeds_from_0_to_9(tmp_path):
    places = [prepare(configuration((*TINY, seeds), tmp_path)).directory.path for seeds in ("seeds=3", "seeds=[0,1,2]")]
    assert places[0] == places[1]


def test_what_a_run_leaves(tmp_path):
    directory = run(TINY, tmp_path)
    assert directory.path.relative_to(tmp_path).parts == ("gmm", "mlp", "bp", directory.identity)
    files = {str(path.relative_to(directory.path)) for path in directory.path.rglob("*") if path.is_file()}
    saved = {str(path.relative_to(directory.path)) for path in checkpoints(directory)}
    assert len(saved) == 2
    saved |= {name for name in files if name.startswith("provenance/")}  # see test_provenance.py
    rest = {".lock", "config.yaml", "progress.json", "record.csv", "run.json", "sessions.jsonl", "summary.json"}
    assert files == rest | saved
    summary = json.loads(directory.summary.read_text())
    assert (summary["updates"], summary["dropped_seeds"]) == (36, [])
    assert {row["metric"] for row in summary["results"]} >= {"online_loss", "online_accuracy", "final_loss"}


def test_as_many_checkpoints_as_asked_for_are_kept(tmp_path):
    directory = run((*TINY, "callbacks.checkpoint.keep=3"), tmp_path)
    assert [int(path.stem.removeprefix("update-")) for path in checkpoints(directory)] == [24, 30, 36]


def test_checkpoints_by_the_clock(tmp_path):
    always = (*TINY, "callbacks.checkpoint.every_updates=null", "callbacks.checkpoint.keep=99")
    often = run((*always, "callbacks.checkpoint.every_seconds=0"), tmp_path / "often")
    assert len(checkpoints(often)) == 12
    seldom = run((*always, "callbacks.checkpoint.every_seconds=1000"), tmp_path / "seldom")
    never = run((*always, "callbacks.checkpoint.every_seconds=null"), tmp_path / "never")
    assert [path.name for d in (seldom, never) for path in checkpoints(d)] == ["update-000000000036.ckpt"] * 2
