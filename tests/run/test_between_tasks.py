"""What is done within and between the tasks of a growing stream: evaluation, the best epoch, kept networks."""

from functools import cache
from itertools import pairwise

import pytest
import torch
from bench import data, make
from growing import EPOCHS, SEEDS, UPDATES, Watch, lines
from lab import IMAGE_METHODS, IMAGES, rows, run
from torch.nn import functional as F

from lop_lightning.analysis.networks import kept_tasks, load_network
from lop_lightning.callbacks.classes import class_accuracy
from lop_lightning.callbacks.plasticity import on_set
from lop_lightning.errors import LopError
from lop_lightning.metrics import Representation
from lop_lightning.tasks.base import ResidentTask, StreamSpec
from lop_lightning.tasks.incremental_cifar import IncrementalCIFAR


@cache
def stream():
    return IncrementalCIFAR(
        tasks=2, classes_per_task=2, source="synthetic", train_images=4, validation_images=3, test_images=2,
        augmented_test=True, representation_images=6, batch_size=4, epochs_per_task=3, seeds=SEEDS,
    )  # fmt: skip


def network_of(watch, tensors, row):
    network = watch.learner.build()
    network.load_state_dict({name: t[row] for name, t in tensors.items()})
    return network.eval()


@torch.no_grad()
def evaluated(network, seed, task, name):
    """Loss, accuracy and accuracy by class in the order of presentation, by hand."""
    made = stream().task(seed, task)
    x, y = made.evaluation[name]
    classes = torch.tensor(made.info["classes"])
    output = torch.stack([network(x)[0][:, c] for c in classes], 1)  # in the order of presentation
    target = (y[:, None] == classes).int().argmax(1)
    right = output.argmax(1) == target
    by_class = [right[target == place].double().mean().item() for place in range(len(classes))]
    return F.cross_entropy(output, target).item(), right.double().mean().item(), by_class


def test_every_epoch_is_evaluated(done):
    directory, watch = done
    places = [(0, e, 2 * (e + 1)) for e in range(3)] + [(1, e, 6 + 4 * (e + 1)) for e in range(3)]
    for row, seed in enumerate(SEEDS):
        for name in ("validation", "test"):
            expected = [
                evaluated(network_of(watch, tensors, row), seed, task, name)
                for (task, *_), tensors in zip(places, watch.epochs, strict=True)
            ]
            for column, kind in enumerate(("loss", "accuracy")):
                found = rows(directory, f"{name}_{kind}", seed)
                assert [place[:3] for place in found] == places
                assert [place[3] for place in found] == pytest.approx([e[column] for e in expected], rel=1e-5)


def test_networks_go_back_to_their_best_epoch(done):
    directory, watch = done
    best = {}
    for row, seed in enumerate(SEEDS):
        shares = [value for *_, value in rows(directory, "validation_accuracy", seed)]
        for task in (0, 1):
            own = shares[EPOCHS * task : EPOCHS * (task + 1)]
            best[seed, task] = own.index(max(own))
            for name, t in watch.before[task + 1].items():
                assert torch.equal(t[row], watch.epochs[EPOCHS * task + best[seed, task]][name][row]), name
    assert len(set(best.values())) > 1  # or the test shows nothing
    assert min(best.values()) < EPOCHS - 1


def test_the_best_networks_are_what_is_measured_and_kept(done):
    directory, watch = done
    assert kept_tasks(directory.path) == [0, 1, 2]
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    for task in (0, 1, 2):
        for row, seed in enumerate(SEEDS):
            network = load_network(directory.path, task, seed)
            assert not network.training
            for name, t in network.state_dict().items():
                assert torch.equal(t, watch.before[task][name][row]), (task, name)
            if task == 2:
                assert torch.equal(network(x)[0], watch.learner.network(seed)(x)[0])
    assert torch.equal(torch.get_rng_state(), state)
    for row, seed in enumerate(SEEDS):
        weights = torch.cat([watch.before[2][name][row].flatten() for name in watch.learner.population.params])
        size = weights.square().sum().sqrt().item()
        assert rows(directory, "weight_norm", seed)[-1] == (1, 2, 18, pytest.approx(size, rel=1e-5))


def test_accuracy_by_class_is_of_the_networks_that_are_left(done):
    directory, watch = done
    for row, seed in enumerate(SEEDS):
        for name in ("validation", "test"):
            *_, expected = evaluated(network_of(watch, watch.before[2], row), seed, 1, name)
            for place, value in enumerate(expected):
                found = rows(directory, f"{name}_class_accuracy", seed, f"class.{place:02d}")
                assert found == [(1, 2, 18, pytest.approx(value))]
    assert not rows(directory, "test_class_accuracy", layer="class.04")


def test_the_representation_is_that_before_the_reset(done):
    """Of a network that is about to be drawn anew."""
    directory, watch = done
    for task in (0, 1):
        for name, shown_set in stream().representation_sets(task).items():
            inputs, _ = shown_set.slice(0, shown_set.size, shown_set.size)
            for row, seed in enumerate(SEEDS):
                _, shown = network_of(watch, watch.before[task], row)(inputs[0, row])
                by_hand = Representation()
                by_hand.add({n: h.detach().movedim(1, -1).flatten(0, -2)[None] for n, h in shown.items()})
                for measure, value in by_hand.measures().items():
                    (found,) = (r for r in rows(directory, f"{name}_{measure}", seed) if r[0] == task)
                    assert found == (task, 0, 6 * task, pytest.approx(value.item(), rel=1e-4))
    assert not [r for r in rows(directory, "previous_srank_99") if r[0] == 0]


def test_growing_tasks_are_counted_by_their_own_updates(done):
    directory, watch = done
    measures = torch.cat(watch.measures)
    assert len(measures) == sum(UPDATES)
    bounds = {0: [0, 2, 3, 5, 6], 1: [0, 3, 6, 9, 12]}  # four bins each
    for row, seed in enumerate(SEEDS):
        found = rows(directory, "online_loss", seed)
        expected = []
        for task, edges in bounds.items():
            first = sum(UPDATES[:task])
            for begin, end in pairwise(edges):
                mean = measures[first + begin : first + end, row, 0].mean().item()
                expected.append((task, first + end, pytest.approx(mean)))
        assert [(task, update, value) for task, _, update, value in found] == expected
        assert [r[:3] for r in rows(directory, "final_loss", seed)] == [(0, 2, 6), (1, 2, 18)]


def test_networks_taken_together_or_one_by_one(done, tmp_path):
    directory, _ = done
    short = ("task.tasks=1", "task.epochs_per_task=1", "task.augmented_test=false", "hardware.lift=vmap")
    together = run((*IMAGES["incremental_cifar"], *short), tmp_path)
    for measure in ("rarely_active_units", "effective_rank", "srank_99"):
        first = rows(directory, f"next_{measure}")[:2]
        assert rows(together, f"next_{measure}") == [(*row[:3], pytest.approx(row[3], rel=1e-4)) for row in first]


def test_sets_that_are_larger_than_a_slice():
    learner = make(seeds=(0, 1), spec=StreamSpec((4,), 3, "cross_entropy", torch.float64))
    inputs, targets = data(1, 2, batch=510, spec=learner.spec)
    inputs[..., 500:, :] *= 9  # the last slice is another
    targets[0, 1].clamp_(max=1)  # and the second seed has no example of class 2
    held_out = ResidentTask(inputs[0], targets[0])
    for mask in (None, torch.tensor([[True, True, True], [True, True, False]])):
        loss, share = on_set(learner, learner.population, held_out, mask)
        by_class = class_accuracy(learner, learner.population, held_out, mask)
        for row, seed in enumerate(learner.seeds):
            seen = torch.arange(3) if mask is None else mask[row].nonzero().flatten()
            output = learner.network(seed)(inputs[0, row])[0].detach()[:, seen]
            assert loss[row].item() == pytest.approx(F.cross_entropy(output, targets[0, row]).item())
            right = output.argmax(1) == targets[0, row]
            assert share[row].item() == pytest.approx(right.double().mean().item())
            for c in range(2 + (row == 0)):
                assert by_class[row, c].item() == pytest.approx(right[targets[0, row] == c].double().mean().item())
        assert by_class[1, 2].isnan()


def test_networks_that_are_not_there(done):
    directory, _ = done
    with pytest.raises(LopError, match="no networks from before task 7: kept were 0, 1, 2"):
        load_network(directory.path, 7, 3)
    with pytest.raises(LopError, match=r"seed 2 is not in .*: its seeds are 3, 1"):
        load_network(directory.path, 1, 2)


def test_kept_before_the_stream_or_the_method_acts(tmp_path):
    watch = Watch()
    directory = run((*IMAGES["continual_imagenet"], *IMAGE_METHODS["head reset"]), tmp_path, watch)
    assert kept_tasks(directory.path) == [0, 2, 3]  # every second, and the end
    for task in (0, 2, 3):
        for row, seed in enumerate(SEEDS):
            for name, t in load_network(directory.path, task, seed).state_dict().items():
                assert torch.equal(t, watch.before[task][name][row])
    assert watch.before[2]["layers.1.weight"].all()
    assert [r[:3] for r in rows(directory, "test_loss", 3)] == [
        (t, e, 6 * t + 2 * (e + 1)) for t in range(3) for e in (1, 2)
    ]  # every second epoch, and the last
    assert not [line for line in lines(directory.record) if "class" in line[5]]
