"""A layer whose weights change while it reads: its parameters, and the quick and the plain way through a sequence."""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lop_lightning.networks import diagonal_steps, plastic_steps
from lop_lightning.networks.activations import ACTIVATIONS
from lop_lightning.networks.layers import Draw
from lop_lightning.networks.plastic_loop import Recurrence, Synapses, recur
from lop_lightning.networks.plasticity import LEAST_DECAY, MEMORYLESS, Draws, Plasticity, constant, drawn, sizes
from lop_lightning.networks.time import ended


class PlasticLayer(nn.Module):
    """H units that read F numbers at each frame; parameters ``weight``, ``bias``, and r of ``eta`` and ``decay``.

    P is made anew for every sequence and is never a parameter.

    Args:
        inputs: F.
        units: H.
        activation: f, a key of :data:`lop_lightning.networks.activations.ACTIVATIONS`.
        draws: Distributions of fresh parameters.
        plasticity: ``None``: an ordinary layer, h = f(W x + b).
        plastic: False: P stays zero; the weights are those that the plastic layer would have had.
        biases: Numbers in the bias: H, or one that the units share.
        sparsity: Share of synapses that are not there; which ones is drawn once.
    """

    mask: Tensor | None

    def __init__(
        self,
        inputs: int,
        units: int,
        activation: str,
        draws: Draws,
        plasticity: Plasticity | None = None,
        plastic: bool = True,
        biases: int | None = None,
        sparsity: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs, self.units, self.activation, self.draws = inputs, units, activation, draws
        self.plasticity = plasticity if plastic else None
        self.weight, self.bias = drawn(draws.weight, units, inputs), drawn(draws.bias, biases or units)
        if plasticity is not None:
            eta = drawn(draws.eta, *sizes(plasticity.eta_shape, units, inputs))
            decay = drawn(draws.decay, *sizes(plasticity.decay_shape, units, inputs))
            if plastic:
                self.eta = eta
                if plasticity.decay != MEMORYLESS:
                    self.decay = decay
                if plasticity.start == "trained":
                    self.start = nn.Parameter(torch.zeros(units, inputs))
        self.register_buffer("mask", torch.rand(units, inputs) >= sparsity if sparsity else None)

    # ---- what the parameters stand for

    def weights(self) -> Tensor:
        """W ``[H, F]``."""
        return self.weight if self.mask is None else self.weight * self.mask

    def rates(self) -> Tensor:
        """η, in a shape that spreads to ``[H, F]``."""
        sign = self._plasticity.eta_sign
        eta = self.eta if sign == "free" else self.eta.exp() if sign == "hebbian" else -self.eta.exp()
        return eta if self.mask is None else eta * self.mask

    def decays(self) -> Tensor:
        """λ, in a shape that spreads to ``[H, F]``."""
        form = self._plasticity.decay
        if form == MEMORYLESS:
            return self.weight.new_zeros(1)
        kept = self._kept_decay()
        return kept.sigmoid() if form == "sigmoid" else kept if form == "clamp" else 1 - 1 / kept

    def log_decays(self) -> Tensor:
        """The logarithm of λ ``[H]`` of a layer with one λ a unit at most."""
        form, kept = self._plasticity.decay, self._kept_decay()
        log = F.logsigmoid(kept) if form == "sigmoid" else kept.log() if form == "clamp" else torch.log1p(-1 / kept)
        return log.flatten().expand(self.units)

    def additive_rates(self) -> Tensor:
        """η' ``[H, F]`` of the additive layer that does the same: W ∘ η of a multiplicative one.

        With Q = W ∘ P, a = (W + Q) x + b and Q(t+1) = λ Q(t) + (W ∘ η) ∘ h(t) x(t)ᵀ.
        """
        eta = self.weights() * self.rates() if self._plasticity.kind == "M" else self.rates()
        return eta.expand(self.units, self.inputs)

    def effective(self, p: Tensor) -> Tensor:
        """The weights that inputs meet, W + P or W ∘ (1 + P), of ``p [..., H, F]``."""
        return self.weights() * (1 + p) if self._plasticity.kind == "M" else self.weights() + p

    def projected(self, decay: Tensor) -> Tensor:
        """λ's parameter put back into its legal range."""
        settings = self._plasticity
        if settings.decay == "clamp":
            return decay.clamp(LEAST_DECAY, settings.decay_max)
        return decay.clamp(min=1 / (1 - LEAST_DECAY)) if settings.decay == "exponential" else decay

    def _kept_decay(self) -> Tensor:
        """λ's parameter in its range, with the gradient it has there: that of a clamp is 0 at the very edge."""
        return self.decay + (self.projected(self.decay) - self.decay).detach()

    def own_rows(self) -> dict[str, Draw]:
        """Parameters, besides W and b, of which each unit has a row of its own, with what fresh ones are drawn from."""
        settings = self.plasticity
        if settings is None:
            return {}
        shapes = {"eta": settings.eta_shape}
        if settings.decay != MEMORYLESS:
            shapes["decay"] = settings.decay_shape
        if settings.start == "trained":
            shapes["start"] = "matrix"
        draws = {"eta": self.draws.eta, "decay": self.draws.decay, "start": constant(0.0)}
        return {name: draws[name] for name, shape in shapes.items() if shape in ("matrix", "post")}

    def columns(self) -> tuple[str, ...]:
        """Parameters, besides W, through whose columns an additive layer hears its inputs."""
        settings = self.plasticity
        if settings is None or settings.kind == "M":
            return ()
        heard = ("eta",) if settings.eta_shape in ("matrix", "pre") else ()
        return (*heard, "start") if settings.start == "trained" else heard

    def _without_plasticity(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """What the sums would be if P stayed zero."""
        a0 = F.linear(x, self.weights(), self.bias)
        return a0 if noise is None else a0 + noise

    @property
    def _plasticity(self) -> Plasticity:
        assert self.plasticity is not None
        return self.plasticity

    # ---- through a sequence

    def forward(
        self, x: Tensor, lengths: Tensor | None, writes: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gives h = f(a) and the sums a, ``[T, B, H]`` for ``x [T, B, F]`` with P(0) = 0, the quickest way there is.

        After a sequence's end h is 0, and a finite.

        Args:
            x: Inputs.
            lengths: Frames of the sequences ``[]``, all of one length; None: T.
            writes: See :func:`lop_lightning.networks.plastic_loop.recur`.
            noise: Added to a ``[T, B, H]``.
        """
        a0, settings = self._without_plasticity(x, noise), self.plasticity
        if settings is None:
            return ended(ACTIVATIONS[self.activation](a0), lengths), a0
        if not settings.is_fast or writes is not None:
            shown = self.recur(x, writes, noise=noise)
            return ended(shown.h, lengths), shown.a
        if settings.decay == MEMORYLESS:
            h, a = memoryless(x, a0, self.additive_rates(), self.activation, settings.truncation)
            return ended(h, lengths), a
        layer = a0, x, self.additive_rates(), self.log_decays()
        return run_layer(*layer, lengths, self.activation, settings.truncation)

    def recur(
        self,
        x: Tensor,
        writes: Tensor | None = None,
        nudges: Tensor | None = None,
        kept: Container[int] = (),
        noise: Tensor | None = None,
    ) -> Recurrence:
        """The same frame by frame; see :func:`lop_lightning.networks.plastic_loop.recur`."""
        a0, settings = self._without_plasticity(x, noise), self.plasticity
        if settings is None:
            h = ACTIVATIONS[self.activation](a0)
            return Recurrence(h if nudges is None else h + nudges, a0, x.new_empty(0))
        start = None
        if settings.start == "trained":
            start = self.start if self.mask is None else self.start * self.mask
        synapses = Synapses(self.rates(), self.decays(), self.weights() if settings.kind == "M" else None, start)
        return recur(x, a0, synapses, self.activation, settings.rule, settings.truncation, writes, nudges, kept)


def run_layer(
    a0: Tensor, x: Tensor, eta: Tensor, log_decay: Tensor, lengths: Tensor | None, f: str, truncation: int
) -> tuple[Tensor, Tensor]:
    """One layer by :func:`lop_lightning.networks.plastic_steps.run`; ``lengths`` as of :meth:`PlasticLayer.forward`."""
    ends = torch.full((1,), len(x), device=x.device) if lengths is None else lengths[None]
    h, a = plastic_steps.run(a0[None], x[None], eta[None], log_decay[None], ends, f, truncation)
    return h.squeeze(0), a.squeeze(0)


def memoryless(x: Tensor, a0: Tensor, eta: Tensor, f: str, truncation: int = 0) -> tuple[Tensor, Tensor]:
    """Of an additive layer with P(t+1) = η ∘ h(t) x(t)ᵀ, which needs no matrix, h and a ``[T, B, H]``.

    P(t) x(t) = g(t) ∘ h(t-1), g(t) = η (x(t-1) ∘ x(t)): a diagonal recurrence, and g of all frames is one product.

    Args:
        x: Inputs ``[T, B, F]``.
        a0: W x + b ``[T, B, H]``.
        eta: η ``[H, F]``.
        f: See :func:`lop_lightning.networks.diagonal_steps.run`.
        truncation: h(t-1) and x(t-1) are constants at the frames t that are multiples of it.
    """
    hs: list[Tensor] = []
    sums: list[Tensor] = []
    for begin in range(0, len(x), truncation or len(x)):
        here = slice(begin, begin + (truncation or len(x)))
        own, read = a0[here], x[here]
        if begin:
            met = F.linear(x[begin - 1].detach() * read[0], eta) * hs[-1][-1].detach()
            own = torch.cat([own[:1] + met, own[1:]])
        before = torch.cat([torch.zeros_like(read[:1]), read[:-1]])
        h, a = diagonal_steps.run(own[None], F.linear(before * read, eta)[None], f)
        hs.append(h.squeeze(0))
        sums.append(a.squeeze(0))
    return torch.cat(hs), torch.cat(sums)
