"""The shell around every method: one pure update of one network, lifted over seeds and handed to Lightning in chunks.

A method subclasses :class:`Learner` and defines some of five hooks, each about ONE network (no seed axis):

``init_state(params)``              what the method remembers, a tree of tensors
``penalty(params, method)``         a term added to the loss
``after_update(step)``              runs after every optimiser step
``on_task_end(params, method, …)``  runs when a task ends
``optimizer``                       the optimiser, given to the constructor

and, for what happens rarely and at times the host can foresee, ``next_event`` and ``event`` on the whole population.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.func import functional_call, grad

from lop_lightning.algos.lift import Execution, Lifted
from lop_lightning.algos.losses import accuracy, loss_function, mask_outputs
from lop_lightning.algos.noise import parameter_noise, split
from lop_lightning.algos.population import Population, build_network, fitting_network, noise_keys, stack_params
from lop_lightning.algos.step import Step
from lop_lightning.errors import ConfigError
from lop_lightning.networks import HiddenLayer, Network, NetworkFactory, Trace
from lop_lightning.networks.base import Tracer, stacked_trace
from lop_lightning.optimizers import Optimizer
from lop_lightning.optimizers.base import Params
from lop_lightning.tasks.base import Chunk, StreamSpec
from lop_lightning.trees import Tree, tree_map, unshared


class Learner(L.LightningModule):
    """Plain backpropagation, and the ground that every other method stands on.

    Args:
        network: Called with ``input_shape`` and ``output_size``, gives one network: a class with its settings bound
            (``partial(MLP, hidden=[100, 100])``).
        optimizer: A functional optimiser.
        execution: How the updates run.
    """

    uses_noise = False
    """Whether the method wants standard normal numbers at every update."""

    def __init__(self, network: NetworkFactory, optimizer: Optimizer, execution: Execution | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network_factory, self.optimizer, self.execution = network, optimizer, execution or Execution()
        self.population: Population | None = None
        self.seeds: list[int] = []
        self._bound: tuple[Population, list[list[Tensor]]] | None = None
        self._restored: dict[str, Any] | None = None

    # ---- hooks of a method, each about one network

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

    # ---- hooks on the whole population, for what is rare and foreseen

    def init_host(self, seeds: list[int]) -> dict[str, Any]:
        """What the method keeps on the host: plain numbers, lists and dicts."""
        return {}

    def next_event(self, population: Population) -> int | None:
        """The number of updates after which :meth:`event` must next be called, or ``None``."""
        return None

    def event(self, population: Population) -> None:
        """The rare thing, done in place after update number ``population.updates``."""

    # ---- the update of one network

    def gradients(
        self, state: Tree, x: Tensor, y: Tensor, active: Tensor | None
    ) -> tuple[Params, Tensor, dict[str, Tensor]]:
        """Gradients of loss and penalty, measures ``[loss, accuracy]`` of the prediction, and the activations."""

        def objective(params: Params) -> tuple[Tensor, tuple[Tensor, Tensor, dict[str, Tensor]]]:
            output, activations = functional_call(self.template, params, (x,))
            output = mask_outputs(output, active)
            loss = self.loss(output, y)
            penalty = self.penalty(params, state["method"])
            return loss if penalty is None else loss + penalty, (loss, output, activations)

        grads, (loss, output, activations) = grad(objective, has_aux=True)(state["params"])
        return grads, torch.stack([loss, accuracy(self.spec.loss, output, y)]), activations

    def advance(self, state: Tree, grads: Params, activations: dict[str, Tensor], noise: Tensor | None) -> Tree:
        """The state after the optimiser's step and the method's own."""
        params, optimizer = self.optimizer.update(state["params"], grads, state["optimizer"])
        shaken = {} if noise is None else split(noise, params)
        step = Step(params, optimizer, state["method"], state["params"], activations, grads, shaken)
        step = self.after_update(step)
        return unshared(state, {"params": step.params, "optimizer": step.optimizer, "method": step.method})

    def update(
        self, state: Tree, x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None
    ) -> tuple[Tree, Tensor]:
        """One update of one network: (new state, ``[loss, accuracy]`` of the prediction made before it)."""
        grads, measures, activations = self.gradients(state, x, y, active)
        return self.advance(state, grads, activations, noise), measures

    # ---- populations

    def prepare(self, spec: StreamSpec, seeds: list[int], device: torch.device | None = None) -> None:
        """Binds the learner to a stream's shapes and makes its population; ``Trainer.fit`` calls it.

        Raises:
            ConfigError: the network cannot be made for these shapes.
        """
        self.spec, self.seeds, self.loss = spec, list(seeds), loss_function(spec.loss)
        self.build = partial(self.network_factory, input_shape=spec.input_shape, output_size=spec.output_size)
        self._place = device or torch.device("cpu")
        torch.set_flush_denormal(True)  # numbers below 1e-38 cost a CPU a hundred times a normal one
        network = fitting_network(self.build, self.seeds[0], spec)
        self.layers: tuple[HiddenLayer, ...] = network.hidden_layers()
        # In a tuple, so that it is no submodule: Lightning would move its weightless parameters to the device.
        self._template = (Tracer(network.to("meta")),)
        self.population = self.new_population()
        maps = any(layer.unit_axis != -1 for layer in self.layers)
        self._lifted = Lifted(self.update, self.population.state, self.execution, maps)

    def new_population(self, *purpose: object) -> Population:
        """Fresh networks, one a seed; a ``purpose`` makes them independent of the learner's own."""
        networks = [build_network(self.build, seed, *purpose) for seed in self.seeds]
        params = stack_params(networks, self.spec.dtype, self._place)
        states = []
        for index in range(len(self.seeds)):
            one = {name: p[index] for name, p in params.items()}
            states.append({"optimizer": self.optimizer.init(one), "method": self.init_state(one)})
        rest = tree_map(lambda *tensors: torch.stack(tensors).contiguous(), *states)
        keys = noise_keys(self.seeds, self._place, *purpose)
        population = Population({"params": params, **rest}, keys, purpose, host=self.init_host(self.seeds))
        if self.uses_noise:
            population.noise = parameter_noise(self.seeds, params, *purpose)
        return population

    def train_chunk(self, population: Population, chunk: Chunk) -> Tensor:
        """Trains a population on a chunk, in place; returns measures ``[K, S, 2]``: loss, accuracy."""
        bound = self._bind(population)
        measured, done, total = [], 0, chunk.inputs.shape[0]
        while done < total:
            due = self.next_event(population)
            count = total - done if due is None else min(total - done, due - population.updates)
            noise = None
            if population.noise is not None:
                noise = population.noise.at(population.updates, count)
                count = len(noise)
            x, y = chunk.inputs[done : done + count], chunk.targets[done : done + count]
            measured.append(self._lifted.run(bound, x, y, chunk.active_outputs, noise))
            population.updates += count
            done += count
            if population.updates == due:
                self.event(population)
        if chunk.ends_task and type(self).on_task_end is not Learner.on_task_end:
            self._end_task(population)
        return measured[0] if len(measured) == 1 else torch.cat(measured)

    def dry_update(self, population: Population, chunk: Chunk) -> tuple[Params, Params]:
        """The gradients and the new parameters that the chunk's first update would give; changes nothing."""
        noise = None if population.noise is None else population.noise.at(population.updates, 1)[0]

        def one(
            state: Tree, x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None
        ) -> tuple[Params, Params]:
            grads, _, activations = self.gradients(state, x, y, active)
            return grads, self.advance(state, grads, activations, noise)["params"]

        masks = chunk.active_outputs
        axes = (0, 0, 0, None if masks is None else 0, None if noise is None else 0)
        return torch.vmap(one, axes)(population.state, chunk.inputs[0], chunk.targets[0], masks, noise)

    def trace(self, population: Population, inputs: Tensor) -> Trace:
        """What all networks show on ``inputs [S, N, ...]``: every tensor of the trace gets a leading seed axis."""
        return stacked_trace(self._template[0], population.params, inputs)

    def network(self, seed: int) -> Network:
        """The plain module of one seed, with a copy of its parameters."""
        if self.population is None or seed not in self.seeds:
            raise ConfigError("seed", seed, choices=self.seeds)
        row = self.seeds.index(seed)
        network = build_network(self.build, seed).to(self._place, self.spec.dtype)
        network.load_state_dict({name: p[row] for name, p in self.population.params.items()})
        return network.eval()

    @property
    def template(self) -> Network:
        """The network's structure without its numbers, which ``functional_call`` supplies."""
        return self._template[0].network

    def _bind(self, population: Population) -> list[list[Tensor]]:
        if self._bound is None or self._bound[0] is not population:
            self._bound = (population, self._lifted.bind(population.state))
        return self._bound[1]

    @torch.no_grad()
    def _end_task(self, population: Population) -> None:
        noise = parameter_noise(self.seeds, population.params, *population.purpose, "task end").at(
            population.updates, 1
        )[0]

        def one(params: Params, method: Tree, noise: Tensor) -> Params:
            return self.on_task_end(params, method, split(noise, params))

        ended = torch.vmap(one)(population.params, population.state["method"], noise)
        tree_map(lambda p, new: p.copy_(new), population.params, ended)

    # ---- Lightning

    def setup(self, stage: str) -> None:
        """Makes the population for the stream that the trainer holds."""
        stream = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.population is None or self.seeds != stream.seeds or self.spec != stream.spec:
            self.prepare(stream.spec, stream.seeds, self.trainer.strategy.root_device)
        if self._restored is not None:
            self.population.load(self._restored, self.seeds)  # type: ignore[union-attr]
            self._restored = None

    def configure_optimizers(self) -> None:
        """None of Lightning's: optimisers are part of the update."""

    def training_step(self, chunk: Chunk, batch_idx: int) -> dict[str, Tensor]:
        """One chunk of updates; returns ``{"measures": [K, S, 2]}``."""
        assert self.population is not None
        measured = {"measures": self.train_chunk(self.population, chunk)}
        self.trainer.datamodule.position = chunk.end  # type: ignore[attr-defined]
        return measured

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the population: tensors and plain containers."""
        assert self.population is not None
        checkpoint["learner"] = self.population.saved(self.seeds)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the population from a checkpoint, now or as soon as there is one to fill."""
        if self.population is None:
            self._restored = checkpoint["learner"]
        else:
            self.population.load(checkpoint["learner"], self.seeds)
