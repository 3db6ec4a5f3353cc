"""Measures of redundancy: the fraction of a layer's units that repeat another unit.

Features are `[..., N, n]`, the measures `[...]`. A unit counts as a duplicate if some *earlier* unit resembles it, so
that a cluster of m alike units counts m − 1 and a layer's value is at most (n − 1) / n. The n × n resemblances are held
at once: n² numbers for each matrix of the batch. A layer that holds a NaN or an infinity measures NaN. Both raise
ValueError for anything but a floating-point `[..., N, n]`.
"""

from torch import Tensor

from .features import as_features, centred, nan_where_diverged, one_if_zero


def feature_duplication(h: Tensor, threshold: float = 0.95) -> Tensor:
    """Fraction of units j with |corr(hᵢ, hⱼ)| > threshold (strict) for some i < j: `[..., N, n] -> [...]`.

    Pearson correlation over the samples, so anticorrelated units are duplicates; constant units, dead ones among them,
    correlate with nothing. Source: the code ajoudaki/simple-lop (GMM system).

    >>> import torch
    >>> h = torch.tensor([[1.0, -2.0, 0.0], [2.0, -4.0, 0.0], [3.0, -6.0, 0.0], [5.0, -10.0, 0.0]])
    >>> round(feature_duplication(h).item(), 4)
    0.3333
    """
    h = as_features(h)
    return _fraction_repeated(_cosines(centred(h)).abs() > threshold, h)


def cosine_duplication(h: Tensor, threshold: float = 0.95) -> Tensor:
    """Fraction of units j with cos(hᵢ, hⱼ) > threshold (strict) for some i < j: `[..., N, n] -> [...]`.

    Signed and uncentred: opposite units are no duplicates, constant non-zero units are; zero units resemble nothing.
    For ReLU features it exceeds `feature_duplication`, since a shared mean already makes a large cosine.
    Source: the code of Joudaki et al. 2025.

    >>> import torch
    >>> cosine_duplication(torch.tensor([[1.0, 1.0, -1.0, 0.0], [1.0, 1.0, -1.0, 0.0]])).item()
    0.25
    """
    h = as_features(h)
    return _fraction_repeated(_cosines(h) > threshold, h)


def _cosines(h: Tensor) -> Tensor:
    # Scaled by the largest entry first, so that the squares of tiny features do not vanish; zero units stay zero.
    h = h / one_if_zero(h.abs().amax(-2, keepdim=True))
    h = h / one_if_zero(h.norm(dim=-2, keepdim=True))
    return h.mT @ h


def _fraction_repeated(alike: Tensor, h: Tensor) -> Tensor:
    repeated = alike.triu(diagonal=1).any(-2)
    return nan_where_diverged(repeated.to(h.dtype).mean(-1), h)
