"""The authors' layers replayed: events, gradients and parameters of every step, with their fresh weights."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lop_lightning.layers import ContinualBackpropLayer
from lop_lightning.layers.units import Units

close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
numbers = partial(torch.tensor, dtype=torch.float64)


def mlp(layer):
    sizes = [4, 5, 3, 2]
    linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    first, second = (layer(linear[i], linear[i + 1]) for i in range(2))
    network = nn.Sequential(linear[0], nn.ReLU(), first, linear[1], nn.ReLU(), second, linear[2])
    return network, dict(zip("024", linear)), [first, second]


def conv(layer, flattened):
    weights = [nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 2), nn.Linear(16, 5), nn.Linear(5, 2)]
    layers = [layer(weights[i], weights[i + 1]) for i in range(3)]
    end = [nn.Flatten(), layers[1]] if flattened else [layers[1], nn.Flatten()]
    network = nn.Sequential(
        weights[0], nn.ReLU(), nn.MaxPool2d(2), layers[0], weights[1], nn.ReLU(), *end,
        weights[2], nn.ReLU(), layers[2], weights[3],
    )  # fmt: skip
    return network, dict(zip("0246", weights)), layers


def conv_inputs():
    k = torch.arange(12 * 8 * 2 * 8 * 8)
    return (((11 * k + 3 * (k // 3) + 5) % 23 - 11).double() / 16).reshape(12, 8, 2, 8, 8)


@pytest.mark.parametrize("name", ["mlp_decay_0", "mlp_decay_0.9", "conv_decay_0", "conv_decay_0 flattened"])
def test_every_step_of_the_authors_layers(golden, monkeypatch, name):
    file = golden("continual_backprop_layer")
    case = file["cases"][name.removesuffix(" flattened")]
    build = mlp if name.startswith("mlp") else partial(conv, flattened="flattened" in name)
    settings = {key: case[key] for key in ("replacement_rate", "maturity_threshold", "decay_rate")}
    layer = partial(ContinualBackpropLayer, initialisation=case["init"], reference_compat=True, **settings)
    network, weights, layers = build(layer)
    network.double()
    for key, values in case["initial_params"].items():
        weights[key].load_state_dict({kind: numbers(value) for kind, value in values.items()})
    assert [one.units.view.fan_in[0].draw.scale for one in layers] == pytest.approx(case["bounds"], rel=1e-12)
    inputs, loss = (numbers(file["mlp"]["inputs"]), F.mse_loss) if build is mlp else (conv_inputs(), F.cross_entropy)
    targets = numbers(file["mlp"]["targets"]) if build is mlp else torch.tensor(file["conv"]["targets"])
    events, pending = [], []

    def fresh(self, count):
        rows = numbers(pending[0]["new_incoming_weights"])
        assert len(rows) == count
        return rows

    def rebirth(self, tensors, units, rows, transferred):
        assert transferred is None
        events[-1]["replaced"] = units.tolist()
        real_rebirth(self, tensors, units, rows, transferred)

    def spend(self, eligible):
        """Called once for every layer in every backward pass."""
        if pending and events:
            pending.pop(0)
        events.append({"cbp_layer": layers.index(self), "replaced": [], "ages": self.age.tolist()})
        return real_spend(self, eligible)

    real_rebirth, real_spend = Units.rebirth, ContinualBackpropLayer.spend
    monkeypatch.setattr(Units, "rebirth", rebirth)
    monkeypatch.setattr(ContinualBackpropLayer, "fresh", fresh)
    monkeypatch.setattr(ContinualBackpropLayer, "spend", spend)
    optimizer = torch.optim.SGD(network.parameters(), case["optimizer"]["step_size"],
                                momentum=case["optimizer"].get("momentum", 0.0))  # fmt: skip
    for number, expected in enumerate(case["steps"]):
        events.clear()
        pending[:] = expected["events_in_call_order"]
        optimizer.zero_grad()
        error = loss(network(inputs[number]), targets[number])
        error.backward()
        close(error.detach(), numbers(expected["loss"]))
        for event, meant in zip(events, expected["events_in_call_order"], strict=True):
            assert (event["cbp_layer"], event["replaced"]) == (meant["cbp_layer"], meant["replaced"])
            assert event["ages"] == meant["ages_before_zeroing"]
            one = layers[event["cbp_layer"]]
            close(one.utility, numbers(meant["util"]))
            assert float(one.budget) / one.rate.denominator == pytest.approx(meant["accumulator"], abs=1e-12)
        for key, values in expected["grads"].items():
            for kind, value in values.items():
                close(weights[key].get_parameter(kind).grad, numbers(value))
        optimizer.step()
        for index, one in enumerate(layers):
            assert one.age.tolist() == expected["ages_after"][index]
        for key, values in expected["params_after"].items():
            for kind, value in values.items():
                close(weights[key].get_parameter(kind).detach(), numbers(value))
    assert all(sum(bool(e["replaced"]) for s in case["steps"] for e in s["events_in_call_order"] if
                   e["cbp_layer"] == index) > 1 for index in range(len(layers)))  # fmt: skip
