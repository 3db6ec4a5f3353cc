"""What the tests of methods on recurrent networks share: two streams' shapes, tiny learners, tiny chunks."""

from functools import partial

import torch
from bench import EAGER

from lop_lightning.algos import ContinualBackprop
from lop_lightning.networks import GRU, LSTM
from lop_lightning.optimizers import SGD
from lop_lightning.tasks.base import StreamSpec

IMAGES = StreamSpec((5, 3), 2, "cross_entropy", torch.float64)
TOKENS = StreamSpec((5,), 2, "cross_entropy", torch.float64, vocabulary=9)
STREAMS = {"images": IMAGES, "tokens": TOKENS}
CELLS = {"lstm": LSTM, "gru": GRU}
GATES = {"lstm": 4, "gru": 3}
HIDDEN, FEATURES = 4, 3


def recurrent(cell, method=ContinualBackprop, seeds=(0,), optimizer=None, spec=IMAGES, execution=EAGER, **network):
    network = {"hidden": HIDDEN, "layers": 2, "embedding": FEATURES, **network}
    learner = method(partial(CELLS[cell], **network), optimizer or SGD(0.05), execution)
    learner.prepare(spec, list(seeds))
    return learner


def sequences(updates, seeds=1, batch=6, spec=IMAGES, source=0):
    """Inputs ``[K, S, B, ...]`` and targets; sentences of one to all tokens."""
    rng = torch.Generator().manual_seed(source)
    targets = torch.randint(spec.output_size, (updates, seeds, batch), generator=rng)
    if spec.vocabulary is None:
        return torch.randn(updates, seeds, batch, *spec.input_shape, generator=rng, dtype=spec.dtype), targets
    tokens = torch.randint(1, spec.vocabulary, (updates, seeds, batch, *spec.input_shape), generator=rng)
    lengths = torch.randint(1, spec.input_shape[0] + 1, (updates, seeds, batch, 1), generator=rng)
    return tokens * (torch.arange(spec.input_shape[0]) < lengths), targets


def scramble(learner):
    """Every number of parameters and of the optimiser's memory becomes one that no rebirth would give."""
    rng = torch.Generator().manual_seed(1)
    for tensors in (learner.population.params, *learner.population.state["optimizer"].values()):
        for tensor in tensors.values():
            tensor.copy_(1.5 + torch.rand(tensor.shape, generator=rng, dtype=tensor.dtype))


def named(learner, name):
    return next(layer for layer in learner.layers if layer.name == name)


def masks_of(learner, cell, layer, units):
    """What the rebirth of units changes, of one network, by plain loops over the layout: true where it does.

    ``incoming``, ``columns`` (recurrent, self-connections included), ``readers`` (readout or next layer) and
    ``transfer`` (the readers' biases, and the biases beside the recurrent weights of other units).
    """
    params, gates = learner.population.params, GATES[cell]
    index, direction = int(layer.split(".")[1]), layer.split(".")[2]
    both = any("backwards" in name for name in params)
    last = not any(name.startswith(f"layers.{index + 1}.") for name in params)
    kinds = ("incoming", "columns", "readers", "transfer")
    masks = {kind: {name: torch.zeros_like(p[0], dtype=torch.bool) for name, p in params.items()} for kind in kinds}
    for unit in units:
        for gate in range(gates):
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                masks["incoming"][f"{layer}.{part}"][gate * HIDDEN + unit] = True
        masks["columns"][f"{layer}.weight_hh"][:, unit] = True
        column = unit + HIDDEN * (direction == "backwards")
        if last:
            masks["readers"]["head.weight"][:, column] = True
            masks["transfer"]["head.bias"][:] = True
        for reader in () if last else ("forwards", "backwards") if both else ("forwards",):
            masks["readers"][f"layers.{index + 1}.{reader}.weight_ih"][:, column] = True
            masks["transfer"][f"layers.{index + 1}.{reader}.bias_ih"][:] = True
    for row in range(gates * HIDDEN):
        masks["transfer"][f"{layer}.bias_hh"][row] = row % HIDDEN not in units
    return masks


def union(masks, *kinds):
    names = next(iter(masks.values()))
    return {name: torch.stack([masks[kind][name] for kind in kinds]).any(0) for name in names}
