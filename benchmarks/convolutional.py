"""Speed of the convolutional networks beside a plain loop of the same maths, and what measuring them costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_convolutional import PlainConvNet, PlainResNet18
from lop_lightning.algos import Backprop, ContinualBackprop, Learner
from lop_lightning.callbacks.plasticity import on_evaluation, on_probe
from lop_lightning.networks import ConvNet, NetworkFactory, ResNet18
from lop_lightning.optimizers import SGD
from lop_lightning.tasks import ContinualImageNet, IncrementalCIFAR, TaskStream
from lop_lightning.tasks.base import Chunk

ROUNDS = 3
SPEED_TARGET, CBP_TARGET, MEASURING_TARGET = 0.95, 1.15, 0.05
GROUPS = ["units", "ranks", "covariance_ranks", "duplication"]


@dataclass(frozen=True)
class Problem:
    """A published convolutional problem: how to make it, and how many updates are timed at once."""

    name: str
    stream: Callable[[int], TaskStream]
    network: NetworkFactory
    plain: Callable[[int], nn.Module]
    updates: int
    rate: float


PROBLEMS = (
    Problem("ConvNet, batch 100", lambda seeds: ContinualImageNet(source="synthetic", tasks=2, seeds=seeds, chunk=6),
            ConvNet, PlainConvNet, 6, 3e-4),
    Problem("ResNet-18, batch 90",
            lambda seeds: IncrementalCIFAR(source="synthetic", tasks=2, seeds=seeds, chunk=1, probe_size=200),
            ResNet18, PlainResNet18, 1, 1e-5),
)  # fmt: skip


def convolutional(console: Console, only: str = "") -> None:
    """Prints the tables of all convolutional problems."""
    speeds = Table("problem", "method", title="convolutional networks: seed-updates a CPU-second", title_justify="left")
    for heading in ("seeds", "plain", "ours", "ratio", f"met (≥ {SPEED_TARGET})"):
        speeds.add_column(heading, justify="right")
    costs = []
    for problem in (p for p in PROBLEMS if only in p.name):
        times: dict[tuple[str, int], float] = {}
        for method, seeds in (("bp", 1), ("bp", 5), ("cbp", 1)):
            with console.status(f"{problem.name}, {method}, {seeds} seeds"):
                plain, ours, learner, stream = _speed(problem, method, seeds)
            times[method, seeds] = ours
            ratio = seeds * plain / ours
            speeds.add_row(problem.name, method, str(seeds), f"{1 / plain:.3g}", f"{seeds / ours:.3g}", f"{ratio:.2f}",
                           "yes" if ratio >= SPEED_TARGET else "no")  # fmt: skip
            if (method, seeds) == ("bp", 1):
                with console.status(f"{problem.name}, measuring"):
                    costs += _measuring(problem, learner, stream, ours)
        cost = times["cbp", 1] / times["bp", 1]
        verdict = "yes" if cost <= CBP_TARGET else "no"
        costs.append(f"CBP / BP, time of the updates, {problem.name}: {cost:.2f} (≤ {CBP_TARGET}) {verdict}")
    if speeds.row_count:
        console.print(speeds)
    for line in costs:
        console.print(line, highlight=False)


def _speed(problem: Problem, method: str, seeds: int) -> tuple[float, float, Learner, TaskStream]:
    """CPU seconds of a plain update of one seed and of our update of all seeds, in alternate rounds."""
    stream = problem.stream(seeds)
    sgd = SGD(0.01, momentum=0.9)
    learner: Learner = Backprop(problem.network, sgd)
    if method == "cbp":
        learner = ContinualBackprop(problem.network, sgd, replacement_rate=problem.rate)
    learner.prepare(stream.spec, stream.seeds)
    network = problem.plain(stream.spec.output_size)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    endless = _chunks(stream)
    plain, ours = [], []
    for number in range(ROUNDS + 1):  # the first, which compiles, is not counted
        batches = list(islice(endless, max(1, problem.updates // stream.chunk_updates)))
        updates = sum(len(chunk.inputs) for chunk in batches)
        plain.append(_timed(_plain_updates, network, optimizer, batches) / updates)
        ours.append(_timed(_our_updates, learner, batches) / updates)
        if number == 0:
            plain, ours = [], []
    return median(plain), median(ours), learner, stream


def _chunks(stream: TaskStream) -> Iterator[Chunk]:
    while True:
        yield from stream.task_chunks(0)


def _our_updates(learner: Learner, batches: list[Chunk]) -> None:
    assert learner.population is not None
    for chunk in batches:
        learner.train_chunk(learner.population, chunk)


def _plain_updates(network: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Chunk]) -> None:
    for chunk in batches:
        active = None if chunk.active_outputs is None else chunk.active_outputs[0]
        for x, y in zip(chunk.inputs[:, 0], chunk.targets[:, 0]):
            optimizer.zero_grad()
            output: Tensor = network(x)
            if active is not None:
                output = output.masked_fill(~active, torch.finfo(output.dtype).min)
            F.cross_entropy(output, y).backward()
            optimizer.step()


def _measuring(problem: Problem, learner: Learner, stream: TaskStream, update: float) -> list[str]:
    assert learner.population is not None
    list(on_evaluation(learner, learner.population, stream, 0))  # loads the sets, and compiles
    probe = _timed(lambda: list(on_probe(learner, learner.population, stream, 0, GROUPS)))  # type: ignore[arg-type]
    held_out = _timed(lambda: list(on_evaluation(learner, learner.population, stream, 0)))  # type: ignore[arg-type]
    share = probe / (stream.updates_per_task(0) * update + probe)
    epochs = held_out / (stream.updates_per_epoch(0) * update)
    return [
        f"{problem.name}: plasticity once a task takes {probe:.1f} s, {share:.1%} of a published task "
        f"(≤ {MEASURING_TARGET:.0%}) {'yes' if share <= MEASURING_TARGET else 'no'}; held-out sets after every epoch "
        f"take {held_out:.2f} s, {epochs:.1%} of an epoch",
    ]


def _timed(work: Callable[..., object], *arguments: object) -> float:
    begun = time.process_time()
    work(*arguments)
    return time.process_time() - begun
