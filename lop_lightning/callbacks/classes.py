"""Accuracy on every class by itself, in the order in which the classes were presented."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lop_lightning.algos.learner import Learner
from lop_lightning.algos.losses import mask_outputs
from lop_lightning.algos.population import Population
from lop_lightning.callbacks.plasticity import Measurement, slices
from lop_lightning.tasks import TaskStream
from lop_lightning.tasks.base import StackedTask


def on_classes(learner: Learner, population: Population, stream: TaskStream, task: int) -> Iterator[Measurement]:
    """``<set>_class_accuracy`` of each class on every held-out set; the layer ``class.07`` is the eighth class.

    Nothing where the stream does not say in which order it presents classes.
    """
    orders = [stream.presented_classes(seed, task) for seed in stream.seeds]
    if orders[0] is None:
        return
    classes = torch.tensor(orders, device=stream.device)
    for name, data in stream.stacked_evaluation(task).items():
        shares = class_accuracy(learner, population, data, stream.stacked(task).active_outputs)
        in_order = shares.gather(1, classes)
        digits = max(2, len(str(classes.shape[1] - 1)))
        for position in range(classes.shape[1]):
            yield f"{name}_class_accuracy", f"class.{position:0{digits}d}", in_order[:, position]


def class_accuracy(learner: Learner, population: Population, data: StackedTask, active: Tensor | None) -> Tensor:
    """Share of right predictions ``[S, outputs]`` among the examples of each class; NaN for a class without any."""
    right = total = torch.zeros(len(learner.seeds), learner.spec.output_size, dtype=torch.float64)
    for inputs, targets, _ in slices(data):
        output = learner.outputs(population, inputs)
        if active is not None:
            output = torch.vmap(mask_outputs)(output, active)
        hits = (output.argmax(-1) == targets).double()
        right = right.to(hits.device).scatter_add(1, targets, hits)
        total = total.to(hits.device).scatter_add(1, targets, torch.ones_like(hits))
    return right / total
