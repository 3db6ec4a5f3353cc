"""A network that watches one movie: what its units do and what it would say, frame by frame."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lop_lightning.analysis.hebbian.answers import Rates, called_familiar, logits_of, rates
from lop_lightning.analysis.hebbian.snapshots import Snapshot
from lop_lightning.errors import LopError
from lop_lightning.networks import Network
from lop_lightning.randomness import generator
from lop_lightning.tasks.repeats import RepeatStream

PURPOSE = "visualise"
FEWEST_SCENES, SCENES_PER_R = 100, 20
FRAMES = 96
"""Frames of the window that figures show, unless one is asked for."""


@dataclass(frozen=True)
class Watched:
    """A movie of T scenes of S frames, and what a network made of it.

    Attributes:
        inputs: The movie ``[1, T*S, d]``.
        labels: Of each scene ``[T]``: 1 familiar, 0 novel.
        logits: What the readout would say after each frame ``[T*S]``; it is asked at the last one of a scene.
        called: Which scenes it called familiar ``[T]``.
        activations: Layer -> h ``[T*S, H]``.
        scene_time: S.
        window: The frames that figures show.
    """

    inputs: Tensor
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    called: NDArray[np.bool_]
    activations: dict[str, NDArray[np.float64]]
    scene_time: int
    window: range

    @property
    def scenes(self) -> range:
        """Scenes of which at least one frame is in the window."""
        return range(self.window.start // self.scene_time, -(-self.window.stop // self.scene_time))

    @property
    def asked(self) -> range:
        """Scenes whose last frame is in the window."""
        return range(self.window.start // self.scene_time, self.window.stop // self.scene_time)

    @property
    def rates(self) -> Rates:
        """How often it was right over the whole movie."""
        return rates(torch.from_numpy(self.called), torch.from_numpy(self.labels))


@torch.no_grad()
def watch(snapshot: Snapshot, frames: int = FRAMES) -> Watched:
    """Shows a network one movie of its stream, which is always the same: max(100, 20 R) scenes at its R.

    Args:
        snapshot: The network.
        frames: Frames of the window, which begins with the first scene that may be familiar, at frame S R.

    Raises:
        LopError: what the network does is not finite.
    """
    stream, r = snapshot.stream, snapshot.shown_r
    inputs, labels = movie(stream, snapshot.seed, r)
    trace = at_every_frame(snapshot.network).trace(inputs)
    logits = logits_of(trace.output, stream.out_dim)[0]
    time = stream.movies.scene_time
    if not logits.isfinite().all():
        at = int((~logits.isfinite()).nonzero()[0])
        raise LopError(f"{snapshot.name} of {snapshot.run} gives no finite output from frame {at} on: λ or η exploded")
    called = called_familiar(logits[time - 1 :: time], stream.out_dim)
    return Watched(
        inputs=inputs,
        labels=labels.numpy(),
        logits=logits.double().numpy(),
        called=called.numpy(),
        activations={name: h[0].double().numpy() for name, h in trace.activations.items()},
        scene_time=time,
        window=range(time * r, min(time * r + frames, inputs.shape[1])),
    )


def movie(stream: RepeatStream, seed: int, r: int) -> tuple[Tensor, Tensor]:
    """The movie that figures of a seed's network show at R: frames ``[1, T*S, d]`` and labels ``[T]``."""
    intervals = stream.intervals(r)
    scenes = max(FEWEST_SCENES, SCENES_PER_R * max(intervals))
    made = stream.movies.make([stream.movies.draw(generator(seed, PURPOSE), intervals, scenes, 1)])
    return made.frames[0].to(stream.spec.dtype), made.labels[0, 0]


def at_every_frame(network: Network) -> Network:
    """The same network with its readout read after every frame, ``[B, frames * outputs]``."""
    shown = copy(network)
    shown.read_every = 1  # type: ignore[assignment]
    return shown
