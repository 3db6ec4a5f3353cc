"""The shell around every method: one pure update of one network, lifted over seeds and handed to Lightning in chunks.

A method subclasses :class:`Learner` and defines some of the hooks of :class:`lop_lightning.algos.method.Method`.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.func import grad

from lop_lightning.algos.forward import ForwardPass
from lop_lightning.algos.heads import grow_to_fit
from lop_lightning.algos.lift import Execution, Lifted
from lop_lightning.algos.losses import loss_function, mask_outputs, measures
from lop_lightning.algos.method import Method
from lop_lightning.algos.noise import parameter_noise, split
from lop_lightning.algos.population import (
    Population,
    build_network,
    factory_for,
    fitting_network,
    noise_keys,
    stack_networks,
)
from lop_lightning.algos.process import tune_process
from lop_lightning.algos.step import Backward, Step
from lop_lightning.algos.task_ends import end_task
from lop_lightning.errors import ConfigError
from lop_lightning.networks import HiddenLayer, Network, NetworkFactory, Trace
from lop_lightning.networks.base import Tracer, stacked_constants, traced
from lop_lightning.optimizers import Optimizer
from lop_lightning.optimizers.base import Params
from lop_lightning.tasks.base import Chunk, StreamSpec
from lop_lightning.trees import Tree, tree_map, unshared


class Learner(Method, L.LightningModule):
    """Plain backpropagation, and the ground that every other method stands on.

    Args:
        network: Called with ``input_shape`` and ``output_size``, gives one network: a class with its settings bound
            (``partial(MLP, hidden=[100, 100])``).
        optimizer: A functional optimiser.
        execution: How the updates run.
    """

    def __init__(self, network: NetworkFactory, optimizer: Optimizer, execution: Execution | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network_factory, self.optimizer, self.execution = network, optimizer, execution or Execution()
        self.population: Population | None = None
        self.seeds: list[int] = []
        self._bound: tuple[Population, list[list[Tensor]]] | None = None
        self._restored: dict[str, Any] | None = None

    # ---- the update of one network

    def gradients(self, state: Tree, x: Tensor, y: Tensor, active: Tensor | None) -> Backward:
        """Gradients of loss and penalty, and all that the two passes showed."""

        def objective(params: Params) -> tuple[Tensor, tuple[Tensor, Tensor, dict[str, Any]]]:
            trace = traced(self._tracer[0], {**params, **state["buffers"]}, x)
            output = mask_outputs(trace.output, active)
            loss = self.loss(output, y)
            penalty = self.penalty(params, state["method"])
            shown: dict[str, Any] = {"activations": trace.activations, "buffers": trace.buffers}
            if trace.lengths is not None:  # a transform returns tensors alone
                shown["lengths"] = trace.lengths
            return loss if penalty is None else loss + penalty, (loss, output, shown)

        grads, (loss, output, shown) = grad(objective, has_aux=True)(state["params"])
        shown["buffers"] = {name: shown["buffers"].get(name, old) for name, old in state["buffers"].items()}
        return Backward(grads, measures(self.spec.loss, loss, output, y), **shown)

    def advance(self, state: Tree, backward: Backward, noise: Tensor | None) -> Tree:
        """The state after the optimiser's step and the method's own."""
        clipped = self.optimizer.clipped(backward.grads)
        params, optimizer = self.optimizer.update(state["params"], clipped, state["optimizer"])
        shaken = {} if noise is None else split(noise, params)
        activations, grads, lengths = backward.activations, backward.grads, backward.lengths
        step = Step(params, optimizer, state["method"], state["params"], activations, grads, shaken, lengths)
        step = self.after_update(step)
        params = self._tracer[0].network.projected(step.params)
        after = {"params": params, "buffers": backward.buffers, "optimizer": step.optimizer, "method": step.method}
        return unshared(state, after)

    def update(
        self, state: Tree, x: Tensor, y: Tensor, active: Tensor | None, noise: Tensor | None
    ) -> tuple[Tree, Tensor]:
        """One update of one network: (new state, :func:`measures` of the prediction made before it)."""
        backward = self.gradients(state, x, y, active)
        return self.advance(state, backward, noise), backward.measures

    # ---- populations

    def prepare(self, spec: StreamSpec, seeds: list[int], device: torch.device | None = None, batch: int = 1) -> None:
        """Binds the learner to a stream's shapes and makes its population; ``Trainer.fit`` calls it.

        ``batch``, the examples an update, decides at most how it is executed.

        Raises:
            ConfigError: the network cannot be made for these shapes.
        """
        self.spec, self.seeds, self.loss = spec, list(seeds), loss_function(spec.loss)
        self.build = factory_for(self.network_factory, spec)
        self._place = device or torch.device("cpu")
        tune_process()
        self.asked: tuple[int, int] | None = None
        network = fitting_network(self.build, self.seeds[0], spec)
        self.layers: tuple[HiddenLayer, ...] = network.hidden_layers()
        self.output_parameters, self.remedy = network.output_parameters(), network.remedy
        # In a tuple, so that it is no submodule: Lightning would move its weightless parameters to the device.
        self._tracer = (Tracer(network.to("meta").train()),)
        silent = Tracer(deepcopy(network).eval())
        self.population = self.new_population()
        # Where lengths and heads change from update to update, there is no one thing to compile.
        execution = replace(self.execution, compile=False) if spec.ragged else self.execution
        self.compiles = execution.compile
        self._lifted = Lifted(self.update, self.population.state, execution, self.layers, batch)
        self._forward = ForwardPass(silent, execution, self._lifted.loops)

    def new_population(self, *purpose: object) -> Population:
        """Fresh networks, one a seed; a ``purpose`` makes them independent of the learner's own."""
        networks = [build_network(self.build, seed, *purpose) for seed in self.seeds]
        params, buffers = stack_networks(networks, self.spec.dtype, self._place)
        states = []
        for index in range(len(self.seeds)):
            one = {name: p[index] for name, p in params.items()}
            states.append({"optimizer": self.optimizer.init(one), "method": self.init_state(one)})
        rest = tree_map(lambda *tensors: torch.stack(tensors).contiguous(), *states)
        keys = noise_keys(self.seeds, self._place, *purpose)
        population = Population(
            {"params": params, "buffers": buffers, **rest}, keys, purpose, host=self.init_host(self.seeds)
        )
        if self.uses_noise:
            population.noise = parameter_noise(self.seeds, params, *purpose)
        return population

    @torch.no_grad()
    def begin_task(self, population: Population, task: int) -> None:
        """What must be done before the first update of ``task``; done once, however often it is asked for."""
        if population.begun == task:
            return
        population.begun = task
        self.optimizer.at_epoch(population.state["optimizer"], 0)
        if self.spec.new_heads:
            for name in self.output_parameters:
                population.params[name].zero_()
                if not self.spec.head_momentum:
                    self.optimizer.forget_parameter(population.state["optimizer"], name)
        self.on_task_start(population, task)

    def train_chunk(self, population: Population, chunk: Chunk) -> Tensor:
        """Trains a population on a chunk, in place; returns measures ``[K, S, M]``: loss, accuracy, …."""
        if chunk.starts_task:
            self.begin_task(population, chunk.begin.task)
        self.optimizer.at_epoch(population.state["optimizer"], chunk.begin.epoch)
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
            population.updates, done = population.updates + count, done + count
            if population.updates == due:
                self.event(population)
        if chunk.ends_task and not chunk.self_paced:
            end_task(self, population)
        return measured[0] if len(measured) == 1 else torch.cat(measured)

    @property
    def seed_slices(self) -> list[slice]:
        """How the seeds are best taken for a forward pass (see :class:`lop_lightning.algos.forward.ForwardPass`)."""
        return self._forward.rows(len(self.seeds))

    def trace(self, population: Population, inputs: Tensor, rows: slice = slice(None)) -> Trace:
        """What the networks of some seeds show on ``inputs [S, N, ...]``: all of the trace gets a leading seed axis."""
        return self._forward.trace(population.tensors, inputs, rows)

    def outputs(self, population: Population, inputs: Tensor) -> Tensor:
        """Outputs ``[S, N, outputs]`` of all networks on ``inputs [S, N, ...]``."""
        return self._forward.outputs(population.tensors, inputs)

    def constants(self, population: Population) -> dict[tuple[str, str], Tensor]:
        """See :meth:`Network.constants`, of all networks ``[S]``."""
        return stacked_constants(self._tracer[0], population.tensors)

    def network(self, seed: int) -> Network:
        """The plain module of one seed, with a copy of its parameters and buffers, in evaluation mode."""
        if self.population is None or seed not in self.seeds:
            raise ConfigError("seed", seed, choices=self.seeds)
        row = self.seeds.index(seed)
        network = build_network(self.build, seed).to(self._place, self.spec.dtype)
        network.load_state_dict({name: p[row] for name, p in self.population.tensors.items()})
        network.ask(self.asked)
        return network.eval()

    def ask(self, heads: tuple[int, int] | None) -> None:
        """From now on computes these of several readouts; :func:`lop_lightning.algos.heads.ask` also makes them."""
        self.asked = heads
        for tracer in (self._tracer[0], self._forward.tracer):
            tracer.network.ask(heads)

    def rebind(self) -> None:
        """To be called when the population's tensors were exchanged for others."""
        self._bound = None

    def _bind(self, population: Population) -> list[list[Tensor]]:
        if self._bound is None or self._bound[0] is not population:
            self._bound = (population, self._lifted.bind(population.state))
        return self._bound[1]

    # ---- Lightning

    def setup(self, stage: str) -> None:
        """Makes the population for the stream that the trainer holds."""
        stream = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.population is None or self.seeds != stream.seeds or self.spec != stream.spec:
            self.prepare(stream.spec, stream.seeds, self.trainer.strategy.root_device, stream.largest_batch)
        if self._restored is not None:
            self._restore(self._restored)
            self._restored = None

    def configure_optimizers(self) -> None:
        """None of Lightning's: optimisers are part of the update."""

    def training_step(self, chunk: Chunk, batch_idx: int) -> dict[str, Tensor]:
        """One chunk of updates; returns ``{"measures": [K, S, M]}``."""
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
            self._restore(checkpoint["learner"])

    def _restore(self, saved: dict[str, Any]) -> None:
        assert self.population is not None
        grow_to_fit(self, saved["state"]["params"])
        self.population.load(saved, self.seeds)
