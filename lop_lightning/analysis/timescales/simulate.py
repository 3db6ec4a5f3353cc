"""Long simulations of recurrent networks on random bits, of which second moments are kept and no states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lop_lightning.analysis.timescales.autocorrelation import Autocovariance
from lop_lightning.analysis.timescales.dimension import Covariance
from lop_lightning.errors import ConfigError, check_count, check_number
from lop_lightning.randomness import generator

Array = NDArray[np.float64]

UNIFORM = "uniform"
_PIECE = 256  # steps at a time: their states stay below 20 MB for 500 units and 10 trials


class Stateful(Protocol):
    """A module that can be run piece by piece."""

    training: bool

    def states(self, x: Tensor, h0: Tensor | None = None) -> Tensor:
        """States after each step of ``x [B, T, F]`` from ``h0 [B, n]``: ``[B, T, n]``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As of any module."""

    def train(self, mode: bool = True) -> Any:
        """As of any module."""


@dataclass(frozen=True)
class Simulation:
    """Second moments of a network's states over time; lags and steps are the network's own.

    Attributes:
        autocovariance: c(l) of every unit, the mean over trials, ``[max_lag + 1, n]``.
        of_trials: c(l) of every unit in every trial, ``[trials, max_lag + 1, n]``.
        population: c(l) of Σ_i h_i, the mean over trials, ``[max_lag + 1]``.
        covariance: Covariance of the units in every trial, ``[trials, n, n]``.
        probabilities: Of the second of the two values, in every trial, ``[trials]``.
        steps: Steps of a trial that were measured.
    """

    autocovariance: Array
    of_trials: Array
    population: Array
    covariance: Array
    probabilities: Array
    steps: int


def simulate(
    network: Stateful,
    trials: int = 10,
    steps: int = 100_000,
    discard: int = 500,
    probability: float | str = UNIFORM,
    values: Sequence[float] = (0.0, 1.0),
    repeats: int | None = None,
    initial_state: float = 0.1,
    max_lag: int = 30,
    seed: int = 0,
    reference_compat: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Runs a network on random bits, all trials in one batch, without any noise but that of its first state.

    A function of the network and of ``seed``. The network is left as it was; it runs where its parameters are.

    Args:
        network: A :class:`~lop_lightning.networks.leaky.LeakyNetwork`, or :class:`GatedStates` of an LSTM or GRU.
        trials: Independent series.
        steps: Steps of each that are measured.
        discard: Steps before them.
        probability: Of the second value. ``uniform``: each trial draws its own, U(0, 1), as published; trials near 0
            and 1 hardly drive the network and then differ much from the others, so look at their spread.
        values: The two values of a bit.
        repeats: For networks in continuous time: steps k that every bit lasts; Δt = 1/k is then given beside it.
        initial_state: First states are U(0, 1) times this.
        max_lag: Largest lag of the autocovariances.
        seed: Of bits, probabilities and first states.
        reference_compat: See :class:`Autocovariance`.
        progress: Called now and then with steps done and steps in all.

    Raises:
        ConfigError: a setting is out of its range.

    Source: spec of the time-scale system, section 4.1, B13 and B14 (Khajehabdollahi et al. 2024).
    """
    for name, count, low in (("trials", trials, 1), ("steps", steps, 2), ("discard", discard, 0)):
        check_count(name, count, low)
    check_count("max_lag", max_lag, 0, steps - 2)
    check_number("initial_state", initial_state, 0)
    draw = generator(seed, "simulation of time scales")
    p = _probabilities(probability, trials, draw)
    lags, everybody = (Autocovariance(max_lag, reference_compat) for _ in range(2))
    together, done, total = Covariance(), 0, discard + steps
    was_training, own = network.training, next(network.parameters())
    network.train(False)
    try:
        with torch.no_grad():
            h = initial_state * torch.from_numpy(draw.random((trials, _width(network, repeats)))).to(own)
            for x in _inputs(draw, p, values, repeats, total):
                states = network.states(x.to(own), h)
                h, measured = states[:, -1], states[:, max(0, discard - done) :]
                lags.add(measured)
                everybody.add(measured.double().sum(-1, keepdim=True))
                together.add(measured)
                done += x.shape[1]
                if progress is not None:
                    progress(done, total)
    finally:
        network.train(was_training)
    of_trials = lags.of_trials()
    return Simulation(
        autocovariance=of_trials.mean(0).cpu().numpy(),
        of_trials=of_trials.cpu().numpy(),
        population=everybody.result()[:, 0].cpu().numpy(),
        covariance=together.result().cpu().numpy(),
        probabilities=p,
        steps=steps,
    )


def _probabilities(probability: float | str, trials: int, draw: np.random.Generator) -> Array:
    if probability == UNIFORM:
        return draw.random(trials)
    if isinstance(probability, str):
        raise ConfigError("probability", probability, f"{UNIFORM} or a number in [0, 1]")
    check_number("probability", probability, 0, 1)
    return np.full(trials, float(probability))


def _width(network: Stateful, repeats: int | None) -> int:
    """Numbers in the state of the network."""
    own = next(network.parameters())
    return network.states(own.new_zeros(1, 1, 1 if repeats is None else 2)).shape[-1]


def _inputs(
    draw: np.random.Generator, p: Array, values: Sequence[float], repeats: int | None, total: int
) -> Iterator[Tensor]:
    """Pieces ``[trials, t, F]`` of the inputs, ``total`` steps; the bits do not depend on how they are cut."""
    hold = 1 if repeats is None else repeats
    check_count("repeats", hold)
    size = hold * max(1, _PIECE // hold)
    for start in range(0, total, size):
        ones = draw.random((size // hold, len(p))) < p  # time first: a longer piece goes on with the same numbers
        bits = np.where(ones.T, values[1], values[0]).repeat(hold, 1)[:, : total - start]
        features = [bits] if repeats is None else [bits, np.full_like(bits, 1 / hold)]
        yield torch.from_numpy(np.stack(features, -1))
