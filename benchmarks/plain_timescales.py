"""The plain loop of leaky networks on N-parity, PyTorch's modules and SGD, in a process of its own (see plain_process).

As the study has it: sequences are drawn and labels counted one by one; inputs are read by one linear layer and indexed
in the loop over time; time constants are clamped at every step; a hundred heads are computed, whoever is asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_process import KEEP

HEADS, CLIP = 100, 2.0


class PlainLeaky(nn.Module):
    """h ← f((1 - 1/τ) h + u/τ), or with ``mod`` h ← (1 - 1/τ) h + f(u)/τ, f the leaky rectifier; HEADS linear heads."""

    def __init__(self, hidden: int, dynamics: str = "default") -> None:
        super().__init__()
        self.mod = dynamics == "mod"
        self.inward, self.recurrent = nn.Linear(1, hidden), nn.Linear(hidden, hidden)
        self.tau = nn.Parameter(1 + torch.rand(hidden))
        self.heads = nn.ModuleList(nn.Linear(hidden, 2) for _ in range(HEADS))

    def forward(self, x: Tensor, h: Tensor | None = None) -> list[Tensor]:
        """The answers of all heads to sequences ``[T, B, 1]``."""
        self.recurrent.weight.data.fill_diagonal_(0)
        h = 0.1 * torch.rand(x.shape[1], len(self.tau)) if h is None else h
        fed = self.inward(x)
        for t in range(len(x)):
            tau = self.tau.clamp(min=1)
            u = self.recurrent(h) + fed[t]
            h = (1 - 1 / tau) * h + F.leaky_relu(u) / tau if self.mod else F.leaky_relu((1 - 1 / tau) * h + u / tau)
        return [head(h) for head in self.heads]

    @torch.no_grad()
    def take(self, tensors: dict[str, Tensor]) -> None:
        """Takes over the weights of a network of ours."""
        weight, bias = tensors.pop("head.weight").unflatten(0, (-1, 2)), tensors.pop("head.bias").unflatten(0, (-1, 2))
        for head, own, offset in zip(self.heads, weight, bias):
            head.load_state_dict({"weight": own, "bias": offset})
        parameters = dict(self.named_parameters())
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


class Loop:
    """A network, its optimiser and the N that it is trained on."""

    def __init__(self, network: PlainLeaky, ns: Sequence[int], batch: int) -> None:
        self.network, self.ns, self.batch = network, ns, batch
        self.optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.1, nesterov=True)

    def step(self, x: Tensor, labels: Sequence[Tensor], h: Tensor | None = None) -> float:
        """One update; returns the loss before it."""
        self.optimizer.zero_grad()
        answers = self.network(x, h)
        loss = sum((F.cross_entropy(answers[k], own) for k, own in enumerate(labels)), torch.zeros(()))
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        return loss.item()

    def fresh(self, length: int) -> Tensor:
        """Sequences ``[T, B, 1]``, each of them drawn with a probability of its own."""
        rows = [(torch.rand(length) < torch.rand(1)).float() for _ in range(self.batch)]
        return torch.stack(rows)[..., None].transpose(0, 1)

    def labels(self, x: Tensor) -> list[Tensor]:
        """Whether each sequence has an odd number of ones among its last N bits, for every N."""
        return [torch.stack([own[-n:].sum() % 2 for own in x[..., 0].T]).long() for n in self.ns]

    def timed(self, lengths: Sequence[int]) -> float:
        """CPU seconds of updates on sequences of these lengths."""
        begun = time.process_time()
        for length in lengths:
            x = self.fresh(length)
            self.step(x, self.labels(x))
        return time.process_time() - begun


class PlainProcess:
    """The loop in its own process, which makes updates when it is told to, so that rounds with ours alternate.

    Args:
        file: What :func:`_serve` begins with.
        keep_memory: Whether the allocator keeps freed memory, as ours does.

    Attributes:
        losses: Of the first updates, on given batches.
    """

    def __init__(self, file: Path, keep_memory: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.plain_timescales", str(file)]
        environment = {**os.environ, **(KEEP if keep_memory else {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.losses: list[float] = self._answer()

    def timed(self, lengths: Sequence[int]) -> float:
        """See :meth:`Loop.timed`."""
        assert self._process.stdin is not None
        print(json.dumps(lengths), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self):  # type: ignore[no-untyped-def]
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _serve(file: Path) -> None:
    """Prints the losses of updates on the batches in the file, then the time of each list of lengths that it reads."""
    given = torch.load(file, weights_only=True)
    network = PlainLeaky(len(given["tensors"]["tau"]), given["dynamics"])
    network.take(given["tensors"])
    loop = Loop(network, given["ns"], given["batch"])
    losses = []
    for x, h in zip(given["sequences"], given["states"]):
        losses.append(loop.step(x, loop.labels(x), h))
    print(json.dumps(losses), flush=True)
    for line in sys.stdin:
        print(json.dumps(loop.timed(json.loads(line))), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    _serve(Path(sys.argv[1]))
