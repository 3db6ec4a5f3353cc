"""Measures of a layer's units: which are dead, dormant, saturated or frozen.

Features h, pre-activations z and derivatives f′(z) are `[..., N, n]`, N samples of n units; every measure is `[...]`,
a fraction between 0 and 1 in the dtype of the input (float32 for half precision). Feature maps come folded, positions
into samples (`fold_positions`). A layer that holds a NaN or an infinity measures NaN. All raise ValueError for anything
but a floating-point `[..., N, n]`.
"""

import torch
from torch import Tensor

from .features import as_features, nan_where_diverged


def dead_units(h: Tensor) -> Tensor:
    """Fraction of units that are exactly zero on every sample: `[..., N, n] -> [...]`.

    Source: Dohare et al. 2024 (permuted MNIST).

    >>> dead_units(torch.tensor([[0.0, 0.0], [0.0, 1.0]])).item()
    0.5
    """
    h = as_features(h)
    return _fraction_of_units((h == 0).all(-2), h)


def dormant_units(h: Tensor, tau: float = 0.025) -> Tensor:
    """Fraction of units i with mean|hᵢ| ≤ τ · mean_k mean|h_k|: `[..., N, n] -> [...]`; 1 for an all-zero layer.

    τ = 0 gives the dead units. Source: Sokar et al. 2023 (ReDo).

    >>> dormant_units(torch.tensor([[1.0, -1.0, 0.01, 0.0]])).item()
    0.5
    """
    h = as_features(h)
    activity = h.abs().mean(-2)
    # As a product, not a quotient: an all-zero layer needs no special case and no ε.
    return _fraction_of_units(activity <= tau * activity.mean(-1, keepdim=True), h)


def rarely_active_units(h: Tensor, share: float = 0.01) -> Tensor:
    """Fraction of units that are non-zero on less than `share` of the samples (strict): `[..., N, n] -> [...]`.

    Source: Dohare et al. 2024 (class-incremental CIFAR-100 and RL), who call these units dormant.

    >>> rarely_active_units(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), share=0.5).item()
    0.5
    """
    h = as_features(h)
    return _fraction_of_units(_share_of_samples(h != 0, h) < share, h)


def activation_sparsity(h: Tensor) -> Tensor:
    """Fraction of entries that are not positive, 1 − mean 1[h > 0] over samples and units: `[..., N, n] -> [...]`.

    One minus the fraction of active units (FAU).

    >>> activation_sparsity(torch.tensor([[0.0, 2.0], [-1.0, 0.0]])).item()
    0.75
    """
    h = as_features(h)
    return _fraction_of_entries(h <= 0, h)


def saturation(z: Tensor, threshold: float = 2.0) -> Tensor:
    """Fraction of pre-activations with |z| > threshold (strict): `[..., N, n] -> [...]`.

    For tanh 2 means a slope below 0.07. Source: the code ajoudaki/simple-lop (GMM system).

    >>> saturation(torch.tensor([[-3.0, 2.0], [0.0, 1.0]])).item()
    0.25
    """
    z = as_features(z)
    return _fraction_of_entries(z.abs() > threshold, z)


def frozen_entries(derivative: Tensor, threshold: float = 0.05) -> Tensor:
    """Fraction of entries of f′(z) with |f′(z)| < threshold (strict): `[..., N, n] -> [...]`.

    Saturation for any activation function f. Source: the code ajoudaki/simple-lop (GMM system).

    >>> frozen_entries(torch.tensor([[0.0, 0.05], [1.0, 1.0]])).item()
    0.25
    """
    derivative = as_features(derivative)
    return _fraction_of_entries(derivative.abs() < threshold, derivative)


def frozen_units(derivative: Tensor, threshold: float = 0.05, share: float = 0.98) -> Tensor:
    """Fraction of units with |f′(z)| < threshold on more than `share` of the samples (both strict).

    `[..., N, n] -> [...]`. For ReLU these are the units that are (almost) never active on the task's data.
    Source: the code ajoudaki/simple-lop (GMM system).

    >>> frozen_units(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), share=0.5).item()
    0.5
    """
    derivative = as_features(derivative)
    return _fraction_of_units(_share_of_samples(derivative.abs() < threshold, derivative) > share, derivative)


def _share_of_samples(where: Tensor, h: Tensor) -> Tensor:
    count = where.sum(-2).to(h.dtype)
    # Tensor by tensor: CUDA divides by a Python number through its rounded reciprocal, and 98/100 would pass 0.98.
    return count / torch.full_like(count, h.shape[-2])


def _fraction_of_units(where: Tensor, h: Tensor) -> Tensor:
    return nan_where_diverged(where.to(h.dtype).mean(-1), h)


def _fraction_of_entries(where: Tensor, h: Tensor) -> Tensor:
    return nan_where_diverged(where.to(h.dtype).mean((-2, -1)), h)
