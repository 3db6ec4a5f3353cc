"""From the update of one network to many updates of many networks, compiled.

The update of one network is a pure function. Here it is lifted over seeds (``vmap``, or a loop where that is quicker),
unrolled over a few updates a call, and compiled into one function that writes its results back in place: the storage of
a population never moves, so nothing is ever recompiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from lop_lightning.errors import RunError, check_choice, check_count
from lop_lightning.networks import HiddenLayer
from lop_lightning.trees import Tree, leaves, rebuild, tree_map

CROWD = 1024
"""Examples an update up to which recurrent networks gain by being lifted together on a CPU."""
MOST_COMPILED = 8
"""Forms of a call (updates in it, shapes) that the compiler keeps a variant of a function for."""

UpdateOne = Callable[..., tuple[Tree, Tensor]]
"""(state, inputs, targets, active_outputs, noise) -> (new state, measures) of one network and one batch."""


@dataclass(frozen=True)
class Execution:
    """How updates are executed; none of it changes what they compute.

    Attributes:
        compile: Compile the update (first use takes 5 to 60 s; later runs find it in the compiler's cache).
        lift: ``vmap`` over seeds, ``loop`` over them, or ``auto``.
        unroll: Updates a compiled call; ``auto`` takes 8 for tiny networks and 4 for small ones, where calls are dear.
    """

    compile: bool = True
    lift: str = "auto"
    unroll: int | str = "auto"

    def __post_init__(self) -> None:
        check_choice("lift", self.lift, ("auto", "vmap", "loop"))
        if self.unroll != "auto":
            check_count("unroll", self.unroll)  # type: ignore[arg-type]


class Lifted:
    """Runs K updates of a population in place.

    Args:
        update: The update of one network.
        state: A population's state: the structure and sizes of all that will be run.
        execution: How to run.
        layers: The network's hidden layers: ``vmap`` over convolutions is slower than a loop on a CPU, and an update
            of recurrent layers costs far more than a call.
        batch: Examples an update. With a thousand or more, recurrent networks share nothing on a CPU but its memory.
    """

    def __init__(
        self,
        update: UpdateOne,
        state: Tree,
        execution: Execution,
        layers: Sequence[HiddenLayer] = (),
        batch: int = 1,
    ) -> None:
        self.update, self.structure = update, tree_map(lambda t: t.to("meta"), state)
        first = leaves(state)[0]
        self.seeds = first.shape[0]
        has_maps = any(layer.unit_axis != -1 for layer in layers)
        has_sequences = any(layer.is_sequence for layer in layers)
        crowded = has_sequences and batch > CROWD
        slow_vmap = self.seeds == 1 or ((has_maps or crowded) and first.device.type == "cpu")
        self.loops = execution.lift == "loop" or (execution.lift == "auto" and slow_vmap)
        automatic = 1 if has_sequences else _automatic_unroll(state)
        self.unroll = execution.unroll if isinstance(execution.unroll, int) else automatic
        several = type(self)._several_of_one if self.loops else type(self)._several_of_all
        self.several = MethodType(_compiled(several) if execution.compile else several, self)
        self._trusts = execution.compile
        self._seen: set[object] = set()

    def bind(self, state: Tree) -> list[list[Tensor]]:
        """The tensors that updates will write to: those of all seeds, or (when looping) one list a seed."""
        tensors = leaves(state)
        return [[t[seed] for t in tensors] for seed in range(self.seeds)] if self.loops else [tensors]

    def run(
        self, bound: list[list[Tensor]], inputs: Tensor, targets: Tensor, active: Tensor | None, noise: Tensor | None
    ) -> Tensor:
        """K updates on inputs ``[K, S, B, ...]``; returns what each measured, ``[K, S, measures]``.

        Args:
            bound: From :meth:`bind`.
            inputs: Inputs of K updates.
            targets: Targets of K updates.
            active: Masks ``[S, outputs]`` or ``None``.
            noise: Standard normal numbers ``[K, S, size]`` or ``None``.
        """
        measured, done, total = [], 0, inputs.shape[0]
        while done < total:
            count = self.unroll if total - done >= self.unroll else 1
            x, y = inputs[done : done + count], targets[done : done + count]
            shaken = None if noise is None else noise[done : done + count]
            signature = (count, x.shape, x.dtype, y.shape, y.dtype, active is None)
            with self._trusting(signature):
                measured.append(self._call(bound, x, y, active, shaken))
            done += count
        return torch.cat(measured)

    def _call(
        self, bound: list[list[Tensor]], x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None
    ) -> Tensor:
        if not self.loops:
            return self.several(bound[0], x, y, active, noise)
        rows = []
        for s in range(self.seeds):
            mask, shaken = None if active is None else active[s], None if noise is None else noise[:, s]
            rows.append(self.several(bound[s], x[:, s], y[:, s], mask, shaken))
        return rows[0][:, None] if self.seeds == 1 else torch.stack(rows, dim=1)

    def _trusting(self, signature: tuple[Any, ...]) -> AbstractContextManager[Any]:
        # The compiler re-checks some hundred assumptions at each call, which costs more than a tiny network's update.
        # Only shapes and types can differ between our calls, so once a signature was compiled its checks are skipped.
        if not self._trusts or signature not in self._seen:
            if self._trusts and len(self._seen) >= MOST_COMPILED:
                shapes = f"the batches of this stream come in too many sizes ({MOST_COMPILED} forms can be compiled)"
                raise RunError(f"hardware.compile=true is not legal here: {shapes}; use hardware.compile=false")
            self._seen.add(signature)
            return nullcontext()
        return torch.compiler.set_stance(skip_guard_eval_unsafe=True)

    def _several_of_one(
        self, tensors: list[Tensor], x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None
    ) -> Tensor:
        state, measured = rebuild(self.structure, tensors), []
        for step in range(x.shape[0]):
            state, measures = self.update(state, x[step], y[step], active, None if noise is None else noise[step])
            measured.append(measures)
        return _write_back(tensors, state, measured)

    def _several_of_all(
        self, tensors: list[Tensor], x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None
    ) -> Tensor:
        state, measured = rebuild(self.structure, tensors), []
        axes = (0, 0, 0, None if active is None else 0, None if noise is None else 0)
        lifted = torch.vmap(self.update, in_dims=axes)
        for step in range(x.shape[0]):
            state, measures = lifted(state, x[step], y[step], active, None if noise is None else noise[step])
            measured.append(measures)
        return _write_back(tensors, state, measured)


def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    from lop_lightning.algos.matrix_products import MatrixProducts  # importing the compiler takes seconds

    options: dict[str, Any] = {"post_grad_custom_pre_pass": MatrixProducts()}
    return torch.compile(own_code(function), fullgraph=True, dynamic=False, options=options)


def own_code(function: Callable[..., Tensor]) -> FunctionType:
    """The function with a code object of its own.

    The compiler keeps eight variants of each at most, and a sweep has more runs a process.
    """
    return FunctionType(function.__code__.replace(), function.__globals__, function.__name__)


def _automatic_unroll(state: Tree) -> int:
    # The call costs some 30 µs. Worth sharing out while an update costs no more than a few times that, but the time to
    # compile grows with every update unrolled.
    elements = sum(t.numel() for t in leaves(state["params"]))
    return 8 if elements <= 30_000 else 4 if elements <= 150_000 else 1


@torch.no_grad()
def _write_back(tensors: list[Tensor], state: Tree, measured: list[Tensor]) -> Tensor:
    # In place, so that strides and storage stay and nothing recompiles; a leaf that was passed through is not copied.
    for old, new in zip(tensors, leaves(state)):
        if old is not new:
            old.copy_(new)
    return torch.stack(measured)
