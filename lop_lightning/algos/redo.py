"""ReDo: dormant units are recycled (Sokar, Agarwal, Castro & Evci, 2023)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.lift import Execution
from lop_lightning.algos.population import Population
from lop_lightning.algos.reset import check_has_units, reset_units
from lop_lightning.algos.step import Step
from lop_lightning.algos.utility import means_read
from lop_lightning.errors import check_count, check_flag, check_number
from lop_lightning.networks import NetworkFactory
from lop_lightning.optimizers import Optimizer
from lop_lightning.optimizers.base import Params
from lop_lightning.trees import Tree


def dormant(activity: Tensor, threshold: float, undefined_at_rest: bool = False) -> Tensor:
    """Which units ``[..., width]`` have a score of at most τ; score sᵢ = |hᵢ| / mean_k |hₖ| within the layer.

    Args:
        activity: Mean |h| ``[..., width]`` of each unit over the batch.
        threshold: τ.
        undefined_at_rest: Where no unit of a layer is active the score is 0/0: no unit is then dormant, instead of all.
    """
    mean = activity.mean(-1, keepdim=True)
    at_rest = activity <= threshold * mean
    return at_rest & (mean > 0) if undefined_at_rest else at_rest


class ReDo(Learner):
    """Backpropagation, and now and then all dormant units are reborn (``algo=redo``).

    After every ``period`` updates, in each hidden layer: a unit whose mean |h| over that update's batch (and over the
    places of its map, if it is a filter, or all steps of its sequences) is at most τ times the layer's mean begins
    anew, as :func:`lop_lightning.algos.reset.reset_units` says: incoming weights and biases as at the network's birth,
    outgoing weights 0, and the optimiser forgets all of these. A layer in which every unit is silent is reborn as a
    whole. ``population.host["reborn"]`` counts the rebirths: by layer name, one number a seed.

    Args:
        network: See :class:`Learner`.
        optimizer: See :class:`Learner`.
        execution: See :class:`Learner`.
        threshold: τ, at least 0; 0 recycles only units that were silent on the whole batch.
        period: Updates from one look at the units to the next.
        reset_optimizer: The optimiser forgets a reborn unit's weights.
        reference_compat: The rule of Dohare et al.'s code (their PPO runs: τ = 0.1, period = 100): the optimiser
            forgets nothing, and a layer in which every unit is silent stays as it is.
    """

    def __init__(
        self,
        network: NetworkFactory,
        optimizer: Optimizer,
        execution: Execution | None = None,
        threshold: float = 0.025,
        period: int = 1000,
        reset_optimizer: bool = True,
        reference_compat: bool = False,
    ) -> None:
        super().__init__(network, optimizer, execution)
        check_number("threshold", threshold, 0)
        check_count("period", period)
        check_flag("reset_optimizer", reset_optimizer)
        check_flag("reference_compat", reference_compat)
        self.threshold, self.period = threshold, period
        self.reset_optimizer, self.reference_compat = reset_optimizer, reference_compat

    def init_state(self, params: Params) -> Tree:
        """Mean |h| of every hidden unit on the last batch, ``[width]`` a layer; 0 before the first."""
        like = next(iter(params.values()))
        return {layer.name: {"activity": like.new_zeros(layer.width)} for layer in self.layers}

    def after_update(self, step: Step) -> Step:
        """Takes down the activity of the batch."""
        step.method = {
            layer.name: {"activity": means_read(step.activations[layer.name].abs(), layer, "every", step.lengths)}
            for layer in self.layers
        }
        return step

    def init_host(self, seeds: list[int]) -> dict[str, Any]:
        """Number of rebirths so far, by layer, one a seed.

        Raises:
            RunError: the network shows no hidden layer.
        """
        check_has_units(self.layers, "ReDo has no unit to recycle")
        return {"reborn": {layer.name: [0] * len(seeds) for layer in self.layers}}

    def next_event(self, population: Population) -> int:
        """The next multiple of the period."""
        return (population.updates // self.period + 1) * self.period

    @torch.no_grad()
    def event(self, population: Population) -> None:
        """Rebirth of all dormant units, seed by seed, since their number differs; the device is asked once a layer."""
        method, optimizer = population.state["method"], self.optimizer
        forgetting = optimizer if self.reset_optimizer and not self.reference_compat else None
        for number, layer in enumerate(self.layers):
            found = dormant(method[layer.name]["activity"], self.threshold, self.reference_compat).cpu()
            for row in found.any(dim=1).nonzero().flatten().tolist():
                units = found[row].nonzero().T.to(population.keys.device)
                seed = torch.tensor([row], device=population.keys.device)
                reset_units(population, layer, seed, units, number, optimizer=forgetting)
                population.host["reborn"][layer.name][row] += units.shape[1]
