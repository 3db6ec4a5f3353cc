"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lop_lightning.errors import ConfigError, check_number
from lop_lightning.optimizers.base import Optimizer, Params, checked_clip
from lop_lightning.optimizers.schedule import checked_steps
from lop_lightning.trees import Tree


class SGD(Optimizer):
    """b ← μ b + (g + λ θ);  θ ← θ - α b;  without momentum b is the gradient itself.

    Args:
        lr: Step size α.
        momentum: μ in [0, 1).
        nesterov: Steps along g + μ b instead of b.
        weight_decay: λ, coupled (part of the gradient).
        lr_steps: See :class:`Optimizer`.
        clip: See :class:`Optimizer`.
    """

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        lr_steps: Sequence[Sequence[float]] = (),
        clip: float | None = None,
    ) -> None:
        check_number("lr", lr, 0)
        check_number("momentum", momentum, 0, 1, open_high=True)
        check_number("weight_decay", weight_decay, 0)
        if nesterov and not momentum:
            raise ConfigError("nesterov", nesterov, "false when momentum is 0")
        self.lr_steps, self.clip = checked_steps(lr_steps), checked_clip(clip)
        self.lr, self.momentum, self.nesterov, self.weight_decay = lr, momentum, nesterov, weight_decay

    def init(self, params: Params) -> Tree:
        """Momentum buffers at zero, if there is momentum."""
        buffers = {"momentum": {name: torch.zeros_like(p) for name, p in params.items()}} if self.momentum else {}
        return {**buffers, **self.init_schedule(params)}

    def update(self, params: Params, grads: Params, state: Tree) -> tuple[Params, Tree]:
        """See the class."""
        if self.weight_decay:
            grads = {name: g + self.weight_decay * params[name] for name, g in grads.items()}
        steps = grads
        if self.momentum:
            buffers = {name: self.momentum * b + grads[name] for name, b in state["momentum"].items()}
            steps, state = buffers, {**state, "momentum": buffers}
            if self.nesterov:
                steps = {name: grads[name] + self.momentum * b for name, b in buffers.items()}
        rate = self.rate(state)
        return {name: p - rate * steps[name] for name, p in params.items()}, state
