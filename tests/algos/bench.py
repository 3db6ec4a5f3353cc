"""What the tests of the methods share: tiny learners, tiny chunks, and how to compare populations."""

import math
from functools import partial

import torch

from lop_lightning.algos import L2, Backprop, ContinualBackprop, Execution, ShrinkAndPerturb
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import Chunk, Position, StreamSpec
from lop_lightning.trees import leaves

EAGER = Execution(compile=False)

# Every method, with settings that make it act within a few updates.
METHODS = {
    "backprop": Backprop,
    "l2_coupled": partial(L2, weight_decay=0.1),
    "l2_decoupled": partial(L2, weight_decay=0.1, mode="decoupled"),
    "shrink_and_perturb": partial(ShrinkAndPerturb, weight_decay=0.1, noise_std=0.01),
    "shrink_and_perturb_task_end": partial(ShrinkAndPerturb, when="task_end", noise_std=0.01, shrink=0.3),
    "continual_backprop": partial(ContinualBackprop, replacement_rate=0.1, maturity_threshold=2, decay_rate=0.9),
    "continual_backprop_by_chance": partial(
        ContinualBackprop, replacement_rate=0.1, maturity_threshold=2, decay_rate=0.9, accumulate=False
    ),
    "continual_backprop_random": partial(
        ContinualBackprop, replacement_rate=0.2, maturity_threshold=1, utility="random", initialisation="xavier_normal"
    ),
    "continual_backprop_lifetime": partial(
        ContinualBackprop, replacement_rate=0.1, maturity_threshold=2, reference_compat="res_gnt"
    ),
}
OPTIMIZERS = {"sgd": partial(SGD, lr=0.05, momentum=0.9), "adam": partial(Adam, lr=0.01)}


def make(method=Backprop, seeds=(0,), optimizer=None, execution=EAGER, hidden=(5, 3), spec=None, activation="tanh"):
    spec = spec or StreamSpec((4,), 2, "mse", torch.float64)
    learner = method(partial(MLP, hidden=hidden, activation=activation), optimizer or SGD(0.05), execution)
    learner.prepare(spec, list(seeds))
    return learner


def data(updates, seeds=1, batch=3, spec=None, source=0):
    """Inputs ``[K, S, B, 4]`` and targets, different for every update and seed."""
    spec = spec or StreamSpec((4,), 2, "mse", torch.float64)
    rng = torch.Generator().manual_seed(source)
    inputs = torch.randn(updates, seeds, batch, *spec.input_shape, generator=rng, dtype=torch.float64)
    if spec.loss == "cross_entropy":
        return inputs.to(spec.dtype), torch.randint(spec.output_size, (updates, seeds, batch), generator=rng)
    targets = torch.randn(updates, seeds, batch, spec.output_size, generator=rng, dtype=torch.float64)
    return inputs.to(spec.dtype), targets.to(spec.dtype)


def chunk(inputs, targets, first=0, ends_task=False, active=None):
    end = Position(1) if ends_task else Position(0, 0, first + len(inputs))
    return Chunk(inputs, targets, Position(0, 0, first), end, active)


def train(learner, inputs, targets, ends_task=False):
    return learner.train_chunk(learner.population, chunk(inputs, targets, learner.population.updates, ends_task))


def copy(population):
    return [t.clone() for t in leaves(population.state)], population.updates, repr(population.host)


def assert_same(one, other, rtol=0.0, atol=0.0):
    """Two populations (or copies of them) hold the same numbers."""
    one, other = (x if isinstance(x, tuple) else copy(x) for x in (one, other))
    assert one[1:] == other[1:]
    for a, b in zip(one[0], other[0], strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def pattern(shape, a, b, modulus, scale, offset=0):
    """Numbers that need no file: element k is ((a·k + b·⌊k/3⌋ + offset) mod modulus - ⌊modulus/2⌋) / scale."""
    k = torch.arange(math.prod(shape))
    return (((a * k + b * (k // 3) + offset) % modulus - modulus // 2) / scale).double().reshape(shape)
