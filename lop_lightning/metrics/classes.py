"""torchmetrics classes over the functions: gather batches with `update`, measure with `compute`, forget with `reset`.

Feature metrics are updated with `[..., N, n]` and measure all batches since the reset as one feature matrix. Parameter
metrics are updated with dicts and give the mean over the updates since the reset. A class takes its function's settings
by name, with the function's defaults (`SRank(delta=0.05)`), and torchmetrics' own options.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from . import duplication, parameters, spectra, units
from .parameters import Parameters


class PlasticityMetric(Metric):
    """Base of all: binds the settings of `function` and hands the other keywords to torchmetrics.

    Raises:
        ValueError: a setting that neither the function nor torchmetrics knows.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **settings: Any) -> None:
        parameters = inspect.signature(self.function).parameters.values()
        known = {p.name for p in parameters if p.default is not inspect.Parameter.empty}
        super().__init__(**{name: value for name, value in settings.items() if name not in known})
        self.measure = partial(self.function, **{name: value for name, value in settings.items() if name in known})


class FeatureMetric(PlasticityMetric):
    """Base of the feature metrics: `function(features)` of everything seen since the reset.

    Memory grows with every update until `reset`: meant for a probe batch in pieces, not for a training set.
    """

    samples: list[Tensor]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor) -> None:
        """Add samples: features `[..., N, n]`; N may differ between updates."""
        # Torchmetrics joins states, also across processes, along the first dim.
        self.samples.append(features.detach().movedim(-2, 0))

    def features(self) -> Tensor:
        """Return all samples since the reset, `[..., N, n]`."""
        return dim_zero_cat(self.samples).movedim(0, -2)

    def compute(self) -> Tensor:
        """Return the measure `[...]` of all samples since the reset."""
        return self.measure(self.features())


class SingularValueMetric(FeatureMetric):
    """Base of the rank metrics that are a function of the raw features' singular values."""

    def compute(self) -> Tensor:
        """Return the measure `[...]` of all samples since the reset."""
        return self.measure(spectra.singular_values(self.features()))


class CovarianceMetric(FeatureMetric):
    """Base of the rank metrics that are a function of the features' covariance eigenvalues."""

    def compute(self) -> Tensor:
        """Return the measure `[...]` of all samples since the reset."""
        return self.measure(spectra.covariance_eigenvalues(self.features()))


class ParameterMetric(PlasticityMetric):
    """Base of the parameter metrics: the mean of `function(*dicts)` over the updates since the reset."""

    total: Tensor
    updates: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("updates", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, *params: Parameters) -> None:
        """Measure once: the dicts the function takes, in its order."""
        self.total = self.total + self.measure(*params).detach()
        self.updates = self.updates + 1

    def compute(self) -> Tensor:
        """Return the mean `[*batch]` over the updates since the reset."""
        return self.total / self.updates


class EffectiveRank(SingularValueMetric):
    """`effective_rank`."""

    function = staticmethod(spectra.effective_rank)


class SRank(SingularValueMetric):
    """`srank`; setting `delta`."""

    function = staticmethod(spectra.srank)


class ApproximateRank(SingularValueMetric):
    """`approximate_rank`; setting `delta`."""

    function = staticmethod(spectra.approximate_rank)


class StableRank(SingularValueMetric):
    """`stable_rank`."""

    function = staticmethod(spectra.stable_rank)


class CovarianceEffectiveRank(CovarianceMetric):
    """`covariance_effective_rank`."""

    function = staticmethod(spectra.covariance_effective_rank)


class ParticipationRatio(CovarianceMetric):
    """`participation_ratio`."""

    function = staticmethod(spectra.participation_ratio)


class DeadUnits(FeatureMetric):
    """`dead_units`."""

    function = staticmethod(units.dead_units)


class DormantUnits(FeatureMetric):
    """`dormant_units`; setting `tau`."""

    function = staticmethod(units.dormant_units)


class ActivationSparsity(FeatureMetric):
    """`activation_sparsity`."""

    function = staticmethod(units.activation_sparsity)


class Saturation(FeatureMetric):
    """`saturation`, updated with pre-activations; setting `threshold`."""

    function = staticmethod(units.saturation)


class FrozenUnits(FeatureMetric):
    """`frozen_units`, updated with the activation function's derivative; settings `threshold`, `share`."""

    function = staticmethod(units.frozen_units)


class FeatureDuplication(FeatureMetric):
    """`feature_duplication`; setting `threshold`."""

    function = staticmethod(duplication.feature_duplication)


class WeightMagnitude(ParameterMetric):
    """`weight_magnitude`, updated with `(params)`; setting `batch_dims`."""

    function = staticmethod(parameters.weight_magnitude)


class DistanceFromInitialisation(ParameterMetric):
    """`distance_from_initialisation`, updated with `(params, initial)`; setting `batch_dims`."""

    function = staticmethod(parameters.distance_from_initialisation)


class UpdateSize(ParameterMetric):
    """`update_size`, updated with `(before, after)`; setting `batch_dims`."""

    function = staticmethod(parameters.update_size)


class GradientNorm(ParameterMetric):
    """`gradient_norm`, updated with `(grads)`; setting `batch_dims`."""

    function = staticmethod(parameters.gradient_norm)
