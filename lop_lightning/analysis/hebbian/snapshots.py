"""Kept networks of runs on movies: when they had solved an R, before training, or between two periods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lop_lightning.analysis.hebbian.plastic_states import plastic_layers
from lop_lightning.analysis.networks import (
    built,
    in_ranges,
    kept_networks,
    kept_solved,
    read_config,
    solved_networks,
)
from lop_lightning.analysis.runs import Run
from lop_lightning.config import build
from lop_lightning.errors import LopError
from lop_lightning.networks import Network
from lop_lightning.tasks.base import Position
from lop_lightning.tasks.repeats import RepeatStream

LETTER = "R"


@dataclass(frozen=True)
class Snapshot:
    """A network as it was at one moment of its run.

    Attributes:
        network: In evaluation mode.
        stream: The run's stream, of the network's seed.
        seed: Its seed.
        r: The R that it had just solved, 0: it is as it was before training. Between two periods: the R that was
            trained then.
        task: The period before which it was kept; ``None``: it was kept because it had solved R.
        updates: Updates made by then.
        run: Identity of its run.
    """

    network: Network
    stream: RepeatStream
    seed: int
    r: int
    task: int | None
    updates: int
    run: str

    @property
    def shown_r(self) -> int:
        """The R of movies that are shown to it: its own, or before training the first one of the curriculum."""
        return self.r or self.stream.curriculum.start_r

    @property
    def kinds(self) -> dict[str, str]:
        """Plastic layer -> ``M`` (multiplicative) or ``A`` (additive)."""
        settings = {name: layer.plasticity for name, layer in plastic_layers(self.network).items()}
        return {name: own.kind for name, own in settings.items() if own is not None}

    @property
    def name(self) -> str:
        """Its name among the networks of the run, as in the names of their files."""
        moment = f"{LETTER}-{self.r:05d}" if self.task is None else f"task-{self.task:05d}"
        return f"seed-{self.seed:05d}-{moment}"


def load_snapshot(
    run: Run, r: int | None = None, seed: int | None = None, task: int | None = None, trust: bool = False
) -> Snapshot:
    """One network of a run.

    Args:
        run: The run.
        r: The R that it had just solved, 0: before training. ``None``, with ``task`` too: the greatest.
        seed: Its seed. ``None``: the first one.
        task: The period before which it was kept (``callbacks.keep_networks``).
        trust: See :func:`~lop_lightning.analysis.networks.load_network`.

    Raises:
        LopError: there is no such network, it is of a class that is not trusted, or the run is on no movies.
    """
    config = read_config(run.directory, trust, "--trust allows it")
    if task is not None:
        return _between_periods(run, config, seed, task)
    if seed is None:
        seed = min(solved_networks(run.directory, LETTER), default=None)
    if seed is None:  # nothing was solved, but all seeds were kept before training
        seed = min(run.seeds, default=0)
    if r is None:
        r = max(solved_networks(run.directory, LETTER).get(seed, [0]))
    return _of_level(run, config, seed, r)


def snapshots(run: Run, trust: bool = False) -> Iterator[Snapshot]:
    """All networks of a run that had solved an R, and those before training, seed after seed.

    Raises:
        LopError: as :func:`load_snapshot`.
    """
    config = read_config(run.directory, trust, "--trust allows it")
    for seed, solved in solved_networks(run.directory, LETTER).items():
        for r in (0, *solved):
            yield _of_level(run, config, seed, r)


def chosen_networks(
    run: Run, rs: Sequence[int] | None = None, seeds: Sequence[int] | None = None, every: bool = False
) -> list[tuple[int, int]]:
    """Pairs (R, seed) of a run whose networks are to be looked at, in order of R.

    Args:
        run: The run.
        rs: The R that are asked for, each of all seeds that solved it; 0: before training. ``None``: the greatest of
            each seed.
        seeds: The seeds; ``None``: all.
        every: All R that a seed has solved, where none are asked for.

    Raises:
        LopError: the run kept no such network.
    """
    solved = solved_networks(run.directory, LETTER)
    if not solved:
        kept_solved(run.directory, min(run.seeds, default=0), 0, LETTER)  # says so if the run is of another kind
        raise LopError(f"{run.directory} has solved no {LETTER} yet")
    for seed in seeds or []:
        if seed not in solved:
            others = in_ranges(sorted(solved))
            raise LopError(f"{run.directory}: seed {seed} has solved nothing; seeds that have are {others}")
    there = {seed: own for seed, own in solved.items() if seeds is None or seed in seeds}
    if rs is None:
        return sorted((r, seed) for seed, own in there.items() for r in (own if every else own[-1:]))
    known = sorted({0, *(r for own in there.values() for r in own)})
    for r in rs:
        if r not in known:
            closest = min(known, key=lambda other: abs(other - r))
            others = f"solved were {in_ranges(known[1:])}, the nearest is {closest}"
            raise LopError(f"{run.directory}: no seed has solved {LETTER}={r}; {others}")
    return [(r, seed) for r in rs for seed, own in there.items() if r in (0, *own)]


def stream_of(run: Run, trust: bool = False) -> RepeatStream:
    """The stream of a run, without any network.

    Raises:
        LopError: it is on no movies, or of a class that is not trusted.
    """
    config = read_config(run.directory, trust, "--trust allows it")
    return _of_movies(run, build("task", config["task"], seeds=1))


def _of_level(run: Run, config: dict[str, Any], seed: int, r: int) -> Snapshot:
    kept = kept_solved(run.directory, seed, r, LETTER)
    network, stream = built(config, seed, kept["tensors"])
    return Snapshot(network, _of_movies(run, stream), seed, r, None, kept["updates"], str(kept.get("run", "")))


def _between_periods(run: Run, config: dict[str, Any], seed: int | None, task: int) -> Snapshot:
    kept = kept_networks(run.directory, task)
    seed = kept["seeds"][0] if seed is None else seed
    if seed not in kept["seeds"]:
        raise LopError(f"seed {seed} is not in {run.directory}: its seeds are {', '.join(map(str, kept['seeds']))}")
    row = kept["seeds"].index(seed)
    network, found = built(config, seed, {name: tensor[row] for name, tensor in kept["tensors"].items()})
    stream = _of_movies(run, found)
    r = _trained_r(run, stream, seed, task)
    updates = stream.updates_before(Position(task))
    return Snapshot(network, stream, seed, r, task, updates, str(kept.get("run", "")))


def _trained_r(run: Run, stream: RepeatStream, seed: int, task: int) -> int:
    """The R that a seed trained in a period, or, after the last one, in that one."""
    if "trained_r" not in run.metrics():
        return stream.curriculum.start_r
    own = run.series("trained_r").T[seed].dropna()
    before = [int(r) for period, r in own.items() if int(str(period)) <= task]
    return before[-1] if before else stream.curriculum.start_r


def _of_movies(run: Run, stream: object) -> RepeatStream:
    if not isinstance(stream, RepeatStream):
        raise LopError(f"{run.directory} is no run of task=familiarity or task=scenes")
    return stream
