"""Forward passes of all networks without training: what they show, and what they answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lop_lightning.algos.lift import Execution, own_code
from lop_lightning.networks import Trace
from lop_lightning.networks.base import Tracer, stacked_trace, traced


class ForwardPass:
    """Runs S networks in evaluation mode.

    Args:
        tracer: The network's structure, in evaluation mode.
        execution: Whether to compile.
        loops: Take the networks one after another, as is quicker (and takes less memory) where they convolve on a CPU.
            Then answers are computed by a compiled function, for a convolution without its trace is thrice as quick.
    """

    def __init__(self, tracer: Tracer, execution: Execution, loops: bool) -> None:
        self.tracer, self.loops = tracer, loops
        self._answer = self._compiled() if execution.compile and loops else self._answer_of_one

    def rows(self, seeds: int) -> list[slice]:
        """How the seeds are best taken: all at once, or one by one."""
        return [slice(row, row + 1) for row in range(seeds)] if self.loops else [slice(None)]

    def trace(self, tensors: dict[str, Tensor], inputs: Tensor, rows: slice = slice(None)) -> Trace:
        """What the networks of some seeds show on ``inputs [S, N, ...]``; every tensor gets a leading seed axis."""
        return stacked_trace(self.tracer, {name: t[rows] for name, t in tensors.items()}, inputs, self.loops)

    @torch.no_grad()
    def outputs(self, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """Outputs ``[S, N, outputs]`` of all networks on ``inputs [S, N, ...]``."""
        if not self.loops:
            return self.trace(tensors, inputs).output
        seeds = range(len(inputs))
        return torch.stack([self._answer({name: t[s] for name, t in tensors.items()}, inputs[s]) for s in seeds])

    def _answer_of_one(self, tensors: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return traced(self.tracer, tensors, inputs).output

    def _compiled(self) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
        return torch.compile(own_code(type(self)._answer_of_one).__get__(self), dynamic=False)
