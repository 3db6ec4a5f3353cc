"""Interrupted runs of the convolutional networks, with all that happens between tasks, end as uninterrupted ones."""

import pytest
from lab import IMAGE_METHODS, IMAGES, checkpoints, interrupted, load, outcome, run

from lop_lightning.callbacks import EarlyStopping

# Updates after which a run is cut: before the first checkpoint, inside a task, at the end of an epoch, of a task.
CUTS = {"continual_imagenet": (3, 9, 12), "incremental_cifar": (2, 6, 9, 18)}
PAIRS = [
    ("continual_imagenet", "bp"),
    ("continual_imagenet", "cbp"),
    ("continual_imagenet", "head reset"),
    ("incremental_cifar", "shrink and perturb"),
    ("incremental_cifar", "cbp"),
    ("incremental_cifar", "redo"),
    ("incremental_cifar", "head reset"),
    ("incremental_cifar", "retrain"),
]


def kept(directory):
    """Every file of networks, as it was read."""
    files = {path.name: load(path) for path in sorted(directory.networks.glob("*"))}
    return {
        name: {key: t.numpy().tobytes() for key, t in content["tensors"].items()} for name, content in files.items()
    }


@pytest.mark.parametrize(("stream", "method"), PAIRS)
def test_cut_and_continued_is_uninterrupted(stream, method, tmp_path):
    settings = (*IMAGES[stream], *IMAGE_METHODS[method])
    straight = run(settings, tmp_path / "straight")
    cut = interrupted(settings, tmp_path / "cut", CUTS[stream])
    assert outcome(cut) == outcome(straight)
    if method == "redo":
        assert any(sum(reborn) for reborn in outcome(straight)[3]["reborn"].values())
    assert kept(cut) == kept(straight)
    numbers = (0, 2, 3) if stream == "continual_imagenet" else (0, 1, 2)
    assert list(kept(cut)) == [f"task-{task:05d}.pt" for task in numbers]


def test_the_best_epoch_so_far_is_in_the_checkpoint(tmp_path):
    settings = (*IMAGES["incremental_cifar"], "callbacks.checkpoint.keep=99", "callbacks.checkpoint.every_updates=1")
    directory = run(settings, tmp_path)
    has = {}
    for path in checkpoints(directory):
        states = load(path)["callbacks"]
        has[load(path)["learner"]["updates"]] = any(key.startswith(EarlyStopping.__name__) for key in states)
    # chunks of 2, 2 and 2; then of 3 and 1 updates, three times
    expected = {2: True, 4: True, 6: False, 9: False, 10: True, 13: True, 14: True, 17: True, 18: False}
    assert has == expected
