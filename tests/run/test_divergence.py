"""A seed whose loss is no number: the run stops and says where, or goes on with the others as if nothing were."""

import json

import pytest
import torch
from lab import METHODS, SMALL, STREAMS, TINY, Cut, PowerCut, checkpoints, load, rows, run

from lop_lightning.errors import LopError
from lop_lightning.trees import leaves


class Poison(Cut):
    """Spoils one weight of the first seed before a chunk."""

    def on_train_batch_start(self, trainer, learner, *rest):
        if learner.population.updates == self.after:
            learner.population.params["layers.0.weight"][0, 0, 0] = float("nan")

    def on_train_batch_end(self, *rest):
        pass


@pytest.mark.parametrize(
    ("stream", "method"),
    [
        ("gmm", "cbp, accumulating"), ("gmm", "shrink and perturb, task ends"),
        ("slowly_changing_regression", "bp"), ("permuted_images", "cbp, by chance"),
    ],
)  # fmt: skip
def test_the_others_do_not_notice(stream, method, tmp_path):
    settings = (*SMALL, *STREAMS[stream], *METHODS[method], "callbacks.continual.nonfinite=drop")
    chunk, per_task = {
        "gmm": (4, 12), "slowly_changing_regression": (5, 14), "permuted_images": (5, 28)
    }[stream]  # fmt: skip
    healthy = run(settings, tmp_path / "healthy")
    spoilt = run(settings, tmp_path / "spoilt", Poison(per_task + chunk))
    for own, other in zip(*(record(d, 1) for d in (healthy, spoilt)), strict=True):
        assert own == other
    states = [load(checkpoints(d)[-1])["learner"]["state"] for d in (healthy, spoilt)]
    for own, other in zip(*map(leaves, states)):
        assert torch.equal(own[1], other[1])
    assert [(task, value) for task, *_, value in rows(spoilt, "dropped_at_update", 3)] == [(1, chunk)]
    assert not rows(spoilt, "dropped_at_update", 1)
    assert json.loads(spoilt.summary.read_text())["dropped_seeds"] == [3]
    assert json.loads(healthy.summary.read_text())["dropped_seeds"] == []
    assert rows(spoilt, "final_loss", 3)[1][-1] != rows(spoilt, "final_loss", 3)[1][-1]


def record(directory, seed):
    return [line for line in directory.record.read_text().splitlines() if line.startswith(f"{seed},")]


def test_a_dropped_seed_is_still_known_after_a_resume(tmp_path):
    settings = (*TINY, "callbacks.continual.nonfinite=drop")
    with pytest.raises(PowerCut):
        run(settings, tmp_path, Poison(4), Cut(24))
    directory = run(settings, tmp_path)
    assert json.loads(directory.summary.read_text())["dropped_seeds"] == [3]
    assert len(rows(directory, "dropped_at_update")) == 1


def test_stopping_says_who_where_and_what_is_saved(tmp_path):
    settings = (*TINY, "optimizer=sgd")
    with pytest.raises(LopError) as error:
        run(settings, tmp_path, Poison(16))
    line = str(error.value)
    assert line.startswith("seed 3 diverged: its loss is nan in task 2/3, update 4 of the task; ")
    (directory,) = tmp_path.rglob("checkpoints")
    saved = sorted(directory.glob("*"))[-1]
    assert line.endswith(f"; the last good checkpoint is {saved}")
    assert load(saved)["learner"]["updates"] == 12
    assert "callbacks.continual.nonfinite=drop" in line
    with pytest.raises(LopError, match="there is no checkpoint yet"):
        run(settings, tmp_path / "at once", Poison(0))


def test_too_large_a_step(lop):
    code, _, errors = lop(*TINY, "optimizer=sgd", "optimizer.lr=1e300")
    assert code == 2
    assert errors.startswith("lop: seed ")
    assert errors.count("\n") == 1
