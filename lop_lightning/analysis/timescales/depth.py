"""How right every readout of a solved network is, by the N that it is for and by how long a bit lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor

from lop_lightning.analysis.timescales.solved import QUESTIONS, Solved
from lop_lightning.analysis.timescales.streaming import Stepper, inputs
from lop_lightning.errors import ConfigError, check_count
from lop_lightning.randomness import generator
from lop_lightning.tasks.bit_sequences import BitSequences

DURATIONS = (*range(1, 21), *range(25, 51, 5), *range(60, 101, 10), 150, 200)
"""The published numbers k of steps that a bit lasts in a test of networks in continuous time."""

COLUMNS = ["seed", "N", "asked", "k", "trained", "batch", "accuracy"]

_NUMBERS = 2**24  # in the states that are held at a time: 64 MB


def accuracy_by_depth(
    solved: Solved,
    ns: Sequence[int] | None = None,
    durations: Sequence[int] | None = None,
    batches: int = 4,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Accuracy at the end of fresh sequences, of all readouts on the same ones.

    Sequences are as in training with the largest of ``ns``: one length a batch, uniform in {N+2, …, 4N+1}, and ones as
    frequent as there. Readouts that were never trained are right by chance, which for parity of an even N with
    ``probability=uniform`` may be up to (N+2)/(2N+2). Sequences and first states are the same for every k.

    Args:
        solved: The network.
        ns: The N; ``None``: all that the network has a readout for.
        durations: In continuous time the numbers k of steps that a bit lasts (the published ones: :data:`DURATIONS`);
            ``None``: those of training.
        batches: Batches, each of a length of its own.
        batch_size: Sequences in each.
        seed: Of sequences and first states.
        progress: Called with batches done and batches in all.

    Returns:
        Columns ``seed``, ``N`` (solved), ``asked``, ``k``, ``trained`` (whether it was trained on when N was solved),
        ``batch`` and ``accuracy``.

    Raises:
        LopError: the network has no such readout, or no states that can be run on.
        ConfigError: a setting is out of its range.

    Source: spec of the time-scale system, sections 1 (evaluation) and 4.7 (Khajehabdollahi et al. 2024).
    """
    ns = list(solved.head_ns if ns is None else ns)
    if not ns:
        raise ConfigError("ns", ns, "at least one N")
    heads = [solved.head_of(n) for n in ns]
    ks = _durations(solved, durations)
    for name, count in (("batches", batches), ("batch_size", batch_size)):
        check_count(name, count)
    stepper = Stepper(solved)
    rows = []
    for done, (k, batch, bits, first) in enumerate(_tests(stepper, solved, max(ns), ks, batches, batch_size, seed), 1):
        outputs = _outputs(stepper, solved, bits, first, k).unflatten(-1, (-1, 2))[:, heads]
        right = outputs.argmax(-1) == QUESTIONS[solved.question](bits, ns).to(outputs.device)
        rows += [
            (solved.seed, solved.high, n, k, solved.low <= n <= solved.high, batch, share)
            for n, share in zip(ns, right.double().mean(0).tolist())
        ]
        if progress is not None:
            progress(done, batches * len(ks))
    return pd.DataFrame(rows, columns=COLUMNS)


def _durations(solved: Solved, durations: Sequence[int] | None) -> list[int]:
    if durations is None:
        return sorted(set(solved.sequences.repeats)) or [1]
    ks = list(durations)
    for k in ks:
        check_count("durations", k)
    if not solved.sequences.repeats and ks != [1]:
        raise ConfigError("durations", ks, "none, because the network was trained in discrete time")
    return ks


def _tests(
    stepper: Stepper, solved: Solved, high: int, ks: Sequence[int], batches: int, size: int, seed: int
) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Each k and batch with its bits ``[size, T]`` and first states."""
    source = BitSequences(solved.sequences.values, solved.sequences.probability, ())
    for k in ks:
        for batch in range(batches):
            draw = generator(seed, "accuracy by depth", solved.seed, high, batch)
            bits = source.draw(draw, high, size)
            yield k, batch, bits, stepper.first(draw, size)


@torch.no_grad()
def _outputs(stepper: Stepper, solved: Solved, bits: Tensor, h: Tensor, k: int) -> Tensor:
    """Outputs of all readouts after the last bit, ``[B, 2K]``; states are never held for the whole sequence."""
    size, last = max(1, _NUMBERS // (len(bits) * stepper.width * k)), h.new_empty(0)
    for piece in bits.split(size, 1):
        # Outputs at the last step of a piece alone.
        last, h = stepper(inputs(solved, piece, k).to(h), h, piece.shape[1] * k)
    return last[:, -1]
