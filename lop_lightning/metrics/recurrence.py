"""Measures of recurrent layers: how far a step stretches the state, how gates are set, how far back gradients reach."""

import torch
from torch import Tensor


def spectral_radius(jacobians: Tensor) -> Tensor:
    """Mean over samples of the largest |eigenvalue| of J = ∂s_t/∂s_{t-1}: `[..., N, n, n] -> [...]`.

    Below 1 a small change of the state dies out, above 1 it grows. s is the cell's whole state (LSTM: h and c).
    Source: Pascanu, Mikolov & Bengio 2013.

    >>> spectral_radius(torch.tensor([[[0.0, 2.0], [-2.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])).item()
    1.5
    """
    if not jacobians.is_floating_point() or jacobians.ndim < 3 or jacobians.shape[-1] != jacobians.shape[-2]:
        raise ValueError(f"expected floating-point Jacobians [..., N, n, n], got {list(jacobians.shape)}")
    finite = jacobians.isfinite().all((-1, -2))
    values = torch.linalg.eigvals(jacobians.nan_to_num(0, 0, 0)).abs().amax(-1)
    return values.masked_fill(~finite, float("nan")).mean(-1)


def gates_closed(gate: Tensor, read: Tensor | None = None, threshold: float = 0.1) -> Tensor:
    """Fraction of a gate's values below `threshold` (strict): `[..., N, n] -> [...]`.

    `read [..., N]`, True where a sample counts (no padding); None: all. Source: Karpathy, Johnson & Fei-Fei 2016, who
    call such gates left-saturated.

    >>> gates_closed(torch.tensor([[0.05, 0.5], [0.95, 0.01]])).item()
    0.5
    """
    return _fraction(gate < threshold, gate, read)


def gates_open(gate: Tensor, read: Tensor | None = None, threshold: float = 0.9) -> Tensor:
    """Fraction of a gate's values above `threshold` (strict), as :func:`gates_closed` (right-saturated gates).

    >>> gates_open(torch.tensor([[0.05, 0.5], [0.95, 0.01]])).item()
    0.25
    """
    return _fraction(gate > threshold, gate, read)


def gradient_norms_by_lag(gradients: Tensor, lengths: Tensor) -> Tensor:
    """Mean over examples of ‖∂L/∂h_t‖₂, k = 0 … T-1 steps before each sequence's last: `[..., B, T, n] -> [..., T]`.

    `lengths [..., B]` are the sequences' steps; one shorter than k has no part in the mean, NaN where none is longer.

    >>> gradient_norms_by_lag(torch.tensor([[[3.0, 4.0], [0.0, 1.0]], [[2.0, 0.0], [9.0, 9.0]]]), torch.tensor([2, 1]))
    tensor([1.5000, 5.0000])
    """
    norms = gradients.norm(dim=-1)
    back = lengths[..., None] - 1 - torch.arange(norms.shape[-1], device=norms.device)
    there = back >= 0
    by_lag = norms.gather(-1, back.clamp(min=0)).masked_fill(~there, 0)
    return by_lag.sum(-2) / there.sum(-2).to(norms.dtype)


def _fraction(where: Tensor, gate: Tensor, read: Tensor | None) -> Tensor:
    if not gate.is_floating_point() or gate.ndim < 2:
        raise ValueError(f"expected floating-point values of a gate [..., N, n], got {list(gate.shape)}")
    share = where.to(gate.dtype).masked_fill(gate.isnan(), float("nan")).mean(-1)
    if read is None:
        return share.mean(-1)
    return (share * read).sum(-1) / read.sum(-1)
