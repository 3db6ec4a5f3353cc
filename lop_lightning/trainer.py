"""A Lightning trainer set up for streams: one fit, no worker processes, nothing written that was not asked for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.plugins.environments import LightningEnvironment

from lop_lightning.records import AtomicCheckpointIO
from lop_lightning.tasks import TaskStream

_QUIET = (
    ".*configure_optimizers.*returned `None`.*",
    ".*does not have many workers.*",
    ".*GPU available but not used.*",
    ".*Trying to infer the `batch_size`.*",
    ".*LeafSpec.*",
    ".*_prims_common.check. is deprecated.*",  # PyTorch's compiler, of itself
    ".*The `srun` command is available.*",  # a launcher starts one process a job, and that is right
)
_QUIET_LOGGERS = ("lightning.pytorch", "lightning.fabric", "torch.utils.cpp_extension")  # the last: "No CUDA runtime"


def stream_trainer(
    stream: TaskStream,
    callbacks: Sequence[L.Callback] = (),
    accelerator: str = "auto",
    loggers: Sequence[Any] = (),
    directory: Path | None = None,
) -> L.Trainer:
    """The trainer that takes ``stream`` from its position to its end: ``.fit(learner, datamodule=stream)``.

    Args:
        stream: Gives the number of epochs.
        callbacks: In the order in which they shall act; checkpoints last.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        loggers: Lightning loggers.
        directory: Lightning's root directory.
    """
    for pattern in _QUIET:
        warnings.filterwarnings("ignore", pattern)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    return L.Trainer(
        max_epochs=stream.tasks * stream.epochs_per_task,
        accelerator=accelerator,
        devices=1,
        callbacks=list(callbacks),
        logger=list(loggers) or False,
        # Lightning would otherwise install its own SLURM handlers, which requeue behind the launcher's back.
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        default_root_dir=directory,
    )
