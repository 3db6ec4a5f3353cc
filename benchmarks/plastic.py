"""Speed of plastic networks' updates on movies beside the plain loop, that both compute the same, and many seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.plain_plastic import PlainMemo
from lop_lightning.algos import Backprop
from lop_lightning.networks import DynamicReadout, Memo
from lop_lightning.networks.base import NetworkFactory
from lop_lightning.optimizers import Adam
from lop_lightning.tasks import Scenes
from lop_lightning.tasks.base import Chunk

ROUNDS, UPDATES, LR, CLIP, TOLERANCE = 5, 2, 5e-3, 1.0, 1e-4
BATCHED_TARGET, SINGLE_TARGET, SEEDS_TARGET = 1.5, 5.0, 1.5
MANY = 10
MEMO = partial(Memo, hidden_dims=[100], plastic_types=["M"], hetero_rates=[1])
NETWORKS: dict[str, NetworkFactory] = {
    "Memo M [100]": MEMO,
    "Memo MA [50,50]": partial(Memo, hidden_dims=[50, 50], plastic_types=["M", "A"], hetero_rates=[1, 1]),
    "Dyn_RO MA [50,50]": partial(DynamicReadout, hidden_dims=[50, 50], plastic_types=["M", "A"], hetero_rates=[1, 1]),
}


class Run:
    """Networks of ours in training at R = 1, movies of 100 scenes of 4 frames; a chunk at a time."""

    def __init__(self, network: NetworkFactory, batch: int, seeds: Sequence[int] = (0,), device: str = "cpu") -> None:
        self.stream = Scenes(batch_size=batch, updates_per_task=UPDATES, seeds=seeds, chunk=UPDATES)
        self.stream.device = torch.device(device)
        self.learner = Backprop(network, Adam(LR, clip=CLIP))
        self.learner.prepare(self.stream.spec, self.stream.seeds, self.stream.device, batch)
        self.chunks: Iterator[Chunk] = chain.from_iterable(map(self.stream.task_chunks, range(self.stream.tasks)))

    def train(self) -> torch.Tensor:
        """Losses ``[K, S]`` of a chunk."""
        assert self.learner.population is not None
        return self.learner.train_chunk(self.learner.population, next(self.chunks))[..., 0]


def plastic(console: Console, only: str = "") -> None:
    """Prints ours beside the plain loop, then what seeds together gain."""
    if only not in "plastic: plain loop, seeds, data, gpu":
        return
    with console.status("plastic: plain loop"):
        for line in _beside_plain():
            console.print(f"plastic: {line}", highlight=False)
    table = Table("network", title="plastic networks: CPU ms a movie, data included", title_justify="left")
    for heading in ("movies an update", "1 seed", f"{MANY} seeds", "gain", "target", "met"):
        table.add_column(heading, justify="right")
    for name, network in NETWORKS.items():
        for batch in (1, 4, 16):
            with console.status(f"plastic: {name}"):
                one, many = _together(network, batch)
            target = ("≥ 1.5", _met(one / many >= SEEDS_TARGET)) if name == "Memo M [100]" else ("", "")
            table.add_row(name, str(batch), f"{1e3 * one:.2f}", f"{1e3 * many:.2f}", f"{one / many:.2f}", *target)
    console.print(table)
    if torch.cuda.is_available():
        on_device(console, "cuda")


def on_device(console: Console, device: str) -> None:
    """Prints wall-clock movies a second of networks on a device."""
    table = Table(
        "network", title=f"plastic networks on {device}: movies a second, data included", title_justify="left"
    )
    for seeds in (1, 10, 100):
        table.add_column(f"{seeds} seeds", justify="right")
    for name, network in NETWORKS.items():
        speeds = []
        for seeds in (1, 10, 100):
            run = Run(network, 4, range(seeds), device)
            spent = _median_time(lambda run=run: run.train().sum().item(), time.perf_counter)  # type: ignore[misc]
            speeds.append(f"{4 * UPDATES * seeds / spent:,.0f}")
        table.add_row(name, *speeds)
    console.print(table)


def _beside_plain() -> Iterator[str]:
    """Ours and the plain loop, batched and movie by movie, take turns on the same movies."""
    run, batch = Run(MEMO, 16), 16
    population = run.learner.population
    assert population is not None
    tensors = {name: p[0] for name, p in population.params.items()}
    batched, single = (PlainMemo(tensors, run.stream.movies.scene_time, LR, CLIP) for _ in range(2))
    chunk = next(run.stream.task_chunks(0))
    theirs = torch.tensor([batched.step(x[0], y[0]) for x, y in zip(chunk.inputs, chunk.targets)])
    apart = ((run.train()[:, 0] - theirs).abs() / theirs).max().item()
    assert apart < TOLERANCE, f"losses differ relatively by {apart}"
    rounds = []
    for _ in range(ROUNDS):
        ours = _time(run.train) / (UPDATES * batch)
        x, y = chunk.inputs[0, 0], chunk.targets[0, 0]
        rounds.append((ours, _time(partial(batched.step, x, y)) / batch, _time(partial(single.step, x[:1], y[:1]))))
    own, together, alone = (median(times) for times in zip(*rounds))
    problem = "Memo M [100], 100 scenes x 4 frames"
    yield f"{problem}: ours (batch 16, data included) {1e3 * own:.2f} ms a movie, loss equal to {apart:.0e}"
    for what, spent, target in (("batch 16", together, BATCHED_TARGET), ("batch 1", alone, SINGLE_TARGET)):
        ratio = spent / own
        met = _met(ratio >= target)
        yield f"plain loop, {what}: {1e3 * spent:.2f} ms a movie, ratio {ratio:.1f} (≥ {target:g}: {met})"


def _together(network: NetworkFactory, batch: int) -> tuple[float, float]:
    """CPU seconds a movie of one seed and of many; they take turns."""
    one, many = Run(network, batch), Run(network, batch, range(MANY))
    rounds = [(_time(one.train), _time(many.train) / MANY) for _ in range(ROUNDS + 1)][1:]
    alone, together = (median(times) / (UPDATES * batch) for times in zip(*rounds))
    return alone, together


def _time(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _median_time(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """A first round is not counted."""
    times = []
    for _ in range(ROUNDS + 1):
        begun = clock()
        work()
        times.append(clock() - begun)
    return median(times[1:])


def _met(met: bool) -> str:
    return "yes" if met else "no"
