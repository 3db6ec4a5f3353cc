"""Step sizes that change with the epoch of a task: α times a factor from some epochs on; at the next task α again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from lop_lightning.errors import ConfigError

LrSteps = tuple[tuple[int, float], ...]


def checked_steps(lr_steps: Sequence[Sequence[float]]) -> LrSteps:
    """``lr_steps`` as pairs (epoch, factor).

    Raises:
        ConfigError: it is no list of pairs, the epochs do not increase, or a factor is negative or not finite.
    """
    expected = "a list of [epoch, factor], epochs increasing, as [[60,0.2],[120,0.04]]"
    if not isinstance(lr_steps, list | tuple):
        raise ConfigError("lr_steps", lr_steps, expected)
    for step in lr_steps:
        if not isinstance(step, list | tuple) or len(step) != 2 or not _is_step(*step):
            raise ConfigError("lr_steps", lr_steps, expected)
    steps = tuple((int(epoch), float(factor)) for epoch, factor in lr_steps)
    if any(one[0] >= other[0] for one, other in pairwise(steps)):
        raise ConfigError("lr_steps", lr_steps, expected)
    return steps


def _is_step(epoch: object, factor: object) -> bool:
    if isinstance(epoch, bool) or isinstance(factor, bool) or not isinstance(factor, int | float):
        return False
    return isinstance(epoch, int) and epoch >= 0 and 0 <= factor < math.inf


def factor_at(lr_steps: LrSteps, epoch: int) -> float:
    """The factor of the last step that is not after ``epoch``; 1 before the first."""
    return next((factor for begin, factor in reversed(lr_steps) if begin <= epoch), 1.0)
