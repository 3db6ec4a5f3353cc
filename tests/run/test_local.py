"""``hardware=local``: jobs side by side, in processes of their own."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from lab import TINY, Process, checkpoints, configuration, outcome, run, until

from lop_lightning.config import composed
from lop_lightning.experiment import prepare
from lop_lightning.launch.state import states
from lop_lightning.launch.sweep import launcher_of
from lop_lightning.records import lock

SHORT = [setting for setting in TINY if not setting.startswith("optimizer")]
TWO = ("hardware=local", "hardware.launcher.processes=2")
LONG = (
    *SHORT, "task.tasks=40", "algo=cbp", "algo.replacement_rate=0.01", "algo.maturity_threshold=20",
    "callbacks.continual.metrics=[units]", "callbacks.progress.file_seconds=0",
)  # fmt: skip


def directory(runs_dir, *settings):
    return prepare(configuration(settings, runs_dir)).directory


def test_a_sweep_side_by_side_is_the_sweep_one_by_one(lop, tmp_path):
    sweep = ("-m", *TWO, *SHORT, "algo=bp,cbp", "optimizer.lr=0.1,1e300")
    code, _, said = lop(*sweep)
    assert code == 2, said
    first, second, *ends, bad, worse, last = said.splitlines()
    assert first == "lop: 4 jobs, 0 done, 4 to run"
    assert second.startswith(f"lop: 2 at the same time; logs are in {tmp_path}/sweeps/")
    ends = sorted(re.sub(r" after \d+ s", "", line.split("/4 ", 1)[1]) for line in ends)
    assert ends == [
        "done: algo=bp optimizer.lr=0.1", "done: algo=cbp optimizer.lr=0.1",
        "failed: algo=bp optimizer.lr=1e+300", "failed: algo=cbp optimizer.lr=1e+300",
    ]  # fmt: skip
    for line, algo in ((bad, "bp"), (worse, "cbp")):
        assert line.startswith(f"lop: algo={algo} optimizer.lr=1e+300: failed; seed 3 diverged"), line
        assert "lop: seed 3 diverged" in Path(line.rpartition("; log ")[2]).read_text()
    assert last == "lop: 2 of 4 jobs are not done; the same command runs again only these"
    assert lop("-m", *TWO, *SHORT, "algo=bp,cbp", "optimizer.lr=0.1")[::2] == (0, "lop: 2 jobs, 2 done, 0 to run\n")
    for algo in ("bp", "cbp"):
        settings = (*SHORT, f"algo={algo}", "optimizer.lr=0.1")
        assert outcome(directory(tmp_path, *settings)) == outcome(run(settings, tmp_path / "alone"))
        commands = directory(tmp_path, *settings).path / "sessions.jsonl"
        assert f"algo={algo}" in json.loads(commands.read_text())["command"]


def test_a_single_run_is_run_here(lop, tmp_path):
    code, out, said = lop(*TWO, *SHORT, "optimizer.lr=0.1")
    assert (code, said) == (0, "lop: 1 job, 0 done, 1 to run\n")
    assert "loss of plasticity" in out
    code, again, said = lop(*TWO, *SHORT, "optimizer.lr=0.1")
    assert (code, again) == (0, out)
    assert said.startswith("lop: already done: ")


def test_what_others_train_is_left_to_them(lop, tmp_path):
    theirs = directory(tmp_path, *SHORT, "optimizer.lr=0.1")
    theirs.open()
    try:
        code, _, said = lop("-m", *TWO, *SHORT, "optimizer.lr=0.1")
    finally:
        theirs.close()
    assert (code, said) == (0, "lop: 1 job, 0 done, 1 queued or at work, 0 to run\n")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("hardware.launcher.processes=0",), "hardware.launcher.processes=0 is not legal"),
        (("hardware.launcher.proceses=2",), "did you mean 'processes'?"),
        (("hardware=local,cpu",), "a sweep has one launcher"),
        (("algo=bp,cpb",), "did you mean 'cbp'?"),
        (("seeds=1,0",), "seeds=0 is not legal"),
        (("hydra/launcher=submitit_local",), "hardware=local does not go with settings of Hydra"),
    ],
)
def test_mistakes_are_found_before_anything_begins(lop, tmp_path, settings, words):
    code, _, said = lop("-m", "hardware=local", *SHORT, *settings)
    assert (code, said.count("\n")) == (2, 1), said
    assert words in said
    assert not list(tmp_path.iterdir())


def test_the_launcher_is_no_part_of_the_run():
    line = [*SHORT, "algo=cbp"]
    names = {directory("runs", *line, f"hardware={name}").path for name in ("cpu", "local", "slurm_cpu")}
    assert len(names) == 1
    assert launcher_of([composed(["hardware=cpu"])]) is None
    assert launcher_of([composed(["hardware=local"])]).processes == len(os.sched_getaffinity(0))


LINE = ("-m", *TWO, *LONG, "optimizer.lr=0.1,0.01,0.02")


@pytest.fixture
def runs(tmp_path):
    return [directory(tmp_path, *LONG, f"optimizer.lr={lr}") for lr in ("0.1", "0.01", "0.02")]


def two_at_work(tmp_path, runs):
    """A sweep in a process of its own, when its first two jobs have begun."""
    process = Process([*LINE, f"runs_dir={tmp_path}"], tmp_path, daemon=False)
    until(lambda: all((run.path / "progress.json").exists() for run in runs[:2]), process)
    return process


def test_control_c_saves_all_jobs_and_the_same_command_goes_on(lop, tmp_path, runs):
    process = two_at_work(tmp_path, runs)
    process.send(signal.SIGINT)
    code, said = process.wait()
    assert code == 130, said
    assert said.endswith("lop: SIGINT: 2 stopped, 1 never begun; the same command goes on from there\n")
    assert [bool(checkpoints(run)) for run in runs] == [True, True, False]
    code, _, said = lop(*LINE)
    assert code == 0, said
    assert said.startswith("lop: 3 jobs, 0 done, 3 to run\n")
    assert outcome(runs[1]) == outcome(run((*LONG, "optimizer.lr=0.01"), tmp_path / "alone"))


def test_jobs_save_and_stop_when_their_command_is_killed(tmp_path, runs):
    process = two_at_work(tmp_path, runs)
    process.send(signal.SIGKILL)
    assert process.wait()[0] == -signal.SIGKILL
    end = time.monotonic() + 60
    while any(lock.taken(run.path) for run in runs) and time.monotonic() < end:
        time.sleep(0.05)
    assert [bool(checkpoints(run)) for run in runs] == [True, True, False]
    assert not [run for run in runs if run.done]
    words = [found.word for found in states(run.path for run in runs)]
    assert words == ["stopped", "stopped", "never begun"]
