"""What the record says is what happened."""

import sys

import pytest
import torch
from lab import METHODS, SMALL, STREAMS, TINY, Cut, outcome, rows, run

from lop_lightning import metrics as m
from lop_lightning.algos.losses import loss_function
from lop_lightning.callbacks import ContinualLearning
from lop_lightning.callbacks.tally import Tally
from lop_lightning.tasks.gmm import GaussianMixtures
from lop_lightning.tasks.permuted_images import PermutedImages

ALL = "units,ranks,covariance_ranks,duplication,weights,gradients"


class Raw(Cut):
    """Keeps what every update measured, and the networks before and after every task."""

    def __init__(self):
        self.measures, self.params, self.first = [], [], []

    def on_train_batch_start(self, trainer, learner, batch, *rest):
        if batch.starts_task:
            self.params.append({name: p.clone() for name, p in learner.population.params.items()})
            self.first.append((batch.inputs[0].clone(), batch.targets[0].clone()))

    def on_train_batch_end(self, trainer, learner, outputs, *rest):
        self.measures.append(outputs["measures"].clone())

    def on_train_end(self, trainer, learner):
        self.params.append({name: p.clone() for name, p in learner.population.params.items()})
        self.measures = torch.cat(self.measures)


def bins(updates, count):
    """Bounds of bins by the plain rule: update u is in bin floor(u · count / updates)."""
    number = [u * count // updates for u in range(updates)]
    return [(number.index(b), updates - number[::-1].index(b)) for b in sorted(set(number))]


@pytest.mark.parametrize("stream", STREAMS)
def test_the_online_series(stream, tmp_path):
    raw = Raw()
    directory = run((*SMALL, *STREAMS[stream]), tmp_path, raw)
    tasks, per_task, count = {
        "gmm": (3, 12, 5), "slowly_changing_regression": (3, 14, 4), "permuted_images": (2, 28, 3),
    }[stream]  # fmt: skip
    assert len(raw.measures) == tasks * per_task
    for column, seed in enumerate([3, 1]):
        by_task = raw.measures[:, column].double().unflatten(0, (tasks, per_task))
        for metric, number in (("online_loss", 0), ("online_accuracy", 1)):
            found = rows(directory, metric, seed)
            if by_task[..., number].isnan().all():
                assert not found
                continue
            bounds = [(task, *bound) for task in range(tasks) for bound in bins(per_task, count)]
            assert [(task, update) for task, _, update, _ in found] == [(t, t * per_task + end) for t, _, end in bounds]
            means = [by_task[t, begin:end, number].mean().item() for t, begin, end in bounds]
            assert [value for *_, value in found] == pytest.approx(means, rel=1e-12)
        ends = {"initial_loss": by_task[:, 0, 0], "min_loss": by_task[..., 0].amin(1), "final_loss": by_task[:, -1, 0]}
        for metric, values in ends.items():
            assert [value for *_, value in rows(directory, metric, seed)] == pytest.approx(values.tolist(), rel=1e-8)


@pytest.mark.parametrize(("updates", "count"), [(7, 3), (7, 7), (3, 10), (1, 1), (12, 5), (100, 1)])
@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_bins_wherever_chunks_are_cut(updates, count, chunk):
    measures = torch.randn(updates, 2, 2, generator=torch.Generator().manual_seed(updates))
    tally, found = Tally(updates, count), []
    for part in measures.split(chunk):
        found += tally.add(part)
        copy = Tally(1, 1)
        copy.load(tally.state(), torch.device("cpu"))
        tally = copy
    assert [done for done, _ in found] == [end for _, end in bins(updates, min(count, updates))]
    for (_, mean), (begin, end) in zip(found, bins(updates, min(count, updates))):
        torch.testing.assert_close(mean, measures[begin:end].double().mean(0))
    assert torch.equal(tally.first, measures[0, :, 0])
    assert torch.equal(tally.least, measures[..., 0].amin(0))
    assert torch.equal(tally.last, measures[-1, :, 0])


def test_what_is_saved_of_a_task_is_small():
    tally = Tally(1000, 1)
    list(tally.add(torch.zeros(900, 2, 2)))
    assert all(t.untyped_storage().nbytes() < 100 for t in tally.state().values() if isinstance(t, torch.Tensor))


def test_gradient_norm_and_update_size(tmp_path):
    raw = Raw()
    directory = run(
        (*SMALL, *STREAMS["slowly_changing_regression"], "optimizer=sgd", "optimizer.lr=0.05"), tmp_path, raw
    )
    loss = loss_function("mse")
    for column, seed in enumerate([3, 1]):
        for task in range(3):
            params = {n: p[column].clone().requires_grad_() for n, p in raw.params[task].items()}
            x, y = raw.first[task][0][column], raw.first[task][1][column]
            for layer in range(3):
                x = x @ params[f"layers.{layer}.weight"].T + params[f"layers.{layer}.bias"]
                x = x.relu() if layer < 2 else x
            loss(x, y).backward()
            grads = {name: p.grad for name, p in params.items()}
            hidden = [grads[f"layers.{layer}.{kind}"] for layer in (0, 1) for kind in ("weight", "bias")]
            expected = {"": norm(hidden), "layers.0": norm(hidden[:2]), "layers.1": norm(hidden[2:])}
            for layer, value in expected.items():
                assert rows(directory, "gradient_norm", seed, layer)[task] == (
                    task,
                    0,
                    task * 14,
                    pytest.approx(value, rel=1e-4),
                )
            moved = {name: p - 0.05 * grads[name] for name, p in params.items()}
            expected = m.update_size(dict(params), moved).item()
            assert rows(directory, "update_size", seed)[task][-1] == pytest.approx(expected, rel=1e-4)


def norm(tensors):
    return sum(t.square().sum().item() for t in tensors) ** 0.5


def test_weights_at_the_end_of_a_task(tmp_path):
    raw = Raw()
    directory = run(TINY, tmp_path, raw)
    for column, seed in enumerate([3, 1]):
        start, end = ({n: p[column] for n, p in raw.params[place].items()} for place in (0, 2))
        distance = m.distance_from_initialisation(end, start).item()
        assert rows(directory, "distance_from_initialisation", seed)[1][-1] == pytest.approx(distance)
        assert rows(directory, "weight_norm", seed)[1] == (1, 1, 24, pytest.approx(m.weight_norm(end).item()))


def test_measuring_changes_nothing(tmp_path):
    settings = (*TINY, *METHODS["cbp, by chance"], "callbacks.continual.bins_per_task=1")
    noisy = (*SMALL, *STREAMS["permuted_images"], *METHODS["shrink and perturb, every update"])
    everything = (
        f"callbacks.continual.metrics=[{ALL}]", "callbacks.continual.measure_at=[start,end]",
        "callbacks.continual.bins_per_task=4", "callbacks.fresh.mode=paired",
    )  # fmt: skip
    for each in (settings, noisy):
        bare = outcome(run((*each, "callbacks.continual.metrics=[]"), tmp_path))
        full = outcome(run((*each, *everything), tmp_path))
        assert full[1:] == bare[1:]
        assert len(full[0]) > 3 * len(bare[0])


def test_at_the_start_and_at_the_end(tmp_path):
    directory = run((*TINY, "callbacks.continual.measure_at=[start,end]"), tmp_path)
    for seed in (3, 1):
        assert [row[:3] for row in rows(directory, "start_post_loss", seed)] == [(0, 0, 0), (1, 0, 12), (2, 0, 24)]
        assert [row[:3] for row in rows(directory, "post_loss", seed)] == [(0, 1, 12), (1, 1, 24), (2, 1, 36)]
        # Full batch: what is measured before the first update is what it measures.
        first = [value for *_, value in rows(directory, "initial_loss", seed)]
        assert [value for *_, value in rows(directory, "start_post_loss", seed)] == pytest.approx(first)
        assert len(rows(directory, "start_dead_units", seed, "layers.1")) == 3
    only_start = run((*TINY, "callbacks.continual.measure_at=[start]"), tmp_path)
    assert not rows(only_start, "post_loss")


def test_held_out_sets(tmp_path):
    raw = Raw()
    directory = run((*TINY, "task.tasks=1"), tmp_path, raw)
    for column, seed in enumerate([3, 1]):
        x, y = GaussianMixtures(n=16, n_val=6).task(seed, 0).evaluation["validation"]
        for layer in range(3):
            weight, bias = (raw.params[-1][f"layers.{layer}.{kind}"][column] for kind in ("weight", "bias"))
            x = x @ weight.T + bias
            x = x.relu() if layer < 2 else x
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x, y).item()
        assert rows(directory, "validation_loss", seed) == [(0, 1, 12, pytest.approx(loss))]
        share = ((x > 0) == (y == 1)).double().mean().item()
        assert rows(directory, "validation_accuracy", seed) == [(0, 1, 12, pytest.approx(share))]


class Masked(PermutedImages):
    """A stream whose loss sees two of the ten outputs."""

    def load(self, index):
        task = super().load(index)
        task.active_outputs = (torch.arange(10) < 2).expand(len(self.seeds), -1)
        return task


def test_outputs_that_the_loss_may_not_see_are_measured_without(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "masked", sys.modules[__name__])
    raw, tasks = Raw(), ("task.task_length=20", "task.tasks=1", "task._target_=masked.Masked")
    directory = run((*SMALL, "task=permuted_images", *tasks), tmp_path, raw)
    stream = Masked(tasks=1, task_length=20, seeds=[3, 1])
    for column, seed in enumerate([3, 1]):
        x, y = stream.probe(seed, 0)
        for layer in range(3):
            weight, bias = (raw.params[-1][f"layers.{layer}.{kind}"][column] for kind in ("weight", "bias"))
            x = x @ weight.T + bias
            x = x.relu() if layer < 2 else x
        share = (x[:, :2].argmax(1) == y).double().mean().item()
        assert rows(directory, "post_accuracy", seed) == [(0, 0, 20, pytest.approx(share))]


def test_every_other_task_and_the_last(tmp_path):
    directory = run((*TINY, "callbacks.continual.every_tasks=2", "task.tasks=5"), tmp_path)
    for metric in ("post_loss", "gradient_norm", "weight_norm"):
        assert [task for task, *_ in rows(directory, metric, 3)] == [1, 3, 4]
    for metric in ("final_loss", "validation_loss"):
        assert [task for task, *_ in rows(directory, metric, 3)] == [0, 1, 2, 3, 4]


def test_only_what_was_asked_for(tmp_path):
    directory = run((*TINY, "callbacks.continual.metrics=[units]"), tmp_path)
    assert rows(directory, "dead_units", layer="layers.0")
    for metric, layer in (("effective_rank", "layers.0"), ("weight_norm", ""), ("gradient_norm", "")):
        assert not rows(directory, metric, layer=layer)


def test_a_record_in_memory():
    assert ContinualLearning().record.text() == "seed,task,epoch,update,layer,metric,value\n"
