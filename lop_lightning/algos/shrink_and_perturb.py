"""Shrink and perturb: weights shrink a little and are shaken a little (Ash & Adams 2020)."""

from __future__ import annotations

from torch import Tensor

from lop_lightning.algos.l2 import half_square_norm
from lop_lightning.algos.learner import Learner
from lop_lightning.algos.lift import Execution
from lop_lightning.algos.step import Step
from lop_lightning.errors import check_choice, check_number
from lop_lightning.networks import NetworkFactory
from lop_lightning.optimizers import Optimizer
from lop_lightning.optimizers.base import Params
from lop_lightning.trees import Tree


class ShrinkAndPerturb(Learner):
    """θ shrinks and gains noise, at every update or when a task ends (``algo=shrink_and_perturb``).

    ``when=update`` (Dohare et al. 2024): the loss gains λ/2·‖θ‖², and after each optimiser step θ ← θ + σε, with
    ε ~ N(0, 1) for every parameter, biases and the output layer included; σ is not scaled by the step size.
    ``when=task_end`` (Ash & Adams 2020): θ ← (1 - s)θ + σε once a task.

    Args:
        network: See :class:`Learner`.
        optimizer: See :class:`Learner`.
        execution: See :class:`Learner`.
        when: ``update`` or ``task_end``.
        weight_decay: λ, used at every update, coupled.
        noise_std: σ.
        shrink: s in [0, 1], used when a task ends.
    """

    def __init__(
        self,
        network: NetworkFactory,
        optimizer: Optimizer,
        execution: Execution | None = None,
        when: str = "update",
        weight_decay: float = 1e-4,
        noise_std: float = 1e-5,
        shrink: float = 0.4,
    ) -> None:
        super().__init__(network, optimizer, execution)
        check_choice("when", when, ("update", "task_end"))
        check_number("weight_decay", weight_decay, 0)
        check_number("noise_std", noise_std, 0)
        check_number("shrink", shrink, 0, 1)
        self.uses_noise = when == "update" and noise_std > 0
        self.when, self.weight_decay, self.noise_std, self.shrink = when, weight_decay, noise_std, shrink

    def penalty(self, params: Params, method: Tree) -> Tensor | None:
        """λ/2 · ‖θ‖², when shrinking at every update."""
        return half_square_norm(params, self.weight_decay) if self.when == "update" else None

    def after_update(self, step: Step) -> Step:
        """θ ← θ + σε, when perturbing at every update."""
        if self.uses_noise:
            step.params = {name: p + self.noise_std * step.noise[name] for name, p in step.params.items()}
        return step

    def on_task_end(self, params: Params, method: Tree, noise: Params) -> Params:
        """θ ← (1 - s)θ + σε, when shrinking at task ends."""
        if self.when == "update":
            return params
        return {name: (1 - self.shrink) * p + self.noise_std * noise[name] for name, p in params.items()}
