"""Methods that begin the network, or its output layer, anew at every task: the reference lines of plasticity."""

from __future__ import annotations

import torch

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.lift import Execution
from lop_lightning.algos.population import Population
from lop_lightning.errors import check_flag
from lop_lightning.networks import NetworkFactory
from lop_lightning.optimizers import Optimizer


class Renewal(Learner):
    """Before every task but the first, some tensors are drawn anew from the network's own initial distribution.

    Args:
        network: See :class:`Learner`.
        optimizer: See :class:`Learner`.
        execution: See :class:`Learner`.
        reset_optimizer: Whether the optimiser forgets what is drawn anew; the published runs keep its momentum.
    """

    def __init__(
        self,
        network: NetworkFactory,
        optimizer: Optimizer,
        execution: Execution | None = None,
        reset_optimizer: bool = True,
    ) -> None:
        super().__init__(network, optimizer, execution)
        check_flag("reset_optimizer", reset_optimizer)
        self.reset_optimizer = reset_optimizer

    def renewed(self, population: Population) -> tuple[str, ...]:
        """Names of the parameters and buffers that are drawn anew."""
        raise NotImplementedError

    @torch.no_grad()
    def on_task_start(self, population: Population, task: int) -> None:
        """The numbers of an independent new network, a function of (seed, task) alone, replace the old ones."""
        if task == 0:
            return
        fresh = self.new_population("renewal", *population.purpose, task)
        for name in self.renewed(population):
            population.tensors[name].copy_(fresh.tensors[name])
            if self.reset_optimizer:
                self.optimizer.forget_parameter(population.state["optimizer"], name)


class HeadReset(Renewal):
    """The output layer is drawn anew before every task (``algo=head_reset``; Dohare et al. 2024, "head resetting")."""

    def renewed(self, population: Population) -> tuple[str, ...]:
        """The output layer."""
        return self.output_parameters


class Retrain(Renewal):
    """The whole network is drawn anew before every task: the line that relative accuracy is measured from.

    ``algo=retrain``; Dohare et al. (2024), "retrained network".

    Args:
        network: See :class:`Learner`.
        optimizer: See :class:`Learner`.
        execution: See :class:`Learner`.
        reset_optimizer: See :class:`Renewal`.
        reset_buffers: Whether running statistics of batch normalisation begin anew too; the published runs keep them.
    """

    def __init__(
        self,
        network: NetworkFactory,
        optimizer: Optimizer,
        execution: Execution | None = None,
        reset_optimizer: bool = True,
        reset_buffers: bool = True,
    ) -> None:
        super().__init__(network, optimizer, execution, reset_optimizer)
        check_flag("reset_buffers", reset_buffers)
        self.reset_buffers = reset_buffers

    def renewed(self, population: Population) -> tuple[str, ...]:
        """All parameters, and (if asked) the buffers."""
        return tuple(population.tensors if self.reset_buffers else population.params)
