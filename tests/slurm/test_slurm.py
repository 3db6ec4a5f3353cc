"""Jobs on a real SLURM: a sweep as an array, requeued jobs that go on bit for bit, and failures that are named."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from cluster import queue
from lab import TINY, configuration, outcome, run

from lop_lightning import train
from lop_lightning.experiment import prepare
from lop_lightning.launch import status

SETTINGS = [setting for setting in TINY if not setting.startswith("optimizer")]
SLURM = ("hardware=slurm_cpu", "hardware.launcher.cpus=1", "hardware.launcher.memory=1")
LONG = (
    *SETTINGS, "task.tasks=50", "algo=cbp", "algo._target_=dawdle.Dawdle", "algo.replacement_rate=0.01",
    "algo.maturity_threshold=20", "callbacks.continual.metrics=[units]", "callbacks.progress.file_seconds=0",
)  # fmt: skip
"""A minute and a half in a job's first turn, seconds elsewhere."""
MINUTE = ("hardware.launcher.minutes=1", "hardware.launcher.signal_delay=10")

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def lop(cluster):
    """``lop(*arguments)`` as on a command line: (exit code, what it said on stderr)."""

    def call(*arguments):
        import contextlib
        import io

        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
            patch.setattr("sys.argv", ["lop", *arguments])
            try:
                train.main()
                code = 0
            except SystemExit as stop:
                code = stop.code or 0
        return code, said.getvalue()

    return call


def submitted(lop, *settings):
    """A run of its own job: its directory and the job's id."""
    code, said = lop(*SLURM, *settings)
    assert code == 0, said
    assert said.startswith("lop: 1 job, 0 done, 1 to run\nlop: submitted "), said
    runs_dir = next(setting.partition("=")[2] for setting in settings if setting.startswith("runs_dir="))
    (note,) = Path(runs_dir).rglob("jobs.jsonl")
    return note.parent, json.loads(note.read_text())["job"]


def progress(path):
    file = path / "progress.json"
    return json.loads(file.read_text())["task"] if file.exists() else 0


def log(path):
    return Path(json.loads((path / "jobs.jsonl").read_text().splitlines()[-1])["log"]).read_text()


def until(condition, path, timeout=180):
    """Waits until something is so; fails with the job's log."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, log(path)
        time.sleep(0.1)


def overview(path, capsys):
    capsys.readouterr()
    assert status.main([str(path)]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The long run without a cluster and without an interruption."""
    return outcome(run(LONG, tmp_path_factory.mktemp("straight")))


@pytest.fixture(scope="module", autouse=True)
def limited(lop, tmp_path_factory):
    """Two jobs that reach their time limit while the other tests go on: one may be queued again, one may not."""
    again, never = (tmp_path_factory.mktemp(name) for name in ("again", "never"))
    return (
        submitted(lop, *LONG, *MINUTE, f"runs_dir={again}"),
        submitted(lop, *LONG, *MINUTE, f"runs_dir={never}", "hardware.launcher.max_timeouts=0"),
    )


def same_as_alone(path, runs_dir, settings, straight):
    directory = prepare(configuration(settings, runs_dir)).directory
    assert directory.path == path
    assert outcome(directory) == straight


def test_a_sweep_is_one_array_and_again_is_nothing(lop, tmp_path, capsys):
    sweep = ("-m", *SLURM, *SETTINGS, "algo=bp,cbp", "optimizer.lr=0.1,0.01", f"runs_dir={tmp_path}")
    code, said = lop(*sweep)
    assert code == 0, said
    assert said.startswith("lop: 4 jobs, 0 done, 4 to run\nlop: submitted ")
    assert lop(*sweep) == (0, "lop: 4 jobs, 0 done, 4 queued or at work, 0 to run\n")
    notes = [json.loads(note.read_text()) for note in tmp_path.rglob("jobs.jsonl")]
    (array,) = {note["job"].split("_")[0] for note in notes}
    assert {note["job"] for note in notes} == {f"{array}_{number}" for number in range(4)}
    assert "4 runs: " in (words := overview(tmp_path, capsys))
    assert words.count("queued") + words.count("running") >= 4
    assert "gmm cbp lr=0.01" in words
    paths = [note.parent for note in tmp_path.rglob("jobs.jsonl")]
    until(lambda: all((path / "summary.json").exists() for path in paths), paths[0])
    assert lop(*sweep) == (0, "lop: 4 jobs, 4 done, 0 to run\n")
    assert overview(tmp_path, capsys).endswith("4 runs: 4 done\n")
    for algo in ("bp", "cbp"):
        settings = (*SETTINGS, f"algo={algo}", "optimizer.lr=0.1")
        here = prepare(configuration(settings, tmp_path)).directory
        assert outcome(here) == outcome(run(settings, tmp_path / "here"))


def test_failures_are_named_with_their_logs(lop, tmp_path, capsys):
    sweep = ("-m", *SLURM, "hardware.launcher.wait=true", *SETTINGS, "optimizer.lr=0.1,1e300", f"runs_dir={tmp_path}")
    code, said = lop(*sweep)
    assert code == 2, said
    *_, failed, last = said.splitlines()
    assert failed.startswith("lop: optimizer.lr=1e+300: failed; seed 3 diverged"), said
    assert Path(failed.rpartition("; log ")[2]).read_text().count("lop: seed 3 diverged") == 1
    assert last == "lop: 1 of 2 jobs are not done; the same command runs again only these"
    words = overview(tmp_path, capsys)
    assert words.endswith("2 runs: 1 done, 1 failed\n")
    assert "seed 3 diverged" in words


def test_a_mistake_is_found_before_anything_is_submitted(lop, tmp_path):
    before = queue()
    for wrong, words in (
        ("algo=bp,cpb", "did you mean 'cbp'?"),
        ("optimizer.lr=0.1,-1", "optimizer.lr=-1 is not legal"),
        ("hardware.launcher.minutes=0", "hardware.launcher.minutes=0 is not legal"),
        ("hardware.launcher.gpu=1", "did you mean 'gpus'?"),
        ("hardware.launcher.partition=nowhere", "SLURM does not take the jobs: sbatch: error: invalid partition"),
    ):
        code, said = lop("-m", *SLURM, *SETTINGS, wrong, f"runs_dir={tmp_path}")
        assert (code, words in said) == (2, True), said
        assert len([line for line in said.splitlines() if " to run" not in line]) == 1, said
    assert not list(tmp_path.rglob("jobs.jsonl"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert set(queue()) <= set(before)


@pytest.mark.parametrize(
    "command",
    [("scontrol", "requeue"), ("scancel", "--signal=USR2"), ("kill",)],
    ids=["requeued", "preempted", "killed by the node"],
)
def test_interrupted_in_the_middle_it_goes_on(lop, tmp_path, command, straight):
    path, job = submitted(lop, *LONG, f"runs_dir={tmp_path}")
    until(lambda: 3 <= progress(path) < 45, path)
    if command == ("kill",):  # no time to save anything; somebody requeues it
        session = json.loads((path / "sessions.jsonl").read_text().splitlines()[-1])
        os.kill(session["pid"], 9)
        until(lambda: job not in queue(), path)
        assert lop(*SLURM, *LONG, f"runs_dir={tmp_path}")[0] == 0
    else:
        subprocess.run([*command, job], check=True, timeout=60)
    until(lambda: (path / "summary.json").exists(), path)
    assert len((path / "sessions.jsonl").read_text().splitlines()) == 2
    if command != ("kill",):
        assert "the same command goes on from there" in log(path)
    same_as_alone(path, tmp_path, LONG, straight)


def test_a_time_limit(limited, lop, straight, capsys):
    (again, _), (never, other) = limited
    until(lambda: (again / "summary.json").exists(), again)
    assert "this job is timed-out" in log(again)
    assert len((again / "sessions.jsonl").read_text().splitlines()) >= 2
    same_as_alone(again, again.parents[3], LONG, straight)
    until(lambda: other not in queue(), never)
    words = " ".join(overview(never, capsys).split())
    assert "1 run: 1 stopped" in words
    assert "Job not requeued because: timed-out too many times" in words
    assert lop(*SLURM, *LONG, f"runs_dir={never.parents[3]}")[0] == 0
    until(lambda: (never / "summary.json").exists(), never)
    same_as_alone(never, never.parents[3], LONG, straight)
