"""Recurrent networks that are read on the way: after every so many steps, of sequences that end at different times."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lop_lightning.errors import ConfigError
from lop_lightning.networks import GRU, LSTM, RNN
from lop_lightning.networks.base import Tracer, stacked_trace, traced

KINDS = {LSTM: nn.LSTM, GRU: nn.GRU, RNN: nn.RNN}
STEPS, FEATURES, HIDDEN, EVERY = 12, 3, 4, 3
EXACT = {"rtol": 1e-11, "atol": 1e-12}


def made(kind, outputs=2, seed=0, **settings):
    torch.manual_seed(seed)
    usual = {"hidden": HIDDEN, "bidirectional": False, "ragged": True, "read_every": EVERY}
    return kind((STEPS, FEATURES), outputs, **{**usual, **settings}).double()


def frames(*lengths, seed=0):
    """Sequences ``[B, T, F]`` that are NaN from their ends on."""
    x = torch.randn(len(lengths), STEPS, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ended = torch.arange(STEPS) >= torch.tensor(lengths)[:, None]
    return x.masked_fill(ended[..., None], float("nan"))


def twin_of(network, outputs=2):
    """PyTorch's own module and a linear layer, with copies of the parameters."""
    layers = len(network.layers)
    recurrent = KINDS[type(network)](FEATURES, HIDDEN, layers, batch_first=True).double()
    own, head = dict(network.named_parameters()), nn.Linear(HIDDEN, outputs).double()
    with torch.no_grad():
        for name, p in recurrent.named_parameters():
            part, _, layer = name.rpartition("_l")
            p.copy_(own[f"layers.{layer}.forwards.{part}"])
        head.load_state_dict({part: own[f"head.{part}"] for part in ("weight", "bias")})
    return recurrent, head


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("every", [1, 3, 12])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_pytorchs_module_and_a_linear_layer(shaken, kind, layers, every, outputs):
    network, x = shaken(made(kind, outputs, layers=layers, read_every=every)), frames(12, 12, 12)
    recurrent, head = twin_of(network, outputs)
    trace, states = network.trace(x), recurrent(x)[0]
    readings = [head(states[:, t]) for t in range(every - 1, STEPS, every)]
    assert trace.output.shape == (3, STEPS // every * outputs)
    torch.testing.assert_close(trace.output, torch.cat(readings, 1), **EXACT)
    towards = torch.randn_like(trace.output)
    (trace.output * towards).sum().backward()
    (torch.cat(readings, 1) * towards).sum().backward()
    for name, p in recurrent.named_parameters():
        part, _, layer = name.rpartition("_l")
        grad = network.get_parameter(f"layers.{layer}.forwards.{part}").grad
        torch.testing.assert_close(grad, p.grad, rtol=1e-9, atol=1e-12, msg=name)
    for part in ("weight", "bias"):
        torch.testing.assert_close(network.get_parameter(f"head.{part}").grad, head.get_parameter(part).grad, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_read_once_at_the_end_it_is_the_network_that_is_read_once(kind):
    on_the_way, once = made(kind, read_every=STEPS), made(kind, read_every=None)
    torch.testing.assert_close(on_the_way(frames(12, 12))[0], once(frames(12, 12))[0], rtol=0, atol=0)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_that_ends_early_is_the_shorter_sequence_alone(shaken, kind, layers):
    network, lengths = shaken(made(kind, layers=layers)), [12, 6, 3]
    x = frames(*lengths)
    trace = network.trace(x)
    assert trace.lengths.tolist() == lengths
    assert trace.output.isfinite().all()
    for row, length in enumerate(lengths):
        readings = length // EVERY * 2
        alone = network.trace(x[row : row + 1, :length])
        assert alone.output.shape == (1, readings)
        torch.testing.assert_close(trace.output[row, :readings], alone.output[0], **EXACT)
        for name, states in alone.activations.items():
            torch.testing.assert_close(trace.activations[name][row, :length], states[0], **EXACT)


def loss(output, target):
    """Mean cross-entropy of the readings that are there."""
    return F.cross_entropy(output.unflatten(-1, (-1, 2)).flatten(0, 1), target.flatten(), ignore_index=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_has_no_part_in_the_gradient(shaken, kind):
    network, x = shaken(made(kind, layers=2)), frames(6, 6)
    target = torch.tensor([[1, 0, -1, -1], [0, 1, -1, -1]])
    padded = torch.autograd.grad(loss(network(x)[0], target), list(network.parameters()))
    alone = torch.autograd.grad(loss(network(x[:, :6])[0], target[:, :2]), list(network.parameters()))
    assert all(grad.isfinite().all() and grad.any() for grad in padded)
    torch.testing.assert_close(padded, alone, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_different_lengths_together_are_those_networks_alone(kind):
    networks = [made(kind, layers=2, seed=seed) for seed in range(2)]
    x = torch.stack([frames(6, 6, 6, seed=1), frames(12, 12, 12, seed=2)])
    target = torch.randint(2, (2, 3, 4), generator=torch.Generator().manual_seed(0))
    target[0, :, 2:] = -1
    stacked, tracer = torch.func.stack_module_state(networks)[0], Tracer(made(kind, layers=2).to("meta"))
    objective = torch.func.grad(lambda params, x, y: loss(traced(tracer, params, x).output, y))
    grads = torch.vmap(objective)(stacked, x, target)
    shown = stacked_trace(tracer, {name: p.detach() for name, p in stacked.items()}, x)
    assert shown.lengths.tolist() == [[6] * 3, [12] * 3]
    for seed, (network, length) in enumerate(zip(networks, (6, 12))):
        output, count = network(x[seed, :, :length])[0], length // EVERY
        torch.testing.assert_close(shown.output[seed, :, : 2 * count], output, **EXACT)
        loss(output, target[seed, :, :count]).backward()
        expected = {name: p.grad for name, p in network.named_parameters()}
        torch.testing.assert_close({name: grad[seed] for name, grad in grads.items()}, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step(shaken, kind):
    network, x = shaken(made(kind, layers=2)), frames(12, 6)
    trace, shown = network.trace(x), network.unrolled(x)
    torch.testing.assert_close(shown.output, trace.output, **EXACT)
    assert torch.equal(shown.lengths, trace.lengths)
    for name, h in trace.activations.items():
        torch.testing.assert_close(shown.states[name][..., :HIDDEN], h, **EXACT)


def test_a_plain_cells_state_and_pre_activation_are_the_formula(shaken):
    network, x = shaken(made(RNN)), frames(12)
    trace, shown, name = network.trace(x), network.unrolled(x), "layers.0.forwards"
    p, h = dict(network.layers[0]["forwards"].named_parameters()), torch.zeros(HIDDEN, dtype=torch.float64)
    for t in range(STEPS):
        before = p["weight_ih"] @ x[0, t] + p["bias_ih"] + p["weight_hh"] @ h + p["bias_hh"]
        stepped = shown.steps[name](x[0, t], h)
        h = before.tanh()
        torch.testing.assert_close(trace.preactivations[name][0, t], before, **EXACT)
        torch.testing.assert_close(shown.gates[name]["candidate"][0, t], h, **EXACT)
        for state in (trace.activations[name][0, t], shown.states[name][0, t], stepped):
            torch.testing.assert_close(state, h, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_read_on_the_way_too(kind):
    network = kind((6,), 1, hidden=4, embedding=2, bidirectional=False, vocabulary=9, read_every=2)
    trace = network.trace(torch.tensor([[4, 2, 8, 5, 1, 7], [3, 3, 0, 0, 0, 0]]))
    assert trace.output.shape == (2, 3)
    assert trace.output.isfinite().all()
    torch.testing.assert_close(trace.output[:, 0], network(torch.tensor([[4, 2], [3, 3]]))[0][:, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"bidirectional": True}, "bidirectional=true is not legal: expected false"),
     ({"read_every": 5}, r"input_shape=\[12, 3\].*read_every=5"), ({"read_every": 24}, r"input_shape=\[12, 3\]"),
     ({"read_every": 0}, "read_every=0"), ({"read_every": 1.5}, "read_every=1.5"),
     ({"vocabulary": 9, "input_shape": (7,), "read_every": 2}, r"input_shape=\[7\]"),
     ({"input_shape": (12,)}, r"input_shape=\[12\].*images.*tokens")],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_bad_settings_are_named(kind, settings, message):
    usual = {"input_shape": (STEPS, FEATURES), "output_size": 1, "bidirectional": False, "read_every": EVERY}
    with pytest.raises(ConfigError, match=message) as caught:
        kind(**{**usual, **settings})
    assert "\n" not in str(caught.value)
