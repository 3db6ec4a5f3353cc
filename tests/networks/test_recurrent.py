"""Recurrent networks: their numbers and gradients are those of PyTorch's ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``."""

import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lop_lightning.errors import ConfigError
from lop_lightning.networks import GRU, LSTM, RNN, sequences
from lop_lightning.networks.base import Tracer, stacked_trace, traced
from lop_lightning.networks.sequences import tile_rows

KINDS = {LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN}
IMAGE, LENGTH, VOCABULARY = (5, 3), 6, 9
TOKENS = torch.tensor([[4, 2, 8, 5, 1, 7], [3, 3, 1, 0, 0, 0], [6, 0, 0, 0, 0, 0], [2, 8, 1, 6, 5, 0]])


def make(kind, tokens=False, **settings):
    shapes = {"input_shape": (LENGTH,), "vocabulary": VOCABULARY} if tokens else {"input_shape": IMAGE}
    return kind(**shapes, **{"output_size": 3, "hidden": 4, "embedding": 2, **settings}).double()


def examples(tokens=False, count=4):
    return TOKENS[:count] if tokens else torch.randn(count, *IMAGE, dtype=torch.float64)


class Twin(nn.Module):
    """The same network of PyTorch's own modules, with copies of the parameters."""

    def __init__(self, network):
        super().__init__()
        self.network, self.skips = [network], network.skips
        own, many = dict(network.named_parameters()), len(network.directions)
        features = own["layers.0.forwards.weight_ih"].shape[1]
        layers = len(network.layers)
        module = KINDS[type(network)]
        self.recurrent = module(features, network.hidden, layers, batch_first=True, bidirectional=many == 2).double()
        self.head = nn.Linear(many * network.hidden, 3).double()
        self.embedding = None if network.embedding is None else nn.Embedding(VOCABULARY, features).double()
        with torch.no_grad():
            for name, p in self.named_parameters():
                p.copy_(own[self.called(name)])

    def called(self, name):
        """Our name of one of its parameters."""
        if not name.startswith("recurrent."):
            return name
        kind, _, place = name.removeprefix("recurrent.").rpartition("_l")
        index, _, reverse = place.partition("_")
        return f"layers.{index}.{'backwards' if reverse else 'forwards'}.{kind}"

    def forward(self, x):
        """Output, the last layer's states by position, and how many of them count."""
        inputs = x if self.embedding is None else self.embedding(x)
        lengths = (x != 0).sum(1) if self.skips else torch.full((len(x),), x.shape[1])
        if self.skips:
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            states, last = self.recurrent(packed)
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])
        else:
            states, last = self.recurrent(inputs)
        network, last = self.network[0], last[0] if isinstance(last, tuple) else last
        read = torch.cat(list(last[-len(network.directions) :]), 1)
        if network.readout == "last_position":
            read = states[torch.arange(len(x)), lengths - 1]
        return self.head(read), states, lengths


SETTINGS = [
    {"layers": layers, "bidirectional": both, "readout": readout}
    for layers, both, readout in product((1, 2), (False, True), ("final", "last_position"))
]


@pytest.mark.parametrize("inputs", ["images", "tokens, skipped", "tokens, read"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_pytorchs(shaken, kind, settings, inputs):
    torch.manual_seed(0)
    tokens = inputs != "images"
    network = shaken(make(kind, tokens, pads=inputs.rpartition(" ")[2] if tokens else "skipped", **settings))
    twin, x, towards = Twin(network), examples(tokens), torch.randn(4, 3, dtype=torch.float64)
    trace = network.trace(x)
    output, states, lengths = twin(x)
    torch.testing.assert_close(trace.output, output, rtol=1e-12, atol=1e-12)
    (trace.output * towards).sum().backward()
    (output * towards).sum().backward()
    own = dict(network.named_parameters())
    assert {twin.called(name) for name, _ in twin.named_parameters()} == own.keys()
    for name, p in twin.named_parameters():
        torch.testing.assert_close(own[twin.called(name)].grad, p.grad, rtol=1e-9, atol=1e-12, msg=name)
    assert (trace.lengths is None) != network.skips
    for number, direction in enumerate(network.directions):
        shown = trace.activations[f"layers.{settings['layers'] - 1}.{direction}"]
        theirs = states[..., 4 * number : 4 * (number + 1)]
        for b, n in enumerate(lengths.tolist()):
            read = theirs[b, :n].flip(0) if direction == "backwards" else theirs[b, :n]
            torch.testing.assert_close(shown[b, :n], read, rtol=1e-12, atol=1e-12)


def size(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts_of_the_published_networks():
    assert size(LSTM((28, 28), 10)) == 11_510
    assert size(LSTM((1, 28, 28), 10)) == 11_510
    for width, count in ((32, 990_026), (64, 2_004_618), (128, 4_107_530)):
        assert size(GRU((25,), 10, hidden=width, embedding=width, vocabulary=30_522)) == count


def test_parameter_counts_of_plain_networks():
    assert size(RNN((28, 28), 10)) == 2 * (25 * 28 + 25 * 25 + 2 * 25) + 51 * 10
    assert size(RNN((400, 25), 1, hidden=50, bidirectional=False)) == 50 * 25 + 50 * 50 + 2 * 50 + 51


@pytest.mark.parametrize("kind", KINDS)
def test_initial_distributions(kind):
    torch.manual_seed(0)
    network = kind((7,), 2, hidden=16, layers=2, embedding=8, vocabulary=2000)
    for name, p in network.named_parameters():
        if name == "embedding.weight":
            assert p.mean().item() == pytest.approx(0, abs=0.03)
            assert p.std().item() == pytest.approx(1, abs=0.03)
            continue
        bound = 1 / math.sqrt(32 if name.startswith("head") else 16)
        assert p.abs().max() <= bound, name
        if p.numel() > 40:
            assert p.abs().max() > 0.9 * bound, name
            assert p.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
def test_what_the_backward_half_of_the_readout_sees(kind, layers):
    """All of the sequence; with ``last_position`` in one layer the last element alone: the published design's flaw."""
    torch.manual_seed(0)
    for readout, seen in (("final", [True] * 5), ("last_position", [layers == 2] * 4 + [True])):
        network = make(kind, readout=readout, layers=layers)
        with torch.no_grad():
            network.head.weight[:, :4] = 0
        x = examples().requires_grad_()
        network(x)[0].sum().backward()
        assert [bool(row) for row in x.grad.any(2).all(0)] == seen


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_backward_half_sees_of_padded_sentences(kind):
    torch.manual_seed(0)
    for readout, seen in (("final", [True] * 3), ("last_position", [False, False, True])):
        network = make(kind, True, readout=readout)
        with torch.no_grad():
            network.head.weight[:, :4] = 0
        before = network(TOKENS[1:2])[0]
        for place, changes in enumerate([*seen, False]):
            other = TOKENS[1:2].clone()
            other[0, place] = 5 if place < 3 else 0
            assert torch.equal(network(other)[0], before) != changes


@pytest.mark.parametrize(
    ("batch", "rows"), [(1, 1), (1024, 1024), (2048, 1024), (1500, 750), (6000, 1000), (1031, 1031), (2062, 2062)]
)
def test_sizes_of_tiles(batch, rows):
    assert tile_rows(batch, torch.device("cpu")) == rows
    assert tile_rows(batch, torch.device("cuda")) == batch


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("settings", [{"layers": 2}, {"bidirectional": False}])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_change_nothing(monkeypatch, kind, settings, tokens):
    torch.manual_seed(0)
    network, x = make(kind, tokens, **settings), torch.cat([examples(tokens) for _ in range(3)])
    towards, shown = torch.randn(12, 3, dtype=torch.float64), []
    for most, tile in ((1024, 2**17), (4, 2**17), (4, 1), (1024, 1)):
        monkeypatch.setattr(sequences, "MOST_ROWS", most)
        monkeypatch.setattr(sequences, "LEAST_ROWS", 2)
        monkeypatch.setattr(sequences, "TILE", tile)
        assert tile_rows(12, x.device) == min(most, 12)
        trace = network.trace(x)
        grads = torch.autograd.grad((trace.output * towards).sum(), list(network.parameters()))
        states = [state for side in (trace.activations, trace.preactivations) for state in side.values()]
        shown.append([trace.output, *grads, *states])
    for other in shown[1:]:
        torch.testing.assert_close(other, shown[0], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("rows", [1024, 2])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_together_are_seeds_one_by_one(monkeypatch, kind, tokens, rows):
    monkeypatch.setattr(sequences, "MOST_ROWS", rows)
    monkeypatch.setattr(sequences, "LEAST_ROWS", 1)
    torch.manual_seed(0)
    networks = [make(kind, tokens, layers=2) for _ in range(3)]
    x = torch.stack([examples(tokens)[torch.randperm(4)] for _ in range(3)])
    y = torch.randint(3, (3, 4))
    stacked, _ = torch.func.stack_module_state(networks)
    tracer = Tracer(make(kind, tokens, layers=2).to("meta"))

    def one(params, x, y):
        def objective(params):
            trace = traced(tracer, params, x)
            return nn.functional.cross_entropy(trace.output, y), trace.activations

        return torch.func.grad(objective, has_aux=True)(params)

    grads, activations = torch.vmap(one)(stacked, x, y)
    tensors = {name: p.detach() for name, p in stacked.items()}
    whole = [stacked_trace(tracer, tensors, x, loops) for loops in (False, True)]
    for seed, network in enumerate(networks):
        trace = network.trace(x[seed])
        nn.functional.cross_entropy(trace.output, y[seed]).backward()
        expected = [{name: p.grad for name, p in network.named_parameters()}, trace.activations]
        together = [{name: t[seed] for name, t in part.items()} for part in (grads, activations)]
        torch.testing.assert_close(together, expected, rtol=1e-10, atol=1e-12)
        for shown in whole:
            torch.testing.assert_close(shown.output[seed], trace.output, rtol=1e-11, atol=1e-12)
            assert (shown.lengths[seed].tolist() if tokens else shown.lengths) == (
                trace.lengths.tolist() if tokens else None
            )


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_seeds_may_share_their_inputs(kind, tokens):
    torch.manual_seed(0)
    networks, x = [make(kind, tokens) for _ in range(3)], examples(tokens)
    stacked, tracer = torch.func.stack_module_state(networks)[0], Tracer(make(kind, tokens).to("meta"))
    together = torch.vmap(lambda params: traced(tracer, params, x).output)(stacked)
    torch.testing.assert_close(together, torch.stack([network(x)[0] for network in networks]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_read_row_by_row_all_channels_together(kind):
    torch.manual_seed(0)
    network = kind((2, 4, 3), 3, hidden=4).double()
    flat = kind((4, 6), 3, hidden=4).double()
    flat.load_state_dict(network.state_dict())
    x = torch.randn(5, 2, 4, 3, dtype=torch.float64)
    rows = torch.stack([torch.cat([x[:, 0, r], x[:, 1, r]], 1) for r in range(4)], 1)
    assert torch.equal(network(x)[0], flat(rows)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"layers": 0}, "layers=0"), ({"hidden": 0}, "hidden=0"), ({"hidden": True}, "hidden=true"),
     ({"embedding": 0}, "embedding=0"), ({"bidirectional": 1}, "bidirectional=1"),
     ({"readout": "finl"}, "readout=finl.*did you mean 'final'"),
     ({"readout": "last-position"}, "readout=last-position.*did you mean 'last_position'"),
     ({"pads": "skip"}, "pads=skip.*did you mean 'skipped'"),
     ({"input_shape": (64,)}, r"input_shape=\[64\].*images.*tokens"), ({"input_shape": ()}, "input_shape"),
     ({"input_shape": (2, 1, 8, 8)}, "input_shape")],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_bad_settings_are_named(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        kind(**{"input_shape": (8, 8), "output_size": 2, **settings})
