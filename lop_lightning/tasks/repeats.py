"""Streams of movies whose scenes come back after R scenes, with R growing by a curriculum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lop_lightning.errors import ConfigError, check_count
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, Position, StreamSpec
from lop_lightning.tasks.intervals import Departure, IntervalCurriculum, IntervalLevel
from lop_lightning.tasks.movies import Drawn, Movies
from lop_lightning.tasks.paced import PacedStream

Place = tuple[int, IntervalLevel]  # a seed and where it stands


class RepeatStream(PacedStream):
    """Movies, and after every scene the question whether it was shown before: a repeat of that R scenes earlier.

    The curriculum takes the accuracies of training (:meth:`advance`). Inputs ``[B, T·S, d]`` are T scenes of S frames,
    ragged (see :class:`StreamSpec`): movies are as long as the seed's R wants, and NaN from their end on. Targets
    ``[B, T]`` are 1 for a familiar scene, 0 for a novel one, -1 after the end; the network answers at each scene's
    last frame.

    Args:
        tasks: Periods at most; see :class:`PacedStream` for what a period is.
        updates_per_task: Updates of a period.
        curriculum: Which R is trained, and when it is solved.
        other_intervals: Further intervals: each scene draws its own from these and R.
        scenes: T; ``auto``: max(``min_scenes``, ``scenes_per_r`` · R), with R the largest interval.
        min_scenes: Scenes of a movie at least (``auto``).
        scenes_per_r: Scenes of a movie for each scene of the interval (``auto``).
        movies: What scenes are, and which come back.
        batch_size: Movies an update.
        out_dim: Outputs: 1, a logit, or 2, novel and familiar.
        check_movies: Fresh movies on which accuracy and the two rates are measured at the end of a period.
        probe_size: Movies that plasticity is measured on.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Attributes:
        levels: Where each seed stands.
        history: For each seed the R that it has left, in order; see :mod:`lop_lightning.tasks.intervals`.

    Raises:
        ConfigError: a value is out of its range, or an interval is not below the number of scenes.

    Source: Tyulmankov, Yang & Abbott (2022), "Meta-learning synaptic plasticity and memory addressing for continual
    familiarity detection", Neuron 110(3); scenes: repository ``LeonLixyz/HybridMemoyPlasticity``.
    """

    levels: list[IntervalLevel]

    def __init__(
        self,
        tasks: int,
        updates_per_task: int,
        curriculum: IntervalCurriculum,
        other_intervals: Sequence[int],
        scenes: int | str,
        min_scenes: int,
        scenes_per_r: int,
        movies: Movies,
        batch_size: int,
        out_dim: int,
        check_movies: int,
        probe_size: int,
        seeds: int | Sequence[int],
        chunk: int | str,
    ) -> None:
        for name, count, low in (("updates_per_task", updates_per_task, 1), ("min_scenes", min_scenes, 2),
                                 ("scenes_per_r", scenes_per_r, 2), ("check_movies", check_movies, 1)):  # fmt: skip
            check_count(name, count, low)
        check_count("out_dim", out_dim, 1, 2)
        listed = isinstance(other_intervals, Sequence) and not isinstance(other_intervals, str)
        if not listed or any(isinstance(r, bool) or not isinstance(r, int) or r < 1 for r in other_intervals):
            raise ConfigError("other_intervals", other_intervals, "a list of whole numbers of at least 1, or []")
        if not isinstance(scenes, str):
            curriculum = _fitted(curriculum, other_intervals, scenes)
        elif scenes != "auto":
            raise ConfigError("scenes", scenes, "auto, or a whole number of at least 2", ["auto"])
        self.curriculum, self.other_intervals = curriculum, tuple(other_intervals)
        self.scenes, self.min_scenes, self.scenes_per_r = scenes, min_scenes, scenes_per_r
        self.movies, self.out_dim, self.check_movies = movies, out_dim, check_movies
        super().__init__(tasks, batch_size, updates_per_task, probe_size, seeds, chunk)

    # ---- what a stream says of itself

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`; the shape is that of the first level's movies, and stays so."""
        time, movies = self.movies.scene_time, self.movies
        shape = (self.train_scenes(self.curriculum.start_r) * time, movies.vec_len)
        return StreamSpec(shape, self.out_dim, "sequence_cross_entropy", ragged=True, read_every=time)

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`TaskStream`: what the answer "novel", always given, reaches."""
        p, familiar = self.movies.repeat_prob, self.movies.familiar_share
        return (
            f"task.repeat_prob={p}: of a long movie's scenes {familiar:.1%} are familiar; to call all of them novel is "
            f"right in {1 - familiar:.1%}, and that is chance",
        )

    @property
    def standing(self) -> str:
        """See :class:`TaskStream`: the R that is trained, and of several seeds the least and the greatest."""
        every = sorted({level["r"] for level in self.levels})
        return f"R {every[0]}" if len(every) == 1 else f"R {every[0]}-{every[-1]}"

    @property
    def largest_example(self) -> int:
        """See :class:`PacedStream`."""
        scenes = max(self.train_scenes(level["r"]) for level in self.levels)
        return scenes * self.movies.scene_time * self.movies.vec_len

    def intervals(self, r: int) -> tuple[int, ...]:
        """The intervals from which the scenes of a movie draw theirs, where ``r`` is trained."""
        return tuple(sorted({r, *self.other_intervals}))

    def train_scenes(self, r: int) -> int:
        """Scenes T of a movie that trains ``r``."""
        if not isinstance(self.scenes, str):
            return self.scenes
        return max(self.min_scenes, self.scenes_per_r * max(self.intervals(r)))

    @staticmethod
    def test_scenes(r: int) -> int:
        """Scenes T of a movie that tests a network at ``r``: max(1000, 200 R)."""
        return max(1000, 200 * r)

    # ---- levels

    def initial_level(self) -> IntervalLevel:
        """See :class:`PacedStream`."""
        return self.curriculum.initial()

    def described(self, level: IntervalLevel) -> dict[str, Any]:
        """See :class:`PacedStream`: R, and the scenes of a movie."""
        return {"r": level["r"], "scenes": self.train_scenes(level["r"])}

    def advance(
        self, task: int, accuracies: Sequence[Sequence[Sequence[float]]], updates: int | None = None
    ) -> list[int]:
        """Takes every seed to where its accuracies in a period put it.

        Args:
            task: The period that has ended.
            accuracies: For each seed, update and movie the share of right answers.
            updates: Updates made so far; ``None``: those of the stream up to the end of the period.

        Returns:
            The rows of the seeds whose R has changed or that have finished.
        """
        updates = self.updates_before(Position(task + 1)) if updates is None else updates
        before, follow = self.levels, self.curriculum.after_period
        found = [follow(level, shares) for level, shares in zip(before, accuracies, strict=True)]
        self.levels, moved = [level for level, _ in found], []
        for row, (old, (new, solved_after)) in enumerate(zip(before, found)):
            if (old["r"], old["finished"]) != (new["r"], new["finished"]):
                left: Departure = {
                    "task": task, "r": old["r"], "solved": solved_after is not None,
                    "solved_after": solved_after or 0, "updates": updates,
                }  # fmt: skip
                self.history[row].append(left)
                moved.append(row)
        return moved

    # ---- data

    def checks(self, task: int) -> Iterator[Batch]:
        """See :class:`PacedStream`: one batch, ``[S, check_movies, T_pad·S, d]`` and ``[S, check_movies, T_pad]``."""
        yield self.fresh(self.places, self.check_movies, 0, ("check", task))

    def batches(self, index: int, updates: Sequence[int], places: Sequence[Place]) -> Batch:
        """See :class:`PacedStream`: inputs ``[K, S, B, T_pad·S, d]``, targets ``[K, S, B, T_pad]``."""
        size, shape = self.examples_an_update, (len(updates), len(places))
        drawn = [own for u in updates for own in self._drawn(places, size, ("batch", index, u))]
        inputs, targets = self._made(drawn)
        return inputs.unflatten(0, shape), targets.unflatten(0, shape)

    def fresh(self, places: Sequence[Place], count: int, number: int, purpose: Sequence[object]) -> Batch:
        """See :class:`PacedStream`: inputs ``[S, count, T_pad·S, d]``, targets ``[S, count, T_pad]``."""
        return self._made(self._drawn(places, count, purpose))

    def _drawn(self, places: Sequence[Place], count: int, purpose: Sequence[object]) -> list[Drawn]:
        return [
            self.movies.draw(generator(seed, *purpose), self.intervals(r), self.train_scenes(r), count)
            for seed, r in ((seed, level["r"]) for seed, level in places)
        ]

    def _made(self, drawn: Sequence[Drawn]) -> Batch:
        movies = self.movies.make(drawn)
        return movies.frames.to(self.device), movies.labels.to(self.device)


def _fitted(curriculum: IntervalCurriculum, others: Sequence[int], scenes: int) -> IntervalCurriculum:
    """The curriculum in movies of so many scenes: no R goes beyond the last of them.

    Raises:
        ConfigError: an interval that somebody asks for does.
    """
    check_count("scenes", scenes, 2)
    legal = f"less than scenes={scenes}, so that a scene comes back within its movie"
    if curriculum.start_r >= scenes:
        raise ConfigError("start_r", curriculum.start_r, legal)
    if curriculum.largest_r is not None and curriculum.largest_r >= scenes:
        raise ConfigError("largest_r", curriculum.largest_r, legal)
    if max(others, default=0) >= scenes:
        raise ConfigError("other_intervals", list(others), f"each {legal}")
    return replace(curriculum, limit=scenes - 1)
