"""Plasticity metrics: pure functions of features, parameters and gradients, and thin torchmetrics classes over them.

Names are unambiguous where the literature's are not; `docs/metrics.md` lists the formulas, the sources and the name
collisions. Nothing here draws random numbers, and nothing waits for the device beyond what `svdvals` itself does.
"""

from .classes import (
    ActivationSparsity,
    ApproximateRank,
    CovarianceEffectiveRank,
    DeadUnits,
    DistanceFromInitialisation,
    DormantUnits,
    EffectiveRank,
    FeatureDuplication,
    FrozenUnits,
    GradientNorm,
    ParticipationRatio,
    Saturation,
    SRank,
    StableRank,
    UpdateSize,
    WeightMagnitude,
)
from .duplication import cosine_duplication, feature_duplication
from .features import fold_positions
from .parameters import (
    distance_from_initialisation,
    gradient_norm,
    gradient_sparsity,
    relative_distance_from_initialisation,
    update_size,
    weight_magnitude,
    weight_norm,
)
from .recurrence import gates_closed, gates_open, gradient_norms_by_lag, spectral_radius
from .representation import Representation
from .spectra import (
    approximate_rank,
    covariance_effective_rank,
    covariance_eigenvalues,
    effective_rank,
    numerical_rank,
    participation_ratio,
    singular_values,
    spectral_ranks,
    srank,
    stable_rank,
)
from .units import (
    activation_sparsity,
    dead_units,
    dormant_units,
    frozen_entries,
    frozen_units,
    rarely_active_units,
    saturation,
)

__all__ = [
    "ActivationSparsity",
    "ApproximateRank",
    "CovarianceEffectiveRank",
    "DeadUnits",
    "DistanceFromInitialisation",
    "DormantUnits",
    "EffectiveRank",
    "FeatureDuplication",
    "FrozenUnits",
    "GradientNorm",
    "ParticipationRatio",
    "Representation",
    "SRank",
    "Saturation",
    "StableRank",
    "UpdateSize",
    "WeightMagnitude",
    "activation_sparsity",
    "approximate_rank",
    "cosine_duplication",
    "covariance_effective_rank",
    "covariance_eigenvalues",
    "dead_units",
    "distance_from_initialisation",
    "dormant_units",
    "effective_rank",
    "feature_duplication",
    "fold_positions",
    "frozen_entries",
    "frozen_units",
    "gates_closed",
    "gates_open",
    "gradient_norm",
    "gradient_norms_by_lag",
    "gradient_sparsity",
    "numerical_rank",
    "participation_ratio",
    "rarely_active_units",
    "relative_distance_from_initialisation",
    "saturation",
    "singular_values",
    "spectral_radius",
    "spectral_ranks",
    "srank",
    "stable_rank",
    "update_size",
    "weight_magnitude",
    "weight_norm",
]
