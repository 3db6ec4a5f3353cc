"""The layer between convolutions, and between a convolution and a linear layer, against loops over units by hand."""

from functools import partial

import pytest
import torch
from torch import nn

from lop_lightning.layers import ContinualBackpropLayer

close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)


def positions(h, width):
    """[N, width, positions] of maps, flattened or not."""
    return h.reshape(len(h), width, -1)


class ByHand:
    """Contribution utility and budgets, unit by unit, on a copy of two weight layers."""

    def __init__(self, incoming, outgoing, rate, maturity, eta):
        self.incoming, self.outgoing, self.rate, self.maturity, self.eta = incoming, outgoing, rate, maturity, eta
        width = len(incoming.weight)
        self.age, self.mean, self.utility, self.budget = [0] * width, [0.0] * width, [0.0] * width, 0.0

    def columns(self, unit):
        inner = self.outgoing.weight.shape[1] // len(self.age)
        return range(unit * inner, (unit + 1) * inner)

    def update(self, h):
        """Returns who is reborn, with the mean activation each had, from activations before the step."""
        h, worth = positions(h, len(self.age)), {}
        for unit in range(len(self.age)):
            self.age[unit] += 1
            self.mean[unit] = self.eta * self.mean[unit] + (1 - self.eta) * h[:, unit].mean().item()
            products = []
            for place, column in enumerate(self.columns(unit)):
                seen = h[:, unit] if len(self.columns(unit)) == 1 else h[:, unit, place]
                products.append((self.outgoing.weight[:, column].abs() * seen.abs().mean()).mean().item())
            self.utility[unit] = self.eta * self.utility[unit] + (1 - self.eta) * sum(products) / len(products)
            if self.age[unit] > self.maturity:
                worth[unit] = self.utility[unit] / (1 - self.eta ** self.age[unit])
        self.budget += self.rate * len(worth)
        count = int(self.budget + 1e-9)
        self.budget -= count
        chosen = sorted(worth, key=worth.get)[:count]
        return {unit: self.mean[unit] / (1 - self.eta ** self.age[unit]) for unit in chosen}

    def rebirth(self, unit, mean, fresh):
        self.incoming.weight[unit] = fresh
        self.incoming.bias[unit] = 0
        for column in self.columns(unit):
            self.outgoing.bias += self.outgoing.weight[:, column].reshape(len(self.outgoing.bias), -1).sum(1) * mean
            self.outgoing.weight[:, column] = 0
        self.age[unit], self.mean[unit], self.utility[unit] = 0, 0.0, 0.0


class ConvNet(nn.Module):
    """conv 2→4, batch norm, pool; conv 4→3; linear on the flattened map (2 x 2 positions); linear."""

    def __init__(self, before_flatten=True, layer=None):
        super().__init__()
        torch.manual_seed(3)
        self.one, self.two = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 2)
        self.three, self.four = nn.Linear(12, 5), nn.Linear(5, 2)
        self.norm, self.before_flatten = nn.BatchNorm2d(4), before_flatten
        if layer:
            self.units_one = layer(self.one, self.two, norm=self.norm)
            self.units_two = layer(self.two, self.three)
        else:
            self.units_one = self.units_two = nn.Identity()

    def forward(self, x):
        x = self.units_one(torch.max_pool2d(torch.relu(self.norm(self.one(x))), 2))
        x = torch.tanh(self.two(x))
        x = self.units_two(x).flatten(1) if self.before_flatten else self.units_two(x.flatten(1))
        return self.four(torch.relu(self.three(x)))


@pytest.mark.parametrize("before_flatten", [True, False])
def test_convolutions_and_flattened_columns_by_hand(monkeypatch, before_flatten):
    settings = {"replacement_rate": 0.6, "maturity_threshold": 2, "decay_rate": 0.8}
    net = ConvNet(before_flatten, partial(ContinualBackpropLayer, **settings)).double()
    plain = ConvNet().double()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if "units" not in k})
    drawn = {id(layer): [] for layer in (net.units_one, net.units_two)}
    fresh = ContinualBackpropLayer.fresh

    def noted(self, count):
        drawn[id(self)].append(fresh(self, count))
        return drawn[id(self)][-1]

    monkeypatch.setattr(ContinualBackpropLayer, "fresh", noted)
    hands = [ByHand(plain.one, plain.two, 0.6, 2, 0.8), ByHand(plain.two, plain.three, 0.6, 2, 0.8)]
    optimizers = [torch.optim.SGD(n.parameters(), 0.05, momentum=0.9) for n in (net, plain)]
    net.units_one.optimizer = net.units_two.optimizer = optimizers[0]
    heard = {}
    for name in ("units_one", "units_two"):
        getattr(net, name).register_forward_hook(lambda m, i, o, name=name: heard.update({name: o.detach().clone()}))
    rng, reborn = torch.Generator().manual_seed(0), [0, 0]
    for _ in range(25):
        x, y = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((3, 2, 8, 8), (3, 2)))
        for n, optimizer in zip((net, plain), optimizers):
            optimizer.zero_grad()
            nn.functional.mse_loss(n(x), y).backward()
            optimizer.step()
        net.units_one.flush()
        net.units_two.flush()
        with torch.no_grad():
            due = [hand.update(heard[name]) for hand, name in zip(hands, heard)]
            for number, (hand, layer, units) in enumerate(zip(hands, (net.units_one, net.units_two), due)):
                rows = drawn[id(layer)].pop() if units else ()
                for row, (unit, mean) in zip(rows, units.items(), strict=True):
                    hand.rebirth(unit, mean, row)
                    memory = optimizers[1].state
                    for p in (hand.incoming.weight, hand.incoming.bias):
                        memory[p]["momentum_buffer"][unit] = 0
                    memory[hand.outgoing.weight]["momentum_buffer"][:, list(hand.columns(unit))] = 0
                    if number == 0:
                        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                            getattr(plain.norm, name)[unit] = value
                        for p in (plain.norm.weight, plain.norm.bias):
                            memory[p]["momentum_buffer"][unit] = 0
                    reborn[number] += 1
                assert layer.age.tolist() == hand.age
                close(layer.utility, torch.tensor(hand.utility, dtype=torch.float64))
        for name, tensor in plain.state_dict().items():
            close(net.state_dict()[name], tensor)
    assert min(reborn) > 4


def test_fresh_filters_have_pytorchs_own_distribution():
    incoming, outgoing = nn.Conv2d(8, 500, 3), nn.Conv2d(500, 2, 1)
    layer = ContinualBackpropLayer(incoming, outgoing, replacement_rate=1.0, maturity_threshold=0)
    outgoing(layer(incoming(torch.randn(1, 8, 3, 3)))).sum().backward()
    before = outgoing.bias.detach().clone() + outgoing.weight.detach()[:, :, 0, 0] @ layer._seen[0].mean((0, 2))
    layer.flush()
    bound = 1 / 72**0.5
    assert 0.999 * bound < incoming.weight.abs().max() <= bound
    assert incoming.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
    assert not incoming.bias.any()
    assert not outgoing.weight.any()
    torch.testing.assert_close(outgoing.bias.detach(), before)


def test_maps_of_two_sizes_in_one_update():
    incoming, outgoing = nn.Conv2d(2, 4, 3).double(), nn.Conv2d(4, 3, 2).double()
    layer = ContinualBackpropLayer(incoming, outgoing, decay_rate=0.9).double()
    maps = [incoming(torch.randn(3, 2, size, size, dtype=torch.float64)) for size in (8, 6)]
    sum(outgoing(layer(h)).sum() for h in maps).backward()
    layer.flush()
    samples = torch.cat([h.detach().movedim(1, -1).reshape(-1, 4) for h in maps])
    assert int(layer.updates) == 1
    close(layer.mean_activation, 0.1 * samples.mean(0))
    close(layer.utility, 0.1 * samples.abs().mean(0) * outgoing.weight.detach().abs().mean((0, 2, 3)))
