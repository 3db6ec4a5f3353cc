"""What is measured of recurrent layers, step by step, on a part of the probe batch. Measuring changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from lop_lightning import metrics as m
from lop_lightning.algos.learner import Learner
from lop_lightning.algos.losses import mask_outputs
from lop_lightning.algos.population import Population
from lop_lightning.networks.base import Unroller
from lop_lightning.networks.time import in_sequence
from lop_lightning.networks.unrolled import Unrolled
from lop_lightning.optimizers.base import Params
from lop_lightning.tasks import TaskStream

GRADIENT_EXAMPLES, JACOBIAN_EXAMPLES = 32, 4
"""Examples of the probe that gates and gradients, and that Jacobians, are measured on."""


def on_recurrence(
    learner: Learner, population: Population, stream: TaskStream, task: int
) -> Iterator[tuple[str, str, Tensor]]:
    """Gates closed and open and the spectral radius of each recurrent layer, and gradients by lag.

    ``state_gradient_norm`` of the layers ``lag.00``, ``lag.01``, … says how the loss of an example depends on the
    states of all layers so many steps before its last. The spectral radius is that in the middle of the sequences.
    Values ``[S]``; nothing for networks without recurrent layers.
    """
    if not any(layer.is_sequence for layer in learner.layers):
        return
    inputs, targets = (part[:, :GRADIENT_EXAMPLES] for part in stream.stacked_probe(task))
    unroller, active = Unroller(learner.network(learner.seeds[0])), stream.stacked(task).active_outputs
    one = learner.trace(population, inputs[:1, :1], slice(1))  # of one seed and example: only its shape is wanted
    steps = next(iter(one.activations.values())).shape[2]

    def gates_and_radii(tensors: Params, x: Tensor) -> dict[str, dict[str, Tensor]]:
        shown = _unrolled(unroller, tensors, x)
        read = _read(shown).flatten()
        measured = {}
        for name, gates in shown.gates.items():
            own = measured[name] = {"recurrent_spectral_radius": m.spectral_radius(_jacobians(shown, name))}
            for gate in (gate for gate in gates if gate != "candidate"):
                values = gates[gate].flatten(0, 1)
                own[f"{gate}_gate_closed"] = m.gates_closed(values, read)
                own[f"{gate}_gate_open"] = m.gates_open(values, read)
        return measured

    with torch.no_grad():
        for layer, measured in vmap(gates_and_radii)(population.tensors, inputs).items():
            yield from ((name, layer, values) for name, values in measured.items())

    def by_lag(tensors: Params, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        def loss(nudges: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            shown = _unrolled(unroller, tensors, x, nudges)
            # The sum of the examples' own losses: none depends on another's states.
            total = learner.loss(mask_outputs(shown.output, mask), y) * len(x)
            return total, _lengths(shown)

        like = next(iter(tensors.values()))
        nudges = {layer.name: like.new_zeros(len(x), steps, layer.width) for layer in learner.layers}
        gradients, lengths = grad(loss, has_aux=True)(nudges)
        return m.gradient_norms_by_lag(torch.cat(list(gradients.values()), -1), lengths)

    norms = vmap(by_lag, (0, 0, 0, None if active is None else 0))(population.tensors, inputs, targets, active)
    digits = max(2, len(str(norms.shape[1] - 1)))
    yield from (("state_gradient_norm", f"lag.{lag:0{digits}d}", norms[:, lag]) for lag in range(norms.shape[1]))


def _unrolled(unroller: Unroller, tensors: Params, x: Tensor, nudges: Params | None = None) -> Unrolled:
    return functional_call(unroller, {f"network.{name}": t for name, t in tensors.items()}, (x, nudges))


def _lengths(shown: Unrolled) -> Tensor:
    """Steps of each sequence ``[B]``."""
    states = next(iter(shown.states.values()))
    if shown.lengths is not None:
        return shown.lengths
    return torch.full(states.shape[:1], states.shape[1], device=states.device)


def _read(shown: Unrolled) -> Tensor:
    """Which steps ``[B, T]`` are no padding."""
    return in_sequence(_lengths(shown), next(iter(shown.states.values())).shape[1])


def _jacobians(shown: Unrolled, name: str) -> Tensor:
    """∂s_t/∂s_{t-1} ``[N, n, n]`` at the middle step of the first sequences."""
    states, read = shown.states[name][:JACOBIAN_EXAMPLES], shown.read[name][:JACOBIAN_EXAMPLES]
    middle = (_lengths(shown)[:JACOBIAN_EXAMPLES] // 2)[:, None, None]
    before = (middle - 1).clamp(min=0).expand(-1, 1, states.shape[2])
    then = states.gather(1, before)[:, 0] * (middle[:, 0] > 0)
    now = read.gather(1, middle.expand(-1, 1, read.shape[2]))[:, 0]
    return vmap(jacrev(shown.steps[name], argnums=1))(now, then)
