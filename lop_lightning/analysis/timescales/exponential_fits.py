"""τ_net of units: one or two exponentials fitted to autocorrelations, and chosen between by AIC or BIC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lop_lightning.analysis.timescales.least_squares import LONGEST, Array, fit_exponentials, times
from lop_lightning.errors import ConfigError, check_choice, check_count

SINGLE, DOUBLE = 1, 2
_EXACT = 1e-24  # mean squares below this are rounding: a model that is exact is not beaten by one more exact still


@dataclass(frozen=True)
class TimescaleFits:
    """Fits of every unit; each field ``[units]``, NaN (``model`` 0) where the autocovariance is not finite or zero.

    Attributes:
        tau_net: τ of the single exponential, or the longer one of the double; in lags.
        model: 1 (single), 2 (double), 0 (none): the one chosen by ``criterion``.
        a: Amplitude at lag 0 of the chosen model.
        c: Share of τ₁ in it; 1 for a single exponential.
        tau1: τ of the single exponential, or the shorter one.
        tau2: The longer one; NaN for a single exponential.
        rss1: Sum of squared residuals of the single exponential; ``rss2``: of the double.
        aic1: 2k + n ln(RSS/n), k = 2, n the number of lags; ``aic2``: with k = 4.
        bic1: k ln n + n ln(RSS/n); ``bic2`` likewise.
        at_bound: Whether τ_net is the largest that the fit allows, 100.
        criterion: ``aic`` or ``bic``.
    """

    tau_net: Array
    model: NDArray[np.int64]
    a: Array
    c: Array
    tau1: Array
    tau2: Array
    rss1: Array
    rss2: Array
    aic1: Array
    aic2: Array
    bic1: Array
    bic2: Array
    at_bound: NDArray[np.bool_]
    criterion: str = "aic"

    def curve(self, lags: ArrayLike) -> Array:
        """The chosen model a (c e^{-l/τ₁} + (1-c) e^{-l/τ₂}) at lags ``[L]``: ``[L, units]``."""
        l = np.asarray(lags, dtype=np.float64)[:, None]  # noqa: E741
        slow = np.where(self.model == SINGLE, 0, (1 - self.c) * _decay(l, self.tau2))
        return self.a * (self.c * _decay(l, self.tau1) + slow)


def fit_timescales(covariance: ArrayLike, max_lag: int = 30, criterion: str = "aic") -> TimescaleFits:
    """Fits lags 0 … ``max_lag`` of c(l) / c(0) with a e^{-l/τ} and a (c e^{-l/τ₁} + (1-c) e^{-l/τ₂}).

    Least squares with a, c in [0, 1] and τ in [0, 100], from several starts, so that no unit fails and no result hangs
    on one start: the paper's ``curve_fit`` begins at the middle of all bounds, where both τ are equal, and at times
    stays with them. The double exponential is chosen only where its criterion is strictly smaller. A double
    one that is a single one in disguise (c of 0 or 1, or τ₁ = τ₂) fits no better and has two parameters more, so it
    is never chosen; a slow part of small but helpful weight is, and then gives τ_net, as in the paper: see ``c``.

    Args:
        covariance: Autocovariance (of any scale) at lags 0, 1, …: ``[lags, units]``, or ``[lags]`` of one unit.
        max_lag: Last lag of the fit.
        criterion: ``aic`` or ``bic``.

    Raises:
        ConfigError: there are fewer lags, or another criterion.

    Source: spec of the time-scale system, section 4.1 (Khajehabdollahi et al. 2024).
    """
    check_choice("criterion", criterion, ("aic", "bic"))
    check_count("max_lag", max_lag, 5)
    c = np.asarray(covariance, dtype=np.float64)
    c = c[:, None] if c.ndim == 1 else c
    if len(c) <= max_lag:
        raise ConfigError("max_lag", max_lag, f"at most {len(c) - 1}, the last lag of the autocovariance")
    c = c[: max_lag + 1]
    usable = np.isfinite(c).all(0) & (c[0] > 0)
    y = (c[:, usable] / c[0, usable]).T.copy()
    n, units = max_lag + 1, c.shape[1]
    (w1, rate, rss1), (w2, rates, rss2) = fit_exponentials(y, 1), fit_exponentials(y, 2)
    worse = rss2 > rss1  # a single exponential is a double one too
    w2[worse], rates[worse], rss2[worse] = _doubled(w1[worse]), np.repeat(rate[worse], 2, 1), rss1[worse]
    aic, bic = ((_criterion(rss1, n, 2, price), _criterion(rss2, n, 4, price)) for price in (2.0, float(np.log(n))))
    one, two = aic if criterion == "aic" else bic
    double = two < one
    tau, pair, total = times(rate[:, 0]), times(rates), w2.sum(1)
    tau1 = np.where(double, pair[:, 0], tau)
    found = {
        "tau_net": np.where(double, pair[:, 1], tau),
        "a": np.where(double, total, w1[:, 0]),
        "c": np.where(double, w2[:, 0] / np.where(total > 0, total, 1), 1.0),
        "tau1": tau1,
        "tau2": np.where(double, pair[:, 1], np.nan),
        **dict(zip(("rss1", "rss2", "aic1", "aic2", "bic1", "bic2"), (rss1, rss2, *aic, *bic))),
    }
    whole = {name: _spread(values, usable) for name, values in found.items()}
    model = np.zeros(units, dtype=np.int64)
    model[usable] = np.where(double, DOUBLE, SINGLE)
    return TimescaleFits(**whole, model=model, at_bound=whole["tau_net"] >= LONGEST, criterion=criterion)


def exclude(tau_net: ArrayLike) -> NDArray[np.bool_]:
    """Units that have no part in the paper's means of τ_net: those with τ_net ≤ 1, and those without one (NaN).

    The means are therefore conditional on τ_net > 1; about half of the units and more are left out of the published
    networks, so say the share beside the mean (:func:`summary` does).

    >>> exclude([0.5, 1.0, 3.0, float("nan")]).tolist()
    [True, True, False, True]
    """
    return ~(np.asarray(tau_net, dtype=np.float64) > 1)


def summary(fits: TimescaleFits) -> dict[str, float]:
    """Numbers of one network.

    ``mean`` and ``std`` (÷ n) are over the units that :func:`exclude` keeps, ``excluded`` is the share of the others;
    ``median`` and ``mean_all`` are over all units with a τ_net. Shares of all units: ``double``, ``at_most_1``
    (τ_net ≤ 1), ``nan``, ``at_bound``. ``agreement``: share of the units with a τ_net for which AIC and BIC choose
    alike. NaN where there is none to count.
    """
    tau, fitted = fits.tau_net, fits.model > 0
    kept, there = tau[~exclude(tau)], tau[fitted]
    alike = ((fits.aic2 < fits.aic1) == (fits.bic2 < fits.bic1))[fitted]
    return {
        "mean": _mean(kept),
        "std": float(kept.std()) if len(kept) else float("nan"),
        "median": float(np.median(there)) if len(there) else float("nan"),
        "mean_all": _mean(there),
        "excluded": _mean(exclude(tau)),
        "double": _mean(fits.model == DOUBLE),
        "at_most_1": _mean(tau <= 1),
        "nan": _mean(~fitted),
        "at_bound": _mean(fits.at_bound),
        "agreement": _mean(alike),
    }


def _criterion(rss: Array, n: int, parameters: int, price: float) -> Array:
    """A criterion that asks ``price`` for each of the k parameters: price · k + n ln(RSS/n)."""
    return price * parameters + n * np.log(np.maximum(rss / n, _EXACT))


def _doubled(w: Array) -> Array:
    return np.repeat(w / 2, 2, 1)


def _decay(lags: Array, tau: Array) -> Array:
    """e^{-l/τ}; at τ = 0 it is 1 at lag 0 and 0 from there on."""
    quick = np.where(lags == 0, 1.0, 0.0)
    return np.where(tau > 0, np.exp(-lags / np.where(tau > 0, tau, 1)), quick)


def _spread(values: Array, where: NDArray[np.bool_]) -> Array:
    """Values of some units in an array of all, NaN elsewhere."""
    whole = np.full(len(where), np.nan)
    whole[where] = values
    return whole


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")
