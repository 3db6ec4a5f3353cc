"""Adam and AdamW, with a step count for every unit, so that a reborn unit starts its moments anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lop_lightning.errors import ConfigError, check_number
from lop_lightning.optimizers.base import Optimizer, Params, advance_steps, checked_clip, debias, init_steps
from lop_lightning.optimizers.schedule import checked_steps
from lop_lightning.trees import Tree


class Adam(Optimizer):
    """m ← β₁m + (1-β₁)g;  v ← β₂v + (1-β₂)g²;  θ ← θ - α m̂ / (√v̂ + ε), m̂ = m/(1-β₁ᵗ), v̂ = v/(1-β₂ᵗ).

    Args:
        lr: Step size α.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ, coupled: g ← g + λθ before the moments.
        reference_compat: The step of Dohare et al.'s AdamGnT, whose bias correction is lost:
            θ ← θ - α (1-β₂ᵗ) m / (√v + ε).
        lr_steps: See :class:`Optimizer`.
        clip: See :class:`Optimizer`.

    Source: Kingma & Ba 2015, algorithm 1.
    """

    def __init__(
        self,
        lr: float = 0.001,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        reference_compat: bool = False,
        lr_steps: Sequence[Sequence[float]] = (),
        clip: float | None = None,
    ) -> None:
        check_number("lr", lr, 0)
        check_number("eps", eps, 0)
        check_number("weight_decay", weight_decay, 0)
        check_betas(betas)
        self.lr, self.betas, self.eps, self.weight_decay = lr, tuple(betas), eps, weight_decay
        self.reference_compat, self.lr_steps, self.clip = reference_compat, checked_steps(lr_steps), checked_clip(clip)

    def init(self, params: Params) -> Tree:
        """Moments and counts at zero."""
        zeros = {slot: {name: torch.zeros_like(p) for name, p in params.items()} for slot in ("first", "second")}
        return {**zeros, **init_steps(params), **self.init_schedule(params)}

    def update(self, params: Params, grads: Params, state: Tree) -> tuple[Params, Tree]:
        """See the class."""
        if self.weight_decay:
            grads = {name: g + self.weight_decay * params[name] for name, g in grads.items()}
        state = adam_moments(self.betas, grads, state)
        rate = self.rate(state)
        return {name: p - rate * self.direction(state, name, p.ndim) for name, p in params.items()}, state

    def direction(self, state: Tree, name: str, ndim: int) -> Tensor:
        """What the step size multiplies."""
        first, second = state["first"][name], state["second"][name]
        if self.reference_compat:
            return debias(self.betas[1], state, name, ndim) * first / (second.sqrt() + self.eps)
        return adam_direction(self.betas, self.eps, state, name, ndim)


class AdamW(Adam):
    """Adam with decoupled decay: θ ← (1 - αλ)θ, then Adam's step (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        lr: float = 0.001,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        lr_steps: Sequence[Sequence[float]] = (),
        clip: float | None = None,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, lr_steps=lr_steps, clip=clip)

    def update(self, params: Params, grads: Params, state: Tree) -> tuple[Params, Tree]:
        """See the class."""
        state = adam_moments(self.betas, grads, state)
        rate = self.rate(state)
        keep = 1 - rate * self.weight_decay
        return {name: keep * p - rate * self.direction(state, name, p.ndim) for name, p in params.items()}, state


def adam_moments(betas: tuple[float, ...], grads: Params, state: Tree) -> Tree:
    """Both moments and all counts after one more gradient, for the parameters that have moments."""
    first = {name: betas[0] * m + (1 - betas[0]) * grads[name] for name, m in state["first"].items()}
    second = {name: betas[1] * v + (1 - betas[1]) * grads[name].square() for name, v in state["second"].items()}
    return {**state, "first": first, "second": second, **advance_steps(state)}


def adam_direction(betas: tuple[float, ...], eps: float, state: Tree, name: str, ndim: int) -> Tensor:
    """m̂ / (√v̂ + ε). An element that was never updated (count 0) cannot occur: counts advance before the step."""
    first = state["first"][name] / debias(betas[0], state, name, ndim)
    return first / ((state["second"][name] / debias(betas[1], state, name, ndim)).sqrt() + eps)


def check_betas(betas: Sequence[float]) -> None:
    """Raises :class:`ConfigError` unless ``betas`` is two numbers in [0, 1)."""
    if isinstance(betas, str | float | int) or len(betas) != 2:
        raise ConfigError("betas", betas, "two numbers in [0, 1), as [0.9,0.999]")
    for beta in betas:
        check_number("betas", beta, 0, 1, open_high=True)
