"""What a recurrent unit is worth, and how many are reborn: against loops over time and batch."""

from functools import partial
from itertools import product

import pytest
import torch
from bench import train
from sequences_bench import CELLS, GATES, HIDDEN, STREAMS, TOKENS, recurrent, sequences

from lop_lightning.algos import ContinualBackprop

LAYERS = ["layers.0.forwards", "layers.0.backwards", "layers.1.forwards", "layers.1.backwards"]
ETA = 0.8


def states_read(h, lengths, reads):
    """The states ``[n, H]`` that a consumer reads, one after another."""
    found = []
    for b, n in enumerate(lengths):
        steps = {"every": range(n), "earlier": range(n - 1), "final": [n - 1], "first": [0]}[reads]
        found += [h[b, t] for t in steps]
    return torch.stack(found)


def consumers(params, layer, readout):
    """(weights by reader and unit ``[rows, H]``, what is read, whether a row belongs to the unit of the column)."""
    index, direction = int(layer.split(".")[1]), layer.split(".")[2]
    columns = slice(0, HIDDEN) if direction == "forwards" else slice(HIDDEN, 2 * HIDDEN)
    if index == 0:
        for reader in ("forwards", "backwards"):
            yield params[f"layers.1.{reader}.weight_ih"][:, columns], "every", False
    else:
        first = readout == "last_position" and direction == "backwards"
        yield params["head.weight"][:, columns], "first" if first else "final", False
    yield params[f"{layer}.weight_hh"], "earlier", True


def weighed(params, layer, readout, size):
    """Mean over a unit's outgoing weights of |w| times the size of what it multiplies; itself is no reader of it."""
    worth = []
    for unit in range(HIDDEN):
        products = []
        for weight, reads, is_own in consumers(params, layer, readout):
            for row in range(len(weight)):
                itself = is_own and row % HIDDEN == unit
                products.append(0.0 if itself else weight[row, unit].abs().item() * size(reads)[unit].item())
        worth.append(sum(products) / len(products))
    return torch.tensor(worth, dtype=torch.float64)


@pytest.mark.parametrize("utility", ["contribution", "zero_contribution", "adaptable_contribution", "weight",
                                     "adaptation", "feature_by_input"])  # fmt: skip
@pytest.mark.parametrize(("stream", "readout"), product(STREAMS, ["final", "last_position"]))
@pytest.mark.parametrize("cell", CELLS)
def test_running_means_are_the_formulas(cell, stream, readout, utility):
    spec = STREAMS[stream]
    method = partial(ContinualBackprop, replacement_rate=0.0, decay_rate=ETA, utility=utility)
    learner = recurrent(cell, method, spec=spec, readout=readout)
    inputs, targets = sequences(3, spec=spec)
    means, utilities = {}, dict.fromkeys(LAYERS, 0.0)
    for number in range(3):
        shown = learner.trace(learner.population, inputs[number]).activations
        train(learner, inputs[number : number + 1], targets[number : number + 1])
        params = {name: p[0] for name, p in learner.population.params.items()}
        lengths = (inputs[number, 0] != 0).sum(1).tolist() if stream == "tokens" else [5] * 6
        for layer in LAYERS:
            h, readings = shown[layer][0], {reads for _, reads, _ in consumers(params, layer, readout)}
            seen = {reads: states_read(h, lengths, reads) for reads in readings}
            for reads, states in seen.items():
                means[layer, reads] = ETA * means.get((layer, reads), 0.0) + (1 - ETA) * states.mean(0)
            unbiased = {reads: means[layer, reads] / (1 - ETA ** (number + 1)) for reads in seen}
            size = {reads: states.abs().mean(0) for reads, states in seen.items()}
            spread = {reads: (states - unbiased[reads]).abs().mean(0) for reads, states in seen.items()}
            entering = torch.cat([params[f"{layer}.{part}"] for part in ("weight_ih", "weight_hh")], 1).abs()
            entering = entering.unflatten(0, (GATES[cell], HIDDEN)).mean((0, 2))
            ones = dict.fromkeys(readings, torch.ones(HIDDEN))
            leaving = weighed(params, layer, readout, ones.get)  # what leads back to the unit counts as 0
            now = {
                "contribution": lambda: weighed(params, layer, readout, size.get),  # noqa: B023
                "zero_contribution": lambda: weighed(params, layer, readout, spread.get),  # noqa: B023
                "adaptable_contribution": lambda: weighed(params, layer, readout, spread.get) / entering,  # noqa: B023
                "weight": lambda: leaving,  # noqa: B023
                "adaptation": lambda: 1 / entering,  # noqa: B023
                "feature_by_input": lambda: torch.stack(list(spread.values())).mean(0) / entering,  # noqa: B023
            }[utility]()
            utilities[layer] = ETA * utilities[layer] + (1 - ETA) * now
    for layer in LAYERS:
        state = learner.population.state["method"][layer]
        torch.testing.assert_close(state["utility"][0], utilities[layer], rtol=1e-10, atol=1e-13)
        assert (state["age"] == 3).all()
        torch.testing.assert_close(learner.statistics.worth(state)[0], utilities[layer] / (1 - ETA**3))
        names = {"every": "mean_activation"}
        readings = [reads for own, reads in means if own == layer]
        assert state.keys() == {"age", "utility", *(names.get(r, f"mean_activation_{r}") for r in readings)}
        for reads in readings:
            mean = state[names.get(reads, f"mean_activation_{reads}")][0]
            torch.testing.assert_close(mean, means[layer, reads], rtol=1e-10, atol=1e-13)
            corrected = learner.statistics.mean_activation(state, reads)[0]
            torch.testing.assert_close(corrected, means[layer, reads] / (1 - ETA**3), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_worth_nothing(cell):
    """More padding after the same sentences changes neither an update nor what is remembered of a unit."""
    populations = []
    for length in (5, 9):
        spec = type(TOKENS)((length,), 2, "cross_entropy", torch.float64, vocabulary=9)
        learner = recurrent(cell, partial(ContinualBackprop, replacement_rate=0.1, maturity_threshold=2), spec=spec)
        x, y = sequences(12, spec=TOKENS)
        train(learner, torch.nn.functional.pad(x, (0, length - 5)), y)
        populations.append(learner.population)
    for layer in LAYERS:
        for name, quantity in populations[0].state["method"][layer].items():
            other = populations[1].state["method"][layer][name]
            torch.testing.assert_close(quantity, other, rtol=1e-9, atol=1e-12)
    for name, p in populations[0].params.items():
        torch.testing.assert_close(p, populations[1].params[name], rtol=1e-9, atol=1e-12)


def counted(learner, updates, batches):
    """Rebirths by layer, and how many units were old enough, update by update."""
    spent, eligible = dict.fromkeys(LAYERS, 0), dict.fromkeys(LAYERS, 0)
    threshold = learner.maturity_threshold
    for update in range(updates):
        ages = {layer: learner.population.state["method"][layer]["age"] + 1 for layer in LAYERS}
        train(learner, *(part[update % len(part) :][:1] for part in batches))
        for layer, age in ages.items():
            eligible[layer] += int((age > threshold).sum())
            spent[layer] += int((learner.population.state["method"][layer]["age"] == 0).sum())
    return spent, eligible


@pytest.mark.parametrize("cell", CELLS)
def test_the_number_reborn_is_the_rate_times_the_eligible(cell):
    method = partial(ContinualBackprop, replacement_rate=0.03, maturity_threshold=3)
    learner = recurrent(cell, method, seeds=(0, 1))
    spent, eligible = counted(learner, 120, sequences(4, 2, batch=2))
    for layer in LAYERS:
        assert spent[layer] == 2 * int(0.03 * eligible[layer] / 2 + 1e-9) > 16


@pytest.mark.parametrize("cell", CELLS)
def test_by_chance_it_is_so_on_average_and_layers_and_directions_throw_their_own_coins(cell):
    method = partial(ContinualBackprop, replacement_rate=0.03, maturity_threshold=3, accumulate=False)
    learner = recurrent(cell, method, seeds=range(12))
    spent, eligible = counted(learner, 100, sequences(4, 12, batch=1))
    for layer in LAYERS:
        mean = 0.03 * eligible[layer]
        assert abs(spent[layer] - mean) < 4 * mean**0.5
    assert len(set(spent.values())) > 1
