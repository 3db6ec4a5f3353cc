"""A learner goes on from its checkpoint as if it had never stopped, bit for bit."""

import io

import pytest
import torch
from bench import METHODS, OPTIMIZERS, assert_same, copy, data, make, train

from lop_lightning.errors import RunError


def through_a_file(checkpoint):
    file = io.BytesIO()
    torch.save(checkpoint, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", METHODS)
def test_resumed_is_uninterrupted(name, kind):
    straight, stopped, resumed = (make(METHODS[name], (4, 1), OPTIMIZERS[kind]()) for _ in range(3))
    parts = [data(9, 2, source=source) for source in range(3)]
    for learner in (straight, stopped):
        train(learner, *parts[0])
        train(learner, *parts[1], ends_task=True)
    checkpoint = {}
    stopped.on_save_checkpoint(checkpoint)
    saved = through_a_file(checkpoint)
    train(resumed, *parts[2])  # whatever it held before is replaced
    resumed.on_load_checkpoint(saved)
    assert_same(straight.population, resumed.population)
    measures = [train(learner, *parts[2], ends_task=True) for learner in (straight, resumed)]
    torch.testing.assert_close(*measures, rtol=0, atol=0, equal_nan=True)
    assert_same(straight.population, resumed.population)
    again = make(METHODS[name], (4, 1), OPTIMIZERS[kind]())
    again.on_load_checkpoint(saved)  # which the first reader has not changed
    assert_same(again.population, stopped.population)


def test_a_checkpoint_waits_for_its_population():
    learner, checkpoint = make(METHODS["continual_backprop"]), {}
    train(learner, *data(9))
    learner.on_save_checkpoint(checkpoint)
    later = METHODS["continual_backprop"](learner.network_factory, learner.optimizer, learner.execution)
    later.on_load_checkpoint(checkpoint)
    later.prepare(learner.spec, [0])
    later.population.load(later._restored, later.seeds)  # as ``setup`` does
    assert_same(later.population, learner.population)


def test_a_checkpoint_stays_as_it_was_made():
    learner, checkpoint = make(METHODS["continual_backprop"]), {}
    train(learner, *data(9))
    learner.on_save_checkpoint(checkpoint)
    host = repr(checkpoint["learner"]["host"])
    train(learner, *data(9))
    assert repr(checkpoint["learner"]["host"]) == host


def test_other_seeds_are_refused():
    learner, checkpoint = make(METHODS["backprop"], (0, 1)), {}
    learner.on_save_checkpoint(checkpoint)
    other = make(METHODS["backprop"], (0, 2))
    before = copy(other.population)
    with pytest.raises(RunError, match="seeds"):
        other.on_load_checkpoint(checkpoint)
    assert_same(other.population, before)
