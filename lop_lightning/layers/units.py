"""The hidden units between two weight layers of a user's network: where their weights lie, and how they are reborn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lop_lightning.errors import ConfigError
from lop_lightning.networks import FanIn, FanOut, HiddenLayer, UnitSlice
from lop_lightning.networks.initialise import draw

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
_FRESH_NORM = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


class Units:
    """The units whose weights enter through ``incoming`` and leave through ``outgoing``.

    Args:
        incoming: A linear layer or a convolution; row i of its weight enters unit i.
        outgoing: What reads the units; column i of its weight leaves unit i. After a convolution it may be a linear
            layer that reads the flattened map: a filter then owns as many columns as the map has positions.
        norm: Normalisation between ``incoming`` and the activation function, if any.
        initialisation: Distribution of fresh weights (see :func:`lop_lightning.networks.initialise.draw`).
        activation: The activation function, for the gain of that distribution.

    Raises:
        ConfigError: the layers are of other types or do not fit together.
    """

    def __init__(
        self, incoming: nn.Module, outgoing: nn.Module, norm: nn.Module | None, initialisation: str, activation: str
    ) -> None:
        self.modules = {"incoming": incoming, "outgoing": outgoing, **({} if norm is None else {"norm": norm})}
        for role in ("incoming", "outgoing"):
            _check_weight_layer(role, self.modules[role])
        tensors = self.tensors()
        weight, reader = tensors["incoming.weight"], tensors["outgoing.weight"]
        self.width, columns = weight.shape[0], reader.shape[1]
        flattens = isinstance(incoming, CONVOLUTIONS) and isinstance(outgoing, nn.Linear)
        if columns % self.width or (columns != self.width and not flattens) or incoming is outgoing:
            multiple = "a multiple of " if flattens else ""
            expected = f"another layer, with {multiple}{self.width} inputs, as many as the incoming one has outputs"
            raise ConfigError("outgoing", f"{type(outgoing).__name__} with {columns} inputs", expected)
        self.inner = columns // self.width
        self.map_axes = weight.ndim - 2
        self.view = HiddenLayer(
            name="units",
            width=self.width,
            activation=activation,
            fan_in=(
                FanIn(
                    UnitSlice("incoming.weight", 0, self.width),
                    draw(initialisation, weight[0].numel(), self.width, activation),
                ),
            ),
            fan_out=(
                FanOut(
                    UnitSlice("outgoing.weight", 1, self.width, inner=self.inner),
                    "outgoing.bias" if "outgoing.bias" in tensors else None,
                ),
            ),
            bias=(UnitSlice("incoming.bias", 0, self.width),) if "incoming.bias" in tensors else (),
            norm=self._norm_entries(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of the layers, by role and name (``incoming.weight``)."""
        return {
            f"{role}.{name}": tensor
            for role, module in self.modules.items()
            for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        }

    def features(self, x: Tensor) -> Tensor:
        """Activations as ``[N, width, positions]``; vectors have one position.

        Args:
            x: ``[..., width]`` after a linear layer; after a convolution a map ``[N, width, ...]``, flattened or not.

        Raises:
            ConfigError: it has another shape, or a map has other positions than the outgoing layer reads.
        """
        if not self.map_axes and x.shape[-1:] == (self.width,):
            return x.reshape(-1, self.width, 1)
        if self.map_axes and x.ndim == 2 and x.shape[1] == self.width * self.inner:
            return x.unflatten(1, (self.width, self.inner))
        if self.map_axes and x.ndim == self.map_axes + 2 and x.shape[1] == self.width:
            positions = x.shape[2:].numel()
            if self.inner in (1, positions):
                return x.flatten(2)
        detail = f", each with the {self.inner} positions that the outgoing layer reads" if self.inner > 1 else ""
        raise ConfigError("input", list(x.shape), f"a batch of activations of {self.width} units{detail}")

    def joined(self, features: list[Tensor]) -> Tensor:
        """The features of several passes as those of one; where positions are alike, maps may differ in size."""
        if self.inner == 1 and len(features) > 1:
            features = [seen.transpose(1, 2).reshape(-1, self.width, 1) for seen in features]
        return torch.cat(features)

    def incoming_magnitude(self) -> Tensor:
        """Mean |w_in| ``[width]``."""
        return self.view.fan_in[0].units.magnitude(self.tensors()["incoming.weight"])

    def outgoing_magnitude(self) -> Tensor:
        """Mean |w_out| ``[width]``."""
        return self.view.fan_out[0].units.magnitude(self.tensors()["outgoing.weight"])

    def contribution(self, size: Tensor) -> Tensor:
        """Mean ``[width]`` over the outgoing weights of |w_out| times the ``size [width, positions]`` it multiplies."""
        if self.inner == 1:
            return self.outgoing_magnitude() * size.mean(1)
        columns = self.tensors()["outgoing.weight"].abs().mean(0).unflatten(0, (self.width, self.inner))
        return (columns * size).mean(1)

    def rebirth(self, tensors: dict[str, Tensor], units: Tensor, fresh: Tensor, transferred: Tensor | None) -> None:
        """Units ``[k]`` begin anew, in place, in the order of :func:`lop_lightning.algos.reset.reset_units`.

        Args:
            tensors: What to write to, as :meth:`tensors` names it.
            units: The units.
            fresh: Their new incoming weights ``[k, ...]``.
            transferred: Mean activations f̂ ``[k]`` that the consumer's bias takes over, or ``None``.
        """
        tensors["incoming.weight"][units] = fresh
        for place, value in [*((bias, 0.0) for bias in self.view.bias), *self.view.norm]:
            tensors[place.parameter][units] = value
        weight, entries = tensors["outgoing.weight"], self.view.fan_out[0].units.entries(units)
        if transferred is not None and "outgoing.bias" in tensors:
            leaving = weight[:, entries].flatten(2).sum(-1) if weight.ndim > 2 else weight[:, entries]
            tensors["outgoing.bias"] += leaving @ transferred.repeat_interleave(self.inner)
        weight[:, entries] = 0

    def forget(self, units: Tensor, optimizer: Optimizer | None) -> None:
        """Clears what the gradients and the optimiser hold of the units' weights: all but the step counts."""
        tensors = self.tensors()
        places = [self.view.fan_in[0].units, self.view.fan_out[0].units, *self.view.bias]
        for place in [*places, *(place for place, _ in self.view.norm)]:
            parameter = tensors[place.parameter]
            memory = {} if optimizer is None else optimizer.state.get(parameter, {})
            for held in (parameter.grad, *memory.values()):
                if isinstance(held, Tensor) and held.shape == parameter.shape:
                    held.movedim(place.axis, 0)[place.entries(units)] = 0

    def _norm_entries(self) -> tuple[tuple[UnitSlice, float], ...]:
        norm = self.modules.get("norm")
        if norm is None:
            return ()
        if not isinstance(norm, NORMALISATIONS):
            raise ConfigError("norm", type(norm).__name__, _one_of(NORMALISATIONS))
        found = [name.partition(".")[2] for name in self.tensors() if name.startswith("norm.")]
        for name in found:
            entries = len(getattr(norm, name)) if name in _FRESH_NORM else self.width
            if entries != self.width:
                raise ConfigError("norm", f"{type(norm).__name__} of {entries}", f"one of {self.width} units")
        return tuple((UnitSlice(f"norm.{n}", 0, self.width), _FRESH_NORM[n]) for n in found if n in _FRESH_NORM)


UTILITIES: dict[str, Callable[[Units, Tensor, Tensor], Tensor]] = {
    "contribution": lambda units, size, deviation: units.contribution(size),
    "adaptable_contribution": lambda units, size, deviation: units.contribution(deviation) / units.incoming_magnitude(),
    "zero_contribution": lambda units, size, deviation: units.contribution(deviation),
    "weight": lambda units, size, deviation: units.outgoing_magnitude(),
    "adaptation": lambda units, size, deviation: 1 / units.incoming_magnitude(),
    "feature_by_input": lambda units, size, deviation: deviation.mean(1) / units.incoming_magnitude(),
    "random": lambda units, size, deviation: torch.zeros_like(size[:, 0]),
}
"""The utilities of :mod:`lop_lightning.algos.utility`, from batch means of |h| and |h - f̂|, ``[width, positions]``."""


def _check_weight_layer(role: str, layer: nn.Module) -> None:
    if not isinstance(layer, (nn.Linear, *CONVOLUTIONS)):
        raise ConfigError(role, type(layer).__name__, _one_of((nn.Linear, *CONVOLUTIONS)))
    weight = dict(layer.named_parameters(recurse=False)).get("weight")
    if weight is None or nn.parameter.is_lazy(weight):
        raise ConfigError(role, type(layer).__name__, "a layer whose weight is a parameter and has its shape")
    if role == "outgoing" and getattr(layer, "groups", 1) != 1:
        raise ConfigError(role, f"{type(layer).__name__} with groups={layer.groups}", "a convolution with groups=1")


def _one_of(types: tuple[type, ...]) -> str:
    return "one of " + ", ".join(f"nn.{kind.__name__}" for kind in types)
