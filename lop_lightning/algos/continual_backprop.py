"""Continual backprop (Dohare et al., Nature 2024): every now and then the least useful mature unit is reborn."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.lift import Execution
from lop_lightning.algos.population import Population
from lop_lightning.algos.reference_rules import REFERENCE_RULES
from lop_lightning.algos.replacement import Coins, new_clock, next_accumulated, next_probabilistic, replaced, soonest
from lop_lightning.algos.reset import check_has_units, reset_units
from lop_lightning.algos.step import Step
from lop_lightning.errors import ConfigError, check_choice, check_count, check_number
from lop_lightning.networks import Draw, HiddenLayer, NetworkFactory
from lop_lightning.networks.initialise import INITIALISATIONS, draw
from lop_lightning.optimizers import Optimizer
from lop_lightning.optimizers.base import Params
from lop_lightning.randomness import uniform
from lop_lightning.trees import Tree


class ContinualBackprop(Learner):
    """Backpropagation, and a steady trickle of new units (``algo=cbp``).

    After every update, for each hidden layer and unit i: age aᵢ ← aᵢ + 1; mean activation fᵢ ← ηfᵢ + (1-η)·mean hᵢ;
    utility uᵢ ← ηuᵢ + (1-η)yᵢ with the instantaneous yᵢ of ``utility``; both are bias-corrected by 1 - η^aᵢ. Of the
    units with aᵢ > m a share ρ is replaced each update, those of least utility: see
    :func:`lop_lightning.algos.reset.reset_units`. A unit is a neuron, a filter, or a recurrent unit with all its gates;
    means over h are over the batch and all places of a map, or the steps that a consumer reads (``docs/recurrent.md``).

    Args:
        network: See :class:`Learner`.
        optimizer: See :class:`Learner`.
        execution: See :class:`Learner`.
        replacement_rate: ρ in [0, 1].
        maturity_threshold: m, in updates.
        decay_rate: η in [0, 1).
        utility: Which utility (see :mod:`lop_lightning.algos.utility`).
        accumulate: Spend ρ·(eligible units) from a running budget; else replace with that probability.
        bias_transfer: Consumers' biases take over what a removed unit contributed on average.
        reset_optimizer: The optimiser forgets a reborn unit's weights.
        initialisation: Where fresh incoming weights come from: ``network`` is the network's own initial distribution.
        reference_compat: The behaviour of the authors' code where it differs from the method (see
            :mod:`lop_lightning.algos.reference_rules`), for the class of theirs that a published number comes from:
            ``gnt`` (fully connected): no bias transfer (theirs has no effect), SGD's momentum is kept, and
            probabilistic replacement loses the fraction of quotas above 1. ``conv_gnt``: no bias transfer, momentum and
            Adam's first moments of incoming weights are kept, ρ is of all units while any is eligible, fresh filters
            are U(±√(1/fan_in)). ``res_gnt``: ρ likewise; utility is |w_out| times a magnitude that never decays nor
            ends with a unit; only the direct path is renewed; the optimiser forgets nothing. Their lost bias correction
            of Adam is ``optimizer.reference_compat``.
    """

    def __init__(
        self,
        network: NetworkFactory,
        optimizer: Optimizer,
        execution: Execution | None = None,
        replacement_rate: float = 1e-4,
        maturity_threshold: int = 100,
        decay_rate: float = 0.99,
        utility: str = "contribution",
        accumulate: bool = True,
        bias_transfer: bool = True,
        reset_optimizer: bool = True,
        initialisation: str = "network",
        reference_compat: str = "none",
    ) -> None:
        super().__init__(network, optimizer, execution)
        check_number("replacement_rate", replacement_rate, 0, 1)
        check_number("decay_rate", decay_rate, 0, 1, open_high=True)
        check_count("maturity_threshold", maturity_threshold, low=0)
        check_choice("initialisation", initialisation, ("network", *INITIALISATIONS))
        check_choice("reference_compat", reference_compat, REFERENCE_RULES)
        self.rules = REFERENCE_RULES[reference_compat]
        if self.rules.quota == "all" and not accumulate:
            raise ConfigError("accumulate", accumulate, f"true with reference_compat={reference_compat}")
        self.statistics = self.rules.statistics(decay_rate, utility)
        self.replacement_rate, self.maturity_threshold = replacement_rate, maturity_threshold
        self.utility, self.accumulate, self.initialisation = utility, accumulate, initialisation
        self.bias_transfer = bias_transfer and self.rules.transfers_bias
        self.reset_optimizer = reset_optimizer and self.rules.forgets
        self.views: tuple[HiddenLayer, ...] = ()
        # As written, not as stored: 0.1 means a tenth, so that ten updates buy a unit and not nine or eleven.
        self._exact_rate = Fraction(str(replacement_rate))
        self._coins: dict[tuple[int, int], Coins] = {}

    # ---- after every update, one network

    def init_state(self, params: Params) -> Tree:
        """Age, running mean activation and running utility of every hidden unit, all zero."""
        like = next(iter(params.values()))
        return {layer.name: self.statistics.initial(layer, like) for layer in self.layers}

    def after_update(self, step: Step) -> Step:
        """Ages and utilities; see the class."""
        method = {}
        for layer in self.views:
            old, activation = step.method[layer.name], step.activations[layer.name]
            method[layer.name] = self.statistics.after(old, layer, step.params, activation, step.lengths)
        step.method = method
        return step

    # ---- now and then, all networks

    def init_host(self, seeds: list[int]) -> dict[str, Any]:
        """A clock for every layer; accumulated replacement keeps one for all seeds, chance needs one a seed.

        Raises:
            RunError: the network shows no hidden layer.
        """
        check_has_units(self.layers, "continual backprop has no unit to replace")
        self.views = tuple(self.rules.view(layer) for layer in self.layers)
        widths = [layer.width for layer in self.views]
        owners = 1 if self.accumulate else len(seeds)
        clocks = [[new_clock(width, self.maturity_threshold) for width in widths] for _ in range(owners)]
        host: dict[str, Any] = {"clocks": clocks}
        host["plans"] = [[self._plan(host, owner, number) for number in range(len(widths))] for owner in range(owners)]
        return host

    def next_event(self, population: Population) -> int | None:
        """The next update after which a unit is reborn in some layer of some seed."""
        return soonest(population.host["plans"])

    @torch.no_grad()
    def event(self, population: Population) -> None:
        """Rebirth of the units that are due; all are chosen before any is changed."""
        host, now = population.host, population.updates
        chosen = []
        for number, layer in enumerate(self.views):
            for count, seeds in self._due(host, number, now, population.size).items():
                rows = torch.tensor(seeds, device=population.keys.device)
                chosen.append((number, layer, rows, self._least_useful(population, number, layer, rows, count)))
        for number, layer, rows, units in chosen:
            self._rebirth(population, number, layer, rows, units)

    def _plan(self, host: dict[str, Any], owner: int, number: int) -> list[int] | None:
        clock = host["clocks"][owner][number]
        if self.accumulate:
            plan = next_accumulated(clock, self._exact_rate, self.rules.quota)
        else:
            coins = self._coins.setdefault((self.seeds[owner], number), Coins(self.seeds[owner], number))
            plan = next_probabilistic(clock, self.replacement_rate, coins, self.rules.rounds_down)
        return None if plan is None else list(plan)

    def _due(self, host: dict[str, Any], number: int, now: int, size: int) -> dict[int, list[int]]:
        """Seeds by the number of units to replace in one layer at update ``now``; plans the layer's next time."""
        due: dict[int, list[int]] = defaultdict(list)
        for owner, plans in enumerate(host["plans"]):
            if plans[number] is not None and plans[number][0] == now:
                count = plans[number][1]
                due[count].extend(range(size) if self.accumulate else [owner])
                replaced(host["clocks"][owner][number], now, count, self.maturity_threshold)
                plans[number] = self._plan(host, owner, number)
        due.pop(0, None)
        return due

    def _least_useful(
        self, population: Population, number: int, layer: HiddenLayer, rows: Tensor, count: int
    ) -> Tensor:
        """The ``count`` mature units ``[R, count]`` of least bias-corrected utility, least first; ties by position."""
        state = {name: quantity[rows] for name, quantity in population.state["method"][layer.name].items()}
        worth = self.statistics.worth(state)
        if self.utility == "random":
            worth = uniform(population.keys[rows], population.updates, 1000 + number, (layer.width,), worth.dtype)
        worth = worth.masked_fill(state["age"] <= self.maturity_threshold, float("inf"))
        return worth.sort(dim=1, stable=True).indices[:, :count]

    def _rebirth(self, population: Population, number: int, layer: HiddenLayer, rows: Tensor, units: Tensor) -> None:
        state = population.state["method"][layer.name]
        reset_units(
            population, layer, rows, units, number,
            optimizer=self.optimizer if self.reset_optimizer else None,
            draws=self._draws(population, layer),
            transferred=self._means_read(state, layer, rows, units) if self.bias_transfer else None,
            kept=self.rules.kept,
        )  # fmt: skip
        self.statistics.reborn(state, rows, units)

    def _means_read(self, state: Tree, layer: HiddenLayer, rows: Tensor, units: Tensor) -> dict[str, Tensor]:
        """f̂ ``[R, k]`` of the units, for each way in which they are read."""
        means = {reads: self.statistics.mean_activation(state, reads) for reads in layer.readings}
        return {reads: mean[rows[:, None], units] for reads, mean in means.items()}

    def _draws(self, population: Population, layer: HiddenLayer) -> tuple[Draw, ...]:
        """The distribution of fresh weights for each entry of the layer's fan-in."""
        draws = []
        for fan_in in layer.fan_in:
            weight = population.params[fan_in.units.parameter]
            entering = weight[0].numel() // weight.shape[1 + fan_in.units.axis]
            name = (weight.ndim > 3 and self.rules.kernels) or self.initialisation
            own = name == "network"
            draws.append(fan_in.draw if own else draw(name, entering, layer.width, layer.activation))
        return tuple(draws)
