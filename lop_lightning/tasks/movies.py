"""Movies of scenes that come back after R scenes: what continual familiarity and scene detection show a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_number
from lop_lightning.tasks.movie_repeats import choose_components, choose_repeats, one_of

IGNORED = 2
"""Label of a frame at which nothing is asked."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The random numbers of some movies of one seed.

    Attributes:
        intervals: Repeat intervals R, from which each scene draws its own.
        numbers: ``[movies, T, n]`` of U[0, 1): the n numbers of each scene, as :meth:`Movies.columns` has them.
    """

    intervals: tuple[int, ...]
    numbers: NDArray[np.float32]

    @property
    def scenes(self) -> int:
        """Scenes T of a movie."""
        return self.numbers.shape[1]


@dataclass(frozen=True, eq=False)
class MovieBatch:
    """Movies of several seeds, B each, that are padded to the scenes T_pad of the longest.

    Attributes:
        frames: ``[seeds, B, T_pad·S, d]``, float32, NaN from the movie's end on.
        labels: ``[seeds, B, T_pad]``, int64: 1 familiar, 0 novel, -1 from the movie's end on.
        source: ``[seeds, B, T_pad]``, int64: the novel scene that a scene shows, itself if it is novel; padded by -1.
    """

    frames: Tensor
    labels: Tensor
    source: Tensor


@dataclass(frozen=True)
class Movies:
    """Draws movies: T scenes of S frames of d components, in which scenes come back after R scenes.

    A novel scene is a base of d random components, then S-1 variations of it, each with k = ⌊d · VAR⌋ distinct,
    uniformly chosen components flipped. Scene t may be familiar if t >= R: with probability P, and only if scene t - R
    was novel, it is that scene once more, its frames in a random order. Familiar is hence a share q of the scenes
    with q = 0 before R and q = P (1 - q) from one block of R scenes to the next, in the end P/(1+P).

    With S = 1 and VAR = 0 this is continual familiarity detection (Tyulmankov, Yang & Abbott 2022); with S > 1 it is
    continual scene detection (repository ``LeonLixyz/HybridMemoyPlasticity``).

    Args:
        vec_len: Components d of a frame.
        scene_time: Frames S of a scene.
        VAR: Share of the components that a variation flips.
        repeat_prob: P.
        allow_multi_repeat: Whether a scene that is a repeat may be repeated; then P of all scenes from R on are
            familiar.
        variation_mode: ``base``, every variation is one of the base, or ``chain``, of the frame before it.
        familiar_noise: What a familiar scene shows: ``exact``, the frames of its source, or ``resample``, the same
            base with variations of its own, base first as in a novel scene.
        shuffle_familiar: Whether the frames of an exact familiar scene come in a random order, and not in its
            source's.
        values: Components of a base: ``pm1``, fair signs; ``01``, fair bits; ``normal``, N(0, 1). A flip takes the
            other sign or the other bit.

    Raises:
        ConfigError: a value is out of its range.
    """

    vec_len: int = 25
    scene_time: int = 4
    VAR: float = 0.1
    repeat_prob: float = 0.5
    allow_multi_repeat: bool = False
    variation_mode: str = "base"
    familiar_noise: str = "exact"
    shuffle_familiar: bool = True
    values: str = "pm1"

    def __post_init__(self) -> None:
        check_count("vec_len", self.vec_len)
        check_count("scene_time", self.scene_time)
        check_number("VAR", self.VAR, 0.0, 1.0)
        check_number("repeat_prob", self.repeat_prob, 0.0, 1.0)
        check_flag("allow_multi_repeat", self.allow_multi_repeat)
        check_choice("variation_mode", self.variation_mode, ("base", "chain"))
        check_choice("familiar_noise", self.familiar_noise, ("exact", "resample"))
        check_flag("shuffle_familiar", self.shuffle_familiar)
        check_choice("values", self.values, ("pm1", "01", "normal"))

    @property
    def familiar_share(self) -> float:
        """Share of the scenes of a long movie that are familiar: P/(1+P), or P where repeats may be repeated."""
        return self.repeat_prob if self.allow_multi_repeat else self.repeat_prob / (1 + self.repeat_prob)

    @property
    def flips(self) -> int:
        """k, the components that a variation flips."""
        return math.floor(self.vec_len * self.VAR + 1e-9)  # 100 · 0.29 is a little less than 29 in floating point

    @property
    def columns(self) -> dict[str, slice]:
        """Which of a scene's random numbers are for what.

        ``wish``: whether it repeats another, ``interval``: after which R, ``base``: its components, ``variation``:
        of each frame but the first, the flipped components (or, where it is less, the others), ``order``: of the
        frames, if it is a shuffled repeat.
        """
        variation = (self.scene_time - 1) * min(self.flips, self.vec_len - self.flips)
        order = self.scene_time if self._shuffles else 0
        sizes = {"wish": 1, "interval": 1, "base": self.vec_len, "variation": variation, "order": order}
        ends = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends)}

    def draw(self, rng: np.random.Generator, intervals: Sequence[int], scenes: int, count: int) -> Drawn:
        """The random numbers of ``count`` movies of one seed; all in one call, so that halves of a batch are the batch.

        Args:
            rng: The generator; each scene takes as many of its numbers as :attr:`columns` has.
            intervals: Repeat intervals R; if there are several, each scene draws its own from them.
            scenes: Scenes T of a movie.
            count: Movies.

        Raises:
            ConfigError: an interval is not a whole number of at least 1 and below ``scenes``.
        """
        whole = all(isinstance(r, int) and not isinstance(r, bool) for r in intervals)
        if not (intervals and whole and all(0 < r < scenes for r in intervals)):
            legal = f"whole numbers of at least 1 and below the number of scenes, {scenes}"
            raise ConfigError("intervals", list(intervals), legal)
        size = max(part.stop for part in self.columns.values())
        numbers = rng.random((count, scenes * size), dtype=np.float32)
        return Drawn(tuple(intervals), numbers.reshape(count, scenes, size))

    def make(self, drawn: Sequence[Drawn]) -> MovieBatch:
        """The movies of all seeds.

        Args:
            drawn: Numbers of each seed's movies, equally many; intervals and scenes may differ.
        """
        (movies, _, size), longest = drawn[0].numbers.shape, max(own.scenes for own in drawn)
        numbers = np.zeros((len(drawn), movies, longest, size), dtype=np.float32)
        intervals = np.full((len(drawn), movies, longest), longest)  # too long for padding to repeat anything
        choice = self.columns["interval"]
        for place, after, own in zip(numbers, intervals, drawn):
            place[:, : own.scenes] = own.numbers
            after[:, : own.scenes] = np.take(own.intervals, one_of(own.numbers[..., choice.start], len(own.intervals)))
        rows = numbers.reshape(-1, longest, size)
        wished = rows[..., self.columns["wish"].start] < self.repeat_prob
        familiar, source = choose_repeats(wished, intervals.reshape(-1, longest), self.allow_multi_repeat)
        frames = self._frames(rows, familiar, source).reshape(len(drawn), movies, -1, self.vec_len)
        labels = torch.from_numpy(familiar.astype(np.int64).reshape(intervals.shape))
        sources = torch.from_numpy(source.reshape(intervals.shape))
        for seed, own in enumerate(drawn):
            frames[seed, :, own.scenes * self.scene_time :] = float("nan")
            labels[seed, :, own.scenes :] = -1
            sources[seed, :, own.scenes :] = -1
        return MovieBatch(frames, labels, sources)

    @property
    def _shuffles(self) -> bool:
        return self.shuffle_familiar and self.familiar_noise == "exact" and self.scene_time > 1

    def _frames(self, numbers: NDArray[np.float32], familiar: NDArray[np.bool_], source: NDArray[np.int64]) -> Tensor:
        """Frames ``[N·T·S, d]``: of each the base of its scene's source, with the variation that it shows."""
        scenes = np.arange(familiar.size).reshape(familiar.shape)
        shown = source + scenes[:, :1]  # among the scenes of all movies
        bases = self._bases(numbers)[shown.ravel()]
        order = np.broadcast_to(np.arange(self.scene_time), (*familiar.shape, self.scene_time))
        if self._shuffles:
            order = order.copy()
            order[familiar] = numbers[..., self.columns["order"]][familiar].argsort(axis=-1)
        varied = shown if self.familiar_noise == "exact" else scenes
        signs = self._signs(numbers)[(varied[..., None] * self.scene_time + order).ravel()]
        frames = signs.reshape(-1, self.scene_time, self.vec_len) * bases[:, None]
        if self.values == "01":
            frames = (frames + 1) / 2
        return torch.from_numpy(frames)

    def _bases(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """The base of every scene as if all were novel ``[N·T, d]``, bits as signs."""
        uniform = numbers[..., self.columns["base"]].reshape(-1, self.vec_len)
        if self.values == "normal":
            inside = torch.from_numpy(uniform).double() + 2.0**-25  # the middle of each number's interval, never 0
            return torch.special.ndtri(inside).float().numpy()
        return np.where(uniform < 0.5, np.float32(1), np.float32(-1))

    def _signs(self, numbers: NDArray[np.float32]) -> NDArray[np.int8]:
        """What the frames of every scene multiply its base by ``[N·T·S, d]``: -1 where it is flipped."""
        scenes, k, d = numbers.shape[0] * numbers.shape[1], self.flips, self.vec_len
        few = min(k, d - k)
        flipped = np.zeros((scenes, self.scene_time, d), dtype=np.bool_)
        uniform = numbers[..., self.columns["variation"]].reshape(scenes * (self.scene_time - 1), few)
        flipped[:, 1:] = choose_components(uniform, d).reshape(scenes, self.scene_time - 1, d) != (k > few)
        if self.variation_mode == "chain":
            flipped = np.logical_xor.accumulate(flipped, axis=1)
        return 1 - 2 * flipped.reshape(-1, d).astype(np.int8)


def frame_labels(labels: Tensor, scene_time: int) -> Tensor:
    """A label for every frame, as figures want it: the scene's at its last frame, :data:`IGNORED` at all others.

    Args:
        labels: ``[..., T]``, -1 after the end of a movie.
        scene_time: S.

    Returns:
        ``[..., T·S]``; :data:`IGNORED` at padding, too.
    """
    frames = torch.full((*labels.shape, scene_time), IGNORED, dtype=labels.dtype, device=labels.device)
    frames[..., -1] = labels.where(labels >= 0, IGNORED)
    return frames.flatten(-2)
