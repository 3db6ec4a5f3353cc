"""Measures of the spectrum of a layer's features: how many directions the layer uses.

The rank measures are functions of singular values `s [..., r]` (descending) or covariance eigenvalues `[..., r]`, so
that one decomposition serves them all. Features are `[..., N, n]`, N samples of n units; r = min(N, n). Every value is
`[...]`, in the dtype of the input. Where a matrix of the batch holds a NaN or an infinity, its measures are NaN.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .features import as_features, centred, is_finite, nan_where_diverged, one_if_zero


def singular_values(features: Tensor) -> Tensor:
    """Singular values s₁ ≥ s₂ ≥ … of the raw (uncentred) features: `[..., N, n] -> [..., min(N, n)]`.

    NaN for each matrix that holds a NaN or an infinity.

    Raises:
        ValueError: features that are not a floating-point `[..., N, n]`.
    """
    features = as_features(features)
    # LAPACK refuses the whole batch for one non-finite matrix: a seed that diverged must not stop the other seeds.
    finite = is_finite(features)
    s = torch.linalg.svdvals(features.masked_fill(~finite[..., None, None], 0.0))
    return s.masked_fill(~finite[..., None], float("nan"))


def effective_rank(s: Tensor) -> Tensor:
    """Effective rank exp(−Σ pᵢ ln pᵢ), pᵢ = sᵢ / Σs, of singular values `[..., r] -> [...]`; 0 if all are zero.

    Between 1 and r, continuous. Source: Roy & Vetterli 2007.

    >>> effective_rank(torch.tensor([2.0, 2.0, 0.0])).item()
    2.0
    """
    return _entropy_rank(s).masked_fill(s.sum(-1) == 0, 0.0)


def srank(s: Tensor, delta: float = 0.01) -> Tensor:
    """Smallest k with Σ_{i≤k} sᵢ ≥ (1 − δ) Σ sᵢ, of singular values `[..., r] -> [...]`; 0 if all are zero.

    Source: Kumar et al. 2021 (implicit under-parameterization). Dohare et al. 2024 plot it as "stable rank".

    Raises:
        ValueError: δ outside [0, 1).

    >>> srank(torch.tensor([90.0, 8.0, 1.5, 0.5])).item()
    3.0
    """
    return _smallest_k(s, delta)


def approximate_rank(s: Tensor, delta: float = 0.01) -> Tensor:
    """Smallest k with Σ_{i≤k} sᵢ² ≥ (1 − δ) Σ sᵢ², of singular values `[..., r] -> [...]`; 0 if all are zero.

    Source: Yang et al. 2020 (structured value-based planning).

    Raises:
        ValueError: δ outside [0, 1).

    >>> approximate_rank(torch.tensor([90.0, 8.0, 1.5, 0.5])).item()
    1.0
    """
    return _smallest_k(_over_first(s).square(), delta)


def stable_rank(s: Tensor) -> Tensor:
    """Stable rank ‖H‖_F² / ‖H‖₂² = Σ sᵢ² / s₁², of singular values `[..., r] -> [...]`; 0 if all are zero.

    The textbook quantity (Rudelson & Vershynin 2007), which several papers' "stable rank" is not.

    >>> stable_rank(torch.tensor([2.0, 1.0, 1.0])).item()
    1.5
    """
    return _over_first(s).square().sum(-1)


def numerical_rank(s: Tensor, shape: Sequence[int]) -> Tensor:
    """Number of sᵢ > ε s₁ max(N, n), ε the machine epsilon of the dtype: `[..., r] -> [...]`; 0 if all are zero.

    `shape` is the features' shape, `(..., N, n)`. The usual rule of numerical linear algebra (Golub & Van Loan):
    counting sᵢ ≠ 0 instead gives full rank for nearly every matrix of floats.

    >>> numerical_rank(torch.tensor([3.0, 1.0, 1e-9]), (10, 3)).item()
    2.0
    """
    threshold = torch.finfo(s.dtype).eps * max(shape[-2:]) * s[..., :1]
    return _count(s > threshold, s)


def covariance_eigenvalues(features: Tensor) -> Tensor:
    """Leading min(N, n) eigenvalues, descending, of the covariance H̄ᵀH̄ / (N − 1), H̄ the centred features.

    `[..., N, n] -> [..., min(N, n)]`; the other n − min(N, n) eigenvalues are zero. Computed as squared singular values
    of H̄, which keeps the small eigenvalues of a collapsed layer that forming H̄ᵀH̄ in float32 would drown.
    A layer of constant units has exactly zero eigenvalues.

    Raises:
        ValueError: fewer than two samples.
    """
    features = as_features(features)
    samples = features.shape[-2]
    if samples < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got features {list(features.shape)}")
    return singular_values(centred(features)).square() / (samples - 1)


def covariance_effective_rank(eigenvalues: Tensor) -> Tensor:
    """Effective rank exp(−Σ pᵢ ln pᵢ), pᵢ = λᵢ / Σλ, of covariance eigenvalues `[..., r] -> [...]`.

    Negative eigenvalues (rounding) count as zero; 1 if all are zero. Not `effective_rank`: here the features are
    centred and the weights are squared singular values. Source: the code ajoudaki/simple-lop (GMM system).

    >>> covariance_effective_rank(torch.tensor([3.0, 3.0, 0.0])).item()
    2.0
    """
    return _entropy_rank(eigenvalues.clamp(min=0))


def participation_ratio(eigenvalues: Tensor) -> Tensor:
    """Participation ratio (Σλ)² / Σλ² of covariance eigenvalues `[..., r] -> [...]`; 0 if all are zero.

    The dimensionality of population activity (Rajan, Abbott & Sompolinsky 2010; Gao et al. 2017).

    >>> round(participation_ratio(torch.tensor([2.0, 1.0, 1.0])).item(), 4)
    2.6667
    """
    eigenvalues = eigenvalues.clamp(min=0)
    share = eigenvalues / one_if_zero(eigenvalues.sum(-1, keepdim=True))
    squares = share.square().sum(-1)
    return share.sum(-1).square() / one_if_zero(squares)


def spectral_ranks(features: Tensor, delta: float = 0.01) -> dict[str, Tensor]:
    """All rank measures of features `[..., N, n]`, each `[...]`, from two decompositions (raw and centred).

    Keys: `effective_rank`, `srank_99`, `approximate_rank_99`, `stable_rank`, `numerical_rank`,
    `covariance_effective_rank`, `participation_ratio`; the 99 is 100 (1 − δ).

    Raises:
        ValueError: features that are not a floating-point `[..., N, n]`, fewer than two samples, δ outside [0, 1).
    """
    s = singular_values(features)
    eigenvalues = covariance_eigenvalues(features)
    percent = f"{100 * (1 - delta):g}"
    return {
        "effective_rank": effective_rank(s),
        f"srank_{percent}": srank(s, delta),
        f"approximate_rank_{percent}": approximate_rank(s, delta),
        "stable_rank": stable_rank(s),
        "numerical_rank": numerical_rank(s, features.shape),
        "covariance_effective_rank": covariance_effective_rank(eigenvalues),
        "participation_ratio": participation_ratio(eigenvalues),
    }


def _over_first(s: Tensor) -> Tensor:
    # Scaled before squaring, so that the squares of tiny or huge features neither vanish nor overflow.
    return s / one_if_zero(s[..., :1])


def _entropy_rank(weights: Tensor) -> Tensor:
    share = weights / one_if_zero(weights.sum(-1, keepdim=True))
    return torch.special.entr(share).sum(-1).exp()


def _smallest_k(weights: Tensor, delta: float) -> Tensor:
    if not 0 <= delta < 1:
        raise ValueError(f"delta must lie in [0, 1), got {delta}")
    reached = weights.cumsum(-1)
    total = reached[..., -1:]
    # The k-th one reaches it; an all-zero spectrum has reached 0 of 0 with none at all.
    k = _count(reached < (1 - delta) * total, weights)
    return k + (total[..., 0] > 0)


def _count(where: Tensor, s: Tensor) -> Tensor:
    """Count true entries over the last dim in the dtype of `s`, NaN where `s` is not finite."""
    return nan_where_diverged(where.sum(-1).to(s.dtype), s[..., None, :])
