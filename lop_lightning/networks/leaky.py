"""A recurrent network of leaky units, each with a time constant of its own, that is trained with the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_number
from lop_lightning.networks.activations import activation as nonlinearity
from lop_lightning.networks.base import Network, Trace
from lop_lightning.networks.layers import Draw, FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.leaky_loops import ACTIVATIONS, SLOPE
from lop_lightning.networks.leaky_steps import run
from lop_lightning.networks.noise import register_noise
from lop_lightning.networks.readout import Readout
from lop_lightning.networks.unrolled import Unrolled
from lop_lightning.randomness import uniform

DYNAMICS = ("default", "mod", "continuous")
NAME = "recurrent"
TRAINING, EVALUATION = 0, 1
"""Channels of the noise in the initial states: what is seen in an evaluation is not what training sees next."""


class LeakyNetwork(Network):
    """One layer of n leaky units that read a sequence of numbers, and linear readouts of their last states.

    With u = W h + b + w x + b' (W has no self-connections), τ̂ = max(τ/Δt, 1) and the nonlinearity f:

    ============== ==============================================
    ``default``    h ← f((1 - 1/τ̂) h + u/τ̂), Δt = 1
    ``mod``        h ← (1 - 1/τ̂) h + f(u)/τ̂, Δt = 1
    ``continuous`` as ``mod``; Δt is the inputs' last feature
    ============== ==============================================

    States begin at a·U(0, 1), drawn anew for each sequence of each batch. Weights and biases are drawn U(±1/√fan_in).
    Activations ``recurrent`` are the states ``[B, T, n]``. Pre-activations, which are there in evaluation only, are
    what f was applied to, found from its values.

    Args:
        input_shape: ``(T, 1)``, or ``(T, 2)`` in continuous time.
        output_size: Outputs of all readouts.
        hidden: Units n.
        dynamics: ``default``, ``mod`` or ``continuous``.
        activation: f: ``leaky_relu`` (slope 0.01), ``relu``, ``tanh`` or ``sigmoid``.
        tau: τ₀ ≥ 1: time constants begin at τ₀ + U(0, 1), one that is shared at τ₀.
        tau_mean: If given, they are then multiplied to have this mean.
        trainable_tau: Whether they are trained; else they stay as they were drawn.
        shared_tau: One time constant for all units.
        initial_state: a.
        reference_compat: The gradient by the self-connections, which are not there, is not zero, so that it counts when
            gradients are clipped, as in the published code.
        ragged: Sequences may end early, and are NaN from there on; those of a batch end together. The stream says it,
            and what follows.
        timed: Inputs have a last feature Δt.
        heads: Number of readouts that share the outputs.

    Raises:
        ConfigError: a setting is out of its range, or the inputs are not what the dynamics read.

    Source: Khajehabdollahi et al. (2024), "Emergent mechanisms for long timescales depend on training curriculum and
    affect performance in memory tasks", section 2; the published code's ``RNN_Stack``, ``RNN_Mod``, ``RNN_Continuous``.
    """

    tau: Tensor
    noise_key: Tensor
    noise_clock: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden: int = 500,
        dynamics: str = "default",
        activation: str = "leaky_relu",
        tau: float = 1.0,
        tau_mean: float | None = None,
        trainable_tau: bool = True,
        shared_tau: bool = False,
        initial_state: float = 0.1,
        reference_compat: bool = False,
        ragged: bool = False,
        timed: bool = False,
        heads: int = 1,
    ) -> None:
        super().__init__()
        check_count("hidden", hidden)
        check_choice("dynamics", dynamics, DYNAMICS)
        check_choice("activation", activation, ACTIVATIONS)
        check_number("tau", tau, 1)
        check_number("initial_state", initial_state, 0)
        if tau_mean is not None:
            check_number("tau_mean", tau_mean, 1)
        for name, flag in (("trainable_tau", trainable_tau), ("shared_tau", shared_tau),
                           ("reference_compat", reference_compat)):  # fmt: skip
            check_flag(name, flag)
        _check_inputs(input_shape, dynamics, timed)
        self.hidden, self.dynamics, self.activation = hidden, dynamics, activation
        self.initial_state, self.reference_compat, self.ragged = initial_state, reference_compat, ragged
        self.inward, self.recurrent = nn.Linear(1, hidden), nn.Linear(hidden, hidden)
        self.tau_draw = Draw("uniform", 0.0 if shared_tau else 0.5, tau if shared_tau else tau + 0.5)
        drawn = torch.full((1,), float(tau)) if shared_tau else tau + torch.rand(hidden)
        if tau_mean is not None:
            factor = tau_mean / drawn.mean().item()
            self.tau_draw = Draw("uniform", self.tau_draw.scale * factor, self.tau_draw.centre * factor)
            drawn = drawn * factor
        if trainable_tau:
            self.tau = nn.Parameter(drawn)
        else:
            self.register_buffer("tau", drawn)
        self.head = Readout(hidden, output_size, heads)
        register_noise(self, "initial states")

    # ---- dynamics

    def effective_tau(self, dt: float | Tensor = 1.0) -> Tensor:
        """τ̂ = max(τ/Δt, 1) ``[n]``, time constants in steps of Δt; those below 1 have no gradient, 1 itself has."""
        steps = self.tau / dt
        return torch.where(steps >= 1, steps, 1.0).expand(self.hidden)

    def trace(self, inputs: Tensor) -> Trace:
        """See :class:`Network`."""
        lengths = (~inputs[0, :, 0].isnan()).sum().clamp(min=1) if self.ragged else None  # one length a batch
        states, last, ys = self._run(inputs, None, lengths, every=False)
        trace = Trace(self.head(last), activations={NAME: states})
        if lengths is not None:
            trace.lengths = lengths.expand(len(inputs))
        if self.training:
            trace.buffers["noise_clock"] = self.noise_clock + 1
        else:
            trace.preactivations[NAME] = _before(self.activation, ys)
        return trace

    def states(self, x: Tensor, h0: Tensor | None = None) -> Tensor:
        """States ``[B, T, n]`` after each step of ``x [B, T, F]``, from ``h0 [B, n]`` or fresh ones; no padding."""
        return self._run(x, h0, None, every=True)[0]

    def first_states(self, batch: int, like: Tensor) -> Tensor:
        """States ``[B, n]`` before the first step: a·U(0, 1), a function of the network's key and clock."""
        channel = TRAINING if self.training else EVALUATION
        shape = (batch, self.hidden)
        return self.initial_state * uniform(self.noise_key, self.noise_clock, channel, shape, like.dtype)

    def _run(self, x: Tensor, h0: Tensor | None, lengths: Tensor | None, every: bool) -> tuple[Tensor, Tensor, Tensor]:
        """All states ``[B, T, n]``, the last ones ``[B, n]``, and the values of f at each step ``[B, T, n]``."""
        h0 = self.first_states(len(x), self.tau) if h0 is None else h0
        dt = x[0, 0, 1] if self.dynamics == "continuous" else 1.0
        p, v, c, g, d, form = self._coefficients(dt)
        if lengths is None:
            lengths = torch.full((), x.shape[1], device=x.device)
        else:
            x = x.nan_to_num(0.0)
        read, ends = x[..., 0].T[:, None], lengths[None]
        rows = (t[None] for t in (p, v, c, g, d, h0))
        last, states, ys = run(read, *rows, ends, self.activation, form, every)
        return states[0].transpose(0, 1), last[0], (states if form == "plain" else ys)[0].transpose(0, 1)

    def _coefficients(self, dt: float | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, str]:
        """P, v, c, g, d and the form of a step; see :mod:`lop_lightning.networks.leaky_steps`."""
        tau = self.effective_tau(dt)
        rate, one = 1 / tau, torch.ones_like(tau)
        weight, bias, inward = self.lateral_weight(), self.recurrent.bias + self.inward.bias, self.inward.weight[:, 0]
        if self.dynamics == "default":
            p = weight * rate[:, None] + torch.diag_embed(1 - rate)
            return p, inward * rate, bias * rate, one, one, "plain"
        if self.activation in ("relu", "leaky_relu"):  # f(u)/τ̂ = f(u/τ̂)
            return weight * rate[:, None], inward * rate, bias * rate, one, 1 - rate, "leaky"
        return weight, inward, bias, rate, 1 - rate, "scaled"

    def lateral_weight(self) -> Tensor:
        """W ``[n, n]`` without self-connections."""
        weight = self.recurrent.weight
        if self.reference_compat:
            return weight - torch.diag_embed(weight.diagonal().detach())
        return torch.diagonal_scatter(weight, torch.zeros_like(weight[0]))

    def step(self, x: Tensor, h: Tensor, dt: float | Tensor = 1.0) -> Tensor:
        """One step as the formulas have it: states ``[B, n]`` after inputs ``x [B]`` on states ``h [B, n]``."""
        f, rate = nonlinearity(self.activation), 1 / self.effective_tau(dt)
        u = h @ self.lateral_weight().T + self.recurrent.bias + x[:, None] * self.inward.weight[:, 0] + self.inward.bias
        return f((1 - rate) * h + rate * u) if self.dynamics == "default" else (1 - rate) * h + rate * f(u)

    def unrolled(self, inputs: Tensor, nudges: Mapping[str, Tensor] | None = None) -> Unrolled:
        """See :class:`Network`."""
        lengths = (~inputs[..., 0].isnan()).sum(1).clamp(min=1) if self.ragged else None
        dt = inputs[0, 0, 1] if self.dynamics == "continuous" else 1.0
        read, nudge = inputs[..., :1].nan_to_num(0.0), (nudges or {}).get(NAME)
        h, states = self.first_states(len(inputs), self.tau), []
        for t in range(inputs.shape[1]):
            h = self.step(read[:, t, 0], h, dt)
            h = h if nudge is None else h + nudge[:, t]
            states.append(h)
        together = torch.stack(states, 1)
        last = together[:, -1] if lengths is None else together[torch.arange(len(h), device=h.device), lengths - 1]
        steps = {NAME: lambda x, h: self.step(x, h[None], dt)[0]}
        return Unrolled(self.head(last), {NAME: read}, {NAME: together}, {NAME: {}}, steps, lengths)

    # ---- the layer view

    def hidden_layers(self) -> tuple[HiddenLayer, ...]:
        """See :class:`Network`: a unit with its time constant, if that is trained and its own."""
        n, bound = self.hidden, 1 / math.sqrt(self.hidden)
        inward, rows = UnitSlice("inward.weight", 0, n), UnitSlice("recurrent.weight", 0, n)
        own = [(UnitSlice("inward.bias", 0, n), Draw("uniform", 1.0))]
        if isinstance(self.tau, nn.Parameter) and len(self.tau) == n:
            own.append((UnitSlice("tau", 0, n), self.tau_draw))
        recurrent = FanOut(UnitSlice("recurrent.weight", 1, n), "recurrent.bias", reads="earlier", own=rows)
        return (
            HiddenLayer(
                name=NAME,
                width=n,
                activation=self.activation,
                fan_in=(FanIn(inward, Draw("uniform", 1.0)), FanIn(rows, Draw("uniform", bound))),
                fan_out=(FanOut(UnitSlice("head.weight", 1, n), "head.bias", "final"), recurrent),
                bias=(UnitSlice("recurrent.bias", 0, n),),
                bias_draw=Draw("uniform", bound),
                is_sequence=True,
                own=tuple(own),
            ),
        )

    def output_parameters(self) -> tuple[str, ...]:
        """See :class:`Network`."""
        return "head.weight", "head.bias"


def _check_inputs(input_shape: Sequence[int], dynamics: str, timed: bool) -> None:
    if len(input_shape) != 2 or input_shape[1] != 1 + timed:
        shape = [int(size) for size in input_shape]
        raise ConfigError("input_shape", shape, "sequences [steps,1], in continuous time [steps,2] with their Δt")
    if timed != (dynamics == "continuous"):
        here, legal = ("in", "continuous") if timed else ("not in", "default or mod")
        raise ConfigError("dynamics", dynamics, f"{legal}, as the task is {here} continuous time")


def _before(activation: str, y: Tensor) -> Tensor:
    """What the nonlinearity was applied to; where values are all the same, one that has them."""
    if activation == "leaky_relu":
        return torch.where(y < 0, y / SLOPE, y)
    if activation == "relu":
        return y
    edge = torch.finfo(y.dtype).eps
    return y.clamp(edge - 1, 1 - edge).atanh() if activation == "tanh" else y.clamp(edge, 1 - edge).logit()
