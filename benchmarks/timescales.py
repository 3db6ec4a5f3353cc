"""Speed of leaky networks' updates on N-parity beside the plain loop, and that both compute the same; on a GPU, too.

And what labels, fits of time constants, and several small networks at once take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.plain_timescales import CLIP, Loop, PlainLeaky, PlainProcess
from lop_lightning.algos import Backprop, Execution
from lop_lightning.algos.heads import ask
from lop_lightning.analysis.timescales.exponential_fits import fit_timescales
from lop_lightning.analysis.timescales.simulate import simulate
from lop_lightning.networks import LeakyNetwork
from lop_lightning.networks.leaky import TRAINING
from lop_lightning.optimizers import SGD
from lop_lightning.randomness import uniform
from lop_lightning.tasks import Parity
from lop_lightning.tasks.base import Chunk, Position, StreamSpec
from lop_lightning.tasks.memory_labels import dms_labels, parity_labels

ROUNDS, HIDDEN, BATCH = 3, 500, 256
COMPARED, TOLERANCE = 4, 1e-4
"""Updates whose losses are compared, and how much they may differ relatively."""
GPU_STEPS, GPU_HEADS, GPU_UPDATES, GPU_NETWORKS = 17, 5, 50, (1, 8)
"""On a GPU: the mean length for N up to 6, so many heads, updates a round, and networks at once."""
LABEL_HEADS, LABEL_STEPS, LABELS_TARGET = 99, 250, 1e-3
FIT_STEPS, FITS_TARGET = 5000, 5.0
TOGETHER = 5


@dataclass(frozen=True)
class Problem:
    """N-parity with K heads, N = 2 … K+1.

    Attributes:
        heads: K.
        updates: In a round.
        target: The least ratio to the plain loop to aim for.
        dynamics: Of the network.
        hidden: Its units.
        batch: Sequences an update.
    """

    heads: int
    updates: int
    target: float | None = None
    dynamics: str = "default"
    hidden: int = HIDDEN
    batch: int = BATCH

    @property
    def name(self) -> str:
        """What ``--only`` is compared with."""
        return f"timescales: {self.dynamics}, {self.heads} heads"


PROBLEMS = (
    Problem(1, 16, 1.7), Problem(5, 8, 1.9), Problem(20, 4, 4.0), Problem(1, 16, None, "mod"),
    Problem(5, 8, None, "mod"),
)  # fmt: skip
SMALL = Problem(4, 60, hidden=64, batch=64)


class Run:
    """A network of ours in training, a chunk at a time."""

    def __init__(
        self, problem: Problem, chunk: int, seeds: Sequence[int] = (0,), reference_compat: bool = False
    ) -> None:
        self.stream = Parity(
            init_heads=problem.heads, batch_size=problem.batch, updates_per_task=4 * chunk, seeds=seeds, chunk=chunk
        )
        network = partial(
            LeakyNetwork, hidden=problem.hidden, dynamics=problem.dynamics, reference_compat=reference_compat
        )
        self.learner = Backprop(network, SGD(0.05, 0.1, nesterov=True, clip=CLIP))
        self.learner.prepare(self.stream.spec, self.stream.seeds, batch=self.stream.largest_batch)
        ask(self.learner, self.stream.asked)
        self.chunks: Iterator[Chunk] = chain.from_iterable(map(self.stream.task_chunks, range(self.stream.tasks)))

    def train(self) -> tuple[list[int], float, torch.Tensor]:
        """Lengths of a chunk's sequences, CPU seconds of its updates, data included, and their losses."""
        assert self.learner.population is not None
        begun = time.process_time()
        chunk = next(self.chunks)
        measures = self.learner.train_chunk(self.learner.population, chunk)
        spent = time.process_time() - begun
        return lengths_of(chunk), spent, measures[:, 0, 0]


def lengths_of(chunk: Chunk) -> list[int]:
    """Steps of the sequences of each update of the first seed."""
    return (~chunk.inputs[:, 0, 0, :, 0].isnan()).sum(1).tolist()


def timescales(console: Console, only: str = "") -> None:
    """Prints the table, with how far the losses of the two are apart, and what else is measured."""
    title = f"leaky networks, {HIDDEN} units, batch {BATCH}, N-parity: CPU ms an update, data included"
    table = Table("dynamics", title=title, title_justify="left")
    for heading in ("heads", "steps", "plain loop", "memory kept", "ours", "ratio", "target", "met", "to memory kept",
                    "loss differs by"):  # fmt: skip
        table.add_column(heading, justify="right")
    with TemporaryDirectory() as name:
        for problem in (p for p in PROBLEMS if only in p.name):
            with console.status(problem.name):
                _measure(problem, Path(name), table)
    if table.row_count:
        console.print(table)
    for name, work in (("labels", _labels), ("fits", _fits), ("small networks", _small)):
        if only in f"timescales: {name}":
            with console.status(name):
                line = work()
            console.print(f"timescales: {name}, {line}", highlight=False)
    if torch.cuda.is_available() and only in "timescales: gpu":
        on_device(console, torch.device("cuda"))


def on_device(console: Console, device: torch.device) -> None:
    """Prints wall-clock updates a second of networks on a device, together, whose sequences are all of one length."""
    title = f"{HIDDEN} units, batch {BATCH}, {GPU_STEPS} steps, {GPU_HEADS} heads on {device}: network-updates a second"
    table = Table("networks", "eager", "compiled", title=title, title_justify="left")
    for networks in GPU_NETWORKS:
        speeds = [f"{networks / _update_on(device, networks, compiled):,.0f}" for compiled in (False, True)]
        table.add_row(str(networks), *speeds)
    console.print(table)


def _update_on(device: torch.device, networks: int, compiled: bool) -> float:
    """Wall-clock seconds of an update; the data are there."""
    spec = StreamSpec((GPU_STEPS, 1), 2 * GPU_HEADS, "multi_head_cross_entropy", heads=GPU_HEADS)
    optimizer = SGD(0.05, 0.1, nesterov=True, clip=CLIP)
    learner = Backprop(partial(LeakyNetwork, hidden=HIDDEN), optimizer, Execution(compile=compiled))
    learner.prepare(spec, list(range(networks)), device, BATCH)
    x = torch.randint(2, (GPU_UPDATES, networks, BATCH, GPU_STEPS, 1), device=device).float()
    y = torch.randint(2, (GPU_UPDATES, networks, BATCH, GPU_HEADS), device=device)
    chunk, times = Chunk(x, y, Position(), Position(0, 0, GPU_UPDATES)), []
    assert learner.population is not None
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        learner.train_chunk(learner.population, chunk).sum().item()  # waits for the device
        times.append(time.perf_counter() - begun)
    return median(times[1:]) / GPU_UPDATES


def _measure(problem: Problem, folder: Path, table: Table) -> None:
    """One row. Plain loops and ours take turns on sequences of the same lengths."""
    file = folder / "given.pt"
    losses = _written(problem, file)
    plain, kept = (PlainProcess(file, keep) for keep in (False, True))
    differences = (losses - torch.tensor(plain.losses)).abs() / losses
    assert differences.max() < TOLERANCE, f"{problem.name}: losses {losses.tolist()} and {plain.losses}"
    run, rounds, steps = Run(problem, problem.updates), [], []
    for _ in range(ROUNDS + 1):
        lengths, own, _ = run.train()
        rounds.append((plain.timed(lengths), kept.timed(lengths), own))
        steps += lengths
    plain.close()
    kept.close()
    theirs, floor, ours = (median(times) / problem.updates for times in zip(*rounds[1:]))
    ratio, to_floor = (median(times[n] / times[2] for times in rounds[1:]) for n in (0, 1))
    target = problem.target
    table.add_row(
        problem.dynamics, str(problem.heads), f"{sum(steps) / len(steps):.1f}", f"{1e3 * theirs:,.0f}",
        f"{1e3 * floor:,.0f}", f"{1e3 * ours:,.0f}", f"{ratio:.2f}", "" if target is None else f"≥ {target:g}",
        "" if target is None else _met(ratio >= target), f"{to_floor:.2f}", f"{differences.max():.0e}",
    )  # fmt: skip


def _written(problem: Problem, file: Path) -> torch.Tensor:
    """Writes weights, sequences and initial states of the first updates for the plain loop; returns our losses.

    The plain loop's gradient norm has the self-connections in it, so that ours must, too.
    """
    run = Run(problem, COMPARED, reference_compat=True)
    population = run.learner.population
    assert population is not None
    weights = {name: p[0].clone() for name, p in population.params.items()}
    key = population.state["buffers"]["noise_key"][0].clone()
    chunk = next(run.stream.task_chunks(0))
    sequences = [x[0, :, :length].transpose(0, 1) for x, length in zip(chunk.inputs, lengths_of(chunk))]
    states = [0.1 * uniform(key, t, TRAINING, (BATCH, HIDDEN), torch.float32) for t in range(COMPARED)]
    given = {"tensors": weights, "sequences": sequences, "states": states, "batch": BATCH}
    torch.save({**given, "dynamics": problem.dynamics, "ns": list(range(2, problem.heads + 2))}, file)
    return run.train()[2]


def _labels() -> str:
    """Labels of one batch for all heads at once, and by the plain loop, whose parities must be the same."""
    ns, bits = range(2, LABEL_HEADS + 2), torch.randint(2, (BATCH, LABEL_STEPS), dtype=torch.uint8)
    x, loop = bits.T[..., None].float(), Loop(PlainLeaky(1), ns, BATCH)
    assert torch.equal(parity_labels(bits, ns), torch.stack(loop.labels(x), 1)), "labels differ from the plain loop's"
    parity, dms = (_median_time(partial(question, bits, ns), 50) for question in (parity_labels, dms_labels))
    plain = _median_time(lambda: loop.labels(x), ROUNDS)
    return (
        f"{LABEL_HEADS} heads, batch {BATCH}, {LABEL_STEPS} steps: parity {1e3 * parity:.2f} ms, DMS {1e3 * dms:.2f} "
        f"ms (< {1e3 * LABELS_TARGET:g}) {_met(max(parity, dms) < LABELS_TARGET)}; parity by the plain loop "
        f"{1e3 * plain:,.0f} ms"
    )


def _fits() -> str:
    """Fits of all units of a network as drawn, whose autocovariances have the noise of a short simulation."""
    torch.manual_seed(0)
    covariance = simulate(LeakyNetwork((1, 1), 2, HIDDEN), steps=FIT_STEPS).autocovariance
    spent = _median_time(lambda: fit_timescales(covariance), ROUNDS)
    return f"τ_net of {HIDDEN} units: {spent:.2f} s (< {FITS_TARGET:g}) {_met(spent < FITS_TARGET)}"


def _small() -> str:
    """Seeds trained together, and each in a run of its own, on the same sequences."""
    together, alone = (
        [Run(SMALL, SMALL.updates, seeds) for seeds in split]
        for split in ([range(TOGETHER)], [[seed] for seed in range(TOGETHER)])
    )
    rounds = [[sum(run.train()[1] for run in runs) for runs in (together, alone)] for _ in range(ROUNDS + 1)][1:]
    one, many = (1e3 * median(times) / SMALL.updates for times in zip(*rounds))
    return (
        f"{SMALL.hidden} units, batch {SMALL.batch}, N ≤ {SMALL.heads + 1}, an update of {TOGETHER} seeds: together "
        f"{one:.1f} ms, in runs one after another {many:.1f} ms, ratio {many / one:.2f}"
    )


def _median_time(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds; a first round is not counted."""
    times = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return median(times[1:])


def _met(met: bool) -> str:
    return "yes" if met else "no"
