"""A run that was interrupted, however often and wherever, ends as the one that was not: bit for bit."""

import random

import numpy as np
import pytest
import torch
from lab import METHODS, SMALL, STREAMS, TINY, Cut, PowerCut, interrupted, outcome, run

from lop_lightning.callbacks import Checkpoint

# Updates after which a run is cut: before the first checkpoint, inside a bin, at the end of an epoch, of a task,
# of the stream.
CUTS = {
    "gmm": (4, 10, 18, 24),
    "slowly_changing_regression": (5, 19, 28, 42),
    "permuted_images": (5, 19, 28, 56),
}


class Asked(Cut):
    """As a signal would."""

    def on_train_batch_end(self, trainer, learner, *rest):
        if learner.population.updates >= self.after:
            next(c for c in trainer.callbacks if isinstance(c, Checkpoint)).asked = 15


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stream", STREAMS)
def test_cut_and_continued_is_uninterrupted(stream, method, tmp_path):
    settings = (*SMALL, *STREAMS[stream], *METHODS[method])
    straight = outcome(run(settings, tmp_path / "straight"))
    assert outcome(interrupted(settings, tmp_path / "cut", CUTS[stream])) == straight


def test_asked_to_stop_and_continued_is_uninterrupted(tmp_path):
    settings = (*TINY, *METHODS["cbp, by chance"])
    straight = outcome(run(settings, tmp_path / "straight"))
    assert outcome(interrupted(settings, tmp_path / "asked", CUTS["gmm"], Asked)) == straight


def test_cut_at_every_chunk(tmp_path):
    settings = (*TINY, *METHODS["shrink and perturb, task ends"], "callbacks.checkpoint.every_updates=1")
    straight = run(settings, tmp_path / "straight")
    chunks = [task * 12 + place for task in range(3) for place in (4, 6, 10, 12)]
    assert outcome(interrupted(settings, tmp_path / "cut", chunks)) == outcome(straight)


def test_a_run_killed_between_its_last_checkpoint_and_its_summary(tmp_path):
    settings = (*TINY, "optimizer.lr=1e300", "callbacks.continual.nonfinite=drop", "callbacks.continual.metrics=[]")
    directory = run(settings, tmp_path)
    summary, record = directory.summary.read_text(), directory.record.read_bytes()
    assert '"dropped_seeds": [\n  1,\n  3\n ]' in summary
    directory.summary.unlink()
    run(settings, tmp_path)
    without_time = [line for line in summary.splitlines() if "seconds" not in line]
    assert [line for line in directory.summary.read_text().splitlines() if "seconds" not in line] == without_time
    assert directory.record.read_bytes() == record


def test_a_seed_alone_is_the_seed_among_others(tmp_path):
    together = run(TINY, tmp_path)
    alone = run((*TINY, "seeds=[1]"), tmp_path)
    mine = [line for line in together.record.read_text().splitlines() if line.startswith("1,")]
    theirs = [line for line in alone.record.read_text().splitlines() if line.startswith("1,")]
    assert [line.split(",")[:-1] for line in mine] == [line.split(",")[:-1] for line in theirs]
    values = [[float(line.split(",")[-1]) for line in lines] for lines in (mine, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-9)


class Shaking(Cut):
    """A user's own method that draws from the global generators."""

    def on_train_batch_start(self, trainer, learner, *rest):
        learner.population.params["layers.0.bias"] += torch.rand(6) + np.random.rand() + random.random()  # noqa: NPY002


def test_global_generators_go_on_too(tmp_path):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    straight = outcome(run(TINY, tmp_path / "straight", Shaking(999)))
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    with pytest.raises(PowerCut):
        run(TINY, tmp_path / "cut", Shaking(16))
    assert outcome(run(TINY, tmp_path / "cut", Shaking(999))) == straight


def test_compiled(tmp_path):
    settings = (*TINY, "optimizer=momentum", "hardware.compile=true", "hardware.unroll=2", "task.tasks=2", "seeds=1")
    straight = outcome(run(settings, tmp_path / "straight"))
    assert outcome(interrupted(settings, tmp_path / "cut", (16,))) == straight
