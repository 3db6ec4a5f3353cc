"""Losses of one network on one batch, each with its count of right predictions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lop_lightning.errors import check_choice

Loss = Callable[[Tensor, Tensor], Tensor]
"""(output ``[B, outputs]``, target) -> scalar, the mean over the batch."""


def multi_head_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Σ over heads of the mean cross-entropy over the batch: ``output [B, K·C]``, head after head, ``target [B, K]``.

    A target of -1 says that the head was not asked; it adds nothing.
    """
    return F.cross_entropy(by_head(output, target), target, ignore_index=-1, reduction="none").mean(0).sum()


def by_head(output: Tensor, target: Tensor) -> Tensor:
    """Outputs ``[B, K·C]`` as ``[B, C, K]``, for targets ``[B, K]``."""
    return output.unflatten(-1, (target.shape[-1], -1)).transpose(-1, -2)


def sequence_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean over all readings of all sequences: ``output [B, K·C]``, reading after reading, ``target [B, K]``.

    C = 1: binary cross-entropy of a logit; C > 1: cross-entropy. A target of -1 is after its sequence's end.
    """
    there = target >= 0
    if output.shape[-1] == target.shape[-1]:
        every = F.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="none")
    else:
        every = F.cross_entropy(by_head(output, target), target, ignore_index=-1, reduction="none")
    return torch.where(there, every, 0.0).sum() / there.sum()


def sequence_answers(output: Tensor, target: Tensor) -> Tensor:
    """The class that each reading says, ``[..., K]``: of a logit 1 from 0 on, of several outputs the largest."""
    one_logit = output.shape[-1] == target.shape[-1]
    return (output >= 0).long() if one_logit else by_head(output, target).argmax(-2)


def sequence_accuracies(output: Tensor, target: Tensor) -> Tensor:
    """Share of right readings of each sequence ``[B]``; arguments as of :func:`sequence_cross_entropy`."""
    there = target >= 0
    return (there & (sequence_answers(output, target) == target)).sum(-1).to(output.dtype) / there.sum(-1)


LOSSES: dict[str, Loss] = {
    "mse": F.mse_loss,
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "multi_head_cross_entropy": multi_head_cross_entropy,
    "sequence_cross_entropy": sequence_cross_entropy,
}


def loss_function(name: str) -> Loss:
    """The loss called ``name``."""
    check_choice("loss", name, LOSSES)
    return LOSSES[name]


def accuracy(name: str, output: Tensor, target: Tensor) -> Tensor:
    """Share of right predictions, a scalar; NaN where there is no right and wrong (regression).

    Of several heads the mean over those that were asked.
    """
    if name == "multi_head_cross_entropy":
        asked = (target >= 0).to(output.dtype)
        right = by_head(output, target).argmax(-2) == target
        return (right * asked).sum() / asked.sum()
    if name == "sequence_cross_entropy":
        there = (target >= 0).sum(-1)
        return (sequence_accuracies(output, target) * there).sum() / there.sum()
    if name == "cross_entropy":
        return (output.argmax(-1) == target).to(output.dtype).mean()
    if name == "binary_cross_entropy":
        return ((output > 0) == (target > 0.5)).to(output.dtype).mean()
    return torch.full((), float("nan"), dtype=output.dtype, device=output.device)


def measures(name: str, loss: Tensor, output: Tensor, target: Tensor) -> Tensor:
    """``[loss, accuracy]`` of a batch; where an example has many answers, then the accuracy of each ``[2 + B]``."""
    two = torch.stack([loss, accuracy(name, output, target)])
    return torch.cat([two, sequence_accuracies(output, target)]) if name == "sequence_cross_entropy" else two


def mask_outputs(output: Tensor, active: Tensor | None) -> Tensor:
    """Outputs ``[B, outputs]`` with those that the task does not use put out of reach of a softmax."""
    return output if active is None else output.masked_fill(~active, torch.finfo(output.dtype).min)
