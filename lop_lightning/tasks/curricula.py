"""Curricula over the length of memory N: which N a seed is trained on, and what it is trained on after a check.

A curriculum is a pure function of a few integers (:class:`Level`): it draws no random number and knows no network. The
N of a level are always consecutive, ``low … high``, and each has a readout ("head").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypedDict

from lop_lightning.errors import ConfigError, check_choice, check_count, check_number


class Level(TypedDict):
    """Where one seed stands: plain numbers, as they are in a checkpoint. A level is never changed, only followed.

    Attributes:
        low: Smallest N that is trained.
        high: Largest N that is trained.
        solved: Largest N solved so far; 0: none.
        step: How many N an advance adds (``adaptive``; else 0).
        checks: Checks that the range has had.
        finished: Whether there is nothing more to solve.
    """

    low: int
    high: int
    solved: int
    step: int
    checks: int
    finished: bool


def level_of(low: int, high: int, solved: int = 0, step: int = 0) -> Level:
    """The level of a range that is yet to be checked."""
    return {"low": low, "high": high, "solved": solved, "step": step, "checks": 0, "finished": False}


def trained_ns(level: Level) -> range:
    """The N that are trained on a level."""
    return range(level["low"], level["high"] + 1)


def went_on(old: Level, new: Level) -> bool:
    """Whether a seed has left its range, or has finished."""
    return trained_ns(old) != trained_ns(new) or old["finished"] != new["finished"]


class Advance(TypedDict):
    """How a seed left a range of N.

    Attributes:
        task: The period whose check it was.
        low: Smallest N of the range that was left.
        high: Largest N of that range.
        solved: Largest N solved by then; below ``high`` where the range was not solved but made smaller.
        updates: Updates made by then.
    """

    task: int
    low: int
    high: int
    solved: int
    updates: int


@dataclass(frozen=True)
class Curriculum(ABC):
    """When a range of N is solved, and what follows.

    A range is solved when, at one check, the mean accuracy over its N and the accuracy of its largest N are both
    strictly above ``threshold``; an earlier N may be below. A check advances by one range at most.

    Args:
        start_n: Smallest N of all, at least 2.
        init_heads: How many N are trained at first.
        add_heads: How many N an advance adds (``cumulative``; with ``adaptive`` the first one).
        forget_heads: How many N an advance drops and adds (``sliding``).
        largest_n: N at which a seed is finished once it is solved; no range goes beyond. ``None``: there is no end.
        max_step: How many N an advance adds at most (``adaptive``).
        patience: Checks after which a range counts as slow to solve (``adaptive``).
        threshold: Accuracy above which N is solved, in (0, 1]; at 1 none ever is.

    Raises:
        ConfigError: a value is out of its range.
    """

    start_n: int = 2
    init_heads: int = 1
    add_heads: int = 1
    forget_heads: int = 1
    largest_n: int | None = None
    max_step: int = 8
    patience: int = 3
    threshold: float = 0.98

    heads: ClassVar[str] = "by_n"
    """Which head N has, unless one says otherwise: its own, or that of its place in the range (``position``)."""

    def __post_init__(self) -> None:
        check_count("start_n", self.start_n, 2)
        for name in ("init_heads", "add_heads", "forget_heads", "max_step", "patience"):
            check_count(name, getattr(self, name))
        if self.largest_n is not None:
            check_count("largest_n", self.largest_n, self.start_n)
        check_number("threshold", self.threshold, 0.0, 1.0, open_low=True)

    def initial(self) -> Level:
        """Where every seed begins: the ``init_heads`` smallest N."""
        return level_of(self.start_n, self._capped(self.start_n + self.init_heads - 1))

    def after_check(self, level: Level, accuracies: Sequence[float]) -> Level:
        """Where a seed stands after its check.

        Args:
            level: Where it stood.
            accuracies: Share of right answers for each N of the level, from ``low`` to ``high``; NaN solves nothing.
        """
        if level["finished"]:
            return level
        if len(accuracies) != len(trained_ns(level)):
            raise ValueError(f"{len(accuracies)} accuracies for N = {level['low']} to {level['high']}")
        checked: Level = {**level, "checks": level["checks"] + 1}
        if not self.solves(accuracies):
            return self._unsolved(checked)
        solved: Level = {**checked, "solved": level["high"]}
        if self.largest_n is not None and level["high"] >= self.largest_n:
            return {**solved, "finished": True}
        return self._advanced(solved, accuracies[-1])

    def solves(self, accuracies: Sequence[float]) -> bool:
        """Whether these accuracies, from the smallest N to the largest, solve their range."""
        return sum(accuracies) / len(accuracies) > self.threshold and accuracies[-1] > self.threshold

    @abstractmethod
    def _advanced(self, level: Level, last: float) -> Level:
        """What follows a range just solved, its largest N with accuracy ``last``; there is more to solve."""

    def _unsolved(self, level: Level) -> Level:
        """What follows a check that did not solve the range."""
        return level

    def _capped(self, n: int) -> int:
        return n if self.largest_n is None else min(n, self.largest_n)


class Cumulative(Curriculum):
    """All N so far, and ``add_heads`` more with every advance (the paper's multi-head curriculum)."""

    def _advanced(self, level: Level, last: float) -> Level:
        return level_of(level["low"], self._capped(level["high"] + self.add_heads), level["solved"])


class Sliding(Curriculum):
    """A window of ``init_heads`` N; an advance moves it by ``forget_heads``, or as far as ``largest_n`` lets it.

    Raises:
        ConfigError: as :class:`Curriculum`; or the window would move by more than its width and pass over some N.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forget_heads > self.init_heads:
            legal = f"at most init_heads={self.init_heads}, the width of the window"
            raise ConfigError("forget_heads", self.forget_heads, legal)

    def _advanced(self, level: Level, last: float) -> Level:
        high = self._capped(level["high"] + self.forget_heads)
        return level_of(level["low"] + high - level["high"], high, level["solved"])


class Single(Curriculum):
    """One N, then the next (single-head curriculum); network and, unless one says otherwise, head are carried over."""

    heads: ClassVar[str] = "position"

    def initial(self) -> Level:
        """See :class:`Curriculum`; ``init_heads`` is of no account."""
        return level_of(self.start_n, self.start_n)

    def _advanced(self, level: Level, last: float) -> Level:
        return level_of(level["high"] + 1, level["high"] + 1, level["solved"])


class NoCurriculum(Curriculum):
    """The first range, until it is solved (``none``); ``start_n`` and ``init_heads`` say which."""

    def _advanced(self, level: Level, last: float) -> Level:
        return {**level, "finished": True}


class Adaptive(Curriculum):
    """Cumulative, with as many new N an advance as the last ones were easy (no publication; this library's own).

    ``step``, at first ``add_heads``, is how many N an advance adds. With θ the threshold and a the accuracy of the
    largest N at the check that solves the range,

    * solved at its first check, and with half the margin that there is, (a - θ)/(1 - θ) ≥ ½: step is doubled, up to
      ``max_step``;
    * solved, but only after more than ``patience`` checks: step is halved, down to 1;
    * else it stays. The range then grows by step.
    * Not solved in 2 ``patience`` checks, with two or more N that were never solved: half of those, rounded up, are
      given back. The range ends half-way between ``solved`` and ``high``, step is how many new N are left, and the
      checks are counted anew.
    """

    def initial(self) -> Level:
        """See :class:`Curriculum`."""
        return {**super().initial(), "step": min(self.add_heads, self.max_step)}

    def _advanced(self, level: Level, last: float) -> Level:
        step = level["step"]
        if level["checks"] == 1 and last >= (1 + self.threshold) / 2:
            step = min(2 * step, self.max_step)
        elif level["checks"] > self.patience:
            step = max(1, step // 2)
        return level_of(level["low"], self._capped(level["high"] + step), level["solved"], step)

    def _unsolved(self, level: Level) -> Level:
        known = max(level["solved"], level["low"] - 1)
        new = level["high"] - known
        if level["checks"] < 2 * self.patience or new < 2:
            return level
        return level_of(level["low"], known + new // 2, level["solved"], new // 2)


CURRICULA: dict[str, type[Curriculum]] = {
    "cumulative": Cumulative,
    "sliding": Sliding,
    "single": Single,
    "none": NoCurriculum,
    "adaptive": Adaptive,
}


def curriculum_class(name: str) -> type[Curriculum]:
    """The curriculum called ``name``.

    Raises:
        ConfigError: there is none of this name.
    """
    check_choice("curriculum", name, CURRICULA)
    return CURRICULA[name]
