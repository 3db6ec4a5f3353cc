"""How well a solved network learns larger N afterwards, each N by itself: plasticity after a curriculum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call, grad
from torch.nn import functional as F

from lop_lightning.analysis.networks import read_config
from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.analysis.timescales.streaming import above_chance
from lop_lightning.config import build
from lop_lightning.errors import ConfigError, check_count
from lop_lightning.networks import Network
from lop_lightning.networks.base import Tracer
from lop_lightning.randomness import stable_hash
from lop_lightning.tasks import DelayedMatch, Parity
from lop_lightning.tasks.bit_streams import BitStream
from lop_lightning.tasks.curricula import level_of
from lop_lightning.trees import Tree, tree_map

Params = dict[str, Tensor]

COLUMNS = ["seed", "N", "asked", "period", "updates", "accuracy", "relative"]

_NUMBERS = 2**27  # in states that are held for the backward pass


class Steps(Protocol):
    """An optimiser of :mod:`lop_lightning.optimizers`, as far as it is needed here."""

    def init(self, params: Params) -> Any:
        """Its state before the first update."""

    def clipped(self, grads: Params) -> Params:
        """Gradients that are not too large."""

    def update(self, params: Params, grads: Params, state: Any) -> tuple[Params, Any]:
        """New parameters and new state."""


def run_optimizer(run: str | Path, trust: bool = False) -> Steps:
    """The optimiser that a run trained with.

    Raises:
        LopError: the configuration is missing, damaged or not trusted; see :func:`read_config`.
    """
    optimizer: Steps = build("optimizer", read_config(Path(run), trust, "trust=True allows it")["optimizer"])
    return optimizer


def retraining(
    solved: Solved,
    optimizer: Steps,
    ns: Sequence[int] | None = None,
    span: int = 30,
    periods: int = 20,
    updates: int = 600,
    check_batches: int = 50,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Accuracy of a network that goes on to be trained on one N alone, for many N.

    For every N it begins again with the network as it was when it had solved its own, and with an optimiser that has
    seen nothing. The readout is the one for the largest N solved, whatever the curriculum was; others are not asked.
    Plain gradient descent: no method of continual learning acts.

    Args:
        solved: The network; :func:`~lop_lightning.analysis.timescales.perturbation.perturbed` gives one with a fault.
        optimizer: :func:`run_optimizer`, or one of :mod:`lop_lightning.optimizers`; published were
            ``SGD(lr=0.05, momentum=0.1, nesterov=True, clip=2.0)``.
        ns: The N; ``None``: from the N that was solved to ``span`` more.
        span: See ``ns``.
        periods: Periods of training, a check after each (published: 20).
        updates: Updates of a period; in continuous time, for each number of repeats.
        check_batches: Batches of a check; in continuous time, for each number of repeats.
        batch_size: Sequences in a batch.
        seed: Of the sequences, together with the network's own.
        progress: Called with periods done and periods in all.

    Returns:
        Columns ``seed``, ``N`` (solved), ``asked`` (trained on), ``period`` (from 0), ``updates`` made, ``accuracy`` of
        the check at the period's end, and ``relative``, (accuracy - ½) / (that of the smallest N after as many periods
        - ½).

    Raises:
        LopError: the network has no readout for the N that it has solved.
        ConfigError: a setting is out of its range.

    Source: spec of the time-scale system, section 4.6 (Khajehabdollahi et al. 2024). Neither code nor data of this
    experiment were published; that every N begins anew, and with which readout, are choices made here.
    """
    for name, count, low in (("span", span, 0), ("periods", periods, 1), ("updates", updates, 1),
                             ("check_batches", check_batches, 1), ("batch_size", batch_size, 1)):  # fmt: skip
        check_count(name, count, low)
    ns = sorted(set(range(solved.high, solved.high + span + 1) if ns is None else ns))
    if not ns:
        raise ConfigError("ns", ns, "at least one N")
    for n in ns:
        check_count("ns", n, 2)
    head, total, rows = solved.head_of(solved.high), len(ns) * periods, []
    for group in _groups(solved, ns, batch_size):
        stream = _stream(solved, group, periods, updates, check_batches, batch_size, seed)
        for period, made, shares in _trained(solved.network, head, optimizer, stream, periods):
            rows += [(solved.seed, solved.high, n, period, made, share) for n, share in zip(group, shares)]
            if progress is not None:
                progress(len(rows), total)
    table = pd.DataFrame(rows, columns=COLUMNS[:-1]).sort_values(["asked", "period"], ignore_index=True)
    first = table[table["asked"] == ns[0]].set_index("period")["accuracy"]
    return table.assign(relative=above_chance(table["accuracy"], table["period"].map(first)))


def last_period(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last period, one for each network and N: what :func:`perturbation.compared` takes."""
    return table[table["period"] == table["period"].max()].reset_index(drop=True)


def _groups(solved: Solved, ns: Sequence[int], batch_size: int) -> list[list[int]]:
    """N's whose networks are trained together: as many as their states, for the backward pass, take 512 MB at most."""
    units = len(solved.network.get_parameter(solved.network.output_parameters()[0])[0])
    size = max(1, _NUMBERS // (solved.sequences.longest(max(ns)) * batch_size * units))
    return [list(ns[begin : begin + size]) for begin in range(0, len(ns), size)]


def _stream(
    solved: Solved, ns: Sequence[int], periods: int, updates: int, check_batches: int, batch_size: int, seed: int
) -> BitStream:
    """Sequences as the network was trained on; every N is that of one seed."""
    make = {"parity": Parity, "dms": DelayedMatch}[solved.question]
    stream = make(
        tasks=periods,
        curriculum="none",
        heads="position",
        batch_size=batch_size,
        updates_per_task=updates,
        check_batches=check_batches,
        values=solved.sequences.values,
        probability=solved.sequences.probability,
        repeats=solved.sequences.repeats,
        seeds=[stable_hash(seed, "retraining", solved.seed, n) for n in ns],
    )
    stream.levels = [level_of(n, n) for n in ns]
    return stream


def _trained(
    network: Network, head: int, optimizer: Steps, stream: BitStream, periods: int
) -> Iterator[tuple[int, int, list[float]]]:
    """Trains a copy of a network for every seed; after each period its number, the updates made and the accuracies."""
    network, count = deepcopy(network), len(stream.seeds)
    network.ask((head, 1))
    tracer = Tracer(network.train())
    alone = {name: p.detach() for name, p in tracer.named_parameters()}
    like = next(iter(alone.values()))
    params, buffers, state = (
        tree_map(lambda t: t.expand(count, *t.shape).clone(), tree)
        for tree in (alone, dict(tracer.named_buffers()), optimizer.init(alone))
    )

    def loss(params: Params, buffers: Params, x: Tensor, targets: Tensor) -> tuple[Tensor, Params]:
        trace = functional_call(tracer, {**params, **buffers}, (x,))
        moved = {f"network.{name}": t.detach() for name, t in trace.buffers.items()}
        return F.cross_entropy(trace.output, targets[:, 0]), moved

    def step(params: Params, buffers: Params, state: Tree, x: Tensor, targets: Tensor) -> tuple[Params, Tree, Params]:
        grads, moved = grad(loss, has_aux=True)(params, buffers, x, targets)
        return *optimizer.update(params, optimizer.clipped(grads), state), {**buffers, **moved}

    steps = torch.vmap(step)
    for period in range(periods):
        for update in range(stream.period):
            x, targets = stream.batches(period, [update], stream.places)
            params, state, buffers = steps(params, buffers, state, x[0].to(like), targets[0].to(like.device))
        yield period, (period + 1) * stream.period, _checked(tracer, {**params, **buffers}, stream, period)


@torch.no_grad()
def _checked(tracer: Tracer, tensors: Params, stream: BitStream, period: int) -> list[float]:
    tracer.eval()
    like, right = next(iter(tensors.values())), []
    answers = torch.vmap(lambda tensors, x: functional_call(tracer, tensors, (x,)).output.argmax(-1))
    for x, targets in stream.checks(period):
        right.append((answers(tensors, x.to(like)).cpu() == targets[..., 0].cpu()).double().mean(-1))
    tracer.train()
    return torch.stack(right).mean(0).tolist()
