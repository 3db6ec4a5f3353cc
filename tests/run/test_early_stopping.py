"""Early stopping, with values of our own making."""

import pytest
import torch
from growing import Watch
from lab import COMMON, interrupted, outcome, run

SCRIPT = {  # (loss, accuracy) of both seeds after each of the four epochs of a task
    0: ([(3, 0.5), (2, 0.9)], [(1, 0.7), (5, 0.1)], [(1, 0.7), (6, 0.2)], [(2, 0.6), (float("nan"), 0.95)]),
    1: ([(4, 0.1), (float("nan"), 0.9)], [(3, 0.2), (float("inf"), 0.8)], [(2, 0.3), (float("nan"), 0.7)],
        [(1, 0.4), (float("nan"), 0.6)]),
}  # fmt: skip
BEST = {("validation_accuracy", "max"): [[1, 0], [3, 3]], ("validation_loss", "min"): [[1, 0], [3, 3]],
        ("validation_loss", "max"): [[0, 2], [0, 3]], ("validation_accuracy", "min"): [[0, 1], [0, 3]]}  # fmt: skip
GMM = (
    *COMMON, "task=gmm", "task.tasks=2", "task.n=8", "task.n_val=4", "task.passes_per_epoch=2", "model.hidden=[3]",
    "task.epochs_per_task=4", "hardware.chunk=2", "optimizer=adam", "callbacks.continual.metrics=[]",
    "callbacks.evaluation.every_epochs=1", "callbacks.checkpoint.every_updates=1",
)  # fmt: skip


@pytest.fixture
def scripted(monkeypatch):
    def measured(learner, population, stream, task):
        values = torch.tensor(SCRIPT[task][(population.updates // 2 - 1) % 4], dtype=torch.float64)
        yield from (("validation_loss", "", values[:, 0]), ("validation_accuracy", "", values[:, 1]))

    monkeypatch.setattr("lop_lightning.callbacks.evaluation.on_evaluation", measured)


@pytest.mark.parametrize(("metric", "mode"), BEST)
def test_the_first_of_the_best_epochs_of_each_seed(scripted, tmp_path, metric, mode):
    watch = Watch()
    settings = (*GMM, f"callbacks.early_stopping.metric={metric}", f"callbacks.early_stopping.mode={mode}")
    run(settings, tmp_path, watch)
    for task in (0, 1):
        for row in (0, 1):
            epoch = BEST[metric, mode][task][row]
            for name, t in watch.before[task + 1].items():
                assert torch.equal(t[row], watch.epochs[4 * task + epoch][name][row])
    assert not torch.equal(watch.epochs[0]["layers.0.weight"], watch.epochs[1]["layers.0.weight"])


def test_resumed_within_a_task_it_still_knows_the_best(scripted, tmp_path):
    settings = (*GMM, "callbacks.early_stopping.metric=validation_accuracy")
    straight = outcome(run(settings, tmp_path / "straight"))
    assert outcome(interrupted(settings, tmp_path / "cut", (4, 6, 8, 10, 14))) == straight


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["callbacks.early_stopping.metric=validation_acuracy"],
         "this stream has validation_loss, validation_accuracy; did you mean 'validation_accuracy'?"),
        (["callbacks.early_stopping.metric=validation_loss", "callbacks.evaluation.every_epochs=null"],
         "callbacks.early_stopping.metric=validation_loss finds no best epoch"),
        (["callbacks.early_stopping.mode=most"], "callbacks.early_stopping.mode=most"),
        (["callbacks.evaluation.every_epochs=0"], "callbacks.evaluation.every_epochs=0"),
        (["callbacks.keep_networks.every_tasks=0"], "callbacks.keep_networks.every_tasks=0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_trained(lop, settings, words):
    code, _, errors = lop(*GMM, *settings)
    assert code == 2
    assert errors.count("\n") == 1
    assert words in errors
    assert "last good checkpoint" not in errors


def test_a_stream_without_held_out_sets(lop):
    stream_of_none = ("task=permuted_images", "task.source=digits", "task.tasks=1", "task.task_length=4")
    code, _, errors = lop(*COMMON, *stream_of_none, "callbacks.early_stopping.metric=test_loss")
    assert (code, errors.count("\n")) == (2, 1)
    assert "this stream has no held-out sets" in errors
