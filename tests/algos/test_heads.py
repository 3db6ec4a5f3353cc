"""Learners of networks with several readouts: the loss, which are asked, and heads that come later."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from lop_lightning.algos import Backprop, ContinualBackprop, Execution, ShrinkAndPerturb
from lop_lightning.algos.heads import ask
from lop_lightning.algos.losses import accuracy, loss_function
from lop_lightning.errors import RunError
from lop_lightning.networks import GRU, MLP
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.tasks.base import Chunk, Position, StreamSpec

STEPS, BATCH = 6, 5


def spec(heads):
    return StreamSpec((STEPS, 1), 2 * heads, "multi_head_cross_entropy", torch.float64, ragged=True, heads=heads)


def learner(heads, kind=Backprop, optimizer=None, seeds=(0, 4)):
    made = kind(
        partial(GRU, hidden=3, bidirectional=False), optimizer or SGD(0.1, 0.5, clip=2.0), Execution(compile=False)
    )
    made.prepare(spec(heads), list(seeds))
    return made


def chunk(heads, updates=3, seeds=2, start=0, self_paced=False):
    generator = torch.Generator().manual_seed(heads)
    x = torch.randint(2, (updates, seeds, BATCH, STEPS, 1), generator=generator).double()
    y = torch.randint(2, (updates, seeds, BATCH, heads), generator=generator)
    end = Position(1) if self_paced else Position(0, 0, start + updates)
    return Chunk(x, y, Position(0, 0, start), end, None, self_paced)


def test_the_loss_is_the_sum_over_the_heads_that_are_asked():
    output, target = torch.randn(5, 6).double(), torch.tensor([[1, 0, -1]] * 3 + [[0, 0, -1]] * 2)
    by_hand = sum(F.cross_entropy(output[:, 2 * k : 2 * k + 2], target[:, k]) for k in (0, 1))
    torch.testing.assert_close(loss_function("multi_head_cross_entropy")(output, target), by_hand)
    right = sum((output[:, 2 * k : 2 * k + 2].argmax(1) == target[:, k]).sum() for k in (0, 1))
    assert accuracy("multi_head_cross_entropy", output, target).item() == pytest.approx(right.item() / 10)


@pytest.mark.parametrize("kind", [Backprop, ContinualBackprop, partial(ShrinkAndPerturb, noise_std=1e-3)])
def test_heads_that_come_later_are_as_if_they_had_been_there(kind):
    """A head that is not asked learns nothing, so that a network that gets it later is as one that always had it."""
    grown, whole = learner(1, kind), learner(3, kind)
    if not isinstance(kind, partial):  # noise would shake a head that is there
        ask(whole, (0, 1))
        for one in (grown, whole):
            one.train_chunk(one.population, chunk(1))
    for one in (grown, whole):
        ask(one, (0, 3))
    assert grown.spec == whole.spec
    for one in (grown, whole):
        one.train_chunk(one.population, chunk(3, start=3))
    for name, p in whole.population.params.items():
        torch.testing.assert_close(grown.population.params[name], p, rtol=0, atol=0)
    slots = grown.population.state["optimizer"]["momentum"]
    assert slots["head.weight"].shape == (2, 6, 3)


def test_adam_counts_the_age_of_a_new_head_from_its_birth():
    grown = learner(1, optimizer=Adam(0.01))
    grown.train_chunk(grown.population, chunk(1))
    ask(grown, (0, 2))
    assert grown.population.state["optimizer"]["steps_0"]["head.weight"].tolist() == [[3, 3, 0, 0]] * 2
    assert grown.network(4).head.weight.shape == (4, 3)


def test_a_checkpoint_with_more_heads_than_the_stream_began_with():
    grown = learner(1)
    ask(grown, (0, 3))
    grown.train_chunk(grown.population, chunk(3))
    saved = {}
    grown.on_save_checkpoint(saved)
    fresh = learner(1)
    fresh.on_load_checkpoint(saved)
    for name, p in grown.population.params.items():
        assert torch.equal(fresh.population.params[name], p)
    ask(fresh, (1, 2))
    ask(grown, (1, 2))
    for one in (grown, fresh):
        one.train_chunk(one.population, chunk(2, start=3))
    assert torch.equal(fresh.population.params["head.weight"], grown.population.params["head.weight"])


def test_a_self_paced_task_is_not_ended_by_its_last_chunk():
    kind = partial(ShrinkAndPerturb, when="task_end", shrink=0.5, noise_std=0.0)
    own, paced, plain = learner(1, kind), learner(1, kind), learner(1)
    plain.train_chunk(plain.population, chunk(1))
    paced.train_chunk(paced.population, chunk(1, self_paced=True))
    own.train_chunk(
        own.population, Chunk(*(getattr(chunk(1), n) for n in ("inputs", "targets")), Position(), Position(1))
    )
    weight = plain.population.params["head.weight"]
    assert torch.equal(paced.population.params["head.weight"], weight)
    torch.testing.assert_close(own.population.params["head.weight"], 0.5 * weight)


def test_a_network_with_one_readout_is_refused_in_one_line():
    made = Backprop(partial(MLP, hidden=[3]), SGD(), Execution(compile=False))
    with pytest.raises(RunError, match=r"sequences that end at different times.*model=leaky"):
        made.prepare(spec(2), [0])
