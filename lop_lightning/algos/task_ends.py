"""What is done to networks between tasks, and what their first update would be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lop_lightning.algos.method import Method
from lop_lightning.algos.noise import parameter_noise, split
from lop_lightning.algos.population import Population
from lop_lightning.optimizers.base import Params
from lop_lightning.tasks.base import Chunk
from lop_lightning.trees import Tree

if TYPE_CHECKING:
    from lop_lightning.algos.learner import Learner


@torch.no_grad()
def end_task(learner: Learner, population: Population, rows: Sequence[int] | None = None) -> None:
    """Does, in place, what the method does to networks whose task has ended.

    Args:
        learner: The method.
        population: Its networks.
        rows: Rows of the seeds that end their task; ``None``: all.
    """
    if type(learner).on_task_end is Method.on_task_end or (rows is not None and not rows):
        return
    params = population.params
    noise = parameter_noise(learner.seeds, params, *population.purpose, "task end").at(population.updates, 1)[0]

    def one(params: Params, method: Tree, noise: Tensor) -> Params:
        return learner.on_task_end(params, method, split(noise, params))

    ended = torch.vmap(one)(params, population.state["method"], noise)
    chosen = slice(None) if rows is None else list(rows)
    for name, p in params.items():
        p[chosen] = ended[name][chosen]


def dry_update(learner: Learner, population: Population, chunk: Chunk) -> tuple[Params, Params]:
    """The gradients and the new parameters that the chunk's first update would give; changes nothing."""
    noise = None if population.noise is None else population.noise.at(population.updates, 1)[0]

    def one(state: Tree, x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None) -> tuple[Params, Params]:
        backward = learner.gradients(state, x, y, active)
        return backward.grads, learner.advance(state, backward, noise)["params"]

    masks = chunk.active_outputs
    axes = (0, 0, 0, None if masks is None else 0, None if noise is None else 0)
    return torch.vmap(one, axes)(population.state, chunk.inputs[0], chunk.targets[0], masks, noise)
