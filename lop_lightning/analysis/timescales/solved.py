"""Networks of curriculum runs as they were when they had solved an N, and which readout answers for which N."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lop_lightning.analysis.networks import built, in_ranges, kept_solved, read_config, solved_networks
from lop_lightning.errors import LopError
from lop_lightning.networks import Network
from lop_lightning.tasks.bit_sequences import BitSequences
from lop_lightning.tasks.bit_streams import BitStream
from lop_lightning.tasks.memory_labels import Labels, dms_labels, parity_labels

__all__ = ["QUESTIONS", "Solved", "load_solved", "solved_networks"]

QUESTIONS: dict[str, Labels] = {"parity": parity_labels, "dms": dms_labels}
"""What is asked about the last N bits."""


@dataclass(frozen=True)
class Solved:
    """A network that has solved N = ``high``, and how to question it.

    Attributes:
        network: In evaluation mode.
        seed: Its seed; of a published network its number.
        low: Smallest N that it was trained on when it solved ``high``.
        high: The N that it solved, the largest that it was trained on; 0: it is as it was before training.
        first_n: Smallest N of the curriculum.
        heads: Which readout N has: ``by_n``, number N - first_n, or ``position``, number N - low.
        updates: Updates made by then; 0 where that is not known.
        question: ``parity`` or ``dms``.
        sequences: What its inputs look like.
    """

    network: Network
    seed: int
    low: int
    high: int
    first_n: int
    heads: str
    updates: int
    question: str
    sequences: BitSequences

    @property
    def head_count(self) -> int:
        """How many readouts of two outputs it has."""
        return len(self.network.get_parameter(self.network.output_parameters()[0])) // 2

    @property
    def head_ns(self) -> range:
        """The N that its readouts are for."""
        lowest = self.first_n if self.heads == "by_n" or not self.high else self.low
        return range(lowest, lowest + self.head_count)

    def head_of(self, n: int) -> int:
        """Number of the readout for ``n``.

        Raises:
            LopError: there is none.
        """
        ns = self.head_ns
        if n not in ns:
            has = f"it has those for N = {in_ranges(ns)}"
            raise LopError(f"the network of seed {self.seed} that solved N={self.high} has no readout for N={n}: {has}")
        return ns.index(n)


def load_solved(run: str | Path, seed: int, n: int, trust: bool = False) -> Solved:
    """The network of ``seed`` that had just solved ``n`` (one of :func:`solved_networks`; 0: before training).

    Args:
        run: The run directory.
        seed: One of the run's seeds.
        n: The N.
        trust: See :func:`~lop_lightning.analysis.networks.load_network`.

    Raises:
        LopError: there is no such network, it is of a class that is not trusted, or the run is on no bit sequences.
    """
    kept = kept_solved(run, seed, n)
    network, stream = built(read_config(Path(run), trust, "trust=True allows it"), seed, kept["tensors"])
    asks = [name for name, labels in QUESTIONS.items() if isinstance(stream, BitStream) and stream.labels is labels]
    if not isinstance(stream, BitStream) or not asks:
        raise LopError(f"{run} is no run of task=parity or task=dms")
    return Solved(
        network=network,
        seed=seed,
        low=kept["low"],
        high=kept["high"],
        first_n=kept["first_n"],
        heads=kept["heads"],
        updates=kept["updates"],
        question=asks[0],
        sequences=stream.sequences,
    )
