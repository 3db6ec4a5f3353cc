"""What becomes of a solved network when one of its units falls silent: the slowest, the fastest, or any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.analysis.timescales.streaming import (
    REPEATS,
    SCORED,
    WARM_UP,
    Quiz,
    Stepper,
    correct,
    quiz,
    relative_accuracy,
)
from lop_lightning.errors import ConfigError, LopError, check_choice, check_count
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.randomness import generator

GROUPS = ("slowest", "fastest", "random")
MODES = ("unit", "readout")
COLUMNS = ["seed", "N", "asked", "kind", "unit", "tau", "repeat", "accuracy", "relative"]

_NUMBERS = 2**24  # in the recurrent weights of the variants that are run together: 64 MB


def ablation(
    solved: Solved,
    n: int | None = None,
    count: int = 20,
    groups: Sequence[str] = ("slowest", "fastest"),
    mode: str = "unit",
    repeats: int = REPEATS,
    seed: int = 0,
    warm_up: int = WARM_UP,
    steps: int = SCORED,
    hold: int | None = None,
    baseline: str = "mean",
    reference_compat: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Streaming accuracy with one unit ablated at a time, for units chosen by their time constants.

    All variants, and the network as it is, answer the same sequences from the same first states, so that they differ
    by the ablation alone.

    Args:
        solved: A leaky network.
        n: The N that is asked; ``None``: the one that was solved.
        count: Units of a group (all, if there are fewer).
        groups: Of ``slowest``, ``fastest`` (by τ; equal ones by their number) and ``random``.
        mode: ``unit`` silences the unit; ``readout`` only takes it from the readout.
        repeats: Sequences.
        seed: Of sequences, first states and random units.
        warm_up: Bits before the first that is scored.
        steps: Bits that are scored.
        hold: In continuous time: steps that a bit lasts.
        baseline: What accuracy is relative to: the ``mean`` or the ``max`` of the repeats without ablation.
        reference_compat: See :func:`ablated`.
        progress: Called now and then with variants done and variants in all.

    Returns:
        Columns ``seed``, ``N`` (solved), ``asked``, ``kind`` (``baseline`` or the group), ``unit`` (-1: none), ``tau``,
        ``repeat``, ``accuracy`` and ``relative``, (accuracy - ½) / (baseline - ½). A unit of two groups is in both.

    Raises:
        LopError: the network has no time constants, or no such readout.
        ConfigError: a setting is out of its range.

    Source: spec of the time-scale system, sections 4.4 and B9 to B11 (Khajehabdollahi et al. 2024).
    """
    n = solved.high if n is None else n
    check_choice("baseline", baseline, ("mean", "max"))
    check_choice("mode", mode, MODES)
    check_count("count", count)
    network = leaky(solved)
    tau = network.tau.detach().expand(network.hidden).double().cpu().numpy()
    chosen = {group: _units(tau, group, min(count, len(tau)), seed, solved.seed) for group in dict.fromkeys(groups)}
    stepper = Stepper(solved, solved.head_of(n))
    asked = quiz(solved, n, None, repeats, seed, warm_up, steps, hold)
    units = [-1, *sorted({unit for group in chosen.values() for unit in group})]
    shares: dict[int, NDArray[np.float64]] = {}
    size = max(1, _NUMBERS // network.recurrent.weight.numel())
    for begin in range(0, len(units), size):
        these = units[begin : begin + size]
        shares |= zip(these, _scores(stepper, solved, asked, these, mode, reference_compat))
        if progress is not None:
            progress(min(begin + size, len(units)), len(units))
    rows = [
        (solved.seed, solved.high, n, kind, unit, tau[unit] if unit >= 0 else np.nan, repeat, share)
        for kind, own in {"baseline": [-1], **chosen}.items()
        for unit in own
        for repeat, share in enumerate(shares[unit])
    ]
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    return table.assign(relative=relative_accuracy(table["accuracy"], shares[-1], baseline))


def _scores(
    stepper: Stepper, solved: Solved, asked: Quiz, units: Sequence[int], mode: str, reference_compat: bool
) -> NDArray[np.float64]:
    assert stepper.head is not None
    changed = ablated(leaky(solved), units, stepper.head, mode, reference_compat)
    return correct(stepper, solved, asked, changed)


@torch.no_grad()
def ablated(
    network: LeakyNetwork, units: Sequence[int], head: int, mode: str = "unit", reference_compat: bool = False
) -> dict[str, Tensor]:
    """Parameters of variants of a network, one for each of ``units``, by name ``[C, …]``; -1 ablates nothing.

    The unit's row and column of W, its input weight, both its biases and its column of the readout are zero: nothing
    enters it and nothing leaves it. With ``mode=readout`` only the last.

    Args:
        network: The network.
        units: Numbers of units.
        head: The readout that will be read.
        mode: ``unit`` or ``readout``.
        reference_compat: What the published code does: the biases stay, and it is always the first readout that the
            unit is taken from, so that another one goes on reading it, as a constant.
    """
    changed = {"head.weight": _copies(network.head.weight, len(units))}
    if mode == "unit":
        changed["recurrent.weight"] = _copies(network.recurrent.weight, len(units))
        changed["inward.weight"] = _copies(network.inward.weight, len(units))
        if not reference_compat:
            changed["inward.bias"] = _copies(network.inward.bias, len(units))
            changed["recurrent.bias"] = _copies(network.recurrent.bias, len(units))
    read = 0 if reference_compat else head
    for place, unit in enumerate(units):
        if unit < 0:
            continue
        changed["head.weight"][place, 2 * read : 2 * read + 2, unit] = 0
        for name in changed.keys() - {"head.weight"}:
            changed[name][place, unit] = 0
        if mode == "unit":
            changed["recurrent.weight"][place, :, unit] = 0
    return changed


def group_means(table: pd.DataFrame) -> pd.DataFrame:
    """Of every network and group the mean over units and repeats: ``seed, N, asked, kind, tau, accuracy, relative``."""
    keys = ["seed", "N", "asked", "kind"]
    return table.groupby(keys, sort=False)[["tau", "accuracy", "relative"]].mean().reset_index()


def leaky(solved: Solved) -> LeakyNetwork:
    """The network, which has time constants.

    Raises:
        LopError: it has none.
    """
    if not isinstance(solved.network, LeakyNetwork):
        raise LopError(f"a {type(solved.network).__name__} has no time constants: only networks of model=leaky have")
    return solved.network


def _units(tau: NDArray[np.float64], group: str, count: int, seed: int, network: int) -> list[int]:
    """Numbers of ``count`` units, the most extreme first."""
    if group == "random":
        return generator(seed, "units to ablate", network).permutation(len(tau))[:count].tolist()
    if group not in GROUPS:
        raise ConfigError("groups", group, choices=GROUPS)
    order = np.argsort(tau if group == "fastest" else -tau, kind="stable")
    return order[:count].tolist()


def _copies(t: Tensor, count: int) -> Tensor:
    return t.detach().expand(count, *t.shape).clone()
