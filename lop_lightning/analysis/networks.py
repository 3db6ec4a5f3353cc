"""Networks of finished (or unfinished) runs, as plain modules: for analysis and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from lop_lightning.config import build, check_trusted
from lop_lightning.config.trust import own_value
from lop_lightning.errors import LopError
from lop_lightning.networks import Network
from lop_lightning.records.checkpoint_io import read_tensors
from lop_lightning.tasks import TaskStream

_CURRICULA = {"N": ("an N", "task=parity and task=dms"), "R": ("an R", "task=familiarity and task=scenes")}
"""What a curriculum's number is called, and whose it is."""


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


def solved_networks(run: str | Path, letter: str = "N") -> dict[int, list[int]]:
    """The N (or R, as ``letter`` says) that each seed of a curriculum run has solved, sorted.

    For each of them its network was kept. With an adaptive or multi-head curriculum over N these are the largest N of
    the ranges that were solved.
    """
    kept = _kept_numbers(Path(run), letter)
    return {seed: own for seed, every in sorted(kept.items()) if (own := [n for n in every if n])}


def _kept_numbers(run: Path, letter: str) -> dict[int, list[int]]:
    """Seed -> the N or R of its files, sorted; 0 is before training."""
    found: dict[int, list[int]] = {}
    for path in sorted((run / "networks" / "solved").glob(f"seed-*-{letter}-*.pt")):
        seed, n = path.stem.removeprefix("seed-").split(f"-{letter}-")
        found.setdefault(int(seed), []).append(int(n))
    return {seed: sorted(every) for seed, every in found.items()}


def kept_solved(run: str | Path, seed: int, n: int, letter: str = "N") -> dict[str, Any]:
    """What was kept of a seed when it had solved ``n``: ``low``, ``high``, ``updates``, and ``tensors`` by name.

    Args:
        run: The run directory.
        seed: One of the run's seeds.
        n: The number solved; 0: before training.
        letter: What it is a number of: ``N``, or ``R``. For N there are also ``first_n`` and ``heads``.

    Raises:
        LopError: it has not solved that, or the file is damaged.
    """
    run, every = Path(run), _kept_numbers(Path(run), letter)
    if not every:
        goal, tasks = _CURRICULA[letter]
        raise LopError(f"{run} has no networks that solved {goal}: only runs of {tasks} keep them")
    if seed not in every:
        raise LopError(f"seed {seed} is not in {run}: its seeds are {', '.join(map(str, every))}")
    if n not in every[seed]:
        solved = [m for m in every[seed] if m]
        closest = min(every[seed], key=lambda m: abs(m - n))
        known = f"it solved {in_ranges(solved)}" if solved else "it solved none"
        before = "0 (before training)" if closest == 0 else str(closest)
        others = [other for other, own in every.items() if n in own]
        hint = f"; seeds that did: {', '.join(map(str, others))}" if others else ""
        raise LopError(f"seed {seed} of {run} has not solved {letter}={n}: {known}, the nearest is {before}{hint}")
    path = run / "networks" / "solved" / f"seed-{seed:05d}-{letter}-{n:05d}.pt"
    own = ("first_n", "heads") if letter == "N" else ()
    return read_tensors(path, "seed", "low", "high", *own, "updates", "tensors")


def in_ranges(numbers: Sequence[int]) -> str:
    """Sorted whole numbers in words.

    >>> in_ranges([2, 3, 4, 7])
    '2 to 4, 7'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return ", ".join(" to ".join(map(str, ends)) for ends in ranges)


def load_network(
    run: str | Path,
    task: int | None = None,
    seed: int | None = None,
    trust: bool = False,
    *,
    N: int | None = None,
    R: int | None = None,
) -> Network:
    """One seed's network, in evaluation mode: as it was before ``task``, or when it had solved ``N`` or ``R``.

    ``load_network(run, task=3, seed=0)``, ``load_network(run, N=7, seed=0)``, ``load_network(run, R=7, seed=0)``.

    Args:
        run: The run directory.
        task: One of :func:`kept_tasks` (the number of tasks: after the last).
        seed: One of the run's seeds.
        trust: Whether classes that no YAML of ``conf/`` names may be imported and called: whoever made the run then
            decides what is run here.
        N: One of :func:`solved_networks`; 0: before training.
        R: The same of a curriculum over repeat intervals.

    Raises:
        LopError: there is no such network, or it is of such a class.
    """
    if seed is None or sum(number is not None for number in (task, N, R)) != 1:
        raise LopError(
            "load_network needs the seed, and either the task before which or the N (or R) after which it was kept"
        )
    if N is not None:
        tensors = kept_solved(run, seed, N)["tensors"]
    elif R is not None:
        tensors = kept_solved(run, seed, R, "R")["tensors"]
    else:
        assert task is not None
        kept = kept_networks(run, task)
        if seed not in kept["seeds"]:
            raise LopError(f"seed {seed} is not in {run}: its seeds are {', '.join(map(str, kept['seeds']))}")
        row = kept["seeds"].index(seed)
        tensors = {name: tensor[row] for name, tensor in kept["tensors"].items()}
    return built(read_config(Path(run), trust, "trust=True allows it"), seed, tensors)[0]


def built(config: dict[str, Any], seed: int, tensors: dict[str, Tensor]) -> tuple[Network, TaskStream]:
    """The network of a configuration with these parameters and buffers, in evaluation mode, and the stream of ``seed``.

    It gets as many readouts as the tensors are of: curricula add some.

    Raises:
        LopError: the tensors are not of such a network.
    """
    stream: TaskStream = build("task", config["task"], seeds=[seed])
    make, spec = build("model", config["model"], partial=True), stream.spec
    with torch.random.fork_rng(devices=[]):  # the initial weights, which are not kept, come from the global generator
        network: Network = make(**spec.shapes)
        rows = len(tensors.get(network.output_parameters()[0], ()))
        if spec.heads is not None and rows > spec.output_size:
            spec = replace(spec, output_size=rows, heads=rows * spec.heads // spec.output_size)
            network = make(**spec.shapes)
    network = network.to(spec.dtype)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split()[:40])
        raise LopError(
            f"the kept network of seed {seed} is not what the run's configuration describes: {reason}"
        ) from None
    return network.eval(), stream


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
