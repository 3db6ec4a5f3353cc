"""Recurrent networks step by step: what the quick pass computes, and the formulas of the cells."""

import pytest
import torch

from lop_lightning.networks import GRU, LSTM, MLP

KINDS = [LSTM, GRU]
TOKENS = torch.tensor([[4, 2, 8, 5, 1], [3, 3, 1, 0, 0], [6, 0, 0, 0, 0], [2, 8, 1, 6, 0]])


def made(shaken, kind, tokens, **settings):
    torch.manual_seed(0)
    shapes = {"input_shape": (5,), "vocabulary": 9} if tokens else {"input_shape": (5, 3)}
    network = shaken(
        kind(**shapes, **{"output_size": 2, "hidden": 4, "embedding": 3, "layers": 2, **settings}).double()
    )
    return network, TOKENS if tokens else torch.randn(4, 5, 3, dtype=torch.float64)


@pytest.mark.parametrize("settings", [{}, {"bidirectional": False, "layers": 1}, {"readout": "last_position"}])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_are_those_of_the_quick_pass(shaken, kind, tokens, settings):
    network, x = made(shaken, kind, tokens, **settings)
    trace, shown = network.trace(x), network.unrolled(x)
    torch.testing.assert_close(shown.output, trace.output, rtol=1e-11, atol=1e-12)
    assert list(shown.states) == list(trace.activations) == [layer.name for layer in network.hidden_layers()]
    for name, h in trace.activations.items():
        torch.testing.assert_close(shown.states[name][..., :4], h, rtol=1e-11, atol=1e-12)
        before = shown.states[name][..., 4:] if kind is LSTM else shown.gates[name]["candidate"].atanh()
        torch.testing.assert_close(trace.preactivations[name], before, rtol=1e-9, atol=1e-11)
    if tokens:
        assert torch.equal(shown.lengths, trace.lengths)


def by_hand(kind, p, x, h, c):
    """Gates and state ``[H]`` of one example's step, unit by unit and gate by gate."""
    width, gates, new = len(h), {}, []

    def row(gate, unit, part):
        at = gate * width + unit
        if part == "ih":
            return p["weight_ih"][at] @ x + p["bias_ih"][at]
        return p["weight_hh"][at] @ h + p["bias_hh"][at]

    for unit in range(width):
        if kind is LSTM:
            i, f, g, o = (row(gate, unit, "ih") + row(gate, unit, "hh") for gate in range(4))
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            cell = f * c[unit] + i * g
            values, state = {"input": i, "forget": f, "candidate": g, "output": o}, (o * cell.tanh(), cell)
        else:
            r, z = ((row(gate, unit, "ih") + row(gate, unit, "hh")).sigmoid() for gate in range(2))
            n = (row(2, unit, "ih") + r * row(2, unit, "hh")).tanh()
            values, state = {"reset": r, "update": z, "candidate": n}, ((1 - z) * n + z * h[unit],)
        new.append(torch.stack(state))
        for name, value in values.items():
            gates.setdefault(name, []).append(value)
    return {name: torch.stack(values) for name, values in gates.items()}, torch.stack(new, 1)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gates_and_states_are_the_formulas(shaken, kind, tokens):
    network, x = made(shaken, kind, tokens)
    shown = network.unrolled(x)
    for name, states in shown.states.items():
        p = dict(network.get_submodule(name).named_parameters())
        for b in range(4):
            state = torch.zeros(2 if kind is LSTM else 1, 4, dtype=torch.float64)
            for t in range(5):
                read = shown.read[name][b, t]
                stepped = shown.steps[name](read, state.flatten())
                gates, state = by_hand(kind, p, read, state[0], state[-1])
                torch.testing.assert_close(states[b, t], state.flatten(), rtol=1e-11, atol=1e-12)
                torch.testing.assert_close(stepped, state.flatten(), rtol=1e-11, atol=1e-12)
                for gate, values in gates.items():
                    torch.testing.assert_close(shown.gates[name][gate][b, t], values, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_layer_reads(shaken, kind):
    """The inputs as they are and, up to its length, each sequence in reverse; then both directions side by side."""
    network, x = made(shaken, kind, True)
    shown, inputs = network.unrolled(x), network.embedding(TOKENS)
    both = torch.zeros(4, 5, 8, dtype=torch.float64)
    for b, n in enumerate([5, 3, 1, 4]):
        assert torch.equal(shown.read["layers.0.forwards"][b, :n], inputs[b, :n])
        assert torch.equal(shown.read["layers.0.backwards"][b, :n], inputs[b, :n].flip(0))
        both[b, :n, :4] = shown.states["layers.0.forwards"][b, :n, :4]
        both[b, :n, 4:] = shown.states["layers.0.backwards"][b, :n, :4].flip(0)
        assert torch.equal(shown.read["layers.1.forwards"][b, :n], both[b, :n])
        assert torch.equal(shown.read["layers.1.backwards"][b, :n], both[b, :n].flip(0))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_by_nudges_is_that_by_states(shaken, kind, tokens):
    network, x = made(shaken, kind, tokens)
    nudges = {layer.name: torch.zeros(4, 5, 4, dtype=torch.float64) for layer in network.hidden_layers()}

    @torch.no_grad()
    def loss(name, place, size):
        nudge = nudges[name].clone()
        nudge[place] = size
        return network.unrolled(x, {**nudges, name: nudge}).output.square().sum().item()

    leaves = {name: nudge.clone().requires_grad_() for name, nudge in nudges.items()}
    output = network.unrolled(x, leaves).output
    assert torch.equal(output, network.unrolled(x).output)
    grads = dict(zip(leaves, torch.autograd.grad(output.square().sum(), list(leaves.values()))))
    rng = torch.Generator().manual_seed(0)
    lengths = [5, 3, 1, 4] if tokens else [5] * 4
    for name, grad in grads.items():
        for b, n in enumerate(lengths):
            assert not grad[b, n:].any()
            assert grad[b, n - 1].all()
            t, unit = int(torch.randint(n, (), generator=rng)), int(torch.randint(4, (), generator=rng))
            slope = (loss(name, (b, t, unit), 1e-5) - loss(name, (b, t, unit), -1e-5)) / 2e-5
            assert grad[b, t, unit].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_other_networks_have_no_steps():
    assert MLP((4,), 2, hidden=[3]).unrolled(torch.zeros(1, 4)) is None
