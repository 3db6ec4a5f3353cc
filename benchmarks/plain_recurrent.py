"""The recurrent study's plain loops, PyTorch's modules and Adam, in a process of their own (see plain_process).

Two of them. The study's: a DataLoader without workers shuffles, decodes every image by PIL and transforms it, and a
second forward pass, its graph with it, counts what is right after each update. The floor: batches are gathered from
tensors that are ready, there is no second pass, and the allocator keeps memory.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice, repeat
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks.plain_process import ROUNDS
from lop_lightning.algos.process import keep_freed_memory
from lop_lightning.tasks.images import MNIST_FILES

Batches = Iterable[tuple[Tensor, Tensor]]
LENGTH, SENTENCES = 25, 26_000


class PlainRecurrent(nn.Module):
    """An image's rows or a sentence's tokens, one layer in both directions, and a linear readout at the last place."""

    def __init__(self, layer: Callable[..., nn.Module], features: int, hidden: int, vocabulary: int = 0) -> None:
        super().__init__()
        self.read = nn.Embedding(vocabulary, features) if vocabulary else nn.Flatten(0, 1)
        self.layer = layer(features, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs."""
        return self.head(self.layer(self.read(x))[0][:, -1])


def plain_mlp() -> nn.Module:
    """784-25-25-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 25), nn.ReLU(), nn.Linear(25, 25), nn.ReLU(), nn.Linear(25, 10))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "MLP": lambda _: plain_mlp(),
    "LSTM": lambda _: PlainRecurrent(nn.LSTM, 28, 25),
    "GRU": lambda _: PlainRecurrent(nn.GRU, 28, 25),
    "GRU on tokens": lambda vocabulary: PlainRecurrent(nn.GRU, 64, 64, vocabulary),
}


@cache
def plain_updates(network: str, batch: int, updates: int, folder: Path, vocabulary: int = 0) -> tuple[float, float]:
    """CPU seconds of an update, data included: of the study's loop, and of the floor.

    Args:
        network: Key of :data:`NETWORKS`.
        batch: Examples an update.
        updates: Updates of a round.
        folder: Where the images are.
        vocabulary: Number of tokens, for sentences instead of images.
    """
    command = [sys.executable, "-m", "benchmarks.plain_recurrent", network, str(batch), str(updates), str(folder)]
    done = subprocess.run([*command, str(vocabulary)], capture_output=True, text=True, check=True)
    study, floor = map(float, done.stdout.split())
    return study, floor


def images(folder: Path) -> MNIST:
    """The images as their user reads them."""
    for name in MNIST_FILES:  # all must be there, though only two are read
        (folder / "MNIST" / "raw" / name).touch()
    steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    return MNIST(str(folder), transform=transforms.Compose(steps))


def sentences(vocabulary: int) -> TensorDataset:
    """Random tokens, as many as the study's sentences have."""
    return TensorDataset(torch.randint(vocabulary, (SENTENCES, LENGTH)), torch.randint(10, (SENTENCES,)))


def study_loop(network: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
    """Updates, their losses, and after each the accuracy by another forward pass."""
    total, right = 0.0, 0
    for x, y in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
        right += int((network(x).argmax(1) == y).sum())


def floor_loop(network: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> None:
    """Updates alone."""
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()


def gathered(x: Tensor, y: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pass after pass over examples, each in a new order."""
    while True:
        for rows in torch.randperm(len(x)).split(batch):
            yield x[rows], y[rows]


def _measure(name: str, batch: int, updates: int, folder: Path, vocabulary: int) -> tuple[float, float]:
    data = sentences(vocabulary) if vocabulary else images(folder)
    loader = DataLoader(data, batch, shuffle=True)
    study = _median(study_loop, NETWORKS[name](vocabulary), chain.from_iterable(repeat(loader)), updates)
    keep_freed_memory()
    x, y = next(iter(DataLoader(data, len(data))))
    return study, _median(floor_loop, NETWORKS[name](vocabulary), gathered(x, y, batch), updates)


def _median(loop: Callable[..., None], network: nn.Module, batches: Batches, updates: int) -> float:
    """CPU seconds of an update, the median of the rounds; a first one is not counted."""
    optimizer, endless, times = torch.optim.Adam(network.parameters(), 0.01), iter(batches), []
    for _ in range(ROUNDS + 1):
        begun = time.process_time()
        loop(network, optimizer, islice(endless, updates))
        times.append(time.process_time() - begun)
    return median(times[1:]) / updates


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    network, batch, updates, folder, vocabulary = sys.argv[1:]
    print(*_measure(network, int(batch), int(updates), Path(folder), int(vocabulary)))
