"""HebbFF: one additive plastic layer that tells the familiar from the novel (Tyulmankov, Yang & Abbott 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_number
from lop_lightning.networks.layers import Draw, HiddenLayer
from lop_lightning.networks.plastic import PlasticLayer
from lop_lightning.networks.plastic_network import UNSTABLE, PlasticNetwork, features, readout
from lop_lightning.networks.plasticity import DECAYS, LEAST_DECAY, SIGNS, Draws, Plasticity, constant


class HebbFF(PlasticNetwork):
    """a(t) = (W + P(t)) x(t) + b, h = σ(a), P(t+1) = λ P(t) + η h(t) x(t)ᵀ, and a linear readout (``model=hebbff``).

    One λ, one η. W ~ N(0, 1/F), b ~ N(0, 1), the readout's weight N(0, 1/N) and its bias N(0, 1).

    Args:
        input_shape: See :class:`PlasticNetwork`.
        output_size: Outputs of a reading.
        hidden: Units N.
        decay: λ by its parameter r: ``clamp``, λ = r, put back into [0.001, 1] after each update; ``sigmoid``,
            λ = σ(r); ``exponential``, λ = 1 - 1/r.
        decay_init: Where λ begins.
        eta_init: Where η begins; ``None``: -5/F, or 5/F of ``eta_sign=hebbian``.
        eta_sign: ``free``; ``anti``: η = -exp(r), a unit answers less to what it saw; ``hebbian``: η = exp(r).
        uniform: All units share one bias, U(±√N), and one weight to each output, N(0, 2/N). As no unit then has
            weights of its own that leave it, the network shows no hidden layer to methods and metrics.
        write_gate: Nothing is written at a frame that occurred before in its sequence: P only decays there.
        plastic: False: P stays zero, and η and λ are not there.
        truncation: Frames after which gradients are not followed further back; 0: they are followed to the beginning.
        scan: ``fast``, or ``reference``: frame by frame, as it is with ``write_gate`` in any case.
        ragged: See :class:`PlasticNetwork`. The stream says it, and what follows.
        read_every: See :class:`PlasticNetwork`.

    Raises:
        ConfigError: a setting is out of its range.

    Source: Tyulmankov, Yang & Abbott (2022), "Meta-learning synaptic plasticity and memory addressing for continual
    familiarity detection"; spec, section 2.3.
    """

    remedy = UNSTABLE.format("the size of model.eta_init or model.decay_init")

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden: int = 25,
        decay: str = "clamp",
        decay_init: float = 0.99,
        eta_init: float | None = None,
        eta_sign: str = "free",
        uniform: bool = False,
        write_gate: bool = False,
        plastic: bool = True,
        truncation: int = 0,
        scan: str = "fast",
        ragged: bool = False,
        read_every: int | None = None,
    ) -> None:
        check_count("hidden", hidden)
        check_choice("decay", decay, DECAYS)
        check_number("decay_init", decay_init, LEAST_DECAY, 1, open_high=decay != "clamp")
        check_choice("eta_sign", eta_sign, SIGNS)
        for name, flag in (("uniform", uniform), ("write_gate", write_gate), ("plastic", plastic)):
            check_flag(name, flag)
        read = features(input_shape)
        raw = {"clamp": lambda: decay_init, "sigmoid": lambda: math.log(decay_init / (1 - decay_init)),
               "exponential": lambda: 1 / (1 - decay_init)}[decay]()  # fmt: skip
        settings = Plasticity("A", "scalar", eta_sign, decay, truncation=truncation, scan=scan)
        draws = Draws(
            weight=Draw("normal", 1 / math.sqrt(read)),
            bias=Draw("uniform", math.sqrt(hidden)) if uniform else Draw("normal", 1.0),
            eta=constant(_raw_eta(eta_init, eta_sign, read)),
            decay=constant(raw),
        )
        layer = PlasticLayer(read, hidden, "sigmoid", draws, settings, plastic, biases=1 if uniform else hidden)
        weight = Draw("normal", math.sqrt((2 if uniform else 1) / hidden))
        head = readout(weight, Draw("normal", 1.0), output_size, 1 if uniform else hidden)
        super().__init__(input_shape, [layer], head, ragged, read_every)
        self.uniform, self.write_gate = uniform, write_gate

    def _writes(self, x: Tensor) -> Tensor | None:
        return (~occurred_before(x)).to(x.dtype) if self.write_gate else None

    def _outputs(self, h: Tensor) -> Tensor:
        return super()._outputs(h.sum(-1, keepdim=True) if self.uniform else h)

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """See :class:`PlasticNetwork`; nothing where units share their bias and their way to the readout."""
        return () if self.uniform else super().hidden_layers()


def occurred_before(x: Tensor) -> Tensor:
    """Which frames ``[T, B]`` of ``x [T, B, F]`` are, number for number, one that came before them."""
    steps = len(x)
    same = torch.ones(steps, steps, x.shape[1], dtype=torch.bool, device=x.device)
    for feature in x.unbind(-1):  # one at a time: all together would be [T, T, B, F]
        same = same & (feature[:, None] == feature[None])
    earlier = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril(-1)
    return (same & earlier[:, :, None]).any(1)


def _raw_eta(eta_init: float | None, sign: str, read: int) -> float:
    """Where r of η begins."""
    if eta_init is None:
        eta_init = 5 / read if sign == "hebbian" else -5 / read
    check_number("eta_init", eta_init)
    if sign == "free":
        return eta_init
    legal = eta_init > 0 if sign == "hebbian" else eta_init < 0
    if not legal:
        side = "above" if sign == "hebbian" else "below"
        raise ConfigError("eta_init", eta_init, f"a number {side} 0, as eta_sign={sign} says, or null")
    return math.log(abs(eta_init))
