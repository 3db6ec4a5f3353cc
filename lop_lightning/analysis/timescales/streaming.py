"""How often one readout is right at every step of long random sequences, for one network or many variants of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lop_lightning.analysis.timescales.gated import GatedStates
from lop_lightning.analysis.timescales.simulate import Stateful
from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.errors import ConfigError, LopError, check_choice, check_count
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.networks.readout import Readout
from lop_lightning.networks.recurrent import GatedNetwork
from lop_lightning.randomness import generator
from lop_lightning.tasks.bit_sequences import VALUES
from lop_lightning.tasks.memory_labels import streaming_labels

Array = NDArray[np.float64]

WARM_UP, SCORED, REPEATS = 100, 1000, 10
"""Bits of a sequence before the first that is scored, those that are, and sequences, as published."""

_NUMBERS = 2**24  # in the states that are held at a time: 64 MB


class Stepper(nn.Module):
    """A solved network's states piece by piece, with one readout or all of them.

    Args:
        solved: The network.
        head: Number of the readout; ``None``: all.

    Raises:
        LopError: it is no network whose states can be run on.

    Attributes:
        prefix: What is before the names of the network's parameters here.
        width: Numbers in its state.
    """

    def __init__(self, solved: Solved, head: int | None = None) -> None:
        super().__init__()
        network = solved.network
        if isinstance(network, GatedNetwork):
            self.core: nn.Module = GatedStates(network)
            self.prefix, self.columns, self.scale = "core.network.", self.core.columns("hidden"), 0.0
            self.width = len(network.layers) * network.cell.parts * network.hidden
        elif isinstance(network, LeakyNetwork):
            self.core, self.prefix, self.columns = network, "core.", slice(None)
            self.width, self.scale = network.hidden, network.initial_state
        else:
            raise LopError(f"a {type(network).__name__} has no states that can be run on: use leaky, lstm or gru")
        self.head = head

    @property
    def readout(self) -> Readout:
        """The readouts."""
        return cast(Readout, self.core.network.head if isinstance(self.core, GatedStates) else self.core.head)

    def first(self, draw: np.random.Generator, count: int) -> Tensor:
        """States ``[count, width]`` before the first step, U(0, 1) times what the network begins with."""
        return self.scale * torch.from_numpy(draw.random((count, self.width))).to(self.readout.weight)

    def read(self, states: Tensor) -> Tensor:
        """Outputs ``[…, 2]`` of the readout (``[…, 2K]`` of all) for states ``[…, width]``."""
        rows = slice(None) if self.head is None else slice(2 * self.head, 2 * self.head + 2)
        return F.linear(states[..., self.columns], self.readout.weight[rows], self.readout.bias[rows])

    def forward(self, x: Tensor, h: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """Outputs after every so many steps of ``x [B, T, F]`` from states ``h``, and the last states."""
        states = cast(Stateful, self.core).states(x, h)
        return self.read(states[:, every - 1 :: every]), states[:, -1]


@dataclass(frozen=True)
class Quiz:
    """Long random sequences, what is to be answered, and the states that networks begin with.

    Attributes:
        bits: ``[B, T]``, uint8.
        answers: Classes at the last steps ``[B, scored]``.
        h0: ``[B, width]``.
        repeats: Steps that a bit lasts.
    """

    bits: Tensor
    answers: Tensor
    h0: Tensor
    repeats: int


def quiz(
    solved: Solved,
    n: int,
    question: str | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    warm_up: int = WARM_UP,
    steps: int = SCORED,
    hold: int | None = None,
) -> Quiz:
    """Bernoulli(½) sequences for the network of a seed: a function of both seeds, the question and N, not of weights.

    Args:
        solved: The network.
        n: The N that is asked.
        question: ``parity`` or ``dms``; ``None``: what it was trained on.
        repeats: Sequences.
        seed: Of bits and first states.
        warm_up: Bits before the first that is scored, at least N - 1.
        steps: Bits that are scored.
        hold: In continuous time: steps that a bit lasts; ``None``: the first number that it was trained with.

    Raises:
        ConfigError: a setting is out of its range.
    """
    question = solved.question if question is None else question
    check_choice("question", question, ("parity", "dms"))
    for name, count in (("repeats", repeats), ("steps", steps)):
        check_count(name, count)
    check_count("warm_up", warm_up, n - 1)
    draw = generator(seed, "streaming", solved.seed, question, n)
    bits = torch.from_numpy(draw.integers(0, 2, (repeats, warm_up + steps), dtype=np.uint8))
    answers = streaming_labels(bits, n, question)[:, -steps:]
    return Quiz(bits, answers, Stepper(solved).first(draw, repeats), checked_hold(solved, hold))


def checked_hold(solved: Solved, hold: int | None) -> int:
    """Steps that a bit lasts, by default as at the first update of training.

    Raises:
        ConfigError: it is no count, or the network is in discrete time.
    """
    if hold is None:
        return solved.sequences.repeats_of(0)
    check_count("hold", hold)
    if hold > 1 and not solved.sequences.repeats:
        raise ConfigError("hold", hold, "1, because the network was trained in discrete time")
    return hold


@torch.no_grad()
def correct(stepper: Stepper, solved: Solved, quiz: Quiz, changed: Mapping[str, Tensor], own: bool = False) -> Array:
    """Share of right answers of C variants of a network, ``[C, B]``.

    Args:
        stepper: The network with the readout that answers: 1 where its second output is the larger.
        solved: The network.
        quiz: B sequences.
        changed: Parameters that differ, by their names in the network, ``[C, …]``.
        own: Whether every variant gets one of the sequences, C of them, instead of all: ``[C, 1]``.
    """
    variants = {stepper.prefix + name: tensor for name, tensor in changed.items()}
    count, batch = len(next(iter(variants.values()))), 1 if own else len(quiz.bits)

    def one(tensors: dict[str, Tensor], x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return functional_call(stepper, tensors, (x, h, quiz.repeats))

    many = torch.vmap(one, in_dims=(0, 0 if own else None, 0))
    like = stepper.readout.weight
    h = (quiz.h0[:, None] if own else quiz.h0.expand(count, -1, -1)).to(like)
    size = max(1, _NUMBERS // (count * batch * stepper.width * quiz.repeats))
    said = []
    for bits in (quiz.bits[:, None] if own else quiz.bits).split(size, -1):
        outputs, h = many(variants, inputs(solved, bits, quiz.repeats).to(like), h)
        said.append(outputs[..., 1] > outputs[..., 0])
    answers = (quiz.answers[:, None] if own else quiz.answers).to(like.device)
    right = torch.cat(said, -1)[..., -answers.shape[-1] :] == answers
    return right.double().mean(-1).cpu().numpy()


def inputs(solved: Solved, bits: Tensor, hold: int) -> Tensor:
    """Bits ``[…, T]`` as the network reads them, each for ``hold`` steps: ``[…, T · hold, features]``."""
    low, high = VALUES[solved.sequences.values]
    read = (low + (high - low) * bits.float()).repeat_interleave(hold, -1)
    return torch.stack([read, torch.full_like(read, 1 / hold)][: solved.sequences.features], -1)


def streaming_accuracy(
    solved: Solved,
    n: int | None = None,
    question: str | None = None,
    repeats: int = REPEATS,
    seed: int = 0,
    warm_up: int = WARM_UP,
    steps: int = SCORED,
    hold: int | None = None,
) -> Array:
    """Share of right answers of the readout for N at every bit of long random sequences, ``[repeats]``.

    In continuous time every bit lasts ``hold`` steps, and the answer is read at its last.

    Args:
        solved: The network.
        n: The N that is asked; ``None``: the one that was solved.
        question: See :func:`quiz`, and so for the others.
        repeats: Sequences.
        seed: Of bits and first states.
        warm_up: Bits before the first that is scored.
        steps: Bits that are scored.
        hold: In continuous time: steps that a bit lasts.

    Raises:
        LopError: the network has no such readout, or no states that can be run on.
        ConfigError: a setting is out of its range.

    Source: spec of the time-scale system, section 4.3 (Khajehabdollahi et al. 2024).
    """
    n = solved.high if n is None else n
    stepper = Stepper(solved, solved.head_of(n))
    asked = quiz(solved, n, question, repeats, seed, warm_up, steps, hold)
    return correct(stepper, solved, asked, {"head.bias": stepper.readout.bias.detach()[None]})[0]


def relative_accuracy(accuracy: ArrayLike, baseline: ArrayLike, choose: str = "mean") -> Array:
    """(accuracy - ½) / (baseline - ½): 1 as without the change, 0 at chance; NaN for a baseline no better than that.

    Args:
        accuracy: Any shape.
        baseline: Accuracies of the repeats without the change.
        choose: Which of them counts: their ``mean``, or the ``max``, as in part of the published code.

    Raises:
        ConfigError: another choice.

    >>> relative_accuracy([0.95, 0.5], [0.8, 1.0]).round(6).tolist()
    [1.125, 0.0]
    """
    check_choice("baseline", choose, ("mean", "max"))
    known = np.asarray(baseline, dtype=np.float64)
    return above_chance(accuracy, known.mean() if choose == "mean" else known.max())


def above_chance(accuracy: ArrayLike, known: ArrayLike) -> Array:
    """(accuracy - ½) / (known - ½), elementwise; NaN where what is known is no better than chance."""
    best = np.asarray(known, dtype=np.float64)
    return (np.asarray(accuracy, dtype=np.float64) - 0.5) / np.where(best > 0.5, best - 0.5, np.nan)
