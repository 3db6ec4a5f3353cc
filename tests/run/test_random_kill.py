"""Power cuts at random moments: whatever a process was doing, the next one goes on as if nothing had happened."""

import random
import signal
import time

import torch
from lab import TINY, Process, checkpoints, configuration, load, outcome, run, until

from lop_lightning.experiment import prepare

KILLS, LONGEST, SEED = 20, 0.6, 20
SETTINGS = (
    *TINY, "task.tasks=400", "algo=cbp", "algo.replacement_rate=0.01", "algo.maturity_threshold=20",
    "callbacks.continual.metrics=[units]", "callbacks.checkpoint.every_updates=20", "callbacks.progress.file_seconds=0",
)  # fmt: skip


def test_killed_at_twenty_random_moments(tmp_path):
    straight = run(SETTINGS, tmp_path / "straight")
    directory = prepare(configuration(SETTINGS, tmp_path / "killed")).directory
    arguments, moments, killed = [*SETTINGS, f"runs_dir={tmp_path / 'killed'}"], random.Random(SEED), []
    for number in range(KILLS):
        process = Process(arguments, tmp_path)
        until(lambda number=number: sessions(directory) > number, process)  # it begins to read what was left
        killed.append(moments.uniform(0, LONGEST))
        time.sleep(killed[-1])
        process.send(signal.SIGKILL)
        code, text = process.wait()
        assert code == -signal.SIGKILL, f"done before kill {number + 1} ({killed} s): {text}"
    before = [path.name for path in checkpoints(directory)]
    code, text = Process(arguments, tmp_path).wait()
    told = f"seed {SEED}, killed after {killed} s, last time with {before}"
    assert code == 0, f"{told}: {text}"
    assert outcome(directory) == outcome(straight), told
    for mine, theirs in zip(checkpoints(directory), checkpoints(straight), strict=True):
        assert content(mine) == content(theirs), told
    assert not list(directory.path.rglob("*.part")), told
    assert before, f"{told}: no kill came after a checkpoint"


def content(path):
    """All that a checkpoint holds but the global generators: we use none, and every first process has its own."""
    checkpoint = load(path)
    del checkpoint["callbacks"]["Checkpoint"]["random"]
    return path.name, plain(checkpoint)


def plain(part):
    if isinstance(part, dict):
        return {key: plain(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [plain(value) for value in part]
    if isinstance(part, torch.Tensor):
        return str(part.dtype), part.shape, part.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    return part


def sessions(directory):
    file = directory.path / "sessions.jsonl"
    return file.read_text().count("\n") if file.exists() else 0
