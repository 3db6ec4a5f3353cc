"""Interrupted runs of recurrent networks end as uninterrupted ones, on every stream they were made for."""

import signal

import pytest
from lab import COMMON, Process, interrupted, outcome, rows, run, until

SHORT = (
    *COMMON, "task.tasks=3", "task.epochs_per_task=2", "task.probe_size=12", "hardware.chunk=2", "optimizer=adam",
    "optimizer.lr=0.02", "callbacks.evaluation.every_epochs=1", "callbacks.continual.bins_per_task=2",
    "callbacks.checkpoint.every_updates=3", "model.hidden=4",
)  # fmt: skip
DIGITS = ("task.train_images=2", "task.test_images=2", "task.batch_size=5")
WORDS = (
    "task.languages=[spa,rus,cmn]", "task.sentences=10", "task.test_sentences=3", "task.max_length=7",
    "task.vocabulary=90", "task.batch_size=4", "model.embedding=3",
)  # fmt: skip
STREAMS = {  # and updates after which a run is cut, of 24, 18, 36 and 24
    "label_reshuffled_images": (("task=label_reshuffled_images", "model=lstm", *DIGITS), (1, 8, 17)),
    "binary_images": (("task=binary_images", "model=gru", "model.layers=2", *DIGITS), (2, 4, 5)),
    "language_reshuffle": (("task=language_reshuffle", "model=gru", *WORDS), (3, 12, 30)),
    "language_binary": (("task=language_binary", "model=lstm", "model.layers=2", *WORDS), (5, 8, 20)),
}
METHODS = {
    "cbp": ("algo=cbp", "algo.replacement_rate=0.1", "algo.maturity_threshold=2", "algo.decay_rate=0.9"),
    "cbp, by chance": ("algo=cbp", "algo.replacement_rate=0.1", "algo.maturity_threshold=2", "algo.accumulate=false"),
    "shrink and perturb": ("algo=shrink_and_perturb", "algo.noise_std=0.01"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stream", STREAMS)
def test_cut_and_continued_is_uninterrupted(stream, method, tmp_path):
    own, cuts = STREAMS[stream]
    settings = (*SHORT, *own, *METHODS[method])
    straight = run(settings, tmp_path / "straight")
    assert outcome(interrupted(settings, tmp_path / "cut", cuts)) == outcome(straight)
    tests = rows(straight, "test_accuracy", 1)
    assert [(task, epoch) for task, epoch, *_ in tests] == [(task, epoch) for task in range(3) for epoch in range(2)]


def test_killed_and_begun_again(tmp_path):
    """A process of its own, killed by SIGKILL once there is a checkpoint."""
    settings = (*SHORT, *STREAMS["language_reshuffle"][0], *METHODS["cbp"], "task.tasks=30")
    straight = run(settings, tmp_path / "straight")
    process = Process([*settings, f"runs_dir={tmp_path / 'killed'}"], tmp_path)
    until(lambda: list((tmp_path / "killed").rglob("*.ckpt")), process)
    process.send(signal.SIGKILL)
    code, text = process.wait()
    assert code == -signal.SIGKILL, text
    assert outcome(run(settings, tmp_path / "killed")) == outcome(straight)
