"""Slowly-changing regression: most input bits stand still for a task, and a small network must track the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lop_lightning.errors import ConfigError, check_choice, check_count, check_flag, check_number
from lop_lightning.networks.ltu import LTUNetwork, draw_ltu_network
from lop_lightning.randomness import generator
from lop_lightning.tasks.base import Batch, StackedTask, StreamSpec, Task, in_batches
from lop_lightning.tasks.stream import TaskStream

TABLE_PATTERNS = 4096  # up to so many distinct inputs a task, inputs and targets are looked up in a table
FLIP_BLOCK = 1024  # flips that one generator draws


class SlowlyChangingRegression(TaskStream):
    """Binary inputs, of which ``slow_bits`` change only from task to task; the target is a fixed random LTU network.

    Inputs ``[task_length, inputs]`` in {0, 1}: first the slow bits, then fair coin flips drawn anew for each example.
    Targets ``[task_length, 1]``, without noise; squared error; online: each example is seen once, in order.

    Args:
        tasks: Number of tasks.
        mode: ``redraw``: a task redraws all slow bits (the published configurations). ``flip_one``: it inverts one,
            chosen uniformly (the paper's figure).
        inputs: Number of input bits.
        slow_bits: Number f of slow bits; 0 leaves only coin flips.
        target_units: Hidden units of the target network.
        beta: β of the target's thresholds (see :func:`lop_lightning.networks.ltu.thresholds`).
        task_length: Examples a task.
        reference_threshold: Whether the thresholds keep the slip of sign of the published code.
        batch_size: Examples an update.
        probe_size: Examples that plasticity is measured on, at most.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range.

    Source: Dohare et al. (2024), "slowly-changing regression" (``slowly_changing_regression/``, ``prob.json``).
    """

    def __init__(
        self,
        tasks: int = 100,
        mode: str = "redraw",
        inputs: int = 20,
        slow_bits: int = 15,
        target_units: int = 100,
        beta: float = 0.7,
        task_length: int = 10_000,
        reference_threshold: bool = False,
        batch_size: int = 1,
        probe_size: int = 256,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        super().__init__(tasks, seeds, batch_size, probe_size=probe_size, chunk=chunk)
        check_choice("mode", mode, ("redraw", "flip_one"))
        for name, count in (("inputs", inputs), ("target_units", target_units), ("task_length", task_length)):
            check_count(name, count)
        check_count("slow_bits", slow_bits, 0, inputs)
        if inputs - slow_bits > 62:  # the coin flips of an example are held as one integer
            raise ConfigError("inputs", inputs, f"at most 62 more than slow_bits={slow_bits}")
        check_number("beta", beta, 0.0, 1.0)
        check_flag("reference_threshold", reference_threshold)
        self.mode, self.inputs, self.slow_bits = mode, inputs, slow_bits
        self.target_units, self.beta, self.reference_threshold = target_units, beta, reference_threshold
        self.task_length = task_length
        self._targets: dict[int, LTUNetwork] = {}
        self._block_starts: dict[int, list[np.ndarray]] = {}

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`."""
        return StreamSpec((self.inputs,), 1, "mse")

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`."""
        return self.task_length

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`; ``info["slow_bits"]`` are the bits that stand still."""
        slow = self._slow_bits(seed, index)
        inputs = self._rows(slow, self._codes(seed, index))
        return Task(index, (inputs, self.target(seed)(inputs)), info={"slow_bits": slow.tolist()})

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; few distinct inputs are evaluated once each and looked up from then on."""
        patterns = 2 ** (self.inputs - self.slow_bits)
        if patterns > TABLE_PATTERNS:
            return super().load(index)
        every = np.arange(patterns)
        inputs = [self._rows(self._slow_bits(seed, index), every) for seed in self.seeds]
        targets = [self.target(seed)(rows) for seed, rows in zip(self.seeds, inputs)]
        codes = np.stack([self._codes(seed, index) for seed in self.seeds])
        table = torch.stack(inputs).to(self.device), torch.stack(targets).to(self.device)
        return LookedUpTask(*table, torch.from_numpy(codes).to(self.device))

    def target(self, seed: int) -> LTUNetwork:
        """The target network of ``seed``, the same in all its tasks."""
        if seed not in self._targets:
            rng = generator(seed, "target network")
            network = draw_ltu_network(rng, self.inputs, self.target_units, self.beta, self.reference_threshold)
            self._targets[seed] = network
        return self._targets[seed]

    def _slow_bits(self, seed: int, index: int) -> np.ndarray:
        """The slow bits ``[slow_bits]`` of a task, 0 or 1."""
        if self.mode == "redraw" or self.slow_bits == 0:
            return generator(seed, "slow bits", index).integers(0, 2, self.slow_bits)
        block, place = divmod(index, FLIP_BLOCK)
        if seed not in self._block_starts:
            self._block_starts[seed] = [generator(seed, "slow bits", 0).integers(0, 2, self.slow_bits)]
        starts = self._block_starts[seed]
        while len(starts) <= block:
            starts.append(starts[-1] ^ self._flips(seed, len(starts) - 1, FLIP_BLOCK))
        return starts[block] ^ self._flips(seed, block, place)

    def _flips(self, seed: int, block: int, count: int) -> np.ndarray:
        """Which slow bits the first ``count`` flips of a block leave inverted: the parity of how often each is hit."""
        flipped = generator(seed, "flipped bits", block).integers(0, self.slow_bits, FLIP_BLOCK)[:count]
        return np.bincount(flipped, minlength=self.slow_bits) & 1

    def _codes(self, seed: int, index: int) -> np.ndarray:
        """The coin flips of each example ``[task_length]`` as the bits of one integer, in the smallest type."""
        patterns = 2 ** (self.inputs - self.slow_bits)
        kinds = [np.dtype(name) for name in ("uint8", "int16", "int32", "int64")]
        kind = next(kind for kind in kinds if patterns - 1 <= np.iinfo(kind).max)
        drawn = generator(seed, "coin flips", index).bytes(self.task_length * kind.itemsize)
        return np.frombuffer(drawn, kind) & np.array(patterns - 1, kind)  # whole bytes are drawn five times as quickly

    def _rows(self, slow: np.ndarray, codes: np.ndarray) -> Tensor:
        """Inputs ``[n, inputs]``, float32: the slow bits, then the bits of each code, lowest first."""
        coins = self.inputs - self.slow_bits
        rows = np.empty((len(codes), self.inputs), dtype=np.float32)
        rows[:, : self.slow_bits] = slow
        rows[:, self.slow_bits :] = (codes[:, None] >> np.arange(coins, dtype=codes.dtype)) & 1
        return torch.from_numpy(rows)


class LookedUpTask(StackedTask):
    """A stacked task whose examples are looked up among few distinct ones.

    Args:
        inputs: The distinct inputs ``[S, P, *input_shape]``.
        targets: Their targets ``[S, P, ...]``.
        codes: Which of them each example is, ``[S, n]``, whole numbers below P.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, codes: Tensor) -> None:
        seeds, patterns = inputs.shape[:2]
        self.inputs, self.targets = inputs.flatten(0, 1), targets.flatten(0, 1)
        self.codes = codes
        self.first_rows = patterns * torch.arange(seeds, dtype=torch.int32, device=codes.device)[:, None]
        self.size = codes.shape[1]

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        seeds = torch.arange(order.shape[1], device=order.device)[:, None]
        return self._look_up(self.codes[seeds, order])

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        return self._look_up(in_batches(self.codes[:, begin:end], batch))

    def _look_up(self, codes: Tensor) -> Batch:
        rows = codes + self.first_rows
        return F.embedding(rows, self.inputs), F.embedding(rows, self.targets)  # the quickest gather of whole rows
