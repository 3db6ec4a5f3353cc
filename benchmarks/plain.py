"""The plain loops that the laboratory is compared with: one network, one seed, PyTorch as its tutorials write it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class PlainMLP(nn.Module):
    """A fully connected network that also returns what its hidden layers show."""

    def __init__(self, widths: Sequence[int], activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Output and hidden activations."""
        hidden = []
        for layer in list(self.layers)[:-1]:
            x = self.activation(layer(x))
            hidden.append(x)
        return self.layers[-1](x), hidden


class PlainContinualBackprop:
    """What continual backprop does after every step: ages, utilities, and now and then a unit that starts anew."""

    def __init__(self, network: PlainMLP, rate: float, maturity: int = 100, decay: float = 0.99) -> None:
        self.rate, self.maturity, self.decay = rate, maturity, decay
        self.layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
        widths = [layer.out_features for layer in self.layers[:-1]]
        like = self.layers[0].weight
        self.age, self.mean, self.utility = ([like.new_zeros(width) for width in widths] for _ in range(3))
        self.budget = [0.0] * len(widths)

    @torch.no_grad()
    def after_update(self, hidden: list[Tensor]) -> None:
        """Once an update, for every hidden layer."""
        for number, h in enumerate(hidden):
            age, mean, utility = self.age[number], self.mean[number], self.utility[number]
            age += 1
            mean.mul_(self.decay).add_(h.mean(0), alpha=1 - self.decay)
            outgoing = self.layers[number + 1].weight.abs().mean(0)
            utility.mul_(self.decay).add_(outgoing * h.abs().mean(0), alpha=1 - self.decay)
            mature = age > self.maturity
            self.budget[number] += self.rate * int(mature.sum())
            if self.budget[number] >= 1:
                self._replace(number, mature, int(self.budget[number]))
                self.budget[number] -= int(self.budget[number])

    def _replace(self, number: int, mature: Tensor, count: int) -> None:
        entering, leaving = self.layers[number], self.layers[number + 1]
        correction = 1 - self.decay ** self.age[number]
        worth = (self.utility[number] / correction).masked_fill(~mature, float("inf"))
        units = worth.topk(count, largest=False).indices
        bound = math.sqrt(6.0 / entering.in_features)
        entering.weight[units] = torch.empty_like(entering.weight[units]).uniform_(-bound, bound)
        entering.bias[units] = 0
        leaving.bias.add_(leaving.weight[:, units] @ (self.mean[number] / correction)[units])
        leaving.weight[:, units] = 0
        for quantity in (self.age, self.mean, self.utility):
            quantity[number][units] = 0


def cpu_seconds(
    network: PlainMLP,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    lr: float,
    rate: float | None = None,
) -> float:
    """CPU seconds of one update for each batch of ``inputs [K, B, ...]``; the data are ready beforehand.

    Args:
        network: Trained in place.
        inputs: Inputs of K updates.
        targets: Targets of K updates.
        loss: The loss of a batch.
        lr: Step size.
        rate: Replacement rate of continual backprop; ``None`` is backpropagation alone.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=lr)
    continual = None if rate is None else PlainContinualBackprop(network, rate)
    begun = time.process_time()
    for x, y in zip(inputs, targets):
        optimizer.zero_grad()
        output, hidden = network(x)
        loss(output, y).backward()
        optimizer.step()
        if continual is not None:
            continual.after_update(hidden)
    return time.process_time() - begun
