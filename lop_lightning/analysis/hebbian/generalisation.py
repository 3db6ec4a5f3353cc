"""How well a network that was trained at one repeat interval does at others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd
import torch

from lop_lightning.analysis.hebbian.answers import Rates, called_familiar, logits_of, rates
from lop_lightning.networks import Network
from lop_lightning.randomness import generator
from lop_lightning.tasks.repeats import RepeatStream

PURPOSE = "generalise"
LINEAR, GEOMETRIC = "linear", "geometric"
FACTOR, FURTHEST = 1.3, 500
"""Of the geometric series of intervals: from one to the next, and where it ends at the latest."""
FRAMES_AT_ONCE = 200_000
"""Frames, of all movies together, that a network reads in one go."""


def intervals_of(tests: str | Sequence[int], r: int) -> list[int]:
    """The intervals at which a network is tested that was trained at ``r``.

    ``linear``: 1, …, max(20, 5 R) - 1. ``geometric``: 1 and ever 1.3 times as much, rounded up.

    >>> intervals_of("geometric", 3)[:8], len(intervals_of("linear", 3)), intervals_of([7, 2], 3)
    ([1, 2, 3, 4, 6, 8, 11, 15], 19, [7, 2])
    """
    if not isinstance(tests, str):
        return list(tests)
    if tests == LINEAR:
        return list(range(1, max(20, 5 * r)))
    series = [1]
    while (following := math.ceil(series[-1] * FACTOR)) <= FURTHEST:
        series.append(following)
    return series


def generalisation(
    network: Network,
    stream: RepeatStream,
    tests: Iterable[int],
    movies: int,
    scenes: int | None = None,
    until_chance: bool = False,
) -> pd.DataFrame:
    """Accuracy and rates of one network at one interval after another.

    At each interval all networks see the same movies.

    Args:
        network: The network.
        stream: Its stream: what its scenes are.
        tests: Intervals R.
        movies: How many at each.
        scenes: Scenes of each; ``None``: max(1000, 200 R).
        until_chance: Whether the first interval is the last at which no more of the familiar than of the novel scenes
            are called familiar.

    Returns:
        Columns ``tested`` (R), ``accuracy``, ``true_positive_rate``, ``false_positive_rate``, ``scenes``, ``movies``.

    Raises:
        ConfigError: an interval is not below the number of scenes.
    """
    rows = []
    for r in tests:
        length = stream.test_scenes(r) if scenes is None else scenes
        found = rates_at(network, stream, r, movies, length)
        shares = (found.accuracy, found.true_positive_rate, found.false_positive_rate)
        rows.append((r, *shares, length, movies))
        if until_chance and not found.true_positive_rate > found.false_positive_rate:
            break
    columns = ["tested", "accuracy", "true_positive_rate", "false_positive_rate", "scenes", "movies"]
    return pd.DataFrame(rows, columns=columns)


@torch.no_grad()
def rates_at(network: Network, stream: RepeatStream, r: int, movies: int, scenes: int) -> Rates:
    """How a network does on movies of which only the interval and the number of scenes say which they are."""
    drawn = stream.movies.draw(generator(0, PURPOSE, r), (r,), scenes, movies)
    made, says = stream.movies.make([drawn]), []
    frames = made.frames[0].to(stream.spec.dtype)
    for some in frames.split(max(1, FRAMES_AT_ONCE // frames.shape[1])):
        output, _ = network(some)
        says.append(called_familiar(logits_of(output, stream.out_dim), stream.out_dim))
    return rates(torch.cat(says), made.labels[0])
