"""Least squares of one or two decaying exponentials, bounded, for many series at once and from many starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LONGEST = 100.0
"""Upper bound of every time constant, in lags."""

_LARGEST_RATE = float(np.exp(-1 / LONGEST))
# In a lag a series falls by the factor ρ = exp(-1/τ): unlike τ, nothing is singular in it at τ = 0, where ρ = 0.
_GRID = np.concatenate([[0.0], np.exp(-1 / np.geomspace(0.2, LONGEST, 47))])
_GROUPS = 8  # starts: the best points of the grid within each eighth of the slower rate
_ROUNDS = 500
_AT_ONCE = 128  # series whose whole grid is in memory together

# The weights of one exponential lie between 0 and 1; those of two in the triangle with these sides.
_SIDES = {1: (((0.0,), (1.0,)),), 2: (((0.0, 0.0), (1.0, 0.0)), ((0.0, 0.0), (0.0, 1.0)), ((1.0, 0.0), (0.0, 1.0)))}


def fit_exponentials(y: Array, terms: int) -> tuple[Array, Array, Array]:
    """Weights w, rates ρ and Σ_l (y_l - Σ_k w_k ρ_k^l)² at its minimum, w_k ≥ 0, Σ w ≤ 1, 0 ≤ ρ ≤ exp(-1/100).

    Variable projection (Golub & Pereyra 1973): for given rates the best weights are known, so that only the rates are
    searched: on a grid, then by Newton's method with the exact Hessian, from the best point of each part of the grid.

    Args:
        y: Finite series ``[units, lags]``.
        terms: Number of exponentials, 1 or 2.

    Returns:
        ``[units, terms]``, ``[units, terms]`` (rates in rising order) and ``[units]``.
    """
    starts = np.concatenate([_starts(part, terms) for part in np.split(y, range(_AT_ONCE, len(y), _AT_ONCE))])
    many = starts.shape[1]
    weights, rates, rss = _newton(np.repeat(y, many, 0), starts.reshape(-1, terms))
    best = rss.reshape(len(y), many).argmin(1) + many * np.arange(len(y))
    weights, rates, rss = weights[best], rates[best], rss[best]
    order = rates.argsort(1, kind="stable")
    return np.take_along_axis(weights, order, 1), np.take_along_axis(rates, order, 1), rss


def times(rates: Array) -> Array:
    """τ = -1 / ln ρ; 0 at ρ = 0, and exactly the upper bound at the bound."""
    with np.errstate(divide="ignore"):
        return np.where(rates >= _LARGEST_RATE, LONGEST, -1 / np.log(rates))


def _powers(rates: Array, lags: int) -> Array:
    """ρ^l, l = 0 … lags - 1, ``[...] -> [..., lags]``, with 0^0 = 1."""
    return rates[..., None] ** np.arange(lags)


def _starts(y: Array, terms: int) -> Array:
    """Rates to start from, ``[units, lags] -> [units, starts, terms]``."""
    powers = _powers(_GRID, y.shape[1])
    index = np.stack(np.triu_indices(len(_GRID), 1), 1) if terms == 2 else np.arange(len(_GRID))[:, None]
    gram = (powers @ powers.T)[index[:, :, None], index[:, None, :]]
    _, cost, _ = _weights((y @ powers.T)[:, index], gram)
    # Groups by the slower rate: a minimum with a slow term and one without are both tried.
    group = index[:, -1] * _GROUPS // len(_GRID)
    members = [np.flatnonzero(group == g) for g in range(_GROUPS)]
    best = np.stack([own[cost[:, own].argmin(1)] for own in members], 1)
    return _GRID[index[best]]


def _weights(h: Array, gram: Array) -> tuple[Array, Array, Array]:
    """The best weights for given rates: the least wᵀGw - 2hᵀw inside the triangle (or the interval).

    Args:
        h: <y, e_k>, ``[..., K]``.
        gram: G = <e_j, e_k>, ``[..., K, K]``.

    Returns:
        Weights ``[..., K]``, the least value ``[...]``, and ``[..., K, K]`` the inverse of G over those directions
        in which the weights are free to follow the rates (none at a corner).
    """
    shape = np.broadcast_shapes(h.shape[:-1], gram.shape[:-2])
    terms = h.shape[-1]
    weights, cost = np.zeros((*shape, terms)), np.full(shape, np.inf)
    inverse = np.zeros((*shape, terms, terms))
    for start, end in _SIDES[terms]:
        p, z = np.array(start), np.array(end) - np.array(start)
        bend = np.einsum("j,...jk,k->...", z, gram, z)
        bend = np.where(bend > 0, bend, 1.0)  # equal rates: the way along this side changes nothing
        u = ((h - gram @ p) @ z) / bend
        free = (u > 0) & (u < 1)
        w = p + np.clip(u, 0, 1)[..., None] * z
        _keep(w, np.where(free, 1 / bend, 0)[..., None, None] * np.outer(z, z), h, gram, (weights, cost, inverse))
    if terms == 2:
        g11, g12, g22 = gram[..., 0, 0], gram[..., 0, 1], gram[..., 1, 1]
        determinant = g11 * g22 - g12**2
        apart = determinant > 1e-13 * g11 * g22
        determinant = np.where(apart, determinant, 1.0)
        adjoint = np.stack([np.stack([g22, -g12], -1), np.stack([-g12, g11], -1)], -2) / determinant[..., None, None]
        w = np.einsum("...jk,...k->...j", adjoint, h)
        inside = apart & (w > 0).all(-1) & (w.sum(-1) < 1)
        _keep(np.where(inside[..., None], w, np.nan), adjoint, h, gram, (weights, cost, inverse))
    return weights, cost, inverse


def _keep(w: Array, inverse: Array, h: Array, gram: Array, best: tuple[Array, Array, Array]) -> None:
    """Puts weights, their cost and the inverse that belongs to them into ``best`` wherever they cost less."""
    cost = np.einsum("...j,...jk,...k->...", w, gram, w) - 2 * (h * w).sum(-1)
    better = cost < best[1]
    for old, new, mask in zip(best, (w, cost, inverse), (better[..., None], better, better[..., None, None])):
        np.copyto(old, new, where=mask)


def _newton(y: Array, rates: Array) -> tuple[Array, Array, Array]:
    """Newton's method with damping on the rates ``[M, K]`` of series ``[M, lags]``, all from their own starts."""
    weights, rss, gradient, hessian = _derivatives(y, rates)
    rates, damping = rates.copy(), np.full(len(y), 1e-3)
    open_ = np.arange(len(y))
    for _ in range(_ROUNDS):
        new = _step(rates[open_], gradient[open_], hessian[open_], damping[open_])
        w, r, g, H = _derivatives(y[open_], new)
        better = r < rss[open_]
        gain = np.where(better, rss[open_] - r, np.inf)
        moved = np.abs(new - rates[open_]).max(1)
        own = open_[better]
        rates[own], weights[own], rss[own], gradient[own], hessian[own] = (a[better] for a in (new, w, r, g, H))
        damping[open_] = np.where(better, damping[open_] / 10, damping[open_] * 10)
        # The end: no step is left, or it gains nothing that a double can tell.
        open_ = open_[(moved > 1e-14) & ((gain > 1e-12 * rss[open_]) | (damping[open_] > 1e-3))]
        if not len(open_):
            break
    return weights, rates, rss


def _step(rates: Array, gradient: Array, hessian: Array, damping: Array) -> Array:
    """Rates after one step, kept within their bounds; a rate that presses against its bound stays there."""
    pressed = ((rates <= 0) & (gradient > 0)) | ((rates >= _LARGEST_RATE) & (gradient < 0))
    gradient = np.where(pressed, 0, gradient)
    hessian = np.where(pressed[:, :, None] | pressed[:, None, :], 0, hessian)
    bends, axes = np.linalg.eigh(hessian)
    # Downhill also where the function bends the wrong way.
    size = np.abs(bends) + damping[:, None] * np.abs(bends).max(1, keepdims=True)
    along = np.einsum("mjk,mj->mk", axes, gradient) / np.where(size > 0, size, 1)
    return np.clip(rates - np.einsum("mjk,mk->mj", axes, along), 0, _LARGEST_RATE)


def _derivatives(y: Array, rates: Array) -> tuple[Array, Array, Array, Array]:
    """Best weights, sum of squares, and its gradient and Hessian in the rates when the weights follow them.

    With e_k = ρ_k^l, d_k = l ρ_k^{l-1}, s_k = l (l-1) ρ_k^{l-2} and r = Σ w_k e_k - y, half the gradient is
    w_k <d_k, r> and half the Hessian A - B M Bᵀ, where A_kj = w_k w_j <d_k, d_j> + δ_kj w_k <s_k, r>,
    B_kj = w_k <d_k, e_j> + δ_kj <d_k, r> and M is the inverse of <e_k, e_j> over the free directions.
    """
    lags = np.arange(y.shape[1])
    e = _powers(rates, len(lags))
    d, s = np.zeros_like(e), np.zeros_like(e)
    d[..., 1:] = lags[1:] * e[..., :-1]
    s[..., 2:] = lags[2:] * (lags[2:] - 1) * e[..., :-2]
    weights, _, inverse = _weights(np.einsum("mkl,ml->mk", e, y), e @ e.swapaxes(1, 2))
    r = np.einsum("mk,mkl->ml", weights, e) - y
    slope, bend = np.einsum("mkl,ml->mk", d, r), np.einsum("mkl,ml->mk", s, r)
    unit = np.eye(rates.shape[1])
    a = weights[:, :, None] * weights[:, None, :] * (d @ d.swapaxes(1, 2)) + unit * (weights * bend)[:, :, None]
    b = weights[:, :, None] * (d @ e.swapaxes(1, 2)) + unit * slope[:, :, None]
    return weights, (r * r).sum(1), weights * slope, a - b @ inverse @ b.swapaxes(1, 2)
