"""Operators whose backward pass is written out: what every one of them needs to go through PyTorch's transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def detached(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments for an operator, which without a derivative of its own refuses what a transform is following."""
    return tuple(t.detach() if isinstance(t, Tensor) else t for t in inputs)


def gradient_of(operator: Callable[..., tuple[Tensor, ...]], what: str) -> type[torch.autograd.Function]:
    """The operator that computes a gradient, as a function that says that it has none itself.

    Args:
        operator: The backward pass.
        what: What has no second derivative, for the message.
    """

    class Gradient(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*inputs: Any) -> tuple[Tensor, ...]:
            return operator(*detached(inputs))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
            raise RuntimeError(f"{what}'s second derivative is not defined: use network.unrolled, if it has it")

    return Gradient
