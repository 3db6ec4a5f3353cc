"""S networks of one architecture, each under its own seed, stacked into one tree of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from lop_lightning.algos.noise import Noise
from lop_lightning.errors import ConfigError, RunError
from lop_lightning.networks import Network
from lop_lightning.randomness import key, stable_hash
from lop_lightning.tasks.base import StreamSpec
from lop_lightning.trees import Tree, tree_map

_SEQUENCES = "use model=leaky, model=lstm or model=gru"
_BEYOND = {
    "vocabulary": "this network reads numbers, and the task gives tokens: use model=lstm or model=gru",
    "ragged": f"this network reads no sequences that end at different times, as the task gives them: {_SEQUENCES}",
    "timed": f"this network reads no sequences in continuous time, as the task gives them: {_SEQUENCES}",
    "heads": f"this network has one readout, and the task asks several: {_SEQUENCES}",
    "read_every": "this network is read once, and the task asks after every scene: use model=memo, nonl_ro, dyn_ro, "
    "stack, hebbff, mpn, or model=rnn, gru or lstm with model.bidirectional=false",
}
"""Why a network that does not know a field of :attr:`StreamSpec.special` cannot be made for the stream."""


@dataclass
class Population:
    """Everything that training changes.

    Attributes:
        state: Tree with the keys ``params``, ``buffers``, ``optimizer`` and ``method``; every tensor has a leading seed
            axis.
        keys: Keys ``[S]``, int64, of what is drawn now and then (see :mod:`lop_lightning.randomness`).
        purpose: What the population is for; empty for the learner's own.
        noise: Noise of every update, if the method uses any.
        updates: Updates made so far.
        begun: The last task that was begun (see ``Learner.begin_task``), or -1.
        host: What the method keeps on the host: plain numbers, lists and dicts.
    """

    state: Tree
    keys: Tensor
    purpose: tuple[object, ...] = ()
    noise: Noise | None = None
    updates: int = 0
    begun: int = -1
    host: dict[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, Tensor]:
        """The stacked parameters."""
        return self.state["params"]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The stacked parameters and buffers, by name."""
        return {**self.state["params"], **self.state["buffers"]}

    @property
    def size(self) -> int:
        """Number of seeds."""
        return int(self.keys.shape[0])

    def saved(self, seeds: list[int]) -> dict[str, Any]:
        """The population as tensors and plain containers, with the seeds it belongs to."""
        state = tree_map(lambda t: t.detach().cpu(), self.state)
        clocks = {"updates": self.updates, "begun": self.begun, "host": deepcopy(self.host)}
        return {"seeds": list(seeds), "state": state, **clocks}

    @torch.no_grad()
    def grow(self, larger: Population) -> None:
        """Takes the form of a population with more outputs: what there was stays, what is new is as ``larger`` has it.

        The clocks and what the method keeps on the host stay.
        """

        def placed(new: Tensor, old: Tensor) -> Tensor:
            new[tuple(slice(size) for size in old.shape)] = old
            return new

        self.state = tree_map(placed, larger.state, self.state)
        self.noise = larger.noise

    @torch.no_grad()
    def load(self, saved: dict[str, Any], seeds: list[int]) -> None:
        """Takes over what :meth:`saved` gave, in place.

        Raises:
            RunError: it belongs to other seeds.
        """
        if saved["seeds"] != seeds:
            raise RunError(f"the checkpoint holds seeds {saved['seeds']}, the run has {seeds}")
        tree_map(lambda own, other: own.copy_(other), self.state, saved["state"])
        self.updates, self.begun, self.host = saved["updates"], saved["begun"], deepcopy(saved["host"])


def build_network(factory: Callable[[], Network], seed: int, *purpose: object) -> Network:
    """A network initialised under ``seed`` alone; the global generator is left as it was.

    With no ``purpose`` the seed itself seeds the initialisation, so that it can be repeated by hand with
    ``torch.manual_seed``; any purpose (a fresh reference network, say) gives an independent one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_hash(seed, *purpose) if purpose else seed)
        return factory()


def stack_networks(
    networks: Sequence[Network], dtype: torch.dtype, device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of S networks, by name, with a leading seed axis; whole numbers stay whole numbers."""

    def stacked(named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        together = {name: torch.stack([p[name].detach() for p in named]) for name in named[0]} if named else {}
        return {name: t.to(device, dtype if t.is_floating_point() else t.dtype) for name, t in together.items()}

    parameters = stacked([dict(network.named_parameters()) for network in networks])
    return parameters, stacked([dict(network.named_buffers()) for network in networks])


def noise_keys(seeds: Sequence[int], device: torch.device, *purpose: object) -> Tensor:
    """One noise key a seed."""
    return torch.tensor([key(seed, "noise", *purpose) for seed in seeds], dtype=torch.int64, device=device)


def factory_for(factory: Callable[..., Network], spec: StreamSpec) -> Callable[[], Network]:
    """The network's factory with all that the stream says of its shapes.

    Raises:
        RunError: the stream gives something that such a network does not know of.
    """
    for name in spec.special:
        if name not in signature(factory).parameters:
            raise RunError(f"model: {_BEYOND[name]}")
    return partial(factory, **spec.shapes)


def fitting_network(factory: Callable[[], Network], seed: int, spec: StreamSpec) -> Network:
    """A network that was seen to take the stream's inputs and to give as many outputs as the stream wants.

    Raises:
        ConfigError: one of the network's settings is illegal.
        RunError: it does not fit.
    """
    try:
        network = build_network(factory, seed).to(spec.dtype)
        output, _ = network(
            torch.zeros(2, *spec.input_shape, dtype=spec.dtype if spec.vocabulary is None else torch.int64)
        )
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        shapes = f"inputs {list(spec.input_shape)} and {spec.outputs} outputs"
        reason = str(error).partition("\n")[0]
        raise RunError(f"model: this network does not fit the stream ({shapes}): {reason}") from error
    if tuple(output.shape) != (2, spec.outputs):
        raise RunError(f"model: its output has shape {list(output.shape[1:])}, the stream wants {spec.outputs}")
    return network
