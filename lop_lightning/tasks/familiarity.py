"""Continual familiarity detection: whether an item was shown R items before."""

from __future__ import annotations

from collections.abc import Sequence

from lop_lightning.tasks.intervals import IntervalCurriculum
from lop_lightning.tasks.movies import Movies
from lop_lightning.tasks.repeats import RepeatStream


class Familiarity(RepeatStream):
    """Items of one frame each, in sequences ("movies") of T = max(200, 20 R) items; see :class:`RepeatStream`.

    It is :class:`~lop_lightning.tasks.scenes.Scenes` with ``scene_time`` = 1 and without variation: a "scene" is an
    item, and a repeat is an exact copy.

    Args:
        tasks: Periods at most; see :class:`RepeatStream`.
        updates_per_task: Updates of a period.
        start_r: First R; see :class:`~lop_lightning.tasks.intervals.IntervalCurriculum` for this and what follows.
        step_r: What is added to R (a whole number), or multiplies it (a number with a fraction; rounded up).
        largest_r: R at which a seed is finished once it is solved; ``None``: there is no end.
        acc_threshold: Share of right answers that a sequence must reach.
        acc_num: Sequences in a row that must, to solve R.
        streak_unit: What is counted: ``movie``, or ``step``, updates, by the mean of their sequences.
        max_updates_per_r: Updates in which an R must be solved.
        on_cap: What happens if it is not: ``stop`` or ``advance``.
        other_intervals: Further intervals: each item draws its own from these and R.
        scenes: T; ``auto``: max(``min_scenes``, ``scenes_per_r`` · R).
        min_scenes: Items of a sequence at least (``auto``).
        scenes_per_r: Items of a sequence for each item of the interval (``auto``).
        batch_size: Sequences an update.
        vec_len: Components of an item; see :class:`~lop_lightning.tasks.movies.Movies` for this and what follows.
        repeat_prob: Probability that an item is a repeat, where it can be one.
        allow_multi_repeat: Whether a repeat may be repeated.
        values: What components are: ``pm1``, ``01`` or ``normal``.
        out_dim: Outputs: 1, a logit, or 2, novel and familiar.
        check_movies: Fresh sequences on which accuracy and the two rates are measured at the end of a period.
        probe_size: Sequences that plasticity is measured on.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range.

    Source: Tyulmankov, Yang & Abbott (2022), "Meta-learning synaptic plasticity and memory addressing for continual
    familiarity detection", Neuron 110(3). There a batch is one sequence, and R is solved by the logged accuracies.
    """

    def __init__(
        self,
        tasks: int = 10_000,
        updates_per_task: int = 25,
        start_r: int = 1,
        step_r: float = 1,
        largest_r: int | None = None,
        acc_threshold: float = 0.99,
        acc_num: int = 10,
        streak_unit: str = "movie",
        max_updates_per_r: int = 1_000_000,
        on_cap: str = "stop",
        other_intervals: Sequence[int] = (),
        scenes: int | str = "auto",
        min_scenes: int = 200,
        scenes_per_r: int = 20,
        batch_size: int = 4,
        vec_len: int = 25,
        repeat_prob: float = 0.5,
        allow_multi_repeat: bool = False,
        values: str = "pm1",
        out_dim: int = 1,
        check_movies: int = 4,
        probe_size: int = 4,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        curriculum = IntervalCurriculum(
            start_r, step_r, largest_r, acc_threshold, acc_num, streak_unit, max_updates_per_r, on_cap
        )
        movies = Movies(vec_len, 1, 0.0, repeat_prob, allow_multi_repeat, values=values)
        super().__init__(
            tasks, updates_per_task, curriculum, other_intervals, scenes, min_scenes, scenes_per_r, movies, batch_size,
            out_dim, check_movies, probe_size, seeds, chunk,
        )  # fmt: skip
