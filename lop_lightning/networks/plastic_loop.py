"""Plastic layers frame by frame, as their formulas have it: slow, in all variants, and with P at every frame."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import Tensor

from lop_lightning.errors import check_choice
from lop_lightning.networks.activations import ACTIVATIONS

UPDATES, PRODUCTS, BOUNDS = ("plain", "normalised", "oja"), ("both", "pre", "post"), ("none", "tanh")


@dataclass(frozen=True)
class UpdateRule:
    """How P changes at a frame.

    With the product C = h xᵀ (``both``), 1 xᵀ (``pre``) or h 1ᵀ (``post``):

    ============== ============================================================
    ``plain``      P ← λ P + η ∘ C
    ``normalised`` as ``plain``, then each row is divided by its Euclidean norm
    ``oja``        P ← λ P + η ∘ (C + h² ∘ P), each row with its unit's h²
    ============== ============================================================

    and then, with ``bound=tanh``, P ← tanh(P).

    Attributes:
        update: ``plain``, ``normalised`` or ``oja``.
        product: ``both``, ``pre`` or ``post``.
        bound: ``none`` or ``tanh``.

    Raises:
        ConfigError: there is no such variant.

    Source: Aitken & Mihalas (2023), "Neural population dynamics of computing with synaptic modulations"; spec, 2.3.
    """

    update: str = "plain"
    product: str = "both"
    bound: str = "none"

    def __post_init__(self) -> None:
        check_choice("update", self.update, UPDATES)
        check_choice("product", self.product, PRODUCTS)
        check_choice("bound", self.bound, BOUNDS)

    @property
    def is_linear(self) -> bool:
        """Whether P is η ∘ R, R being made without η."""
        return self.update == "plain" and self.bound == "none"

    def written(self, h: Tensor, x: Tensor) -> Tensor:
        """C ``[B, H, F]`` of ``h [B, H]`` and ``x [B, F]``."""
        post = h[:, :, None] if self.product != "pre" else torch.ones_like(h)[:, :, None]
        pre = x[:, None] if self.product != "post" else torch.ones_like(x)[:, None]
        return post * pre

    def after(self, p: Tensor, c: Tensor, h: Tensor, eta: Tensor | float, decay: Tensor) -> Tensor:
        """P ``[B, H, F]`` after a frame in which C was written."""
        if self.update == "oja":
            c = c + h[:, :, None].square() * p
        p = decay * p + eta * c
        if self.update == "normalised":
            squares = p.square().sum(-1, keepdim=True)
            p = p / torch.where(squares > 0, squares, 1.0).sqrt()  # a row of zeros stays one
        return p.tanh() if self.bound == "tanh" else p


@dataclass(frozen=True)
class Synapses:
    """The numbers of one plastic layer.

    Attributes:
        eta: η, any shape that spreads to ``[H, F]``.
        decay: λ, likewise.
        weight: W ``[H, F]`` of a multiplicative layer; ``None``: the layer is additive.
        start: P(0) ``[H, F]``; ``None``: zero.
    """

    eta: Tensor
    decay: Tensor
    weight: Tensor | None = None
    start: Tensor | None = None


@dataclass(frozen=True)
class Recurrence:
    """What a layer did: h and a ``[T, B, H]``, and P ``[n, B, H, F]`` at those n frames that were asked for."""

    h: Tensor
    a: Tensor
    p: Tensor


def recur(
    x: Tensor,
    a0: Tensor,
    synapses: Synapses,
    f: str,
    rule: UpdateRule | None = None,
    truncation: int = 0,
    writes: Tensor | None = None,
    nudges: Tensor | None = None,
    kept: Container[int] = (),
) -> Recurrence:
    """One layer over B sequences of T frames, all at once and one frame after another.

    With S(t) = P(t) (additive) or W ∘ P(t) (multiplicative): a(t) = a0(t) + S(t) x(t); h(t) = f(a(t)); then P(t+1).

    Args:
        x: Inputs ``[T, B, F]``.
        a0: W x + b ``[T, B, H]``.
        synapses: η, λ, W and P(0).
        f: Key of :data:`lop_lightning.networks.activations.ACTIVATIONS`.
        rule: How P changes; by default the plain one.
        truncation: Gradients are not followed from a frame to those before the last multiple of this. Where P = η ∘ R,
            it is R that is a constant there, else P. 0: they are followed to the beginning.
        writes: ``[T, B]``, 0 where P only decays; by default it is written to at every frame.
        nudges: ``[T, B, H]``, added to h.
        kept: Frames t whose P(t), that which the frame meets, is given.
    """
    rule, apply = rule or UpdateRule(), ACTIVATIONS[f]
    factored = rule.is_linear and synapses.start is None
    scale, rate = (synapses.eta, 1.0) if factored else (1.0, synapses.eta)  # P = scale ∘ state
    first = x.new_zeros(()) if synapses.start is None else synapses.start
    state = first.expand(x.shape[1], a0.shape[2], x.shape[2])
    hs, sums, shown = [], [], []
    for t in range(len(x)):
        if truncation and t and t % truncation == 0:
            state = state.detach()
        p = scale * state
        if t in kept:
            shown.append(p)
        strength = p if synapses.weight is None else synapses.weight * p
        a = a0[t] + (strength @ x[t, :, :, None]).squeeze(-1)
        h = apply(a) if nudges is None else apply(a) + nudges[t]
        c = rule.written(h, x[t])
        if writes is not None:
            c = c * writes[t, :, None, None]
        state = rule.after(state, c, h, rate, synapses.decay)
        hs.append(h)
        sums.append(a)
    return Recurrence(torch.stack(hs), torch.stack(sums), torch.stack(shown) if shown else x.new_empty(0))
