"""What a method may define: hooks, each a pure function of ONE network, and a few on the whole population.

``init_state(params)``              what the method remembers, a tree of tensors
``penalty(params, method)``         a term added to the loss
``after_update(step)``              runs after every optimiser step
``on_task_end(params, method, …)``  runs when a task ends
``on_task_start(population, task)`` runs before a task begins, on all networks

and, for what happens rarely and at times the host can foresee, ``next_event`` and ``event`` on the whole population.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lop_lightning.algos.population import Population
from lop_lightning.algos.step import Step
from lop_lightning.optimizers.base import Params
from lop_lightning.trees import Tree


class Method:
    """The hooks with which :class:`lop_lightning.algos.learner.Learner` is told apart; by default plain backprop."""

    uses_noise = False
    """Whether the method wants standard normal numbers at every update."""

    # ---- each about one network

    def init_state(self, params: Params) -> Tree:
        """What the method remembers at first: a tree of tensors."""
        return {}

    def penalty(self, params: Params, method: Tree) -> Tensor | None:
        """A scalar added to the loss, or ``None``. The recorded loss is the task's alone."""
        return None

    def after_update(self, step: Step) -> Step:
        """What the method does after every optimiser step."""
        return step

    def on_task_end(self, params: Params, method: Tree, noise: Params) -> Params:
        """What the method does to the parameters when a task ends; ``noise`` is standard normal, one a parameter."""
        return params

    # ---- on the whole population, for what is rare and foreseen

    def init_host(self, seeds: list[int]) -> dict[str, Any]:
        """What the method keeps on the host: plain numbers, lists and dicts."""
        return {}

    def next_event(self, population: Population) -> int | None:
        """The number of updates after which :meth:`event` must next be called, or ``None``."""
        return None

    def event(self, population: Population) -> None:
        """The rare thing, done in place after update number ``population.updates``."""

    def on_task_start(self, population: Population, task: int) -> None:
        """What the method does, in place, before the first update of ``task``."""
