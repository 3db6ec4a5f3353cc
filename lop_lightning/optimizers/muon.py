"""Muon: momentum made orthogonal for matrices, AdamW for everything else (Jordan 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lop_lightning.errors import check_count, check_number
from lop_lightning.optimizers.adam import adam_direction, adam_moments, check_betas
from lop_lightning.optimizers.base import Optimizer, Params, checked_clip, init_steps
from lop_lightning.optimizers.schedule import checked_steps
from lop_lightning.trees import Tree

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalise(matrix: Tensor, iterations: int) -> Tensor:
    """Newton-Schulz: X ← aX + (bA + cA²)X with A = XXᵀ, from X = M/‖M‖; singular values end near 1 (0.7 to 1.2).

    The Gram matrix of the shorter side is used; the result is the same and the work less.
    """
    x = matrix / (matrix.norm() + 1e-12)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * (gram @ gram)) @ x
    return x.T if tall else x


class Muon(Optimizer):
    """For every 2-D parameter M ← μM + g;  W ← (1 - αλ)W - α · s·√max(rows, cols) · NS(M);  AdamW for the rest.

    Args:
        lr: Step size α of both parts.
        momentum: μ in [0, 1).
        iterations: Newton-Schulz iterations.
        rms_scale: s, which gives the step about the size of an AdamW step.
        betas: AdamW's (β₁, β₂).
        eps: AdamW's ε.
        weight_decay: λ, decoupled, for all parameters.
        lr_steps: See :class:`Optimizer`.
        clip: See :class:`Optimizer`.
    """

    def __init__(
        self,
        lr: float = 0.05,
        momentum: float = 0.95,
        iterations: int = 5,
        rms_scale: float = 0.2,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        lr_steps: Sequence[Sequence[float]] = (),
        clip: float | None = None,
    ) -> None:
        check_number("lr", lr, 0)
        check_number("momentum", momentum, 0, 1, open_high=True)
        check_count("iterations", iterations)
        check_number("rms_scale", rms_scale, 0)
        check_number("eps", eps, 0)
        check_number("weight_decay", weight_decay, 0)
        check_betas(betas)
        self.lr, self.momentum, self.iterations, self.rms_scale = lr, momentum, iterations, rms_scale
        self.betas, self.eps, self.weight_decay = tuple(betas), eps, weight_decay
        self.lr_steps, self.clip = checked_steps(lr_steps), checked_clip(clip)

    def init(self, params: Params) -> Tree:
        """Momentum for matrices, moments for the rest."""
        rest = {name: p for name, p in params.items() if p.ndim != 2}
        return {
            "momentum": {name: torch.zeros_like(p) for name, p in params.items() if p.ndim == 2},
            "first": {name: torch.zeros_like(p) for name, p in rest.items()},
            "second": {name: torch.zeros_like(p) for name, p in rest.items()},
            **init_steps(rest),
            **self.init_schedule(params),
        }

    def update(self, params: Params, grads: Params, state: Tree) -> tuple[Params, Tree]:
        """See the class."""
        momentum = {name: self.momentum * m + grads[name] for name, m in state["momentum"].items()}
        state = {**adam_moments(self.betas, grads, state), "momentum": momentum}
        rate = self.rate(state)
        keep, stepped = 1 - rate * self.weight_decay, {}
        for name, p in params.items():
            if name in momentum:
                scale = self.rms_scale * max(p.shape) ** 0.5
                step = scale * orthogonalise(momentum[name], self.iterations)
            else:
                step = adam_direction(self.betas, self.eps, state, name, p.ndim)
            stepped[name] = keep * p - rate * step
        return stepped, state
