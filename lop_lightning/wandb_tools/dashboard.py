"""``lop-wandb dashboard``: the W&B workspace as code: performance, plasticity, layers, system."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lop_lightning.analysis.find import find_runs
from lop_lightning.errors import RunError
from lop_lightning.records.files import write_atomically
from lop_lightning.records.wandb_run import check_login, quiet_wandb
from lop_lightning.report.vocabulary import title
from lop_lightning.wandb_tools.history import name_of
from lop_lightning.wandb_tools.mirror import reason

USUAL = (
    ("test_accuracy", ""), ("online_accuracy", ""), ("online_loss", ""), ("post_loss", ""),
    ("weight_magnitude", ""), ("distance_from_initialisation", ""), ("gradient_norm", ""), ("update_size", ""),
    ("dead_units", "any"), ("dormant_units_0.025", "any"), ("effective_rank", "any"), ("weight_magnitude", "any"),
)  # fmt: skip
"""Metrics, and whether they are of layers, that get panels where no runs are named."""

NUMBERED = ("layers", "classes", "lags")
"""Sections in which one panel shows a metric of all layers, classes or lags."""
SYSTEM = {
    "Processor": ("system.cpu",),
    "Memory of the process, MB": ("system.proc.memory.rssMB",),
    "GPU": ("system.gpu.0.gpu",),
    "GPU memory": ("system.gpu.0.memoryAllocated",),
}
"""What W&B measures of the machine: title -> names."""


def dashboard(arguments: argparse.Namespace) -> str:
    """Saves the workspace at W&B, or writes it down as JSON; returns what to tell.

    Raises:
        LopError: there is no account, W&B cannot be reached, or wandb-workspaces is not installed.
        ValueError: there is no run at a path.
    """
    metrics = _recorded(arguments.runs) if arguments.runs else list(USUAL)
    view = workspace(arguments.entity or "", arguments.project, arguments.name, metrics)
    if arguments.print or arguments.out:
        text = json.dumps(spec(view), indent=1)
        if arguments.out:
            write_atomically(arguments.out, f"{text}\n")
        return text if arguments.print else str(arguments.out)
    if not arguments.entity:
        raise RunError("--entity is missing: the W&B team or user that the project belongs to")
    check_login()
    try:
        return str(view.save().url)
    except Exception as error:  # W&B raises many kinds
        raise RunError(f"the workspace was not saved: {reason(error)}") from error


def workspace(entity: str, project: str, name: str, metrics: Sequence[tuple[str, str]]) -> Any:
    """The workspace: a panel a metric, against the task; runs of a method in one colour, grouped by method.

    Args:
        entity: W&B team or user.
        project: W&B project.
        name: What the workspace is called.
        metrics: Metric and layer, empty for the whole network; of a layer metric one panel shows all layers.

    Raises:
        RunError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise RunError("wandb-workspaces is not installed: pip install 'lop-lightning[wandb]'") from error
    quiet_wandb()
    sections: dict[str, list[Any]] = {name: [] for name in ("performance", "plasticity", *NUMBERED)}
    for metric, layer in metrics:
        section = name_of(metric, layer).partition("/")[0]
        if section in NUMBERED:
            every = f"^{section}/.+/{re.escape(metric)}$"
            panel = panels.LinePlot(title=title(metric), x="task", metric_regex=every)
        else:
            mean = name_of(metric, "")
            names: list[Any] = [mean, f"{mean}_low", f"{mean}_high"]
            panel = panels.LinePlot(title=title(metric), x="task", y=names)
        sections[section].append(panel)
    sections["system"] = [
        panels.LinePlot(title=name, x="RelativeTime(Process)", y=list(y)) for name, y in SYSTEM.items()
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            workspaces.Section(name=section, panels=shown, is_open=section in ("performance", "plasticity"))
            for section, shown in sections.items()
            if shown
        ],
    )


def spec(view: Any) -> dict[str, Any]:
    """What W&B would be sent, as plain containers."""
    sent: dict[str, Any] = json.loads(view._to_model().model_dump_json(by_alias=True, exclude_none=True))
    return sent


def _recorded(paths: Sequence[str]) -> list[tuple[str, str]]:
    """The metrics in the records of runs, each once, of layer metrics a single layer."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for run in find_runs(paths):
        for metric, layer in run.record[["metric", "layer"]].drop_duplicates().itertuples(index=False):
            found.setdefault((name_of(metric, layer).partition("/")[0], metric), (metric, layer))
    return list(found.values())


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The command line of ``dashboard``."""
    command.add_argument("runs", nargs="*", metavar="RUNS", help="a panel for each metric in their records")
    command.add_argument("--project", default="lop-lightning", help="W&B project (default: lop-lightning)")
    command.add_argument("--entity", help="W&B team or user")
    command.add_argument("--name", default="Loss of plasticity", help="what the workspace is called")
    command.add_argument("--print", action="store_true", help="print it as JSON; nothing is sent")
    command.add_argument("--out", type=Path, metavar="FILE", help="write it to a file as JSON; nothing is sent")
