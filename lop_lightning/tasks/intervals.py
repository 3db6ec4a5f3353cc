"""A curriculum over the repeat interval R: when R is solved, what comes then, and when it is given up.

Like those over N (:mod:`lop_lightning.tasks.curricula`) it is a pure function of a few plain numbers. It needs no test
of its own: what counts are the accuracies of training, each from before its update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypedDict

from lop_lightning.errors import ConfigError, check_choice, check_count, check_number

_SLACK = 1e-6
"""Accuracies are fractions in single precision: 95 right answers of 100 are a little less than 0.95."""


class IntervalLevel(TypedDict):
    """Where one seed stands: plain numbers, as they are in a checkpoint. A level is never changed, only followed.

    Attributes:
        r: The repeat interval R that is trained.
        solved: Largest R solved so far; 0: none.
        updates: Updates made on this R.
        streak: Movies (or updates) in a row, up to the last, that were accurate enough.
        finished: Whether there is nothing more to solve, or R was given up.
        capped: Whether R was given up: not solved in as many updates as it might take.
    """

    r: int
    solved: int
    updates: int
    streak: int
    finished: bool
    capped: bool


class Departure(TypedDict):
    """How a seed left an R, or came to its end there.

    Attributes:
        task: The period at whose end it was.
        r: R.
        solved: Whether it was solved; else it was given up.
        solved_after: Updates on this R after which it was solved, 0 where it was not.
        updates: Updates made in all by the end of the period.
    """

    task: int
    r: int
    solved: bool
    solved_after: int
    updates: int


@dataclass(frozen=True)
class IntervalCurriculum:
    """R is solved by ``acc_num`` movies in a row, each with at least ``acc_threshold`` of its scenes right.

    Movies are counted in the order of updates, and within an update in that of the batch. At the end of the period in
    which R was solved the seed goes on to the next R, where all counting begins anew.

    Args:
        start_r: First R.
        step_r: A whole number is added to R; a number with a fraction multiplies it, and the product is rounded up.
        largest_r: R at which a seed is finished once it is solved; no R goes beyond. ``None``: there is no end.
        acc_threshold: Share of right answers, in (0, 1], that a movie (or update) must reach.
        acc_num: How many in a row must.
        streak_unit: What is counted: ``movie``, each by itself, or ``step``, updates, by the mean of their movies,
            which is much stricter.
        max_updates_per_r: Updates in which an R must be solved.
        on_cap: What happens if it is not: ``stop``, the seed is finished, or ``advance``, it goes on to the next R all
            the same, without its R being solved.
        limit: R beyond which there is none, whatever the step; ``None``: there is no such. The stream says it.

    Raises:
        ConfigError: a value is out of its range.

    Source: the protocol of the repository ``LeonLixyz/HybridMemoyPlasticity``, where a capped R is advanced from.
    """

    start_r: int = 1
    step_r: float = 1
    largest_r: int | None = None
    acc_threshold: float = 0.99
    acc_num: int = 10
    streak_unit: str = "movie"
    max_updates_per_r: int = 1_000_000
    on_cap: str = "stop"
    limit: int | None = None

    def __post_init__(self) -> None:
        check_count("start_r", self.start_r)
        is_number = isinstance(self.step_r, int | float) and not isinstance(self.step_r, bool)
        if not is_number or not 1 <= self.step_r < math.inf:
            legal = "a whole number of at least 1, which is added to R, or one like 1.5, by which R is multiplied"
            raise ConfigError("step_r", self.step_r, legal)
        if self.largest_r is not None:
            check_count("largest_r", self.largest_r, self.start_r)
        check_number("acc_threshold", self.acc_threshold, 0.0, 1.0, open_low=True)
        check_count("acc_num", self.acc_num)
        check_choice("streak_unit", self.streak_unit, ("movie", "step"))
        check_count("max_updates_per_r", self.max_updates_per_r)
        check_choice("on_cap", self.on_cap, ("stop", "advance"))

    def initial(self) -> IntervalLevel:
        """Where every seed begins."""
        return _level_of(self.start_r, 0)

    def next_r(self, r: int) -> int | None:
        """The R after ``r``, or ``None`` where there is none.

        >>> curriculum = IntervalCurriculum(step_r=1.5, largest_r=7)
        >>> curriculum.next_r(1), curriculum.next_r(3), curriculum.next_r(5), curriculum.next_r(7)
        (2, 5, 7, None)
        """
        step = Fraction(str(self.step_r))  # 1.1, which as a float is a little more, makes 11 of 10
        following = r + int(step) if step.denominator == 1 else math.ceil(r * step)
        if self.largest_r is not None:
            following = min(following, self.largest_r)
        return following if r < following and (self.limit is None or following <= self.limit) else None

    def after_period(
        self, level: IntervalLevel, accuracies: Sequence[Sequence[float]]
    ) -> tuple[IntervalLevel, int | None]:
        """Where a seed stands after a period.

        Args:
            level: Where it stood.
            accuracies: For each update of the period the accuracy of each movie of the batch, ``[updates, B]``; NaN
                is not accurate. They count up to the cap.

        Returns:
            The level, and the updates on this R after which it was solved; ``None``: it was not.
        """
        if level["finished"]:
            return level, None
        before, streak, cap = level["updates"], level["streak"], self.max_updates_per_r
        trained: IntervalLevel = {**level, "updates": before + len(accuracies)}
        for number, batch in enumerate(accuracies[: cap - before], before + 1):
            for accuracy in batch if self.streak_unit == "movie" else [sum(batch) / len(batch)]:
                streak = streak + 1 if accuracy >= self.acc_threshold - _SLACK else 0
                if streak == self.acc_num:
                    return self._left({**trained, "solved": level["r"], "streak": streak}), number
        unsolved: IntervalLevel = {**trained, "streak": streak}
        if unsolved["updates"] < cap:
            return unsolved, None
        if self.on_cap == "advance" and self.next_r(level["r"]) is not None:
            return self._left(unsolved), None
        return {**unsolved, "finished": True, "capped": True}, None

    def _left(self, level: IntervalLevel) -> IntervalLevel:
        """What follows an R that is over and done with."""
        following = self.next_r(level["r"])
        return {**level, "finished": True} if following is None else _level_of(following, level["solved"])


def _level_of(r: int, solved: int) -> IntervalLevel:
    """The level of an R that is yet to be trained."""
    return {"r": r, "solved": solved, "updates": 0, "streak": 0, "finished": False, "capped": False}
