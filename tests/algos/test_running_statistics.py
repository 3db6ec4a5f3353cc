"""Batch normalisation through the learner: the numbers of a plain loop over ``nn.BatchNorm2d``."""

from functools import partial

import pytest
import torch
from bench import assert_same, data, train
from torch import nn
from torch.nn import functional as F

from lop_lightning.algos import Backprop, Execution
from lop_lightning.algos.population import stack_networks
from lop_lightning.algos.task_ends import dry_update
from lop_lightning.networks.resnet import ResNet18
from lop_lightning.optimizers import SGD
from lop_lightning.tasks.base import StreamSpec

SPEC = StreamSpec((3, 6, 6), 4, "cross_entropy", torch.float64)
NETWORK = partial(ResNet18, widths=[2, 3], blocks=[1, 1])


def learner_of(lift="auto", seeds=(0, 3)):
    learner = Backprop(NETWORK, SGD(0.1, 0.9, weight_decay=5e-4), Execution(compile=False, lift=lift))
    learner.prepare(SPEC, list(seeds))
    return learner


class Plain(nn.Module):
    """The same network of torch's own modules."""

    def __init__(self):
        super().__init__()

        def part(inputs, outputs, kernel, stride=1):
            return nn.ModuleDict({
                "conv": nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2),
                "norm": nn.BatchNorm2d(outputs),
            })  # fmt: skip

        self.stem = part(3, 2, 3)
        self.blocks = nn.ModuleList([
            nn.ModuleDict({"first": part(2, 2, 3), "second": part(2, 2, 3)}),
            nn.ModuleDict({"first": part(2, 3, 3, 2), "second": part(3, 3, 3), "downsample": part(2, 3, 1, 2)}),
        ])  # fmt: skip
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        def go(part, x):
            return part["norm"](part["conv"](x))

        x = go(self.stem, x).relu()
        for block in self.blocks:
            z = go(block["second"], go(block["first"], x).relu())
            x = (z + (go(block["downsample"], x) if "downsample" in block else x)).relu()
        return self.head(x.mean((2, 3)))


def plain_of(learner, row):
    plain = Plain().double()
    plain.load_state_dict({n: t[row].clone() for n, t in learner.population.tensors.items()}, strict=False)
    return plain


@pytest.mark.parametrize("lift", ["vmap", "loop"])
def test_training_is_the_plain_loop(lift):
    learner = learner_of(lift)
    x, y = data(6, 2, batch=5, spec=SPEC)
    mask = torch.tensor([[True, True, True, False], [True, False, True, True]])
    y = torch.where(y == 3, 0, y).where(torch.tensor([True, False])[None, :, None], torch.where(y == 1, 2, y))
    plains = [plain_of(learner, row) for row in (0, 1)]
    measured = torch.cat([
        learner.train_chunk(learner.population, chunk) for chunk in chunks(x, y, mask, 4, 2)
    ])  # fmt: skip
    for row, plain in enumerate(plains):
        optimizer = torch.optim.SGD(plain.parameters(), 0.1, 0.9, weight_decay=5e-4)
        for update in range(6):
            optimizer.zero_grad()
            output = plain(x[update, row])[:, mask[row]]
            targets = mask[row].cumsum(0)[y[update, row]] - 1
            loss = F.cross_entropy(output, targets)
            loss.backward()
            optimizer.step()
            torch.testing.assert_close(measured[update, row, 0], loss.detach())
            share = (output.argmax(1) == targets).double().mean()
            torch.testing.assert_close(measured[update, row, 1], share)
        theirs = {n: t for n, t in plain.state_dict().items() if "num_batches" not in n}
        assert theirs.keys() == learner.population.tensors.keys()
        for name, t in learner.population.tensors.items():
            torch.testing.assert_close(t[row], theirs[name], rtol=1e-8, atol=1e-10, msg=name)
        assert not torch.equal(plain.stem["norm"].running_mean, torch.zeros(2))
        plain.eval()
        shown = torch.stack([x[0, row], x[0, row]])
        torch.testing.assert_close(learner.outputs(learner.population, shown)[row], plain(x[0, row]).detach())


def chunks(x, y, mask, *sizes):
    from lop_lightning.tasks.base import Chunk, Position

    begin = 0
    for size in sizes:
        end = begin + size
        yield Chunk(x[begin:end], y[begin:end], Position(0, 0, begin), Position(0, 0, end), mask)
        begin = end


@pytest.mark.parametrize("lift", ["vmap", "loop"])
def test_looking_uses_running_statistics_and_moves_nothing(lift):
    learner = learner_of(lift)
    train(learner, *data(3, 2, batch=5, spec=SPEC))
    before = {n: t.clone() for n, t in learner.population.tensors.items()}
    inputs = data(1, 2, batch=7, spec=SPEC, source=8)[0][0]
    together = learner.outputs(learner.population, inputs)
    one_by_one = torch.cat([learner.outputs(learner.population, inputs[:, [n]]) for n in range(7)], 1)
    torch.testing.assert_close(together, one_by_one)  # an example does not notice the others
    for rows in (slice(None), slice(1, 2)):
        trace = learner.trace(learner.population, inputs[rows], rows)
        torch.testing.assert_close(trace.output, together[rows])
        assert not trace.buffers
    dry_update(learner, learner.population, next(chunks(*data(1, 2, batch=5, spec=SPEC), None, 1)))
    for name, t in learner.population.tensors.items():
        assert torch.equal(t, before[name]), name
    for row, seed in enumerate(learner.seeds):
        network = learner.network(seed)
        assert not network.training
        torch.testing.assert_close(network(inputs[row])[0].detach(), together[row])
        network.stem.norm.running_mean.add_(1)  # it is a copy
    assert torch.equal(learner.population.tensors["stem.norm.running_mean"], before["stem.norm.running_mean"])


def test_both_lifts_agree():
    one, other = learner_of("vmap"), learner_of("loop")
    for learner in (one, other):
        train(learner, *data(4, 2, batch=5, spec=SPEC))
    assert_same(one.population, other.population, rtol=1e-9, atol=1e-11)
    inputs = data(1, 2, batch=5, spec=SPEC)[0][0]
    traces = [learner.trace(learner.population, inputs) for learner in (one, other)]
    for kind in ("preactivations", "activations"):
        ours, theirs = (getattr(trace, kind) for trace in traces)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name])


def test_dry_update_is_the_update():
    learner = learner_of()
    x, y = data(1, 2, batch=5, spec=SPEC)
    _, after = dry_update(learner, learner.population, next(chunks(x, y, None, 1)))
    train(learner, x, y)
    for name, p in learner.population.params.items():
        torch.testing.assert_close(p, after[name])


def test_saved_and_loaded():
    straight, resumed = learner_of(), learner_of()
    train(straight, *data(3, 2, batch=5, spec=SPEC))
    saved = {}
    straight.on_save_checkpoint(saved)
    train(resumed, *data(2, 2, batch=5, spec=SPEC, source=5))
    resumed.on_load_checkpoint(saved)
    for learner in (straight, resumed):
        train(learner, *data(3, 2, batch=5, spec=SPEC, source=2))
    assert_same(straight.population, resumed.population)
    assert set(saved["learner"]["state"]["buffers"]) == {
        f"{place}.norm.{kind}"
        for place in ("stem", *(f"blocks.{b}.{p}" for b in (0, 1) for p in ("first", "second")), "blocks.1.downsample")
        for kind in ("running_mean", "running_var")
    }


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("places", torch.tensor([1, 0]))


def test_whole_numbers_stay_whole():
    params, buffers = stack_networks([Counting(), Counting()], torch.float64, torch.device("cpu"))
    assert {p.dtype for p in params.values()} == {torch.float64}
    assert buffers["places"].tolist() == [[1, 0], [1, 0]]
    assert buffers["places"].dtype == torch.int64
