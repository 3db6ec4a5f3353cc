"""What every measure of features shares: the layout `[..., N, n]`, exact centring, the answer to a diverged layer."""

import torch
from torch import Tensor


def as_features(features: Tensor) -> Tensor:
    """Check a feature matrix `[..., N, n]` (N samples, n units) and return it in a dtype the measures can work in.

    Half precision is widened to float32 (no linear algebra exists for it); float32 and float64 pass unchanged.

    Raises:
        ValueError: not a floating-point tensor, fewer than two dimensions, no sample or no unit.
    """
    if not features.is_floating_point():
        raise ValueError(f"features must be floating point, got {features.dtype}")
    if features.ndim < 2 or 0 in features.shape[-2:]:
        raise ValueError(f"features must be [..., N, n] with N >= 1 and n >= 1, got {list(features.shape)}")
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def centred(features: Tensor) -> Tensor:
    """Subtract every unit's mean over the samples: `[..., N, n] -> [..., N, n]`; a constant unit becomes exactly zero.

    >>> centred(torch.tensor([[1.0, 0.1], [3.0, 0.1]])).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    # The rounded mean of N copies of c need not be c; counted from the first sample the copies are exact zeros.
    offset = features - features[..., :1, :]
    return offset - offset.mean(-2, keepdim=True)


def is_finite(features: Tensor) -> Tensor:
    """Tell for each matrix `[..., N, n]` whether it holds no NaN and no infinity: bool `[...]`."""
    # The largest magnitude is NaN or infinite exactly when some entry is, and far quicker to find than every flag.
    return features.flatten(-2).abs().amax(-1).isfinite()


def nan_where_diverged(value: Tensor, features: Tensor) -> Tensor:
    """Replace `value [...]` by NaN for each matrix of `features [..., N, n]` that holds a NaN or an infinity.

    Comparisons with NaN are false, so without this a diverged layer would read as a perfectly healthy one.
    """
    return value.masked_fill(~is_finite(features), float("nan"))


def one_if_zero(x: Tensor) -> Tensor:
    """Make a denominator safe: with an all-zero numerator the quotient is then 0 and not 0/0."""
    return x.masked_fill(x == 0, 1.0)


def fold_positions(features: Tensor, batch_dims: int = 0) -> Tensor:
    """Fold the positions of a feature map into samples: `[*batch, N, C, *positions] -> [*batch, N * P, C]`.

    A channel is the unit and each of its P positions is one more sample of it. The other convention, positions folded
    into units (`[*batch, N, C * P]`), gives very different ranks; this package does not use it. A layer without
    positions (`[*batch, N, n]`) is returned as it is. `batch_dims` counts the leading dims (1 for a seed axis).

    Raises:
        ValueError: fewer than `batch_dims + 2` dimensions.

    >>> fold_positions(torch.zeros(8, 3, 5, 5)).shape
    torch.Size([200, 3])
    """
    if features.ndim < batch_dims + 2:
        raise ValueError(f"expected {batch_dims} batch dims, then [N, C, *positions], got {list(features.shape)}")
    units_last = features.movedim(batch_dims + 1, -1)
    return units_last.flatten(batch_dims, -2)
