"""All methods on recurrent networks: how updates are executed changes nothing, and every number is regularised."""

import io
from functools import partial
from itertools import product

import pytest
import torch
from bench import METHODS, assert_same, train
from sequences_bench import CELLS, STREAMS, TOKENS, named, recurrent, sequences
from torch.nn import functional as F

from lop_lightning import networks
from lop_lightning.algos import L2, Backprop, Execution, ReDo, ShrinkAndPerturb
from lop_lightning.algos import lift as lifting
from lop_lightning.errors import RunError
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD, Adam
from lop_lightning.trees import leaves

CASES = list(product(CELLS, STREAMS))
SEEDS = (3, 0, 8)


@pytest.mark.parametrize("lift", ["vmap", "loop"])
@pytest.mark.parametrize(("cell", "stream"), CASES)
def test_seeds_together_are_seeds_alone(cell, stream, lift):
    method, spec = METHODS["continual_backprop"], STREAMS[stream]
    inputs, targets = sequences(12, 3, spec=spec)
    together = recurrent(cell, method, SEEDS, Adam(), spec, Execution(compile=False, lift=lift))
    measures = train(together, inputs, targets)
    for row, seed in enumerate(SEEDS):
        alone = recurrent(cell, method, (seed,), Adam(), spec)
        own = train(alone, inputs[:, row : row + 1], targets[:, row : row + 1])
        torch.testing.assert_close(measures[:, row], own[:, 0], rtol=1e-9, atol=1e-11)
        for a, b in zip(leaves(together.population.state), leaves(alone.population.state), strict=True):
            torch.testing.assert_close(a[row], b[0], rtol=1e-7, atol=1e-10)
    assert all((state["age"] < 12).any() for state in together.population.state["method"].values())


@pytest.mark.parametrize(("cell", "stream"), CASES)
def test_the_first_update_is_that_of_autograd(cell, stream):
    spec = STREAMS[stream]
    learner = recurrent(cell, Backprop, SEEDS, SGD(0.05), spec)
    x, y = sequences(1, 3, spec=spec)
    network = learner.network(0)
    F.cross_entropy(network(x[0, 1])[0], y[0, 1]).backward()
    train(learner, x, y)
    for name, p in network.named_parameters():
        expected = (p - 0.05 * p.grad).detach()
        torch.testing.assert_close(learner.population.params[name][1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "stream", "lift", "backend"), [("gru", "tokens", "vmap", "inductor"), ("lstm", "images", "loop", "eager")]
)
def test_compiled_is_eager(monkeypatch, cell, stream, lift, backend):
    if backend == "eager":  # traced all the same, but not made into machine code, which takes a quarter of a minute
        monkeypatch.setattr(networks.sequences, "MOST_ROWS", 3)
        monkeypatch.setattr(networks.sequences, "LEAST_ROWS", 1)
        real = torch.compile
        monkeypatch.setattr(torch, "compile", lambda f, **kw: real(f, fullgraph=True, dynamic=False, backend=backend))
    spec, settings = STREAMS[stream], {"layers": 1}
    plain, compiled = (
        recurrent(cell, METHODS["continual_backprop"], (0, 1), Adam(), spec, Execution(on, lift), **settings)
        for on in (False, True)
    )
    for part in range(3):
        batches = sequences(4, 2, spec=spec, source=part)
        measures = [train(learner, *batches) for learner in (plain, compiled)]
        torch.testing.assert_close(*measures, rtol=1e-9, atol=1e-11)
    assert_same(plain.population, compiled.population, rtol=1e-7, atol=1e-10)
    assert (plain.population.state["method"]["layers.0.forwards"]["age"] < 12).any()


@pytest.mark.parametrize("name", ["continual_backprop", "continual_backprop_by_chance", "shrink_and_perturb"])
@pytest.mark.parametrize(("cell", "stream"), CASES)
def test_resumed_is_uninterrupted(cell, stream, name):
    spec = STREAMS[stream]
    straight, stopped, resumed = (recurrent(cell, METHODS[name], (4, 1), Adam(), spec) for _ in range(3))
    parts = [sequences(7, 2, spec=spec, source=source) for source in range(2)]
    for learner in (straight, stopped):
        train(learner, *parts[0])
    checkpoint, file = {}, io.BytesIO()
    stopped.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, file)
    file.seek(0)
    train(resumed, *parts[1])  # whatever it held before is replaced
    resumed.on_load_checkpoint(torch.load(file, weights_only=True))
    assert_same(straight.population, resumed.population)
    measures = [train(learner, *parts[1]) for learner in (straight, resumed)]
    torch.testing.assert_close(*measures, rtol=0, atol=0)
    assert_same(straight.population, resumed.population)


def after_one_update(cell, method):
    """All parameters before and after, and their gradients: embedding, gates, and readout."""
    learner = recurrent(cell, method, optimizer=SGD(0.05), spec=TOKENS)
    before = {name: p[0].clone() for name, p in learner.population.params.items()}
    x, y = sequences(1, spec=TOKENS)
    network = learner.network(0)
    F.cross_entropy(network(x[0, 0])[0], y[0, 0]).backward()
    train(learner, x, y, ends_task=True)
    for name, p in network.named_parameters():
        yield before[name], p.grad, learner.population.params[name][0]


@pytest.mark.parametrize("mode", ["coupled", "decoupled"])
@pytest.mark.parametrize("cell", CELLS)
def test_l2_shrinks_every_number(cell, mode):
    for before, grad, after in after_one_update(cell, partial(L2, weight_decay=0.1, mode=mode)):
        torch.testing.assert_close(after, before - 0.05 * (grad + 0.1 * before), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_shrink_and_perturb_shrinks_and_shakes_every_number(cell):
    shaken = []
    method = partial(ShrinkAndPerturb, weight_decay=0.1, noise_std=0.01)
    for before, grad, after in after_one_update(cell, method):
        shaken.append((after - (before - 0.05 * (grad + 0.1 * before))).flatten() / 0.01)
        assert shaken[-1].abs().min() > 0
    noise = torch.cat(shaken)
    assert noise.mean().item() == pytest.approx(0, abs=4 / noise.numel() ** 0.5)
    assert noise.std().item() == pytest.approx(1, abs=4 / (2 * noise.numel()) ** 0.5)
    assert noise.unique().numel() == noise.numel()


@pytest.mark.parametrize("cell", CELLS)
def test_shrink_and_perturb_at_task_ends(cell):
    method = partial(ShrinkAndPerturb, when="task_end", noise_std=0.0, shrink=0.3)
    for before, grad, after in after_one_update(cell, method):
        torch.testing.assert_close(after, 0.7 * (before - 0.05 * grad), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_dormant_units_are_found_by_what_is_read_alone(cell):
    """ReDo's activity of a unit is its mean over the states that are no padding."""
    learner = recurrent(cell, partial(ReDo, threshold=0.1, period=100), spec=TOKENS)
    x, y = sequences(1, spec=TOKENS)
    shown, lengths = learner.trace(learner.population, x[0]).activations, (x[0, 0] != 0).sum(1)
    train(learner, x, y)
    for layer, h in shown.items():
        states = torch.cat([h[0, b, :n] for b, n in enumerate(lengths.tolist())])
        found = learner.population.state["method"][layer]["activity"][0]
        torch.testing.assert_close(found, states.abs().mean(0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_dormant_units_are_reborn(cell):
    learner = recurrent(cell, partial(ReDo, threshold=0.1, period=1), optimizer=SGD(0.0), layers=1)
    params = learner.population.params
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        params[f"layers.0.backwards.{part}"][0, 1::4] = 0
    train(learner, *sequences(1))
    assert learner.population.host["reborn"] == {"layers.0.forwards": [0], "layers.0.backwards": [1]}
    layer = named(learner, "layers.0.backwards")
    for place in (*(e.units for e in layer.fan_in), *layer.bias):
        assert place.rows(params[place.parameter][0])[1].any()
    for entry in layer.fan_out:
        assert not entry.units.rows(params[entry.units.parameter][0])[1].any()


def test_tokens_are_nothing_for_a_network_of_numbers():
    learner = Backprop(partial(MLP, hidden=[3]), SGD(0.05))
    with pytest.raises(RunError, match=r"model: this network reads numbers.*model=lstm or model=gru"):
        learner.prepare(TOKENS, [0])


def test_large_batches_take_their_seeds_one_by_one(monkeypatch):
    """On a CPU they share nothing there; the numbers are the same."""
    monkeypatch.setattr(lifting, "CROWD", 4)
    together, crowded = recurrent("lstm", seeds=(0, 1)), recurrent("lstm", seeds=(0, 1))
    crowded.prepare(crowded.spec, [0, 1], batch=6)
    assert (together.seed_slices, crowded.seed_slices) == ([slice(None)], [slice(0, 1), slice(1, 2)])
    inputs, targets = sequences(3, 2)
    for one in (together, crowded):
        train(one, inputs, targets)
    assert_same(crowded.population, together.population)
