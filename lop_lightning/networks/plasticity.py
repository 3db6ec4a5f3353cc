"""How a plastic layer is set: what its weights do while it reads, and where its fresh parameters come from."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from lop_lightning.errors import ConfigError, check_choice, check_count
from lop_lightning.networks.layers import Draw
from lop_lightning.networks.plastic_loop import UpdateRule

KINDS, SHAPES, SIGNS = ("M", "A"), ("matrix", "post", "pre", "scalar"), ("free", "anti", "hebbian")
DECAYS, MEMORYLESS = ("sigmoid", "clamp", "exponential"), "none"
RATES = {1: "matrix", 0.5: "post", 0: "scalar"}
"""Shapes of η by the numbers that the published command line has for them."""
LEAST_DECAY = 1e-3
"""λ never gets smaller than this where its form would let it reach 0: the quick way takes its logarithm."""


def check_kind(key: str, kind: object) -> None:
    """Raises :class:`ConfigError` unless a layer can be of this kind."""
    if kind not in KINDS:
        raise ConfigError(key, kind, "M (multiplicative) or A (additive) for each layer", KINDS)


def rate_shape(key: str, rate: object) -> str:
    """The shape of η that an entry of ``hetero_rates`` asks for.

    Raises:
        ConfigError: it asks for none.
    """
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    shape = RATES.get(rate) if is_number else rate  # type: ignore[call-overload]
    if shape not in SHAPES:
        raise ConfigError(key, rate, "1 or matrix, 0.5 or post, pre, 0 or scalar for each layer", SHAPES)
    return shape


def sizes(shape: str, units: int, inputs: int) -> tuple[int, ...]:
    """The size of a parameter that spreads to ``[H, F]``."""
    return {"matrix": (units, inputs), "post": (units, 1), "pre": (1, inputs), "scalar": (1,)}[shape]


@dataclass(frozen=True)
class Plasticity:
    """How a layer's weights change while it reads.

    Attributes:
        kind: ``M``: a = (W ∘ (1 + P)) x + b; ``A``: a = (W + P) x + b.
        eta_shape: η of each synapse (``matrix``), of each unit (``post``), of each input (``pre``), or ``scalar``.
        eta_sign: ``free``: η is the parameter r; ``anti``: η = -exp(r); ``hebbian``: η = exp(r).
        decay: λ by its parameter r: ``sigmoid`` λ = σ(r); ``clamp`` λ = r, kept in [0.001, ``decay_max``];
            ``exponential`` λ = 1 - 1/r, kept at 0.001 or more; ``none``: there is no memory, P(t+1) = η ∘ h(t) x(t)ᵀ.
        decay_shape: As ``eta_shape``.
        decay_max: Greatest λ of ``clamp``.
        rule: How P changes.
        start: P(0): ``zero``, or ``trained``.
        truncation: Frames after which gradients are not followed further back; 0: they are followed to the beginning.
        scan: ``fast``: by operators where there is one for the variant; ``reference``: frame by frame.

    Raises:
        ConfigError: a setting is out of its range.
    """

    kind: str = "M"
    eta_shape: str = "matrix"
    eta_sign: str = "free"
    decay: str = "sigmoid"
    decay_shape: str = "scalar"
    decay_max: float = 1.0
    rule: UpdateRule = field(default_factory=UpdateRule)
    start: str = "zero"
    truncation: int = 0
    scan: str = "fast"

    def __post_init__(self) -> None:
        check_choice("start", self.start, ("zero", "trained"))
        check_choice("scan", self.scan, ("fast", "reference"))
        check_count("truncation", self.truncation, 0)

    @property
    def is_fast(self) -> bool:
        """Whether an operator computes this variant: P = η ∘ R with one λ a unit, beginning with zero."""
        usual = self.rule == UpdateRule() and self.start == "zero"
        return self.scan == "fast" and usual and self.decay_shape in ("scalar", "post")


@dataclass(frozen=True)
class Draws:
    """The distributions of a layer's fresh numbers; those of η and λ are of their parameters r."""

    weight: Draw
    bias: Draw
    eta: Draw = field(default_factory=lambda: constant(0.0))
    decay: Draw = field(default_factory=lambda: constant(0.0))


def constant(value: float) -> Draw:
    """Always ``value``."""
    return Draw("uniform", 0.0, value)


def xavier(units: int, inputs: int, scale: float = 1.0) -> Draw:
    """N(0, 2/(H + F)) of a matrix, times ``scale``."""
    return Draw("normal", scale * (2.0 / (units + inputs)) ** 0.5)


def drawn(draw: Draw, *size: int) -> nn.Parameter:
    """A parameter from the global generator."""
    numbers = torch.randn(size) if draw.distribution == "normal" else 2.0 * torch.rand(size) - 1.0
    return nn.Parameter(draw.centre + draw.scale * numbers)
