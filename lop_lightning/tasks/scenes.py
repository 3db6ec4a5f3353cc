"""Continual scene detection: whether a scene of several frames, each a little different, was shown R scenes before."""

from __future__ import annotations

from collections.abc import Sequence

from lop_lightning.tasks.intervals import IntervalCurriculum
from lop_lightning.tasks.movies import Movies
from lop_lightning.tasks.repeats import RepeatStream


class Scenes(RepeatStream):
    """Scenes of ``scene_time`` frames, in movies of T = max(100, 20 R) scenes; see :class:`RepeatStream`.

    The frames of one scene are alike, so that plasticity has to do with them whether or not the scene is familiar: a
    network must see the trace that is R scenes old through those of the last frames.

    Args:
        tasks: Periods at most; see :class:`RepeatStream`.
        updates_per_task: Updates of a period.
        start_r: First R; see :class:`~lop_lightning.tasks.intervals.IntervalCurriculum` for this and what follows.
        step_r: What is added to R (a whole number), or multiplies it (a number with a fraction; rounded up).
        largest_r: R at which a seed is finished once it is solved; ``None``: there is no end.
        acc_threshold: Share of right answers that a movie must reach.
        acc_num: Movies in a row that must, to solve R.
        streak_unit: What is counted: ``movie``, or ``step``, updates, by the mean of their movies.
        max_updates_per_r: Updates in which an R must be solved.
        on_cap: What happens if it is not: ``stop`` or ``advance``.
        other_intervals: Further intervals: each scene draws its own from these and R.
        scenes: T; ``auto``: max(``min_scenes``, ``scenes_per_r`` · R).
        min_scenes: Scenes of a movie at least (``auto``).
        scenes_per_r: Scenes of a movie for each scene of the interval (``auto``).
        batch_size: Movies an update.
        vec_len: Components of a frame; see :class:`~lop_lightning.tasks.movies.Movies` for this and what follows.
        scene_time: Frames of a scene.
        VAR: Share of the components that differ between a scene's first frame and another of its frames.
        repeat_prob: Probability that a scene is a repeat, where it can be one.
        allow_multi_repeat: Whether a repeat may be repeated.
        variation_mode: What a frame is a variation of: ``base``, the scene's first, or ``chain``, the one before it.
        familiar_noise: What a repeat shows: ``exact``, the same frames, or ``resample``, new variations.
        shuffle_familiar: Whether the frames of a repeat come in a random order (``exact``).
        values: What components are: ``pm1``, ``01`` or ``normal``.
        out_dim: Outputs: 1, a logit, or 2, novel and familiar.
        check_movies: Fresh movies on which accuracy and the two rates are measured at the end of a period.
        probe_size: Movies that plasticity is measured on.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range.

    Source: repository ``LeonLixyz/HybridMemoyPlasticity`` (2022-2025), a hybrid of Tyulmankov et al. (2022) and
    Aitken & Mihalas (2023). There a batch is one movie, ``acc_num`` is 5, and R goes on after the cap.
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
        min_scenes: int = 100,
        scenes_per_r: int = 20,
        batch_size: int = 4,
        vec_len: int = 25,
        scene_time: int = 4,
        VAR: float = 0.1,
        repeat_prob: float = 0.5,
        allow_multi_repeat: bool = False,
        variation_mode: str = "base",
        familiar_noise: str = "exact",
        shuffle_familiar: bool = True,
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
        movies = Movies(
            vec_len, scene_time, VAR, repeat_prob, allow_multi_repeat, variation_mode, familiar_noise,
            shuffle_familiar, values,
        )  # fmt: skip
        super().__init__(
            tasks, updates_per_task, curriculum, other_intervals, scenes, min_scenes, scenes_per_r, movies, batch_size,
            out_dim, check_movies, probe_size, seeds, chunk,
        )  # fmt: skip
