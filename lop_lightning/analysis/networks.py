"""Networks of finished (or unfinished) runs, as plain modules: for analysis and for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml

from lop_lightning.config import build, check_trusted
from lop_lightning.config.trust import own_value
from lop_lightning.errors import LopError
from lop_lightning.networks import Network
from lop_lightning.records.checkpoint_io import read_tensors
from lop_lightning.tasks import TaskStream


def kept_tasks(run: str | Path) -> list[int]:
    """The tasks before which the run kept its networks (``callbacks.keep_networks``); the last may be the end."""
    return sorted(int(path.stem.removeprefix("task-")) for path in (Path(run) / "networks").glob("task-*.pt"))


def kept_networks(run: str | Path, task: int) -> dict[str, Any]:
    """What was kept before ``task``: ``seeds`` and stacked ``tensors``, parameters and buffers by name.

    Raises:
        LopError: nothing was kept then, or the file is damaged.
    """
    kept = kept_tasks(run)
    if task not in kept:
        hint = f"kept were {', '.join(map(str, kept))}" if kept else "train with callbacks.keep_networks.every_tasks=1"
        raise LopError(f"{run} has no networks from before task {task}: {hint}")
    return read_tensors(Path(run) / "networks" / f"task-{task:05d}.pt", "seeds", "tensors", "task")


def load_network(run: str | Path, task: int, seed: int, trust: bool = False) -> Network:
    """One seed's network as it was before ``task`` (the number of tasks: after the last), in evaluation mode.

    Args:
        run: The run directory.
        task: One of :func:`kept_tasks`.
        seed: One of the run's seeds.
        trust: Whether classes that no YAML of ``conf/`` names may be imported and called: whoever made the run then
            decides what is run here.

    Raises:
        LopError: there is no such network, or it is of such a class.
    """
    kept = kept_networks(run, task)
    if seed not in kept["seeds"]:
        raise LopError(f"seed {seed} is not in {run}: its seeds are {', '.join(map(str, kept['seeds']))}")
    config = read_config(Path(run), trust, "trust=True allows it")
    stream: TaskStream = build("task", config["task"], seeds=[seed])
    make = build("model", config["model"], partial=True)
    with torch.random.fork_rng(devices=[]):  # the initial weights, which are not kept, come from the global generator
        network: Network = make(**stream.spec.shapes)
    network = network.to(stream.spec.dtype)
    row = kept["seeds"].index(seed)
    network.load_state_dict({name: tensor[row] for name, tensor in kept["tensors"].items()})
    return network.eval()


def read_config(run: Path, trust: bool, hint: str) -> dict[str, Any]:
    """The configuration of a run, to build its objects from; see :func:`~lop_lightning.config.trust.check_trusted`.

    A folder for data that is not there becomes one's own: downloads do not go where a stranger kept theirs.

    Raises:
        LopError: it is missing or damaged, or, without ``trust``, names what may not be built.
    """
    path = run / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise LopError(f"{path} cannot be read: {reason}") from None
    if not isinstance(config, dict) or not isinstance(config.get("task"), dict):
        raise LopError(f"{path} is no configuration of a run")
    if not trust:
        check_trusted(config, str(path), hint)
        task = config["task"]
        if "data_dir" in task and not Path(str(task["data_dir"])).is_dir():
            task["data_dir"] = own_value("task", task["_target_"], "data_dir")
    return config
