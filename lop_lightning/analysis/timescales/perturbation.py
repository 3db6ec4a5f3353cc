"""What becomes of a solved network when its recurrent weights or time constants are perturbed, and whom it hurts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from lop_lightning.analysis.statistics import paired_difference, seed_interval, unpaired_difference
from lop_lightning.analysis.timescales.ablation import leaky
from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.analysis.timescales.streaming import (
    REPEATS,
    SCORED,
    WARM_UP,
    Array,
    Stepper,
    correct,
    quiz,
    relative_accuracy,
)
from lop_lightning.errors import check_choice, check_count
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.randomness import generator

WEIGHT, TAU = "recurrent.weight", "tau"
KINDS = {
    "normalized_rnn": WEIGHT,
    "multiplicative_rnn": WEIGHT,
    "normalized_tau_abs": TAU,
    "normalized_tau": TAU,
    "additive_tau": TAU,
}
"""Kinds of perturbations, and what they change; see :func:`perturbed_values`."""

EPSILONS = {
    WEIGHT: (0.0, *np.logspace(-2, 1, 10).tolist()),
    TAU: (0.0, *np.logspace(-3, 1, 13).tolist()),
}
"""The published sizes ε."""

STARS = (0.05, *(10.0**-k for k in range(2, 11)))
"""A star for every one of these that p is below."""

COLUMNS = ["seed", "N", "asked", "kind", "epsilon", "repeat", "accuracy", "relative"]


def perturbation(
    solved: Solved,
    kind: str = "normalized_rnn",
    epsilons: Sequence[float] | None = None,
    n: int | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    warm_up: int = WARM_UP,
    steps: int = SCORED,
    hold: int | None = None,
    baseline: str = "mean",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Streaming accuracy of a network that is perturbed by ε in a random direction, for many ε.

    Every repeat has a direction, a sequence and first states of its own, which are the same for all ε: what differs
    along a repeat is the size alone.

    Args:
        solved: A leaky network.
        kind: One of :data:`KINDS`.
        epsilons: Sizes ε; ``None``: the published ones (:data:`EPSILONS`). 0 is always among them.
        n: The N that is asked; ``None``: the one that was solved.
        repeats: Directions and sequences.
        seed: Of directions, sequences and first states.
        warm_up: Bits before the first that is scored.
        steps: Bits that are scored.
        hold: In continuous time: steps that a bit lasts.
        baseline: What accuracy is relative to: the ``mean`` or the ``max`` of the repeats at ε = 0.
        progress: Called with sizes done and sizes in all.

    Returns:
        Columns ``seed``, ``N`` (solved), ``asked``, ``kind``, ``epsilon``, ``repeat``, ``accuracy`` and ``relative``.

    Raises:
        LopError: the network has no time constants, or no such readout.
        ConfigError: a setting is out of its range.

    Source: spec of the time-scale system, sections 4.5 and B11 (Khajehabdollahi et al. 2024).
    """
    n = solved.high if n is None else n
    check_choice("kind", kind, KINDS)
    check_choice("baseline", baseline, ("mean", "max"))
    check_count("repeats", repeats)
    sizes = list(dict.fromkeys([0.0, *map(float, EPSILONS[KINDS[kind]] if epsilons is None else epsilons)]))
    network, stepper = leaky(solved), Stepper(solved, solved.head_of(n))
    asked = quiz(solved, n, None, repeats, seed, warm_up, steps, hold)
    drawn = [directions(network, kind, seed, solved.seed, repeat) for repeat in range(repeats)]
    shares: list[Array] = []
    for done, epsilon in enumerate(sizes, 1):
        variants = torch.stack([perturbed_values(network, kind, epsilon, d) for d in drawn])
        shares.append(correct(stepper, solved, asked, {KINDS[kind]: variants}, own=True)[:, 0])
        if progress is not None:
            progress(done, len(sizes))
    rows = [
        (solved.seed, solved.high, n, kind, epsilon, repeat, share)
        for epsilon, own in zip(sizes, shares)
        for repeat, share in enumerate(own)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    return table.assign(relative=relative_accuracy(table["accuracy"], shares[0], baseline))


def perturbed(solved: Solved, kind: str, epsilon: float, repeat: int = 0, seed: int = 0) -> Solved:
    """The network as :func:`perturbation` has it in one repeat, to train it on, say; the original stays as it is.

    Raises:
        LopError: it has no time constants.
        ConfigError: there is no such kind.
    """
    check_choice("kind", kind, KINDS)
    network = leaky(solved)
    values = perturbed_values(network, kind, epsilon, directions(network, kind, seed, solved.seed, repeat))
    network = deepcopy(network)
    with torch.no_grad():
        (network.tau if KINDS[kind] == TAU else network.recurrent.weight).copy_(values)
    return replace(solved, network=network)


def directions(network: LeakyNetwork, kind: str, seed: int, of: int, repeat: int) -> Tensor:
    """Random numbers in the shape of what is perturbed: U(0, 1) for ``multiplicative_rnn``, else N(0, 1).

    A function of ``seed``, the network's own seed ``of``, the kind and the repeat.
    """
    like = network.tau if KINDS[kind] == TAU else network.recurrent.weight
    draw, shape = generator(seed, "perturbation", of, kind, repeat), tuple(like.shape)
    drawn = draw.random(shape) if kind == "multiplicative_rnn" else draw.standard_normal(shape)
    return torch.from_numpy(drawn).to(like)


@torch.no_grad()
def perturbed_values(network: LeakyNetwork, kind: str, epsilon: float, direction: Tensor) -> Tensor:
    """W or τ after a perturbation of size ε in direction D or d.

    ====================== ==============================
    ``normalized_rnn``     W + ε ‖W‖_F D / ‖D‖_F
    ``multiplicative_rnn`` W ∘ (1 + ε D)
    ``normalized_tau_abs`` τ + ε ‖τ‖₂ abs(d) / ‖d‖₂
    ``normalized_tau``     τ + ε ‖τ‖₂ d / ‖d‖₂
    ``additive_tau``       τ + ε d
    ====================== ==============================

    There are no self-connections, so neither W nor D has a diagonal here, in the norms either: in the published code
    part of every perturbation fell on it, and had no effect. τ are as they are trained, before they are clamped at 1.
    """
    if KINDS[kind] == WEIGHT:
        w, d = (t.detach().clone().fill_diagonal_(0) for t in (network.recurrent.weight, direction))
        return w * (1 + epsilon * d) if kind == "multiplicative_rnn" else w + epsilon * w.norm() * d / d.norm()
    tau = network.tau.detach()
    if kind == "additive_tau":
        return tau + epsilon * direction
    d = direction.abs() if kind == "normalized_tau_abs" else direction
    return tau + epsilon * tau.norm() * d / d.norm()


def compared(a: pd.DataFrame, b: pd.DataFrame, by: str = "epsilon", value: str = "relative") -> pd.DataFrame:
    """Two sets of networks (single-head and multi-head, say) at every value of a column, ε or N.

    Args:
        a: Tables of several networks together, by :func:`perturbation`, say.
        b: Those of the others.
        by: The column.
        value: What is compared.

    Returns:
        One row for each value of ``by`` that both have:

        * ``mean_a``, ``std_a``, ``mean_b``, ``std_b``, ``n_a``, ``n_b`` over all networks and repeats, and Student's
          unpaired two-sided test on these, ``t``, ``p`` and ``stars`` (see :data:`STARS`), as published. Repeats of one
          network are no independent samples, so its p is far too small.
        * ``difference``, ``low``, ``high`` (95%), ``networks`` and ``interval``: a - b of the networks' means, paired
          by seed where all seeds are shared, else Welch's.
    """
    rows = []
    for at in sorted(set(a[by]) & set(b[by])):
        left, right = a[a[by] == at], b[b[by] == at]
        x, y = (side[value].dropna().to_numpy(np.float64) for side in (left, right))
        t, p = students_test(x, y)
        apart = [side.groupby("seed")[value].mean() for side in (left, right)]
        same = set(apart[0].index) == set(apart[1].index)
        between = paired_difference(*apart) if same else unpaired_difference(*apart)
        rows.append(
            {by: at, "mean_a": _mean(x), "std_a": _std(x), "n_a": len(x), "mean_b": _mean(y), "std_b": _std(y),
             "n_b": len(y), "t": t, "p": p, "stars": sum(p < edge for edge in STARS), "difference": between.estimate,
             "low": between.low, "high": between.high, "networks": between.n,
             "interval": f"{'paired ' if same else ''}{between.kind}"}
        )  # fmt: skip
    return pd.DataFrame(rows)


def students_test(x: Array, y: Array) -> tuple[float, float]:
    """The t and p of the unpaired two-sided test that assumes equal variances; NaN where neither side varies."""
    if min(len(x), len(y)) < 2 or np.ptp(x) == np.ptp(y) == 0:
        return float("nan"), float("nan")
    found = stats.ttest_ind(x, y)
    return float(found.statistic), float(found.pvalue)


def network_means(table: pd.DataFrame, by: str = "epsilon", value: str = "relative") -> pd.DataFrame:
    """Mean and interval (95%) over networks of each network's mean, for each value of a column."""
    rows = []
    for at, own in table.groupby(by):
        over = seed_interval(own.groupby("seed")[value].mean())
        rows.append({by: at, "mean": over.estimate, "low": over.low, "high": over.high, "networks": over.n})
    return pd.DataFrame(rows)


def _mean(x: Array) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _std(x: Array) -> float:
    return float(x.std(ddof=1)) if len(x) > 1 else float("nan")
