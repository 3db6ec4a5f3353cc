"""Networks with several readouts: which are computed, and how there come to be more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from lop_lightning.algos.population import factory_for

if TYPE_CHECKING:
    from lop_lightning.algos.learner import Learner


def ask(learner: Learner, heads: tuple[int, int]) -> None:
    """From now on computes so many heads from this one on, ``(first, count)``, as the targets have them; makes them.

    A head that was not there is made as it would have been from the start: the first heads of a network do not depend
    on how many there are. The optimiser has seen nothing of it.
    """
    first, count = heads
    _grow(learner, first + count)
    learner.ask(heads)


def grow_to_fit(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    """Makes the heads that stacked parameters have, by name, ``[S, …]``."""
    if learner.spec.heads is not None:
        rows = tensors[learner.output_parameters[0]].shape[1]
        _grow(learner, rows * learner.spec.heads // learner.spec.output_size)


def _grow(learner: Learner, heads: int) -> None:
    spec, population = learner.spec, learner.population
    if spec.heads is None or population is None or heads <= spec.heads:
        return
    learner.spec = replace(spec, heads=heads, output_size=spec.output_size // spec.heads * heads)
    learner.build = factory_for(learner.network_factory, learner.spec)
    population.grow(learner.new_population(*population.purpose))
    learner.rebind()
