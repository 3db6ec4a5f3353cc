"""Networks, or their output layers, that begin anew at every task."""

from functools import partial

import pytest
import torch
from bench import EAGER, assert_same, copy, data

from lop_lightning.algos import Backprop, HeadReset, Retrain, ShrinkAndPerturb
from lop_lightning.errors import ConfigError
from lop_lightning.networks import MLP
from lop_lightning.networks.resnet import ResNet18
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import Chunk, Position, StreamSpec
from lop_lightning.trees import leaves

FLAT = StreamSpec((4,), 2, "mse", torch.float64)
IMAGES = StreamSpec((3, 4, 4), 2, "cross_entropy", torch.float64)
HEAD = ("layers.1.weight", "layers.1.bias")
OPTIMIZERS = {"momentum": partial(SGD, 0.05, 0.9), "adam": partial(Adam, 0.01)}


def learner_of(method, optimizer="momentum", seeds=(2, 5), images=False, new_heads=False, head_momentum=False):
    spec = IMAGES if images else FLAT
    shapes = (spec.input_shape, spec.output_size, spec.loss, spec.dtype)
    network = partial(ResNet18, widths=[2, 3], blocks=[1, 1]) if images else partial(MLP, hidden=[3], activation="tanh")
    learner = method(network, OPTIMIZERS[optimizer](), EAGER)
    learner.prepare(StreamSpec(*shapes, new_heads=new_heads, head_momentum=head_momentum), list(seeds))
    return learner


def learn(learner, task, source=None, updates=3):
    x, y = data(updates, len(learner.seeds), spec=learner.spec, source=task if source is None else source)
    return learner.train_chunk(learner.population, Chunk(x, y, Position(task), Position(task + 1)))


def tensors(learner):
    return {name: t.clone() for name, t in learner.population.tensors.items()}


def memory(learner, name):
    """What the optimiser remembers of a parameter, all in one row."""
    slots = learner.population.state["optimizer"]
    return torch.cat([slots[slot][name].flatten() for slot in sorted(slots) if name in slots[slot]])


CASES = {
    "head": (HeadReset, False, HEAD),
    "head of images": (HeadReset, True, ("head.weight", "head.bias")),
    "all": (Retrain, False, None),
    "all of images": (Retrain, True, None),
    "all but running statistics": (partial(Retrain, reset_buffers=False), True, "params"),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_what_changes_at_a_new_task(case, reset, optimizer):
    method, images, names = CASES[case]
    learner = learner_of(partial(method, reset_optimizer=reset), optimizer, images=images)
    population = learner.population
    first = tensors(learner)
    learner.begin_task(population, 0)
    assert all(torch.equal(first[name], t) for name, t in tensors(learner).items())
    learn(learner, 0)
    before, remembered = tensors(learner), {name: memory(learner, name) for name in population.params}
    names = {None: tuple(before), "params": tuple(population.params)}.get(names, names)
    learner.begin_task(population, 1)
    after = tensors(learner)
    for name in before:
        assert torch.equal(after[name], before[name]) == (name not in names), name
        assert not torch.equal(before[name], first[name]), name
    for name in population.params:
        assert remembered[name].any()
        forgotten = reset and name in names
        expected = torch.zeros_like(remembered[name]) if forgotten else remembered[name]
        assert torch.equal(memory(learner, name), expected), name


@pytest.mark.parametrize("images", [False, True])
def test_it_is_a_new_network_of_the_same_kind(images):
    learner = learner_of(Retrain, images=images)
    learn(learner, 0)
    learner.begin_task(learner.population, 1)
    for name, t in learner.population.tensors.items():
        if name.endswith("running_var") or (images and name.endswith("norm.weight")):
            assert torch.equal(t, torch.ones_like(t))
        elif name.endswith(("running_mean", "norm.bias")):
            assert not t.any()
    name = "stem.conv.weight" if images else "layers.0.weight"
    drawn = [learner_of(Backprop, images=images).population.params[name]]
    for task in (1, 2):
        learner.begin_task(learner.population, task)
        drawn.append(learner.population.params[name].clone())
    rows = torch.cat(drawn).flatten(1)
    assert len({tuple(row.tolist()) for row in rows}) == 6  # another in every task, and for every seed
    if not images:  # U(±5/3·√(3/4)): Kaiming's, of four inputs and tanh
        bound = 5 / 3 * 0.75**0.5
        assert 0.9 * bound < rows.abs().max() < bound


@pytest.mark.parametrize("method", [HeadReset, Retrain])
def test_drawn_from_seed_and_task_alone(method):
    one, other = learner_of(method), learner_of(method)
    learn(one, 0)
    learn(one, 1)
    torch.manual_seed(77)
    learn(other, 0, source=9, updates=1)
    state = torch.get_rng_state()
    for learner in (one, other):
        learner.begin_task(learner.population, 2)
    assert torch.equal(torch.get_rng_state(), state)
    for name in HEAD if method is HeadReset else one.population.tensors:
        assert torch.equal(one.population.params[name], other.population.params[name])


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("method", [HeadReset, Retrain])
def test_seeds_together_are_seeds_apart(method, images):
    together = learner_of(method, images=images)
    x = {task: data(3, 2, spec=together.spec, source=task) for task in (0, 1, 2)}
    for task, (inputs, targets) in x.items():
        together.train_chunk(together.population, Chunk(inputs, targets, Position(task), Position(task + 1)))
    for row, seed in enumerate(together.seeds):
        alone = learner_of(method, seeds=[seed], images=images)
        for task, (inputs, targets) in x.items():
            chunk = Chunk(inputs[:, [row]], targets[:, [row]], Position(task), Position(task + 1))
            alone.train_chunk(alone.population, chunk)
        for one, all_of_them in zip(leaves(alone.population.state), leaves(together.population.state)):
            torch.testing.assert_close(one[0], all_of_them[row], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", [HeadReset, Retrain])
def test_a_task_begins_once(method):
    learner = learner_of(method)
    learn(learner, 0)
    learner.begin_task(learner.population, 1)
    learn(learner, 1, updates=1)  # which begins it too
    other = learner_of(method)
    learn(other, 0)
    learn(other, 1, updates=1)
    assert_same(learner.population, other.population)
    moved = copy(learner.population)
    learner.begin_task(learner.population, 1)
    assert_same(moved, learner.population)


@pytest.mark.parametrize("spec", [{}, {"new_heads": True}])
@pytest.mark.parametrize("method", [HeadReset, Retrain, Backprop])
def test_a_task_that_was_begun_is_not_begun_again_after_a_resume(method, spec):
    learner, resumed = learner_of(method, **spec), learner_of(method, **spec)
    learn(learner, 0)
    learner.begin_task(learner.population, 1)
    for name in HEAD:
        learner.population.params[name] += 1.0  # no draw could give this
    saved = {}
    learner.on_save_checkpoint(saved)
    resumed.on_load_checkpoint(saved)
    assert resumed.population.begun == 1
    for one in (learner, resumed):
        learn(one, 1)
    assert_same(learner.population, resumed.population)


@pytest.mark.parametrize("key", ["reset_optimizer", "reset_buffers"])
def test_flags_are_flags(key):
    with pytest.raises(ConfigError, match="true or false"):
        Retrain(partial(MLP, hidden=[3]), SGD(), EAGER, **{key: "yes"})


# ---- streams that begin every task with an output layer of zeros


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("keeps", [False, True])
def test_new_heads_are_zero_in_every_task(keeps, optimizer):
    learner = learner_of(Backprop, optimizer, new_heads=True, head_momentum=keeps)
    for task in range(3):
        before = tensors(learner)
        remembered = {name: memory(learner, name) for name in learner.population.params}
        learner.begin_task(learner.population, task)
        for name, t in learner.population.params.items():
            assert torch.equal(t, torch.zeros_like(t) if name in HEAD else before[name])
            kept = keeps or name not in HEAD
            assert torch.equal(memory(learner, name), remembered[name] * kept)
        assert task == 0 or all(remembered[name].any() and before[name].any() for name in HEAD)
        learn(learner, task)


def test_new_heads_by_hand():
    """Momentum that was kept moves a new head with the old task's gradients."""
    for keeps in (False, True):
        learner = learner_of(Backprop, new_heads=True, head_momentum=keeps, seeds=[4])
        learn(learner, 0)
        old = learner.population.state["optimizer"]["momentum"]["layers.1.bias"][0].clone()
        x, y = data(1, source=1)
        learner.train_chunk(learner.population, Chunk(x, y, Position(1), Position(2)))
        gradient = (-2 * y[0, 0]).mean(0) / 2  # of the mean square over 3 examples and 2 outputs, at output zero
        expected = -0.05 * (gradient + 0.9 * keeps * old)
        torch.testing.assert_close(learner.population.params["layers.1.bias"][0], expected)


def test_without_new_heads_nothing_is_zeroed():
    learner = learner_of(Backprop)
    learn(learner, 0)
    before = copy(learner.population)
    learner.begin_task(learner.population, 1)
    assert_same(before, learner.population)


def test_the_method_acts_after_the_stream():
    """A head that the method draws anew is not the zeros that the stream asks for."""
    learner = learner_of(HeadReset, new_heads=True)
    learn(learner, 0)
    learner.begin_task(learner.population, 1)
    assert learner.population.params["layers.1.weight"].all()


def test_fresh_networks_begin_their_task_too():
    learner = learner_of(partial(ShrinkAndPerturb, noise_std=0.01), new_heads=True)
    learn(learner, 0)
    mine, fresh = copy(learner.population), learner.new_population("fresh", 1)
    x, y = data(1, 2)
    learner.train_chunk(fresh, Chunk(x * 0, y * 0, Position(1), Position(1, 0, 1)))
    assert fresh.begun == 1
    assert all(t.abs().max() < 0.1 for name, t in fresh.params.items() if name in HEAD)  # zeros and one update's noise
    assert_same(mine, learner.population)
