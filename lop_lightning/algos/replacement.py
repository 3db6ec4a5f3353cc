"""When units are replaced: the clock of continual backprop, kept on the host.

A unit may be replaced when its age exceeds the maturity threshold m. How many are replaced at an update depends on how
many are old enough, and that depends on earlier replacements alone, never on the data: so the host knows in advance at
which update, in which layer, how many units are reborn, and the device is never asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from lop_lightning.randomness import generator

Clock = dict[str, Any]
"""Plain containers, so that it is saved as it is: ``mature`` (units old enough), ``young`` ([update from which they
are old enough, how many]), ``update`` (up to which both hold), ``budget`` ([numerator, denominator])."""

_BLOCK = 4096


def new_clock(width: int, maturity_threshold: int) -> Clock:
    """All ``width`` units were born at update 0 and first mature at update m + 1."""
    return {"update": 0, "mature": 0, "young": [[maturity_threshold + 1, width]], "budget": [0, 1]}


def replaced(clock: Clock, update: int, count: int, maturity_threshold: int) -> None:
    """``count`` mature units are young again from ``update`` on."""
    clock["mature"] -= count
    clock["young"].append([update + maturity_threshold + 1, count])


def _advance(clock: Clock, update: int) -> None:
    """Moves the clock to ``update``: whoever is old enough by then counts as mature."""
    clock["update"] = update
    while clock["young"] and clock["young"][0][0] <= update:
        clock["mature"] += clock["young"].pop(0)[1]


def _paid(clock: Clock, quota: str) -> int:
    """How many units the rate is paid for."""
    young = sum(count for _, count in clock["young"]) if quota == "all" and clock["mature"] else 0
    return clock["mature"] + young


def next_accumulated(clock: Clock, rate: Fraction, quota: str = "eligible") -> tuple[int, int] | None:
    """The next update at which the budget reaches a whole unit, and how many units it then buys.

    Each update adds ρ · (eligible units) to the budget, in exact arithmetic; whole units are spent at once, and what
    they would buy beyond the eligible is lost. Moves the clock there; ``None`` when ρ is 0.

    Args:
        clock: Moved to that update.
        rate: ρ.
        quota: ``eligible``, or ``all``: an update with any eligible unit adds ρ · (all units).
    """
    if rate == 0:
        return None
    budget = Fraction(*clock["budget"])
    while True:
        _advance(clock, clock["update"] + 1)
        income = rate * _paid(clock, quota)
        until = clock["young"][0][0] if clock["young"] else None  # the income changes there
        wait = ceil((1 - budget) / income) - 1 if income else None  # updates after this one until the budget is whole
        if wait is not None and (until is None or clock["update"] + wait < until):
            _advance(clock, clock["update"] + wait)
            budget += income * (wait + 1)
            count = min(floor(budget), clock["mature"])
            budget -= floor(budget)
            clock["budget"] = [budget.numerator, budget.denominator]
            return clock["update"], count
        assert until is not None  # with no young unit there is income, and the budget becomes whole
        budget += income * (until - clock["update"])
        clock["update"] = until - 1


class Coins:
    """The uniform draws of probabilistic replacement, one an update and layer, of one seed; made in blocks.

    Args:
        seed: The seed.
        layer: The layer's number.
    """

    def __init__(self, seed: int, layer: int) -> None:
        self.seed, self.layer, self.block, self.values = seed, layer, -1, np.empty(0)

    def __call__(self, update: int) -> np.ndarray:
        """The draws of ``update`` and of those that follow it in its block."""
        block, place = divmod(update, _BLOCK)
        if block != self.block:
            self.block, self.values = block, generator(self.seed, "replacement", self.layer, block).random(_BLOCK)
        return self.values[place:]


def next_probabilistic(
    clock: Clock, rate: float, coins: Callable[[int], np.ndarray], rounds_down: bool = False
) -> tuple[int, int] | None:
    """The next update at which chance replaces units, and how many.

    With q = ρ · (eligible units): ⌊q⌋ units, and one more with the probability of the fraction that is left.

    Args:
        clock: Moved to that update.
        rate: ρ.
        coins: Uniform draws from an update on.
        rounds_down: The reference's rule for q ≥ 1: ⌊q⌋ units, the fraction being lost.
    """
    if rate == 0:
        return None
    while True:
        _advance(clock, clock["update"] + 1)
        quota = rate * clock["mature"]
        sure, chance = floor(quota), quota - floor(quota)
        if sure and rounds_down:
            return clock["update"], min(sure, clock["mature"])
        draws = coins(clock["update"])
        if clock["young"]:
            draws = draws[: clock["young"][0][0] - clock["update"]]
        wins = draws <= chance if chance else np.zeros(len(draws), bool)
        if sure:
            return clock["update"], min(sure + int(wins[0]), clock["mature"])
        if wins.any():
            _advance(clock, clock["update"] + int(wins.argmax()))
            return clock["update"], 1
        clock["update"] += len(draws) - 1


def soonest(plans: Sequence[Sequence[tuple[int, int] | None]]) -> int | None:
    """The earliest update of all plans."""
    updates = [plan[0] for plans_of_seed in plans for plan in plans_of_seed if plan is not None]
    return min(updates, default=None)
