"""What is measured of a population's plasticity, from activations, weights and gradients. Measuring changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lop_lightning import metrics as m
from lop_lightning.algos.learner import Learner
from lop_lightning.algos.losses import accuracy, mask_outputs
from lop_lightning.algos.population import Population
from lop_lightning.algos.task_ends import dry_update
from lop_lightning.callbacks.recurrence import on_recurrence
from lop_lightning.networks import HiddenLayer, Trace
from lop_lightning.networks.activations import derivative
from lop_lightning.networks.time import in_sequence
from lop_lightning.optimizers.base import Params
from lop_lightning.tasks import TaskStream
from lop_lightning.tasks.base import Chunk, StackedTask

Measurement = tuple[str, str, Tensor]
"""Metric, layer (empty for the whole network), values ``[S]``."""


@dataclass
class LayerView:
    """One hidden layer of S networks on the probe batch: samples ``[S, N, width]`` around the nonlinearity."""

    layer: HiddenLayer
    preactivations: Tensor
    activations: Tensor


def _units(view: LayerView) -> dict[str, Tensor]:
    slopes = derivative(view.layer.activation, view.preactivations)
    return {
        "dead_units": m.dead_units(view.activations),
        "dormant_units_0.025": m.dormant_units(view.activations, 0.025),
        "saturation_2": m.saturation(view.preactivations, 2.0),
        "frozen_units": m.frozen_units(slopes),
    }


def _ranks(view: LayerView) -> dict[str, Tensor]:
    return m.spectral_ranks(view.activations)


def _covariance_ranks(view: LayerView) -> dict[str, Tensor]:
    eigenvalues = m.covariance_eigenvalues(view.preactivations)
    return {"preactivation_covariance_rank": m.covariance_effective_rank(eigenvalues)}


def _duplication(view: LayerView) -> dict[str, Tensor]:
    return {"feature_duplication": m.feature_duplication(view.activations)}


LAYER_METRICS: dict[str, Callable[[LayerView], dict[str, Tensor]]] = {
    "units": _units,
    "ranks": _ranks,
    "covariance_ranks": _covariance_ranks,
    "duplication": _duplication,
}
GROUPS = (*LAYER_METRICS, "weights", "gradients", "representation", "recurrence")
"""Groups of metrics that can be asked for."""


def on_probe(
    learner: Learner, population: Population, stream: TaskStream, task: int, groups: list[str]
) -> Iterator[Measurement]:
    """Activations of hidden layers, what recurrent ones do step by step, ``post_loss`` and ``post_accuracy``."""
    inputs, targets = stream.stacked_probe(task)
    measured: dict[tuple[str, str], list[Tensor]] = {}
    active = stream.stacked(task).active_outputs
    for rows in learner.seed_slices:  # the maps of all seeds together might not fit into memory
        trace = learner.trace(population, inputs[rows], rows)
        shown = performance(learner, trace.output, targets[rows], None if active is None else active[rows])
        for name, layer, values in _on_trace(learner, trace, shown, groups):
            measured.setdefault((name, layer), []).append(values)
    yield from ((name, layer, torch.cat(values)) for (name, layer), values in measured.items())
    if "recurrence" in groups:
        yield from on_recurrence(learner, population, stream, task)


def _on_trace(learner: Learner, trace: Trace, shown: tuple[Tensor, Tensor], groups: list[str]) -> Iterator[Measurement]:
    yield from _named(learner, "post", *shown)
    for layer in learner.layers:
        view = layer_view(layer, trace)
        for group in groups:
            if group in LAYER_METRICS:
                yield from ((name, layer.name, values) for name, values in LAYER_METRICS[group](view).items())


def layer_view(layer: HiddenLayer, trace: Trace) -> LayerView:
    """One layer of a stacked trace, with space and time folded into samples; padding is no sample.

    Where sequences differ in length, each seed's first samples are taken, as many as every seed has.
    """
    samples = torch.vmap(layer.samples)
    sides = [samples(side[layer.name]) for side in (trace.preactivations, trace.activations)]
    if layer.is_sequence and trace.lengths is not None:
        padding = ~in_sequence(trace.lengths, trace.activations[layer.name].shape[2]).flatten(1)
        count = int((~padding).sum(1).min())
        first = padding.to(torch.int8).sort(dim=1, stable=True).indices[:, :count, None]
        sides = [side.gather(1, first.expand(-1, -1, layer.width)) for side in sides]
    return LayerView(layer, *sides)


def performance(learner: Learner, output: Tensor, targets: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
    """Loss and accuracy ``[S]`` of outputs ``[S, N, outputs]``."""

    def one(output: Tensor, target: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        output = mask_outputs(output, active)
        return learner.loss(output, target), accuracy(learner.spec.loss, output, target)

    return torch.vmap(one, in_dims=(0, 0, None if active is None else 0))(output, targets, active)


def on_set(learner: Learner, population: Population, data: StackedTask, active: Tensor | None) -> tuple[Tensor, Tensor]:
    """Loss and accuracy ``[S]`` on a whole data set, some hundred examples at a time."""
    loss, share = [], []
    for inputs, targets, count in slices(data):
        output = learner.outputs(population, inputs)
        means = performance(learner, output, targets, active)
        loss.append(means[0].double() * count)
        share.append(means[1].double() * count)
    return torch.stack(loss).sum(0) / data.size, torch.stack(share).sum(0) / data.size


def slices(data: StackedTask, size: int = 250) -> Iterator[tuple[Tensor, Tensor, int]]:
    """The examples of all seeds in order: inputs ``[S, n, ...]``, targets ``[S, n, ...]``, n at most ``size``."""
    for begin in range(0, data.size, size):
        end = min(begin + size, data.size)
        inputs, targets = data.slice(begin, end, end - begin)
        yield inputs[0], targets[0], end - begin


def on_evaluation(learner: Learner, population: Population, stream: TaskStream, task: int) -> Iterator[Measurement]:
    """Loss and accuracy on every held-out set of the task: ``<name>_loss``, ``<name>_accuracy``."""
    for name, data in stream.stacked_evaluation(task).items():
        yield from _named(learner, name, *on_set(learner, population, data, stream.stacked(task).active_outputs))


def on_other_tasks(learner: Learner, population: Population, stream: TaskStream, task: int) -> Iterator[Measurement]:
    """What the hidden layers make of data that the stream names, before ``task`` is learnt: ``<name>_<measure>``."""
    for name, data in stream.representation_sets(task).items():
        shown = [(rows, m.Representation()) for rows in learner.seed_slices]
        for inputs, _, _ in slices(data, 100):
            for rows, one in shown:
                activations = learner.trace(population, inputs[rows], rows).activations
                one.add({layer.name: torch.vmap(layer.samples)(activations[layer.name]) for layer in learner.layers})
        measured = [one.measures() for _, one in shown]
        yield from ((f"{name}_{key}", "", torch.cat([values[key] for values in measured])) for key in measured[0])


def _named(learner: Learner, prefix: str, loss: Tensor, share: Tensor) -> Iterator[Measurement]:
    yield f"{prefix}_loss", "", loss
    if learner.spec.is_classification:
        yield f"{prefix}_accuracy", "", share


def on_weights(learner: Learner, population: Population, initial: Params) -> Iterator[Measurement]:
    """Weight magnitude, norm and distance from initialisation, of the network and of each layer; its constants."""
    for layer, names in _places(learner, population.params):
        now, then = ({n: p[n] for n in names} for p in (population.params, initial))
        yield "weight_magnitude", layer, m.weight_magnitude(now, 1)
        yield "weight_norm", layer, m.weight_norm(now, 1)
        yield "distance_from_initialisation", layer, m.distance_from_initialisation(now, then, 1)
    for (name, layer), values in learner.constants(population).items():
        yield name, layer, values


def on_first_update(learner: Learner, population: Population, chunk: Chunk) -> Iterator[Measurement]:
    """Gradient norm and size of the task's first update, before it is made.

    The network's own gradient norm leaves the output layer out, as the GMM system does.
    """
    grads, after = dry_update(learner, population, chunk)
    hidden = {name for layer, names in _places(learner, grads) if layer for name in names}
    for layer, names in _places(learner, grads):
        shown = {n: grads[n] for n in (names if layer or not hidden else [n for n in names if n in hidden])}
        yield "gradient_norm", layer, m.gradient_norm(shown, 1)
        before, moved = ({n: p[n] for n in names} for p in (population.params, after))
        yield "update_size", layer, m.update_size(before, moved, 1)


def _places(learner: Learner, params: Params) -> Iterator[tuple[str, list[str]]]:
    """The whole network under the empty name, then each hidden layer with the parameters that enter it."""
    yield "", list(params)
    for layer in learner.layers:
        places = [*(entry.units for entry in layer.fan_in), *layer.bias, *(place for place, _ in layer.norm)]
        yield layer.name, [name for name in dict.fromkeys(p.parameter for p in places) if name in params]
