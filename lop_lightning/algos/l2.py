"""L2 regularisation: weights are pulled towards zero."""

from __future__ import annotations

from torch import Tensor

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.lift import Execution
from lop_lightning.algos.step import Step
from lop_lightning.errors import check_choice, check_number
from lop_lightning.networks import NetworkFactory
from lop_lightning.optimizers import Optimizer
from lop_lightning.optimizers.base import Params
from lop_lightning.trees import Tree


class L2(Learner):
    """Weight decay on all parameters, biases included (``algo=l2``).

    ``coupled``: the loss gains λ/2 · ‖θ‖², so the optimiser sees g + λθ (for SGD: θ ← (1-αλ)θ - αg).
    ``decoupled``: after the optimiser's step on g alone, θ ← θ - αλ θ_before (Loshchilov & Hutter 2019).
    For plain SGD both are the same; for optimisers that rescale the gradient they are not.

    Args:
        network: See :class:`Learner`.
        optimizer: See :class:`Learner`; its step size is α.
        execution: See :class:`Learner`.
        weight_decay: λ.
        mode: ``coupled`` or ``decoupled``.
    """

    def __init__(
        self,
        network: NetworkFactory,
        optimizer: Optimizer,
        execution: Execution | None = None,
        weight_decay: float = 1e-4,
        mode: str = "coupled",
    ) -> None:
        super().__init__(network, optimizer, execution)
        check_number("weight_decay", weight_decay, 0)
        check_choice("mode", mode, ("coupled", "decoupled"))
        self.weight_decay, self.mode = weight_decay, mode

    def penalty(self, params: Params, method: Tree) -> Tensor | None:
        """λ/2 · ‖θ‖², when coupled."""
        return half_square_norm(params, self.weight_decay) if self.mode == "coupled" else None

    def after_update(self, step: Step) -> Step:
        """θ ← θ - αλ θ_before, when decoupled."""
        if self.mode == "decoupled":
            rate = self.optimizer.rate(step.optimizer) * self.weight_decay
            step.params = {name: p - rate * step.before[name] for name, p in step.params.items()}
        return step


def half_square_norm(params: Params, weight_decay: float) -> Tensor | None:
    """λ/2 · Σ θ² over all parameters, or ``None`` when λ is 0."""
    if weight_decay == 0:
        return None
    return 0.5 * weight_decay * sum(p.square().sum() for p in params.values())  # type: ignore[return-value]
