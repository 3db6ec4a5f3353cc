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
from lop_lightning.networks import HiddenLayer, Trace
from lop_lightning.networks.activations import derivative
from lop_lightning.optimizers.base import Params
from lop_lightning.tasks import TaskStream
from lop_lightning.tasks.base import Batch, Chunk

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
GROUPS = (*LAYER_METRICS, "weights", "gradients")
"""Groups of metrics that can be asked for."""


def on_probe(
    learner: Learner, population: Population, stream: TaskStream, task: int, groups: list[str]
) -> Iterator[Measurement]:
    """Activation metrics of every hidden layer; loss and accuracy on the probe (``post_loss``, ``post_accuracy``)."""
    inputs, targets = stream.stacked_probe(task)
    trace = learner.trace(population, inputs)
    yield from _named("post", *performance(learner, trace.output, targets, stream.stacked(task).active_outputs))
    for layer in learner.layers:
        view = layer_view(layer, trace)
        for group in groups:
            if group in LAYER_METRICS:
                yield from ((name, layer.name, values) for name, values in LAYER_METRICS[group](view).items())


def layer_view(layer: HiddenLayer, trace: Trace) -> LayerView:
    """One layer of a stacked trace, with space and time folded into samples."""
    samples = torch.vmap(layer.samples)
    return LayerView(layer, samples(trace.preactivations[layer.name]), samples(trace.activations[layer.name]))


def performance(learner: Learner, output: Tensor, targets: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
    """Loss and accuracy ``[S]`` of outputs ``[S, N, outputs]``."""

    def one(output: Tensor, target: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
        output = mask_outputs(output, active)
        return learner.loss(output, target), accuracy(learner.spec.loss, output, target)

    return torch.vmap(one, in_dims=(0, 0, None if active is None else 0))(output, targets, active)


def evaluation_sets(stream: TaskStream, task: int) -> dict[str, Batch]:
    """The held-out sets of one task, of all seeds: inputs ``[S, N, ...]`` and targets ``[S, N, ...]``."""
    first = stream.task(stream.seeds[0], task).evaluation
    if not first:
        return {}
    rest = [stream.task(seed, task).evaluation for seed in stream.seeds[1:]]
    return {
        name: (
            torch.stack([inputs, *(sets[name][0] for sets in rest)]).to(stream.device),
            torch.stack([targets, *(sets[name][1] for sets in rest)]).to(stream.device),
        )
        for name, (inputs, targets) in first.items()
    }


def on_evaluation(learner: Learner, population: Population, stream: TaskStream, task: int) -> Iterator[Measurement]:
    """Loss and accuracy on every held-out set of the task: ``<name>_loss``, ``<name>_accuracy``."""
    for name, (inputs, targets) in evaluation_sets(stream, task).items():
        trace = learner.trace(population, inputs)
        yield from _named(name, *performance(learner, trace.output, targets, stream.stacked(task).active_outputs))


def _named(prefix: str, loss: Tensor, share: Tensor) -> Iterator[Measurement]:
    yield f"{prefix}_loss", "", loss
    if not share.isnan().all() or loss.isnan().all():
        yield f"{prefix}_accuracy", "", share


def on_weights(learner: Learner, population: Population, initial: Params) -> Iterator[Measurement]:
    """Weight magnitude, norm and distance from initialisation, of the network and of each layer."""
    for layer, names in _places(learner, population.params):
        now, then = ({n: p[n] for n in names} for p in (population.params, initial))
        yield "weight_magnitude", layer, m.weight_magnitude(now, 1)
        yield "weight_norm", layer, m.weight_norm(now, 1)
        yield "distance_from_initialisation", layer, m.distance_from_initialisation(now, then, 1)


def on_first_update(learner: Learner, population: Population, chunk: Chunk) -> Iterator[Measurement]:
    """Gradient norm and size of the task's first update, before it is made.

    The network's own gradient norm leaves the output layer out, as the GMM system does.
    """
    grads, after = learner.dry_update(population, chunk)
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
        yield layer.name, list(dict.fromkeys(place.parameter for place in places))
