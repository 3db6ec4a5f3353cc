"""Where the authors' code of continual backprop departs from the method, as data: one entry a class of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lop_lightning.algos.unit_statistics import LifetimeStatistics, RunningStatistics
from lop_lightning.networks import HiddenLayer


def whole(layer: HiddenLayer) -> HiddenLayer:
    """The layer as the network shows it."""
    return layer


def direct_path(layer: HiddenLayer) -> HiddenLayer:
    """The layer with its first entry, its first consumer, and the bias and the normalisation of that entry alone."""
    module = layer.norm[0][0].parameter.rpartition(".")[0] if layer.norm else ""
    norm = tuple(entry for entry in layer.norm if entry[0].parameter.rpartition(".")[0] == module)
    return replace(layer, fan_in=layer.fan_in[:1], fan_out=layer.fan_out[:1], bias=layer.bias[:1], norm=norm)


@dataclass(frozen=True)
class Rules:
    """What variants of continual backprop do in their own way; the defaults are the method's.

    Attributes:
        statistics: What is remembered of units.
        quota: The rate's base: the units that are old enough (``eligible``), or ``all`` of the layer while any is.
        rounds_down: Probabilistic replacement loses the fraction of quotas above 1.
        transfers_bias: Consumers' biases can take over what a removed unit contributed.
        forgets: The optimiser can forget a reborn unit's weights.
        kept: Slots of the optimiser that are kept all the same, by what they belong to (``incoming`` weights, ``own``
            entries, ``outgoing`` weights).
        kernels: Distribution of fresh filters whatever ``initialisation`` says, or ``None``.
        view: What of a layer is looked at and renewed.
    """

    statistics: type[RunningStatistics] = RunningStatistics
    quota: str = "eligible"
    rounds_down: bool = False
    transfers_bias: bool = True
    forgets: bool = True
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kernels: str | None = None
    view: Callable[[HiddenLayer], HiddenLayer] = whole


_SGD_KEPT = {"incoming": ("momentum",), "own": ("momentum",), "outgoing": ("momentum",)}

REFERENCE_RULES = {
    "none": Rules(),
    # GnT. Its transfer has no effect: mean activations are zeroed before it.
    "gnt": Rules(rounds_down=True, transfers_bias=False, kept=_SGD_KEPT),
    # ConvGnT. It clears the first moments of a copy of the incoming weights.
    "conv_gnt": Rules(
        quota="all",
        transfers_bias=False,
        kept={**_SGD_KEPT, "incoming": ("momentum", "first")},
        kernels="default",
    ),
    # ResGnT. It pairs the weight layers of the main path in the order of their definition.
    "res_gnt": Rules(statistics=LifetimeStatistics, quota="all", transfers_bias=False, forgets=False, view=direct_path),
}
