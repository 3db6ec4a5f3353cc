"""The clock that foresees replacements, against loops that go update by update."""

import json
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from lop_lightning.algos.replacement import (
    Coins,
    new_clock,
    next_accumulated,
    next_probabilistic,
    replaced,
    soonest,
)


def foreseen(width, maturity, updates, plan, save=False):
    """[(update, count)] up to ``updates``, as the learner asks for them; with ``save`` the clock goes through JSON."""
    clock, found = new_clock(width, maturity), []
    while (event := plan(clock)) is not None and event[0] <= updates:
        found.append(tuple(event))
        replaced(clock, *event, maturity)
        if save:
            clock = json.loads(json.dumps(clock))
    return found


def one_by_one(width, maturity, updates, count_of):
    """The definition: ages grow by one an update; ``count_of(update, eligible)`` of the eligible are reborn."""
    ages, found = [0] * width, []
    for update in range(1, updates + 1):
        ages = [age + 1 for age in ages]
        eligible = [i for i, age in enumerate(ages) if age > maturity]
        count = count_of(update, len(eligible)) if eligible else 0
        for i in eligible[:count]:
            ages[i] = 0
        if count:
            found.append((update, count))
    return found


class Budget:
    def __init__(self, rate, width=None):
        self.rate, self.width, self.budget = rate, width, Fraction(0)

    def __call__(self, update, eligible):
        self.budget += self.rate * (self.width or eligible)
        count = self.budget.numerator // self.budget.denominator
        self.budget -= count
        return min(count, eligible)


RATES = [Fraction(1), Fraction(1, 2), Fraction(1, 3), Fraction(1, 10), Fraction(7, 100), Fraction(1, 1000)]


@pytest.mark.parametrize("rate", RATES)
def test_accumulated_replacement_is_the_definition(rate):
    for width, maturity, save in product([1, 2, 5, 13], [0, 1, 3, 20], [False, True]):
        found = foreseen(width, maturity, 400, lambda clock: next_accumulated(clock, rate), save)
        assert found == one_by_one(width, maturity, 400, Budget(rate)), (width, maturity)
        assert found or rate * width * 400 < 2


@pytest.mark.parametrize("rate", [*RATES, Fraction(2, 5)])
def test_a_quota_of_all_units_is_the_definition(rate):
    """Paid for all units at each update with an eligible one; no more than the eligible are replaced."""
    for width, maturity, save in product([1, 2, 5, 13], [0, 1, 3, 20], [False, True]):
        found = foreseen(width, maturity, 400, lambda clock: next_accumulated(clock, rate, "all"), save)
        assert found == one_by_one(width, maturity, 400, Budget(rate, width)), (width, maturity)
    if rate == Fraction(1, 1000):  # nothing is clipped: all units are paid for but in the first m updates
        assert sum(count for _, count in found) == int(rate * 13 * (400 - 20))


def test_a_wide_layer_spends_several_units_at_once():
    found = foreseen(2000, 100, 300, lambda clock: next_accumulated(clock, Fraction(3, 1000)))
    assert found[0] == (101, 6)
    assert found == one_by_one(2000, 100, 300, Budget(Fraction(3, 1000)))


def test_rate_one_without_maturity_replaces_everyone_always():
    assert foreseen(7, 0, 5, lambda clock: next_accumulated(clock, Fraction(1))) == [(u, 7) for u in range(1, 6)]


def test_no_rate_no_event():
    assert next_accumulated(new_clock(5, 3), Fraction(0)) is None
    assert next_probabilistic(new_clock(5, 3), 0.0, Coins(0, 0)) is None


def test_the_realised_rate_is_the_rate():
    width, maturity, rate, updates = 50, 20, Fraction(1, 1000), 100_000
    found = foreseen(width, maturity, updates, lambda clock: next_accumulated(clock, rate))
    # every rebirth takes a unit out of the eligible for m updates: k = ρ·(n·T - k·m), up to the ends
    expected = float(rate) * width * updates / (1 + float(rate) * maturity)
    assert sum(count for _, count in found) == pytest.approx(expected, abs=2.5)


@pytest.mark.parametrize("rounds_down", [False, True])
def test_probabilistic_replacement_is_the_definition(rounds_down):
    for rate, width, maturity, save in product([1.0, 0.5, 0.3, 0.02, 0.001], [1, 4, 11], [0, 1, 7], [False, True]):
        coins = Coins(5, width)

        def count_of(update, eligible, rate=rate, draws=coins):
            quota = rate * eligible
            sure, chance = int(quota), quota - int(quota)
            lucky = chance > 0 and bool(draws(update)[0] <= chance)
            return min(eligible, sure if sure and rounds_down else sure + lucky)

        fresh = Coins(5, width)
        found = foreseen(
            width, maturity, 5000, lambda clock, r=rate, c=fresh: next_probabilistic(clock, r, c, rounds_down), save
        )
        assert found == one_by_one(width, maturity, 5000, count_of), (rate, width, maturity)


def test_probabilistic_replacement_keeps_its_rate_above_one():
    """ρ·n = 2.5: half a unit each update would be lost by rounding down (the reference does)."""
    coins = Coins(1, 0)
    exact = foreseen(5, 0, 20_000, lambda clock: next_probabilistic(clock, 0.5, coins))
    down = foreseen(5, 0, 20_000, lambda clock: next_probabilistic(clock, 0.5, coins, rounds_down=True))
    total = sum(count for _, count in exact)
    assert abs(total - 2.5 * 20_000) < 5 * (20_000 * 0.25) ** 0.5
    assert sum(count for _, count in down) == 2 * 20_000


def test_probabilistic_rate_within_binomial_bounds():
    rate, width, updates = 1e-3, 20, 200_000
    coins = Coins(2, 0)
    found = foreseen(width, 0, updates, lambda clock: next_probabilistic(clock, rate, coins))
    chance = rate * width
    deviation = (updates * chance * (1 - chance)) ** 0.5
    assert abs(len(found) - updates * chance) < 4 * deviation
    gaps = np.diff([update for update, _ in found])
    assert abs(gaps.mean() * chance - 1) < 4 / len(gaps) ** 0.5
    assert abs(gaps.std() / gaps.mean() - 1) < 0.1  # geometric


def test_coins_are_a_function_of_seed_layer_and_update():
    coins = Coins(3, 1)
    draws = {update: coins(update)[0] for update in (1, 4095, 4096, 10_000, 4094, 1)}
    assert draws == {update: Coins(3, 1)(update)[0] for update in draws}
    assert coins(4095).shape == (1,)
    np.testing.assert_array_equal(coins(10)[5:9], coins(15)[:4])
    others = [Coins(4, 1)(1)[0], Coins(3, 0)(1)[0], coins(1 + 4096)[0]]
    assert len({draws[1], *others}) == 4


def test_soonest():
    assert soonest([[(7, 1), None], [(5, 2), (9, 1)]]) == 5
    assert soonest([[None]]) is None
    assert soonest([[]]) is None
