"""What is chosen in movies, for many at once: which scenes repeat an earlier one, which components are flipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def choose_repeats(
    wished: NDArray[np.bool_], intervals: NDArray[np.int64], again: bool
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which scenes are familiar, and which scene each of them shows.

    Scene t may repeat scene t - R_t if it wishes to and t >= R_t. Following such wishes backwards from t leads over
    n(t) scenes to one that is novel, root(t). If repeats may not be repeated, y(t) = 1 exactly if the scene before t
    on this way is novel, y(t) = w(t) (1 - y(t - R_t)), so that y alternates along the way: y(t) = n(t) mod 2. If they
    may, y(t) = [n(t) > 0], and what is seen is root(t). The way is found in log2 of its length rounds, in each of
    which every scene learns from the scene it points to, and then points where that one pointed.

    Args:
        wished: ``[N, T]``, whether a scene would repeat one.
        intervals: ``[N, T]``, R_t of at least 1.
        again: Whether a repeat may be repeated.

    Returns:
        y ``[N, T]``, bool, and ``[N, T]``, for each scene the novel one that it shows: itself, if it is novel.
    """
    movies, scenes = wished.shape
    times = np.arange(scenes)
    repeating = wished & (times >= intervals)
    first = (np.arange(movies) * scenes)[:, None]  # place of a movie's first scene among those of all movies
    parent = first + np.where(repeating, times - intervals, times)
    length, root = repeating.astype(np.int64), parent
    for _ in range(((scenes - 1) // int(intervals.min())).bit_length()):
        length = length + length.ravel()[root]
        root = root.ravel()[root]
    if again:
        return length > 0, root - first
    familiar = length % 2 == 1
    return familiar, np.where(familiar, parent - first, times)


def choose_components(uniform: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    """A uniformly chosen set of m components out of ``size``, of one uniform number each, as a mask.

    Floyd's way: step i = 0, …, m-1 draws r from {0, …, j} with j = size - m + i; r joins the set, or, if it is there
    already, j does. Every set of m components is equally probable.

    Args:
        uniform: ``[n, m]`` numbers of U[0, 1), m <= size.
        size: Number of components.

    Returns:
        bool ``[n, size]``, m of each row true.
    """
    rows, count = uniform.shape
    chosen = np.zeros(rows * size, dtype=np.bool_)
    first = np.arange(rows) * size
    for step, numbers in enumerate(uniform.T):
        last = size - count + step
        places = first + one_of(numbers, last + 1)
        chosen[np.where(chosen[places], first + last, places)] = True
    return chosen.reshape(rows, size)


def one_of(uniform: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """⌊u · count⌋: whole numbers uniform in {0, …, count - 1}.

    NumPy's float32 numbers end at 1 - 2⁻²⁴, and their product with a whole number is never rounded up to it.
    """
    return (uniform * np.float32(count)).astype(np.int64)
