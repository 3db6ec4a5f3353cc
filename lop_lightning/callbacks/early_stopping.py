"""Early stopping within a task: the networks go on from their best epoch."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from lop_lightning.callbacks.continual import parts
from lop_lightning.callbacks.evaluation import Evaluation
from lop_lightning.errors import RunError, check_choice, nearest
from lop_lightning.tasks import Chunk


class EarlyStopping(L.Callback):
    """When a task ends, each seed's network goes back to the epoch of the task in which it did best.

    After every evaluation a seed whose metric is strictly better than ever in this task has its parameters and buffers
    copied; at the end of the task the copy is put back. The optimiser and the method's own state are not rolled back,
    and the full number of epochs is trained.

    Args:
        metric: What :class:`Evaluation` calls it, as ``validation_accuracy``; ``null``: do nothing.
        mode: Whether ``max`` or ``min`` is best.

    Raises:
        RunError: when training starts: there is no such metric, or it is measured only when a task has ended.

    Source: Dohare et al. (2024), class-incremental CIFAR-100.
    """

    def __init__(self, metric: str | None = None, mode: str = "max") -> None:
        check_choice("mode", mode, ("max", "min"))
        self.metric, self.sign = metric, 1.0 if mode == "max" else -1.0
        self._best: Tensor | None = None
        self._copy: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, learner: L.LightningModule) -> None:
        """Looks whether the metric will be there."""
        if self.metric is None:
            return
        stream, module = parts(trainer, learner)
        kinds = ("loss", "accuracy") if module.spec.is_classification else ("loss",)
        names = [f"{name}_{kind}" for name in stream.stacked_evaluation(stream.position.task) for kind in kinds]
        setting = f"callbacks.early_stopping.metric={self.metric}"
        if self.metric not in names:
            has = f"has {', '.join(names)}" if names else "has no held-out sets"
            raise RunError(f"{setting} is not measured: this stream {has}{nearest(self.metric, names)}")
        evaluation = next((c for c in trainer.callbacks if isinstance(c, Evaluation)), None)  # type: ignore[attr-defined]
        if stream.epochs_per_task > 1 and (evaluation is None or evaluation.every_epochs is None):
            raise RunError(f"{setting} finds no best epoch: evaluate within tasks, callbacks.evaluation.every_epochs=1")

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: L.Trainer, learner: L.LightningModule, outputs: Any, batch: Chunk, batch_idx: int
    ) -> None:
        """Copies what is best so far; puts it back when the task ends."""
        if self.metric is None or not batch.ends_epoch:
            return
        _, module = parts(trainer, learner)
        tensors = module.population.tensors  # type: ignore[union-attr]
        latest = next((c.latest for c in trainer.callbacks if isinstance(c, Evaluation)), {})  # type: ignore[attr-defined]
        if latest:
            self._keep_better(self._found(latest), tensors)
        if batch.ends_task:
            if self._best is not None:
                rows = self._best.isfinite()  # a seed that had no finite value keeps what it has
                for name, kept in self._copy.items():
                    tensors[name][rows] = kept.to(tensors[name].device)[rows]
            self._best, self._copy = None, {}

    def state_dict(self) -> dict[str, Any]:
        """The best values and networks of the task so far."""
        if self._best is None:
            return {}
        return {"best": self._best, "copy": {name: kept.cpu() for name, kept in self._copy.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on within the task."""
        self._best, self._copy = state_dict["best"], dict(state_dict["copy"])

    def _found(self, latest: dict[str, Tensor]) -> Tensor:
        assert self.metric is not None
        loss = latest[self.metric.rpartition("_")[0] + "_loss"]  # outputs that are no numbers have an accuracy too
        return (self.sign * latest[self.metric].masked_fill(~loss.isfinite(), float("nan"))).cpu()

    def _keep_better(self, value: Tensor, tensors: dict[str, Tensor]) -> None:
        if self._best is None:
            self._best = torch.full_like(value, float("-inf"))
            self._copy = {name: tensor.clone() for name, tensor in tensors.items()}
        better = value > self._best
        self._best = torch.where(better, value, self._best)
        rows = better.nonzero().flatten()
        for name, tensor in tensors.items():
            kept = self._copy[name] = self._copy[name].to(tensor.device)
            kept[rows.to(tensor.device)] = tensor[rows.to(tensor.device)]
