"""Real processes that are killed, asked to stop, and started again."""

import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab import TINY, Cut, Process, checkpoints, configuration, outcome, run, until

from lop_lightning import train
from lop_lightning.callbacks import Interrupted
from lop_lightning.experiment import prepare

LONG = (
    *TINY, "task.tasks=40", "algo=cbp", "algo.replacement_rate=0.01", "algo.maturity_threshold=20",
    "callbacks.continual.metrics=[units,gradients]", "callbacks.checkpoint.every_updates=20",
)  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return outcome(run(LONG, tmp_path_factory.mktemp("straight")))


@pytest.fixture
def directory(tmp_path):
    return prepare(configuration(LONG, tmp_path)).directory


def started(tmp_path, directory, updates):
    """A process that has trained for some more updates."""
    before = position(directory)
    process = Process([*LONG, f"runs_dir={tmp_path}"], tmp_path)
    until(lambda: position(directory) >= before + updates, process)
    return process


def position(directory):
    """Updates at the last row of the record."""
    lines = directory.record.read_bytes().split(b"\n")[1:-1] if directory.record.exists() else []
    return int(lines[-1].split(b",")[3]) if lines else 0


def test_killed_again_and_again(tmp_path, directory, straight):
    moments = random.Random(5)
    for _ in range(3):
        process = started(tmp_path, directory, moments.randrange(1, 90))
        process.send(signal.SIGKILL)
        assert process.wait()[0] == -signal.SIGKILL
    code, text = Process([*LONG, f"runs_dir={tmp_path}"], tmp_path).wait()
    assert code == 0, text
    assert "lop: going on from" in text
    assert outcome(directory) == straight
    assert not list(directory.checkpoints.glob("*.part"))


def test_every_signal_saves_and_says_how_to_go_on(tmp_path, directory, straight):
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
        process = started(tmp_path, directory, 30)
        process.send(number)
        code, text = process.wait()
        assert code == 128 + number, text
        stopped = re.search(rf"lop: {number.name}: stopped in task (\d+)/40 after (\d+) updates, saved (\S+);", text)
        assert stopped, text
        assert Path(stopped[3]) == checkpoints(directory)[-1]
        assert f"update-{int(stopped[2]):012d}" in stopped[3]
        assert int(stopped[1]) == int(stopped[2]) // 12 + 1
        assert text.endswith("the same command goes on from there\n")
        assert "Traceback" not in text
    code, text = Process([*LONG, f"runs_dir={tmp_path}"], tmp_path).wait()
    assert code == 0, text
    assert outcome(directory) == straight


def test_control_c_twice_stops_at_once(tmp_path):
    # One chunk is a whole task of several seconds, so that its end cannot come between the two.
    settings = (*TINY, "task.passes_per_epoch=3000", "task.epochs_per_task=1", "hardware.chunk=3000")
    process = Process([*settings, f"runs_dir={tmp_path}"], tmp_path)
    until(lambda: list(tmp_path.rglob("record.csv")), process)
    until(lambda: _handles(process.pid, signal.SIGINT) and _handles(process.pid, signal.SIGUSR2), process)
    process.send(signal.SIGINT)
    until(lambda: "again to stop at once" in process.text(), process)
    process.send(signal.SIGINT)
    code, text = process.wait()
    assert code == 130, text
    assert "lop: SIGINT twice: stopped at once; there is no checkpoint yet" in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("*.ckpt"))


class Hurried(Cut):
    """A second Ctrl-C inside torch, which answers it with an error of its own."""

    def on_train_batch_end(self, *rest):
        signal.raise_signal(signal.SIGINT)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("!dynamicLayerStack.empty() INTERNAL ASSERT FAILED") from error


def test_control_c_that_torch_covers(tmp_path):
    with pytest.raises(Interrupted, match="SIGINT twice: stopped at once; there is no checkpoint yet"):
        run(TINY, tmp_path, Hurried(0))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _handles(pid, number):
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())[1]
    return int(caught, 16) >> (number - 1) & 1


def test_who_had_the_signal_before_is_told_after_the_checkpoint(tmp_path, monkeypatch):
    # So does submitit: its handler asks the cluster for another turn.
    told = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        before = signal.signal(number, lambda *call: told.append((call[0], len(list(tmp_path.rglob("*.ckpt"))))))
        ours = signal.getsignal(number)
        try:
            monkeypatch.setattr(sys, "argv", ["lop", *TINY, f"runs_dir={tmp_path}"])
            monkeypatch.setattr("lop_lightning.callbacks.ProgressBar.on_train_batch_end", _raises(number))
            with pytest.raises(SystemExit) as stop:
                train.main()
            assert stop.value.code == 128 + number
            assert signal.getsignal(number) is ours
        finally:
            signal.signal(number, before)
    assert [number for number, _ in told] == [signal.SIGTERM, signal.SIGUSR2]
    assert told[0][1] == 1
    assert told[1][1] == 2


def _raises(number):
    return lambda *hook: signal.raise_signal(number)


def test_two_processes_on_one_run(tmp_path, directory):
    first = started(tmp_path, directory, 20)
    code, text = Process([*LONG, f"runs_dir={tmp_path}"], tmp_path).wait()
    assert (code, text) == (2, f"lop: another process is training this run: {directory.path}\n")
    first.send(signal.SIGTERM)
    assert first.wait()[0] == 128 + signal.SIGTERM


def test_the_console_command(tmp_path):
    # From nothing, without what this process knows: and nothing but our own lines on stderr.
    command = [Path(sys.executable).with_name("lop"), *TINY, f"runs_dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "loss of plasticity" in done.stdout
    assert len(list(tmp_path.rglob("summary.json"))) == 1
