"""``lop-status``: what runs are doing, from their files alone."""

import json
import os
import time

import pytest
from lab import TINY, Cut, PowerCut, configuration, run

from lop_lightning.callbacks import Interrupted
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare
from lop_lightning.launch import alive, status
from lop_lightning.launch.jobs import Job, write_note
from lop_lightning.launch.state import states
from lop_lightning.records import lock

SHORT = [setting for setting in TINY if not setting.startswith("optimizer")]


def directory(tmp_path, lr):
    return prepare(configuration((*SHORT, f"optimizer.lr={lr}"), tmp_path)).directory


def shown(capsys, *arguments):
    assert status.main([str(argument) for argument in arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


def state(directory):
    return states([directory.path])[0]


@pytest.fixture
def log(tmp_path):
    (tmp_path / "sweeps").mkdir()
    return tmp_path / "sweeps" / "0.log"


def test_done_and_stopped(tmp_path, capsys):
    done = run((*SHORT, "optimizer.lr=0.1"), tmp_path)
    with pytest.raises(PowerCut):
        run((*SHORT, "optimizer.lr=0.01", "callbacks.progress.file_seconds=0"), tmp_path, Cut(18))
    stopped = directory(tmp_path, 0.01)
    stopped.failure.unlink()  # a power cut leaves none
    assert (state(done).word, state(done).share) == ("done", 1)
    # Cut while the chunk that ends with update 18 is told; the one before it ended with update 16, in the second task.
    assert (state(stopped).word, state(stopped).task, state(stopped).share) == ("stopped", 2, 16 / 36)
    words = shown(capsys, tmp_path)
    assert "gmm bp lr=0.1 done 3/3 100" in words
    assert "gmm bp lr=0.01 stopped 2/3 44" in words
    assert words.endswith("2 runs: 1 done, 1 stopped")
    assert shown(capsys, done.path).endswith("1 run: 1 done")
    assert shown(capsys, tmp_path, "--watch", "0.1").endswith("2 runs: 1 done, 1 stopped")


def test_failed_says_why_until_it_is_tried_again(tmp_path, capsys):
    with pytest.raises(LopError):
        run((*SHORT, "optimizer.lr=1e300"), tmp_path)
    failed = directory(tmp_path, 1e300)
    assert state(failed).word == "failed"
    assert "seed 3 diverged: its loss is nan" in shown(capsys, tmp_path)
    failed.open()
    failed.close()
    assert (state(failed).word, state(failed).error) == ("stopped", "")


def test_an_interrupted_run_has_not_failed(tmp_path):
    class Asked(Cut):
        def on_train_batch_end(self, trainer, learner, *rest):
            next(c for c in trainer.callbacks if type(c).__name__ == "Checkpoint").asked = 15

    with pytest.raises(Interrupted):
        run((*SHORT, "optimizer.lr=0.1"), tmp_path, Asked(0))
    stopped = state(directory(tmp_path, 0.1))
    assert (stopped.word, stopped.share) == ("stopped", 4 / 36)


def test_running_with_speed_and_time_left(tmp_path, capsys):
    at_work = directory(tmp_path, 0.1)
    at_work.open()
    now = {"task": 2, "tasks": 3, "updates": 20, "total": 36, "updates_per_second": 0.01, "time": time.time()}
    (at_work.path / "progress.json").write_text(json.dumps({**now, "host": os.uname().nodename, "pid": 1}))
    assert "running 2/3 56 0.01 27 min" in shown(capsys, tmp_path)
    at_work.close()
    assert state(at_work).word == "stopped"
    elsewhere = {**now, "host": "elsewhere", "pid": 1}
    (at_work.path / "progress.json").write_text(json.dumps(elsewhere))  # its lock may not be seen from here
    assert state(at_work).word == "running"
    (at_work.path / "progress.json").write_text(json.dumps({**elsewhere, "time": time.time() - 1000}))
    assert state(at_work).word == "stopped"


def test_to_look_does_not_disturb_who_takes_the_lock(tmp_path):
    directory(tmp_path, 0.1).open()
    with (tmp_path / ".lock").open("w"):
        assert not lock.taken(tmp_path)
    mine = lock.take(tmp_path)
    assert lock.taken(tmp_path)
    with pytest.raises(BlockingIOError):
        lock.take(tmp_path)
    mine.close()
    assert not lock.taken(tmp_path)


def test_waiting_for_a_place_on_this_machine(tmp_path, capsys, log):
    waiting = directory(tmp_path, 0.1)
    write_note(Job(["optimizer.lr=0.1"], waiting), "local", "1", log)
    pool = lock.take(log.parent)
    assert "gmm bp queued 0/3 0" in shown(capsys, tmp_path)
    pool.close()
    log.write_text("something\nImportError: no module named that\nsrun: error: vm: task 0: Exited with exit code 1\n")
    assert "never begun" in (words := shown(capsys, tmp_path))
    assert "ImportError: no module named that" in words
    waiting.check_format()  # a run directory that has only been spoken of is no damage
    waiting.open()
    waiting.close()
    assert state(waiting).word == "stopped"


@pytest.mark.parametrize(
    ("squeue", "words"),
    [
        ("echo 7_0 PENDING", ("queued", "never begun")),
        ("echo 7_0 RUNNING; echo 7_1 PENDING", ("queued", "queued")),
        ("exit 0", ("never begun", "never begun")),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", ("never begun", "never begun")),
        ("echo Unable to contact slurm controller >&2; exit 1", ("queued", "queued")),
    ],
)
def test_what_a_cluster_says(squeue, words, tmp_path, monkeypatch, log):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{squeue}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    jobs = [directory(tmp_path, lr) for lr in (0.1, 0.01)]
    for number, job in enumerate(jobs):
        write_note(Job([], job), "slurm", f"7_{number}", log.with_name(f"{number}.log"))
    assert tuple(found.word for found in states(job.path for job in jobs)) == words


def test_without_a_cluster_a_job_that_had_its_turn_is_not_queued(tmp_path, monkeypatch, log):
    monkeypatch.setattr(alive, "slurm_states", lambda jobs: None)
    job = directory(tmp_path, 0.1)
    write_note(Job([], job), "slurm", "7", log)
    assert state(job).word == "queued"
    time.sleep(0.01)
    job.open()
    job.close()
    assert state(job).word == "stopped"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "lop-status: nowhere: no such file or directory\n"),
        (["."], "lop-status: .: no run here (a run is a directory with run.json or jobs.jsonl)\n"),
        ([".", "--watch", "0"], "lop-status: argument --watch: '0' is no number of seconds from 0.1 to 86400\n"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        status.main(arguments)
    assert (stop.value.code, capsys.readouterr().err) == (2, words)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "60 min"), (3900, "1 h 05"), (180000, "2 d 02 h")],
)
def test_durations(seconds, words):
    assert status.duration(seconds) == words
