"""The hybrid networks: slow weights that training changes, and plastic ones that remember what was seen.

All end in p = σ(w h + b) (the network gives the logit). In the names of the spec:

    Memo      x ──[W₁,P₁] tanh──> h₁ ──[W₂,P₂] σ──> h₂ ──w──> p          (of one layer: x ──[W₁,P₁] σ──> h₁ ──w──> p)
    Nonl_RO   x ──[W₁,P₁] tanh──> h₁ ──W₂ σ───────> h₂ ──w──> p
    Dyn_RO    x ──[W₁,P₁] tanh──> h₁ ──[W₂,D₂] σ──> h₂ ──w──> p          D₂(t) = η₂ ∘ h₂(t-1) h₁(t-1)ᵀ
    Stack     x ─┬─[Wₐ,Pₐ] σ──> hₐ ─┬──w──> p
                 └─[W_b,P_b] σ──> h_b ─┘
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lop_lightning.errors import ConfigError, check_flag, check_number
from lop_lightning.networks.layers import FanOut
from lop_lightning.networks.plastic import PlasticLayer, run_layer
from lop_lightning.networks.plastic_network import UNSTABLE, PlasticNetwork, features, readout
from lop_lightning.networks.plasticity import (
    MEMORYLESS,
    Draws,
    Plasticity,
    check_kind,
    constant,
    rate_shape,
    sizes,
    xavier,
)
from lop_lightning.networks.shapes import check_counts


class Memo(PlasticNetwork):
    """Plastic layers with memory, one after another: tanh, the last one σ (``model=memo``).

    Weights and η are Xavier normal, biases N(0, 2/(H+1)) as a column of H numbers; the readout likewise.

    Args:
        input_shape: See :class:`PlasticNetwork`.
        output_size: Outputs of a reading.
        hidden_dims: Units of each layer.
        plastic_types: ``M`` (multiplicative) or ``A`` (additive), a layer each.
        hetero_rates: Learning rates η, a layer each: 1 or ``matrix``, one a synapse; 0.5 or ``post``, one a unit;
            ``pre``, one an input; 0 or ``scalar``.
        eta_init: Where a scalar η begins.
        eta_init_scale: Factor of an η that is drawn.
        decay_init: Where r begins, λ = σ(r), one a layer.
        plastic: False: P stays zero, and η and λ are not there.
        truncation: Frames after which gradients are not followed further back; 0: they are followed to the beginning.
        scan: ``fast``, or ``reference``: frame by frame.
        ragged: See :class:`PlasticNetwork`. The stream says it, and what follows.
        read_every: See :class:`PlasticNetwork`.

    Raises:
        ConfigError: a setting is out of its range, or lists do not fit each other.

    Source: the hybrid memory-plasticity system; spec, sections 2.1 and 3.
    """

    remedy = UNSTABLE.format("model.eta_init_scale or model.decay_init")

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden_dims: Sequence[int] = (50, 50),
        plastic_types: Sequence[str] = ("M", "A"),
        hetero_rates: Sequence[float | str] = (1, 1),
        eta_init: float = -0.5,
        eta_init_scale: float = 1.0,
        decay_init: float = 1.0,
        plastic: bool = True,
        truncation: int = 0,
        scan: str = "fast",
        ragged: bool = False,
        read_every: int | None = None,
    ) -> None:
        check_widths(hidden_dims)
        check_lists(plastic_types, hetero_rates, self._plastic_count(len(hidden_dims)))
        for name, number in (("eta_init", eta_init), ("eta_init_scale", eta_init_scale), ("decay_init", decay_init)):
            check_number(name, number)
        check_flag("plastic", plastic)
        read, layers = features(input_shape), []
        for index, units in enumerate(hidden_dims):
            settings, eta = None, constant(eta_init)
            if index < len(plastic_types):
                shape = rate_shape("hetero_rates", hetero_rates[index])
                decay = self._decay(index)
                settings = Plasticity(plastic_types[index], shape, decay=decay, truncation=truncation, scan=scan)
                if shape != "scalar":
                    rows, columns = sizes(shape, units, read)
                    eta = xavier(rows, columns, eta_init_scale)
            draws = Draws(xavier(units, read), xavier(units, 1), eta, constant(decay_init))
            activation = self._activation(index, len(hidden_dims))
            layers.append(PlasticLayer(read, units, activation, draws, settings, plastic))
            read = self._width(read, units)
        seen = self._seen(hidden_dims)
        head = readout(xavier(output_size, seen), xavier(output_size, 1), output_size, seen)
        super().__init__(input_shape, layers, head, ragged, read_every)

    def _plastic_count(self, layers: int) -> int:
        """How many of the layers are plastic, the first ones."""
        return layers

    def _decay(self, index: int) -> str:
        """The form of a layer's λ."""
        return "sigmoid"

    def _activation(self, index: int, layers: int) -> str:
        """The nonlinearity of a layer."""
        return "sigmoid" if index == layers - 1 else "tanh"

    def _width(self, read: int, units: int) -> int:
        """How many numbers the layer after one with ``units`` reads."""
        return units

    def _seen(self, hidden_dims: Sequence[int]) -> int:
        """How many units the readout reads."""
        return hidden_dims[-1]


class NonlinearReadout(Memo):
    """One plastic layer (tanh) and a nonlinear readout of ordinary layers (σ) (``model=nonl_ro``).

    Arguments are those of :class:`Memo`; ``plastic_types`` and ``hetero_rates`` have one entry, of the first layer.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        output_size: int,
        hidden_dims: Sequence[int] = (50, 50),
        plastic_types: Sequence[str] = ("M",),
        hetero_rates: Sequence[float | str] = (1,),
        eta_init: float = -0.5,
        eta_init_scale: float = 1.0,
        decay_init: float = 1.0,
        plastic: bool = True,
        truncation: int = 0,
        scan: str = "fast",
        ragged: bool = False,
        read_every: int | None = None,
    ) -> None:
        super().__init__(
            input_shape, output_size, hidden_dims, plastic_types, hetero_rates, eta_init, eta_init_scale, decay_init,
            plastic, truncation, scan, ragged, read_every,
        )  # fmt: skip

    def _plastic_count(self, layers: int) -> int:
        return 1

    def _activation(self, index: int, layers: int) -> str:
        return "sigmoid" if index else "tanh"


class DynamicReadout(Memo):
    """A plastic layer with memory (tanh), then plastic ones that remember one frame (tanh, the last one σ).

    Those have η but no λ (``model=dyn_ro``). Arguments are those of :class:`Memo`.
    """

    def _decay(self, index: int) -> str:
        return MEMORYLESS if index else "sigmoid"

    def _activation(self, index: int, layers: int) -> str:
        return "sigmoid" if index and index == layers - 1 else "tanh"


class Stack(Memo):
    """Plastic layers side by side, all σ, that all read the frame; the readout reads them all (``model=stack``).

    They are one plastic layer, whose rows are theirs. Arguments are those of :class:`Memo`.
    """

    def _activation(self, index: int, layers: int) -> str:
        return "sigmoid"

    def _width(self, read: int, units: int) -> int:
        return read

    def _seen(self, hidden_dims: Sequence[int]) -> int:
        return sum(hidden_dims)

    def _read_next(self, x: Tensor, h: Tensor) -> Tensor:
        return x

    def _seen_by_head(self, hs: list[Tensor]) -> Tensor:
        return torch.cat(hs, -1)

    def _through(self, x: Tensor, lengths: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        settings = [layer.plasticity for layer in self._plastic_layers]
        first, layers = settings[0], self._plastic_layers
        if first is None or not first.is_fast:
            return super()._through(x, lengths)
        a0 = torch.cat([F.linear(x, layer.weights(), layer.bias) for layer in layers], -1)
        eta = torch.cat([layer.additive_rates() for layer in layers])
        decay = torch.cat([layer.log_decays() for layer in layers])
        h, a = run_layer(a0, x, eta, decay, lengths, "sigmoid", first.truncation)
        widths = [layer.units for layer in layers]
        return list(zip(h.split(widths, -1), a.split(widths, -1)))

    def _leaving(self, index: int) -> tuple[FanOut, ...]:
        widths = [layer.units for layer in self._plastic_layers]
        return (self._to_head(widths[index], sum(widths[:index])),)


def check_widths(hidden_dims: Sequence[int]) -> None:
    """Raises :class:`ConfigError` unless ``hidden_dims`` lists the units of at least one layer."""
    check_counts("hidden_dims", hidden_dims)
    if not len(hidden_dims):
        raise ConfigError("hidden_dims", list(hidden_dims), "a list of at least one number of units, as [50,50]")


def check_lists(plastic_types: Sequence[str], hetero_rates: Sequence[float | str], count: int) -> None:
    """Checks that both lists have ``count`` entries.

    Raises:
        ConfigError: they have not, or an entry is of no legal kind.
    """
    layers = f"{count} of them, one for each plastic layer of hidden_dims"
    if isinstance(plastic_types, str) or not isinstance(plastic_types, Sequence) or len(plastic_types) != count:
        raise ConfigError("plastic_types", plastic_types, f"a list of M (multiplicative) and A (additive), {layers}")
    for kind in plastic_types:
        check_kind("plastic_types", kind)
    if isinstance(hetero_rates, str) or not isinstance(hetero_rates, Sequence) or len(hetero_rates) != count:
        raise ConfigError("hetero_rates", hetero_rates, f"a list of 1, 0.5 and 0 (matrix, post, pre, scalar), {layers}")
    for rate in hetero_rates:
        rate_shape("hetero_rates", rate)
