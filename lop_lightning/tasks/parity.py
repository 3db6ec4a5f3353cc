"""N-parity: whether the number of ones among the last N bits is odd."""

from __future__ import annotations

from collections.abc import Sequence

from lop_lightning.tasks.bit_sequences import BitSequences
from lop_lightning.tasks.bit_streams import BitStream
from lop_lightning.tasks.curricula import curriculum_class
from lop_lightning.tasks.memory_labels import parity_labels


class Parity(BitStream):
    """Parity of the last N bits, for every N that a seed is trained on; see :class:`BitStream`.

    With ``probability=uniform`` the answer is odd in half of the cases for odd N, in N/(2(N+1)) for even N.

    Args:
        tasks: Periods at most; see :class:`BitStream` for what a period is.
        curriculum: ``cumulative``, ``sliding``, ``single``, ``none`` or ``adaptive``; see
            :mod:`lop_lightning.tasks.curricula` for these and their settings.
        start_n: Smallest N of all, at least 2.
        init_heads: How many N are trained at first.
        add_heads: How many N an advance adds (``cumulative``; with ``adaptive`` the first one).
        forget_heads: How many N an advance drops and adds (``sliding``).
        largest_n: N at which a seed is finished once it is solved; ``None``: there is no end.
        max_step: How many N an advance adds at most (``adaptive``).
        patience: Checks after which a range counts as slow to solve (``adaptive``).
        threshold: Accuracy above which N is solved.
        heads: Which head N has: ``by_n``, ``position`` or ``auto`` (see :class:`BitStream`).
        batch_size: Sequences an update.
        updates_per_task: Updates of a period; in continuous time, for each number of repeats.
        check_batches: Batches of a check; in continuous time, for each number of repeats.
        values: What a bit looks like: ``zero_one`` or ``plus_minus`` (-1 and 1).
        probability: Probability of a one; ``uniform``: each sequence draws its own.
        repeats: Continuous time: how often each bit is shown, update by update; none: once, in discrete time.
        probe_size: Sequences that plasticity is measured on.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range.

    Source: see :class:`BitStream`. There p is drawn anew for each sequence, too.
    """

    def __init__(
        self,
        tasks: int = 1000,
        curriculum: str = "cumulative",
        start_n: int = 2,
        init_heads: int = 1,
        add_heads: int = 1,
        forget_heads: int = 1,
        largest_n: int | None = None,
        max_step: int = 8,
        patience: int = 3,
        threshold: float = 0.98,
        heads: str = "auto",
        batch_size: int = 256,
        updates_per_task: int = 600,
        check_batches: int = 50,
        values: str = "zero_one",
        probability: str | float = "uniform",
        repeats: Sequence[int] = (),
        probe_size: int = 256,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        policy = curriculum_class(curriculum)(
            start_n, init_heads, add_heads, forget_heads, largest_n, max_step, patience, threshold
        )  # fmt: skip
        sequences = BitSequences(values, probability, repeats)
        super().__init__(
            tasks, parity_labels, policy, sequences, heads, batch_size, updates_per_task, check_batches, probe_size,
            seeds, chunk,
        )  # fmt: skip

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`TaskStream`: that not both answers are equally frequent."""
        if self.sequences.probability != "uniform":
            return ()
        chance = "for even N a constant answer is right in (N+2)/(2N+2) of the cases, 67% at N=2"
        return (f"task.probability=uniform: {chance}",)
