"""What the record says of recurrent layers: that it is right, all there, and that measuring is harmless."""

from collections import defaultdict
from functools import cache
from math import isnan
from statistics import fmean

import lightning as L
import pytest
import torch
from lab import outcome, rows, run
from torch import nn
from torch.nn import functional as F

from lop_lightning.analysis.networks import load_network
from lop_lightning.callbacks.recurrence import GRADIENT_EXAMPLES, JACOBIAN_EXAMPLES

QUICK = ("+scale=smoke", "hardware.compile=false", "callbacks.progress.enabled=false", "seeds=[3,1]",
         "optimizer.lr=0.1")  # fmt: skip
ONLY = "callbacks.continual.metrics=[recurrence]"
RUNS = {
    "images": ("task=label_reshuffled_images", "model=lstm", "model.hidden=5", "model.layers=2"),
    "sentences": (
        "task=language_reshuffle", "task.max_length=40", "model=gru", "model.hidden=5", "model.embedding=4",
    ),
    "as published": (
        "task=language_reshuffle", "model=lstm", "model.hidden=5", "model.embedding=4", "model.readout=last_position",
        "model.pads=read",
    ),
}  # fmt: skip
CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}
GATES = {"lstm": ("input", "forget", None, "output"), "gru": ("reset", "update", None)}
WORDS = ("_gate_", "recurrent_", "state_gradient")


class Keep(L.Callback):
    """The learner and the stream as they are after the last task."""

    def on_train_end(self, trainer, learner):
        self.learner, self.stream = learner, trainer.datamodule


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of each kind, once: its directory, and who watched it."""

    @cache
    def one(kind):
        watch = Keep()
        return run((*RUNS[kind], *QUICK, ONLY), tmp_path_factory.mktemp("runs"), watch), watch

    return one


def last_rows(directory, seed):
    """The values of the second task by (metric, layer)."""
    lines = [line.split(",") for line in directory.record.read_text().splitlines()[1:]]
    return {(name, where): float(value) for s, task, *_, where, name, value in lines if (s, task) == (str(seed), "1")}


def whole_state(state):
    return torch.cat(state if isinstance(state, tuple) else (state,), 1)[0]


def one_by_one(network, example, target):
    """What a plain loop over PyTorch's cells gives for one example.

    Norms of the loss's gradients by the states from the last step backwards; by layer and direction the gates of every
    step, and the spectral radius at the middle one.
    """
    kind = network.cell_name
    if network.embedding is not None:
        example = network.embedding(example[example != 0] if network.skips else example)
    steps, states, gates, radii, inputs = len(example), {}, {}, {}, list(example)
    for index, layer in enumerate(network.layers):
        read = {"forwards": inputs, "backwards": inputs[::-1]}
        for direction, parameters in layer.items():
            name = f"layers.{index}.{direction}"
            cell = CELLS[kind](len(inputs[0]), network.hidden)
            cell.load_state_dict(parameters.state_dict())
            state, states[name], gates[name] = None, [], []
            for t, x in enumerate(read[direction]):
                zeros = torch.zeros(1, network.hidden)
                old = state if state is not None else (zeros, zeros) if kind == "lstm" else zeros
                if t == steps // 2:
                    radii[name] = radius(cell, x.detach(), old)
                h = old[0] if kind == "lstm" else old
                sums = cell.weight_ih @ x + cell.bias_ih + cell.weight_hh @ h[0] + cell.bias_hh
                gates[name].append(sums.sigmoid().detach().chunk(len(GATES[kind])))
                state = cell(x[None], old)
                states[name].append(state[0] if kind == "lstm" else state)
                states[name][-1].retain_grad()
        ahead, back = (states[f"layers.{index}.{d}"] for d in ("forwards", "backwards"))
        inputs = [torch.cat([a[0], b[0]]) for a, b in zip(ahead, back[::-1])]
    flaw = network.readout == "last_position"
    output = network.head(torch.cat([ahead[-1], back[0 if flaw else -1]], 1))
    F.cross_entropy(output, target[None]).backward()
    grads = [[s.grad if s.grad is not None else torch.zeros_like(s) for s in seq[::-1]] for seq in states.values()]
    norms = [torch.cat(at, 1).norm().item() for at in zip(*grads)]
    return norms, gates, radii


def radius(cell, x, state):
    """The largest |eigenvalue| of the Jacobian by the whole state."""
    parts = 2 if isinstance(state, tuple) else 1

    def step(whole):
        own = tuple(part[None] for part in whole.chunk(parts))
        return whole_state(cell(x[None], own if parts == 2 else own[0]))

    jacobian = torch.autograd.functional.jacobian(step, whole_state(state).detach())
    return torch.linalg.eigvals(jacobian).abs().max().item()


@pytest.mark.parametrize("kind", RUNS)
def test_the_rows_are_what_a_plain_loop_gives(finished, kind):
    directory, watch = finished(kind)
    inputs, targets = watch.stream.stacked_probe(1)
    if kind == "sentences":
        assert (inputs != 0).sum(-1).unique().numel() > 4
    for row, seed in enumerate((3, 1)):
        network, found = watch.learner.network(seed), last_rows(directory, seed)
        by_lag, radii, shares = (defaultdict(list) for _ in range(3))
        for n, (x, y) in enumerate(zip(inputs[row][:GRADIENT_EXAMPLES], targets[row])):
            norms, gates, own = one_by_one(network, x, y)
            for lag, norm in enumerate(norms):
                by_lag[lag].append(norm)
            for layer in gates:
                for step in gates[layer]:
                    for gate, values in zip(GATES[network.cell_name], step):
                        if gate is not None:
                            shares[f"{gate}_gate_closed", layer].append((values < 0.1).float().mean().item())
                            shares[f"{gate}_gate_open", layer].append((values > 0.9).float().mean().item())
                if n < JACOBIAN_EXAMPLES:
                    radii["recurrent_spectral_radius", layer].append(own[layer])
        expected = {key: fmean(values) for key, values in (*shares.items(), *radii.items())}
        expected.update({("state_gradient_norm", f"lag.{lag:02d}"): fmean(norms) for lag, norms in by_lag.items()})
        measured = {key: value for key, value in found.items() if any(word in key[0] for word in WORDS)}
        for key in measured.keys() - expected.keys():
            assert isnan(measured.pop(key)), key  # no sequence is so long
        assert measured.keys() == expected.keys()
        for key, value in expected.items():
            assert measured[key] == pytest.approx(value, rel=2e-4, abs=1e-6), key


def test_there_are_rows_for_every_layer_gate_and_lag(finished):
    directory, _ = finished("images")
    layers = [f"layers.{index}.{d}" for index in (0, 1) for d in ("forwards", "backwards")]
    for layer in layers:
        assert len(rows(directory, "recurrent_spectral_radius", layer=layer)) == 4  # two tasks, two seeds
        for gate in ("input", "forget", "output"):
            for end in ("closed", "open"):
                assert len(rows(directory, f"{gate}_gate_{end}", layer=layer)) == 4
        assert not rows(directory, "candidate_gate_closed", layer=layer)
    assert [len(rows(directory, "state_gradient_norm", layer=f"lag.{lag:02d}")) for lag in range(9)] == [4] * 8 + [0]


@pytest.mark.parametrize("kind", RUNS)
def test_measuring_changes_nothing(finished, kind, tmp_path):
    measured, _ = finished(kind)
    silent = run((*RUNS[kind], *QUICK, "callbacks.continual.metrics=[]"), tmp_path)
    for metric in ("online_loss", "online_accuracy", "final_loss", "post_loss", "test_accuracy"):
        assert rows(silent, metric) == rows(measured, metric) != []
    assert outcome(silent)[1:] == outcome(measured)[1:]
    assert "gate" not in silent.record.read_text()


def test_a_perceptron_has_no_such_rows(tmp_path):
    settings = ("task=label_reshuffled_images", "model=mlp", "model.hidden=[5]", *QUICK)
    text = run(settings, tmp_path).record.read_text()
    assert "dead_units" in text
    assert not any(word in text for word in (*WORDS, "lag."))


@pytest.mark.parametrize("kind", RUNS)
def test_kept_networks_are_read_again(kind, tmp_path):
    watch = Keep()
    settings = (*RUNS[kind], *QUICK, "callbacks.continual.metrics=[]", "callbacks.keep_networks.every_tasks=1")
    directory = run(settings, tmp_path, watch)
    own, inputs = watch.learner.network(1), watch.stream.stacked_probe(1)[0][1]
    again = load_network(directory.path, 2, 1)
    assert torch.equal(again(inputs)[0], own(inputs)[0])
