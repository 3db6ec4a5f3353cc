"""How updates are executed changes nothing: seeds together or alone, compiled or not, in chunks of any size."""

import pytest
import torch
from bench import METHODS, OPTIMIZERS, assert_same, chunk, copy, data, make, train

from lop_lightning.algos import Backprop, ContinualBackprop, Execution, Learner
from lop_lightning.algos.task_ends import dry_update
from lop_lightning.errors import ConfigError, RunError
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD
from lop_lightning.tasks.base import StreamSpec
from lop_lightning.trees import leaves, rebuild, tree_map, unshared

SEEDS = (3, 0, 8)


def together_and_alone(method, optimizer, lift, dtype):
    spec = StreamSpec((4,), 2, "mse", dtype)
    inputs, targets = data(14, 3, spec=spec)
    inputs, targets = inputs.to(dtype), targets.to(dtype)
    together = make(method, SEEDS, optimizer(), Execution(compile=False, lift=lift), spec=spec)
    measures = train(together, inputs, targets, ends_task=True)
    for row, seed in enumerate(SEEDS):
        alone = make(method, (seed,), optimizer(), Execution(compile=False), spec=spec)
        own = train(alone, inputs[:, row : row + 1], targets[:, row : row + 1], ends_task=True)
        yield (measures[:, row, 0], own[:, 0, 0])
        for a, b in zip(leaves(together.population.state), leaves(alone.population.state), strict=True):
            yield a[row], b[0]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", METHODS)
def test_seeds_together_are_seeds_alone(name, kind):
    for a, b in together_and_alone(METHODS[name], OPTIMIZERS[kind], "loop", torch.float64):
        assert torch.equal(a, b)
    for a, b in together_and_alone(METHODS[name], OPTIMIZERS[kind], "vmap", torch.float64):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", METHODS)
def test_seeds_together_are_seeds_alone_in_float32(name):
    for a, b in together_and_alone(METHODS[name], OPTIMIZERS["sgd"], "loop", torch.float32):
        assert torch.equal(a, b)
    for a, b in together_and_alone(METHODS[name], OPTIMIZERS["sgd"], "vmap", torch.float32):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lift", ["vmap", "loop"])
@pytest.mark.parametrize("name", METHODS)
def test_chunks_and_unrolling_change_nothing(name, lift):
    whole, single, unrolled = (
        make(METHODS[name], SEEDS, execution=Execution(compile=False, lift=lift, unroll=unroll)) for unroll in (1, 1, 4)
    )
    inputs, targets = data(10, 3)
    measures = train(whole, inputs, targets)
    torch.testing.assert_close(train(unrolled, inputs, targets), measures, rtol=0, atol=0, equal_nan=True)
    rows = [train(single, inputs[k : k + 1], targets[k : k + 1]) for k in range(10)]
    torch.testing.assert_close(torch.cat(rows), measures, rtol=0, atol=0, equal_nan=True)
    assert_same(whole.population, single.population)
    assert_same(whole.population, unrolled.population)


COMPILED = {
    "l2_coupled": ("loop", "sgd"),
    "shrink_and_perturb": ("vmap", "sgd"),
    "continual_backprop": ("vmap", "adam"),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_is_eager(name):
    lift, kind = COMPILED[name]
    plain, compiled = (
        make(METHODS[name], (0, 1), OPTIMIZERS[kind](), Execution(compile=on, lift=lift, unroll=1))
        for on in (False, True)
    )
    for part in range(3):
        inputs, targets = data(5, 2, source=part)
        measures = [train(learner, inputs, targets) for learner in (plain, compiled)]
        torch.testing.assert_close(*measures, rtol=1e-10, atol=1e-12, equal_nan=True)
    assert_same(plain.population, compiled.population, rtol=1e-9, atol=1e-12)


def test_compiled_and_unrolled_for_a_second_population_on_batches_of_one():
    """Batches of one go through the outer-product pass; a population bound later runs in the same graph."""
    plain, compiled = (
        make(Backprop, (0, 1), execution=Execution(compile=on, unroll=2), hidden=(7,)) for on in (False, True)
    )
    inputs, targets = data(4, 2, batch=1)
    for learner in (plain, compiled):
        train(learner, inputs, targets)
        learner.fresh = learner.new_population("fresh")
        learner.train_chunk(learner.fresh, chunk(inputs, targets))
        train(learner, inputs[:2], targets[:2])
    assert_same(plain.population, compiled.population, rtol=1e-10, atol=1e-12)
    assert_same(plain.fresh, compiled.fresh, rtol=1e-10, atol=1e-12)


def test_many_learners_in_one_process(monkeypatch):
    """A sweep in one process compiles each of its runs, more than the compiler's eight variants of one function."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **kw: real(f, fullgraph=True, dynamic=False, backend="eager"))
    learners = [make(Backprop, (0,), SGD(0.01 * lr), Execution(unroll=2), hidden=(3,)) for lr in range(1, 4)]
    for _ in range(2):
        for learner in learners:
            with torch._dynamo.config.patch(recompile_limit=1):
                train(learner, *data(2))
    for lr, learner in enumerate(learners, start=1):
        plain = make(Backprop, (0,), SGD(0.01 * lr), hidden=(3,))
        for _ in range(2):
            train(plain, *data(2))
        assert_same(plain.population, learner.population, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", METHODS)
def test_looking_changes_nothing(name, kind):
    learner = make(METHODS[name], SEEDS, OPTIMIZERS[kind]())
    train(learner, *data(7, 3))
    inputs, targets = data(1, 3, source=1)
    before, rng = copy(learner.population), torch.get_rng_state()
    grads, params = dry_update(learner, learner.population, chunk(inputs, targets))
    trace = learner.trace(learner.population, inputs[0])
    network = learner.network(0)
    assert_same(before, learner.population)
    assert torch.equal(torch.get_rng_state(), rng)
    assert trace.output.shape == (3, 3, 2)
    torch.testing.assert_close(trace.output[1], network(inputs[0, 1])[0].detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(trace.activations["layers.1"], trace.preactivations["layers.1"].tanh())
    if "continual" not in name:  # whose rebirths come on top
        train(learner, inputs, targets)
        for leaf, p in params.items():
            torch.testing.assert_close(learner.population.params[leaf], p, rtol=0, atol=0)
    assert grads.keys() == params.keys()


def test_dry_gradients_are_those_of_autograd():
    learner = make(Backprop, SEEDS)
    inputs, targets = data(1, 3)
    grads, _ = dry_update(learner, learner.population, chunk(inputs, targets))
    network = learner.network(8)
    learner.loss(network(inputs[0, 2])[0], targets[0, 2]).backward()
    for name, p in network.named_parameters():
        torch.testing.assert_close(grads[name][2], p.grad, rtol=1e-12, atol=1e-14)


class Remembers(Learner):
    """Keeps the weights from before the last two steps, newest first, and hands its leaves back in another order."""

    def init_state(self, params):
        return {"older": tree_map(torch.clone, params), "old": tree_map(torch.clone, params)}

    def after_update(self, step):
        step.method = {"old": dict(reversed(step.before.items())), "older": step.method["old"]}
        return step


@pytest.mark.parametrize("lift", ["vmap", "loop"])
def test_a_method_may_remember_the_weights_from_before(lift):
    learner = make(Remembers, (0, 1), execution=Execution(compile=False, lift=lift, unroll=3))
    inputs, targets = data(6, 2)
    history = []
    for k in range(6):
        history.append({name: p.clone() for name, p in learner.population.params.items()})
        train(learner, inputs[k : k + 1], targets[k : k + 1])
        for name, p in history[-1].items():
            assert torch.equal(learner.population.state["method"]["old"][name], p)
            assert torch.equal(learner.population.state["method"]["older"][name], history[max(0, k - 1)][name])


def test_trees():
    tree = {"b": {"x": torch.ones(1), "a": torch.zeros(2)}, "a": torch.full((3,), 2.0), "none": {}}
    assert [t.numel() for t in leaves(tree)] == [1, 2, 3]
    again = rebuild(tree, leaves(tree))
    assert again["b"]["a"] is tree["b"]["a"]
    assert list(again["b"]) == ["x", "a"]
    assert tree_map(torch.add, tree, tree)["a"].tolist() == [4.0] * 3
    swapped = unshared(tree, {"none": {}, "a": tree["a"], "b": {"a": tree["b"]["x"], "x": torch.ones(3)}})
    assert list(swapped) == ["b", "a", "none"]
    assert swapped["a"] is tree["a"]
    assert swapped["b"]["a"] is not tree["b"]["x"]


def test_initial_networks_are_functions_of_their_seed_alone():
    rng = torch.get_rng_state()
    learner = make(Backprop, SEEDS)
    assert torch.equal(torch.get_rng_state(), rng)
    for row, seed in enumerate(SEEDS):
        torch.manual_seed(seed)
        for name, p in MLP((4,), 2, hidden=[5, 3], activation="tanh").named_parameters():
            assert torch.equal(learner.population.params[name][row], p.double())
    fresh = learner.new_population("fresh", 1)
    assert_same(fresh, learner.new_population("fresh", 1))
    for other in (learner.population, learner.new_population("fresh", 2)):
        assert (fresh.params["layers.0.weight"] != other.params["layers.0.weight"]).all()
        assert (fresh.keys != other.keys).all()


def test_what_cannot_run_is_said():
    with pytest.raises(RunError, match="does not fit the stream"):
        make(Backprop, spec=StreamSpec((4,), -2, "mse"))
    with pytest.raises(ConfigError, match="lift"):
        Execution(lift="pmap")
    with pytest.raises(ConfigError, match="unroll"):
        Execution(unroll=0)
    with pytest.raises(ConfigError, match="loss"):
        make(ContinualBackprop, spec=StreamSpec((4,), 2, "hinge"))
