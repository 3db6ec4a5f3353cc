"""What continual backprop remembers of every hidden unit, and how that ranks the units of a layer."""

from __future__ import annotations

from torch import Tensor

from lop_lightning.algos.utility import UTILITIES, Evidence, mean_magnitude, means_read
from lop_lightning.errors import check_choice
from lop_lightning.networks import HiddenLayer
from lop_lightning.optimizers.base import Params
from lop_lightning.trees import Tree


class RunningStatistics:
    """Age and two running means of each unit, both bias-corrected by 1 - ηᵃ.

    a ← a + 1;  f ← ηf + (1-η)·mean h;  u ← ηu + (1-η)y with the instantaneous utility y; f̂ = f / (1-ηᵃ) and
    û = u / (1-ηᵃ). A reborn unit begins with zeros. A unit along a sequence has an f for each way in which consumers
    read it (see :mod:`lop_lightning.networks.time`), since they see different states of it. Source: Dohare et al.
    (2024), methods.

    Args:
        decay_rate: η.
        utility: Name of y (see :mod:`lop_lightning.algos.utility`).

    Raises:
        ConfigError: there is no such utility.
    """

    utilities = tuple(UTILITIES)
    outlived: tuple[str, ...] = ()
    """Quantities that a rebirth leaves as they are."""

    def __init__(self, decay_rate: float, utility: str) -> None:
        check_choice("utility", utility, self.utilities)
        self.decay_rate, self.utility = decay_rate, utility

    def quantities(self, layer: HiddenLayer) -> tuple[str, ...]:
        """Names of what is remembered."""
        return ("age", *(mean_of(reads) for reads in layer.readings), "utility")

    def initial(self, layer: HiddenLayer, like: Tensor) -> Tree:
        """All zero, ``[width]`` each."""
        return {name: like.new_zeros(layer.width) for name in self.quantities(layer)}

    def after(
        self, old: Tree, layer: HiddenLayer, params: Params, activation: Tensor, lengths: Tensor | None = None
    ) -> Tree:
        """The statistics of one layer of one network after an update: new parameters, activations from before it."""
        eta, age = self.decay_rate, old["age"] + 1
        means = {
            reads: eta * old[mean_of(reads)] + (1 - eta) * means_read(activation, layer, reads, lengths)
            for reads in layer.readings
        }
        corrected = {reads: mean / (1 - eta**age) for reads, mean in means.items()}
        evidence = Evidence(layer, params, activation, corrected, lengths)
        utility = eta * old["utility"] + (1 - eta) * UTILITIES[self.utility](evidence)
        return {"age": age, **{mean_of(reads): mean for reads, mean in means.items()}, "utility": utility}

    def worth(self, statistics: Tree) -> Tensor:
        """û, by which units are ranked."""
        return statistics["utility"] / (1 - self.decay_rate ** statistics["age"])

    def mean_activation(self, statistics: Tree, reads: str) -> Tensor:
        """f̂ of what a consumer reads."""
        return statistics[mean_of(reads)] / (1 - self.decay_rate ** statistics["age"])

    def reborn(self, statistics: Tree, seeds: Tensor, units: Tensor) -> None:
        """Units ``[R, k]`` of some rows ``[R]`` of a population begin anew, in place."""
        for name, quantity in statistics.items():
            if name not in self.outlived:
                quantity[seeds[:, None], units] = 0


def mean_of(reads: str) -> str:
    """What the running mean of the states that a consumer reads is called."""
    return "mean_activation" if reads == "every" else f"mean_activation_{reads}"


class LifetimeStatistics(RunningStatistics):
    """What the authors' code for residual networks remembers: a magnitude that never decays.

    a ← a + 1;  M ← M + (1-η)·mean |h|, which neither decays nor ends with the unit;  û = M·|w_out|, or |w_out| alone,
    with the weights of the moment. A unit that has just fallen silent thus keeps a high worth, and a fresh one inherits
    its predecessor's. Source: ResGnT of Dohare et al. (2024).
    """

    utilities = ("contribution", "weight")
    outlived = ("magnitude",)

    def quantities(self, layer: HiddenLayer) -> tuple[str, ...]:
        """See :class:`RunningStatistics`."""
        return "age", "magnitude", "utility"

    def after(
        self, old: Tree, layer: HiddenLayer, params: Params, activation: Tensor, lengths: Tensor | None = None
    ) -> Tree:
        """See :class:`RunningStatistics`."""
        magnitude = old["magnitude"] + (1 - self.decay_rate) * means_read(activation.abs(), layer, "every", lengths)
        utility = mean_magnitude([entry.units for entry in layer.fan_out], params)
        if self.utility == "contribution":
            utility = utility * magnitude
        return {"age": old["age"] + 1, "magnitude": magnitude, "utility": utility}

    def worth(self, statistics: Tree) -> Tensor:
        """û."""
        return statistics["utility"]
