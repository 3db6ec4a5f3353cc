"""Step sizes that change with the epoch of a task, for every optimiser."""

import math
from functools import partial

import pytest
import torch
from bench import chunk, data, make

from lop_lightning.algos import Execution
from lop_lightning.algos.task_ends import dry_update
from lop_lightning.errors import ConfigError
from lop_lightning.optimizers import SGD, Adam, AdamW, Muon
from lop_lightning.optimizers.schedule import checked_steps, factor_at
from lop_lightning.tasks.base import Chunk, Position

STEPS = [[1, 0.5], [3, 0.1]]
FACTORS = [1.0, 0.5, 0.5, 0.1, 0.1]  # of epochs 0 to 4
OPTIMIZERS = {
    "sgd": partial(SGD, weight_decay=0.1),
    "momentum": partial(SGD, momentum=0.9),
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "adam": partial(Adam, weight_decay=0.1),
    "adam_of_the_reference": partial(Adam, reference_compat=True),
    "adamw": partial(AdamW, weight_decay=0.1),
    "muon": partial(Muon, weight_decay=0.1),
}


def gradients(count):
    rng = torch.Generator().manual_seed(3)
    shapes = {"weight": (3, 4), "bias": (3,)}
    return [
        {n: torch.randn(s, generator=rng, dtype=torch.float64) for n, s in shapes.items()} for _ in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_epoch_is_an_optimizer_of_that_step_size(name):
    make_one = OPTIMIZERS[name]
    params, *grads = gradients(1 + 2 * len(FACTORS))
    scheduled = make_one(lr=0.2, lr_steps=STEPS)
    state, other = scheduled.init(params), make_one(lr=0.2).init(params)
    ours = theirs = params
    for epoch, factor in enumerate(FACTORS):
        scheduled.at_epoch(state, epoch)
        for update in range(2):
            g = grads[2 * epoch + update]
            ours, state = scheduled.update(ours, g, state)
            theirs, other = make_one(lr=0.2 * factor).update(theirs, g, other)
        for key in params:
            torch.testing.assert_close(ours[key], theirs[key], rtol=1e-13, atol=0)
    assert not torch.equal(ours["bias"], params["bias"])
    assert {slot: state[slot] for slot in other}.keys() | {"schedule"} == state.keys()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_steps_nothing_is_kept(name):
    optimizer, params = OPTIMIZERS[name](lr=0.2), gradients(1)[0]
    state = optimizer.init(params)
    assert "schedule" not in state
    optimizer.at_epoch(state, 3)
    assert "schedule" not in state
    assert optimizer.rate(state) == 0.2


def test_the_rate_before_any_epoch_was_begun():
    params = gradients(1)[0]
    optimizer = SGD(0.2, lr_steps=[[0, 0.5], [2, 0.25]])
    state = optimizer.init(params)
    assert state["schedule"]["rate"].item() == 0.2  # set by the learner before the first update
    rates = []
    for epoch in (0, 1, 2, 99, 0):  # the next task begins with the first again
        optimizer.at_epoch(state, epoch)
        rates.append(state["schedule"]["rate"].item())
    assert rates == [0.1, 0.1, 0.05, 0.05, 0.1]


def test_factors():
    assert [factor_at(checked_steps(STEPS), epoch) for epoch in range(5)] == FACTORS
    assert factor_at((), 7) == 1
    assert checked_steps(((2, 1),)) == ((2, 1.0),)
    assert checked_steps([[0, 0]]) == ((0, 0.0),)


@pytest.mark.parametrize(
    "wrong",
    [
        [[2, 0.1], [2, 0.2]], [[3, 0.1], [1, 0.2]], [[-1, 0.1]], [[1, -0.1]], [[1]], [[1, 0.1, 2]], [1, 0.1], 5, "1",
        ["10"], [[1.0, 0.1]], [["1", 0.1]], [[1, "x"]], [[1, None]], [[True, 0.1]], [[1, True]], [[1, math.nan]],
        [[1, math.inf]], None, {1: 0.1},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_wrong_steps_are_named(name, wrong):
    with pytest.raises(ConfigError) as error:
        OPTIMIZERS[name](lr_steps=wrong)
    line = error.value.line("optimizer.lr_steps")
    assert line.startswith("optimizer.lr_steps=")
    assert "\n" not in line
    assert "epochs increasing" in line


def at(place, inputs, targets):
    """A chunk of one update at (task, epoch)."""
    return Chunk(inputs, targets, Position(*place), Position(place[0], place[1] + 1))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_learner_sets_it_at_every_epoch_and_anew_in_every_task(compiled):
    optimizer = SGD(0.05, 0.9, lr_steps=[[1, 0.1], [2, 0.0]])
    learner = make(seeds=(0, 3), hidden=(3,), optimizer=optimizer, execution=Execution(compile=compiled, unroll=1))
    plain = {
        factor: make(seeds=(0, 3), hidden=(3,), optimizer=SGD(0.05 * factor, 0.9)) for factor in (1.0, 0.1, 0.0)
    }  # fmt: skip
    for number, (task, epoch, factor) in enumerate([(0, 0, 1.0), (0, 1, 0.1), (0, 2, 0.0), (1, 0, 1.0), (1, 1, 0.1)]):
        x, y = data(1, 2, source=number)
        before = {n: p.clone() for n, p in learner.population.params.items()}
        momentum = {n: p.clone() for n, p in learner.population.state["optimizer"]["momentum"].items()}
        twin = plain[factor]
        for n in before:
            twin.population.params[n].copy_(before[n])
            twin.population.state["optimizer"]["momentum"][n].copy_(momentum[n])
        learner.train_chunk(learner.population, at((task, epoch), x, y))
        twin.train_chunk(twin.population, chunk(x, y, first=1))
        for n, p in twin.population.params.items():
            torch.testing.assert_close(learner.population.params[n], p, rtol=1e-12, atol=1e-14)


def test_a_new_task_is_measured_with_its_own_step_size():
    learner = make(hidden=(3,), optimizer=SGD(0.05, lr_steps=[[1, 0.0]]))
    population, (x, y) = learner.population, data(1)
    learner.train_chunk(population, at((0, 0), x, y))
    learner.train_chunk(population, at((0, 1), x, y))
    learner.begin_task(population, 1)
    grads, after = dry_update(learner, population, at((1, 0), x, y))
    for name, p in population.params.items():
        torch.testing.assert_close(after[name], p - 0.05 * grads[name])


def test_a_step_size_is_saved_and_loaded():
    learner, other = (make(hidden=(3,), optimizer=SGD(0.05, lr_steps=[[1, 0.1]])) for _ in range(2))
    learner.train_chunk(learner.population, at((0, 1), *data(1)))
    saved = {}
    learner.on_save_checkpoint(saved)
    other.on_load_checkpoint(saved)
    assert other.population.state["optimizer"]["schedule"]["rate"].tolist() == [pytest.approx(0.005)]
