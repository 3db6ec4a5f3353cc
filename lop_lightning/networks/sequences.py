"""Many recurrent networks over whole sequences at once, forwards and backwards through time.

The loop over time is one operator to the compiler and to ``vmap``: nothing is unrolled, so compiling takes no longer
for a long sequence than for a short one, and seeds and directions share each product of matrices. Its backward pass is
written out (backpropagation through time); a second derivative is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lop_lightning.networks.cells import CELLS, Blocks, Cell
from lop_lightning.networks.written_out import detached, gradient_of

TILE = 2**17
"""Numbers in the gates of one tile at one step: what a processor's own cache holds."""
LEAST_ROWS, MOST_ROWS = 128, 1024
"""Examples in a tile, if there are so many."""


def tile_rows(batch: int, device: torch.device) -> int:
    """How many examples are taken together: the largest divisor of ``batch`` that fits, or all where none is near.

    On a device that is no CPU all of them, since there a call is dear and memory is quick.
    """
    if batch <= MOST_ROWS or device.type != "cpu":
        return batch
    best = next(rows for rows in range(MOST_ROWS, 0, -1) if batch % rows == 0)
    return best if best >= LEAST_ROWS else batch


@torch.compiler.allow_in_graph
def run(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, cell: str) -> tuple[Tensor, Tensor, Tensor]:
    """States of D networks (directions) over sequences that are cut into k tiles of b examples.

    Args:
        x: Inputs ``[T, D·k, F, b]``, a direction's tiles one after another, in the order in which they are read.
        weight_x: ``[D, rows·H, F]`` from :meth:`Cell.pack`.
        weight_h: ``[D, rows·H, H]``.
        bias: ``[D, rows·H]``.
        cell: Key of :data:`CELLS`.

    Returns:
        States h ``[T, D·k, H, b]``, gates ``[T, D·k, rows·H, b]`` and memory ``[T, D·k, memory·H, b]`` after each step.
        Only h is differentiable.
    """
    return _Sequence.apply(x, weight_x, weight_h, bias, cell)


class _Sequence(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, cell: str) -> tuple[Tensor, ...]:
        return forward_pass(*detached((x, weight_x, weight_h, bias)), cell)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[:3], *output)
        ctx.cell = inputs[4]
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # zeros for each output that has none

    @staticmethod
    def backward(ctx: Any, dh: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        wanted = bool(ctx.needs_input_grad[0])
        dx, *rest = _Gradient.apply(dh, *ctx.saved_tensors, ctx.cell, wanted)
        return (dx if wanted else None, *rest, None)


@torch.library.custom_op("lop::sequence_forward", mutates_args=())
def forward_pass(
    x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, cell: str
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`run`."""
    rule = CELLS[cell]
    h, gates, memory = _like_forward(x, weight_x, weight_h, bias, cell)
    for n, w in _tiles(x, weight_h):
        inward, recurrent, offset = weight_x[w], weight_h[w], bias[w, :, None]
        before = None
        for read, now in zip(x[:, n].unbind(), _steps(gates[:, n], h[:, n], memory[:, n], rule)):
            torch.baddbmm(offset, inward, read, out=now.all)
            if before is not None:
                now.all.baddbmm_(recurrent, before.h)
            rule.forward(now, before)
            before = now
    return h, gates, memory


@torch.library.custom_op("lop::sequence_backward", mutates_args=())
def backward_pass(
    dh: Tensor,
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    h: Tensor,
    gates: Tensor,
    memory: Tensor,
    cell: str,
    inputs_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of inputs (if wanted, else something empty), both weights and bias, given those of the states."""
    rule, steps = CELLS[cell], len(x)
    dx = torch.empty_like(x) if inputs_too else x.new_empty((*x.shape[:2], 0, 0))
    features, width = x.shape[2], h.shape[2]
    # All that enters the sums side by side, inputs, states and a one for the bias: one product gives their gradients.
    gradient = x.new_zeros(len(weight_h), features + width + 1, weight_h.shape[1])
    for n, w in _tiles(x, weight_h):
        inward, recurrent = weight_x[w].transpose(1, 2), weight_h[w].transpose(1, 2)
        flowing, carried, d = torch.zeros_like(h[0, n]), torch.zeros_like(h[0, n]), torch.empty_like(gates[0, n])
        entering = x.new_ones(len(d), gradient.shape[1], x.shape[3])
        read, stood, _ = entering.split([features, width, 1], 1)
        parts, across, own = d.chunk(rule.rows, 1), d.transpose(1, 2), gradient[w]
        made = _steps(gates[:, n], h[:, n], memory[:, n], rule)
        inputs, coming = x[:, n].unbind(), dh[:, n].unbind()
        for t in range(steps - 1, -1, -1):
            before = made[t - 1] if t else None
            flowing.add_(coming[t])
            rule.backward(d, parts, flowing, carried, made[t], before)
            read.copy_(inputs[t])
            stood.zero_() if before is None else stood.copy_(before.h)
            own.baddbmm_(entering, across)
            if inputs_too:
                torch.bmm(inward, d, out=dx[t, n])
            if before is not None:
                flowing.baddbmm_(recurrent, d)
    dweight_x, dweight_h, dbias = gradient.transpose(1, 2).contiguous().split([features, width, 1], 2)
    return dx, dweight_x.contiguous(), dweight_h.contiguous(), dbias.squeeze(2).contiguous()


def _steps(gates: Tensor, h: Tensor, memory: Tensor, rule: Cell) -> list[Blocks]:
    """Views of every step of one tile, all made at once: one by one they would cost as much as a small step itself."""
    apart = (zip(*(block.unbind() for block in t.chunk(count, 2))) for t, count in
             ((gates, rule.rows), (memory, rule.memory)))  # fmt: skip
    return [Blocks(*step) for step in zip(gates.unbind(), next(apart), h.unbind(), next(apart))]


def _tiles(x: Tensor, weight_h: Tensor) -> Iterator[tuple[slice, slice]]:
    """Which rows of x, and which of the weights, are taken together."""
    count, batch, per = x.shape[1], x.shape[3], x.shape[1] // len(weight_h)
    if per > 1:
        yield from ((slice(n, n + 1), slice(n // per, n // per + 1)) for n in range(count))
        return
    together = max(1, TILE // (weight_h.shape[1] * batch)) if x.device.type == "cpu" else count
    yield from ((slice(n, n + together),) * 2 for n in range(0, count, together))


@forward_pass.register_fake
def _like_forward(
    x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, cell: str
) -> tuple[Tensor, Tensor, Tensor]:
    steps, count, _, batch = x.shape
    rows, width = weight_h.shape[1:]
    sizes = (width, rows, CELLS[cell].memory * width)
    h, gates, memory = (x.new_empty(steps, count, size, batch) for size in sizes)
    return h, gates, memory


@backward_pass.register_fake
def _like_backward(
    dh: Tensor,
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    h: Tensor,
    gates: Tensor,
    memory: Tensor,
    cell: str,
    inputs_too: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dx = torch.empty_like(x) if inputs_too else x.new_empty((*x.shape[:2], 0, 0))
    return dx, torch.empty_like(weight_x), torch.empty_like(weight_h), weight_x.new_empty(weight_x.shape[:2])


def folding(
    operator: Callable[..., tuple[Tensor, ...]], axes: Sequence[int], given: Sequence[int]
) -> Callable[..., Any]:
    """The rule for ``vmap``: more networks are more rows. ``axes``: where they are in the arguments and results."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        folded = [_fold(t, dim, axis, info.batch_size) for t, dim, axis in zip(arguments, in_dims, axes)]
        results = operator(*folded, *arguments[len(axes) :])
        return tuple(t.unflatten(axis, (info.batch_size, -1)) for t, axis in zip(results, given)), tuple(given)

    return rule


def _fold(t: Tensor, dim: int | None, axis: int, size: int) -> Tensor:
    shared = t.unsqueeze(axis).expand(*t.shape[:axis], size, *t.shape[axis:]) if dim is None else t.movedim(dim, axis)
    return shared.flatten(axis, axis + 1).contiguous()


_Gradient = gradient_of(backward_pass, "a gated network")
forward_pass.register_vmap(folding(forward_pass, (1, 0, 0, 0), (1, 1, 1)))
backward_pass.register_vmap(folding(backward_pass, (1, 1, 0, 0, 1, 1, 1), (1, 0, 0, 0)))
