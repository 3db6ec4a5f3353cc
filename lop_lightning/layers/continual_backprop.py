"""Continual backprop as a layer of a user's own network, in a training loop of her own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_number
from lop_lightning.layers.reference import replace_in_backward, running_average
from lop_lightning.layers.units import UTILITIES, Units
from lop_lightning.networks.activations import ACTIVATIONS
from lop_lightning.randomness import key, uniform

_SEATS = "_continual_backprop_layers"  # on a weight layer: the layers of ours whose units it enters or leaves


class ContinualBackpropLayer(nn.Module):
    """The identity, and a steady trickle of new units among those that it stands behind.

    Put it behind an activation function, where ``outgoing`` reads. After every update, for each unit i: age
    aᵢ ← aᵢ + 1; mean activation fᵢ ← ηfᵢ + (1-η)·mean hᵢ; utility uᵢ ← ηuᵢ + (1-η)yᵢ; both are bias-corrected by
    1 - η^aᵢ. A budget gains ρ · (units with aᵢ > m), and each whole unit of it buys a rebirth of the least useful of
    these: fresh incoming weights, bias 0, normalisation as new, the mean contribution handed to the bias of
    ``outgoing``, outgoing weights 0, the optimiser's moments of all these 0. The same as ``algo=cbp``, to the last
    fresh weight, if the seed is the same.

    An update is a forward pass in training mode whose backward pass has come by. The layer cannot see the optimiser's
    step, so it does the work of an update when ``incoming`` is next called in training mode, or at :meth:`flush`.
    Call ``flush()`` after the last update, and before evaluating or saving. Every backward pass counts as an update,
    so with accumulated gradients ages and rates are in passes; gradients of reborn units are cleared.

    Buffers ``age``, ``mean_activation``, ``utility`` (``[width]``), ``budget`` (in parts of a unit) and ``updates`` are
    all of its state. The weight layers are no submodules: they appear once in ``parameters()``, where the network has
    them. A copy or an unpickled layer knows no optimiser until ``layer.optimizer`` is set.

    Args:
        incoming: ``nn.Linear`` or a convolution whose outputs are the units.
        outgoing: What reads them: of the same kind, or ``nn.Linear`` for a flattened map.
        norm: Batch, layer or group normalisation between ``incoming`` and the activation function, if any.
        replacement_rate: ρ in [0, 1]; used as a fraction with a denominator of at most 10¹².
        maturity_threshold: m, in updates.
        decay_rate: η in [0, 1).
        utility: Which yᵢ (see :mod:`lop_lightning.algos.utility`).
        optimizer: The torch optimiser whose memory of reborn units is cleared: every tensor of its state that has the
            parameter's shape (momentum, Adam's moments). Its step count of a parameter stays. May be set later, as
            ``layer.optimizer``.
        seed: Fresh weights are a function of it, of how many such layers come before this one, and of the update.
        initialisation: Distribution of fresh weights; ``default`` is PyTorch's own.
        activation: The activation function's name, for the gain that ``kaiming`` and ``xavier`` have.
        reference_compat: The authors' rule, to repeat their numbers (see :mod:`lop_lightning.layers.reference`).

    Raises:
        ConfigError: a setting is illegal, or the layers do not fit together.

    Source: Dohare et al. (2024).
    """

    age: Tensor
    mean_activation: Tensor
    utility: Tensor
    budget: Tensor
    updates: Tensor

    def __init__(
        self,
        incoming: nn.Module,
        outgoing: nn.Module,
        norm: nn.Module | None = None,
        replacement_rate: float = 1e-4,
        maturity_threshold: int = 100,
        decay_rate: float = 0.99,
        utility: str = "contribution",
        optimizer: Optimizer | None = None,
        seed: int = 0,
        initialisation: str = "default",
        activation: str = "relu",
        reference_compat: bool = False,
    ) -> None:
        super().__init__()
        check_number("replacement_rate", replacement_rate, 0, 1)
        check_count("maturity_threshold", maturity_threshold, low=0)
        check_number("decay_rate", decay_rate, 0, 1, open_high=True)
        check_choice("utility", utility, UTILITIES)
        check_choice("activation", activation, ACTIVATIONS)
        check_count("seed", seed, low=0)
        check_flag("reference_compat", reference_compat)
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise ConfigError("optimizer", type(optimizer).__name__, "an optimiser of torch.optim, or None")
        if reference_compat and (utility != "contribution" or optimizer is not None):
            raise ConfigError("reference_compat", True, "false with another utility than contribution, or an optimizer")
        self.units = Units(incoming, outgoing, norm, initialisation, activation)
        self.rate = Fraction(str(replacement_rate)).limit_denominator(10**12)
        self.maturity_threshold, self.decay_rate, self.kind = maturity_threshold, decay_rate, utility
        self.optimizer, self.seed, self.reference_compat = optimizer, seed, reference_compat
        like = self.units.tensors()["incoming.weight"].detach()
        for name in ("age", "mean_activation", "utility"):
            self.register_buffer(name, like.new_zeros(self.units.width))
        for name in ("budget", "updates"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64, device=like.device))
        self._seen: list[Tensor] = []  # features of forward passes whose backward pass has come by
        self._chosen: tuple[Tensor, Tensor] | None = None  # units that are to be reborn, and their mean activations
        self.average: Tensor | None = None
        for layer in (incoming, outgoing):
            layer.__dict__.setdefault(_SEATS, []).append(self)
        incoming.register_forward_pre_hook(self._before_incoming)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` itself: activations ``[..., width]``, maps ``[N, width, ...]``, or flattened maps.

        Raises:
            ConfigError: it has another shape.
        """
        features = self.units.features(x.detach())
        if self.reference_compat:
            self.average = running_average(self.average, features, self.decay_rate)
            if x.requires_grad:
                x.register_hook(lambda _: replace_in_backward(self))
        elif self.training and x.requires_grad:
            waiting = [features]

            def passed(_: Tensor) -> None:
                self._seen.extend(waiting)
                waiting.clear()  # a graph may be gone through twice

            x.register_hook(passed)
        return x

    def flush(self) -> None:
        """Does the work of the last update now: statistics, and the rebirth of units that are due."""
        # Neighbours weigh their units first: a rebirth here changes weights that they look at.
        for layer in (*self._seats("incoming"), *self._seats("outgoing")):
            layer._measure()
        if self._chosen is not None:
            units, means = self._chosen
            self._chosen = None
            with torch.no_grad():
                self.units.rebirth(self.units.tensors(), units, self.fresh(len(units)), means)
                self.units.forget(units, self.optimizer)
                for quantity in (self.age, self.mean_activation, self.utility):
                    quantity[units] = 0

    @torch.no_grad()
    def _measure(self) -> None:
        if not self._seen:
            return
        features, eta = self.units.joined(self._seen).to(self.utility.dtype), self.decay_rate
        self._seen.clear()
        self.updates += 1
        self.age += 1
        correction = 1 - eta**self.age
        self.mean_activation.mul_(eta).add_((1 - eta) * features.mean((0, 2)))
        mean = self.mean_activation / correction
        size, deviation = features.abs().mean(0), (features - mean[:, None]).abs().mean(0)
        self.utility.mul_(eta).add_((1 - eta) * UTILITIES[self.kind](self.units, size, deviation))
        eligible = self.age > self.maturity_threshold
        count = self.spend(eligible)
        if count:
            worth = self.utility / correction
            if self.kind == "random":
                worth = uniform(self._key(), self.updates, 1000 + self._place(), (len(worth),), worth.dtype)
            units = worth.masked_fill(~eligible, float("inf")).sort(stable=True).indices[:count]
            self._chosen = units, mean[units]

    def spend(self, eligible: Tensor) -> int:
        """Adds ρ · (eligible units) to the budget, in exact arithmetic, and takes the whole units out of it."""
        number = eligible.sum()
        self.budget += self.rate.numerator * number
        count = self.budget // self.rate.denominator
        self.budget -= count * self.rate.denominator
        return int(torch.minimum(count, number))

    def fresh(self, count: int) -> Tensor:
        """New incoming weights ``[count, ...]``."""
        weight = self.units.tensors()["incoming.weight"]
        distribution = self.units.view.fan_in[0].draw
        return distribution.sample(self._key(), self.updates, 16 * self._place(), (count, *weight.shape[1:]), weight)

    def _key(self) -> Tensor:
        return torch.tensor(key(self.seed, "noise"), device=self.age.device)

    def _place(self) -> int:
        """How many layers of ours come before this one, each feeding the next."""
        path = [self]
        while before := [
            layer for layer in path[-1]._seats("incoming") if layer._feeds(path[-1]) and layer not in path
        ]:
            path.append(before[0])
        return len(path) - 1

    def _feeds(self, other: ContinualBackpropLayer) -> bool:
        return self.units.modules["outgoing"] is other.units.modules["incoming"]

    def _seats(self, role: str) -> list[ContinualBackpropLayer]:
        return self.units.modules[role].__dict__[_SEATS]

    def _before_incoming(self, module: nn.Module, inputs: object) -> None:
        recomputing = torch._C._current_graph_task_id() >= 0  # activation checkpointing, within a backward pass
        if self.training and not self.reference_compat and not recomputing:
            self.flush()

    # ---- copies and checkpoints

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "optimizer": None}

    def _load_from_state_dict(self, *arguments: Any, **named: Any) -> None:
        super()._load_from_state_dict(*arguments, **named)
        self._seen.clear()
        self._chosen = None
