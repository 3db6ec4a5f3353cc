"""What W&B gets of a run that is done: its results, its figures, and if wanted the record itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lop_lightning.analysis.loss_of_plasticity import performance_metrics
from lop_lightning.analysis.runs import Run, read_run
from lop_lightning.records.wandb_run import WandbRun
from lop_lightning.report.table import COLUMNS, summary_rows

DRAWN = ("dead_units", "effective_rank", "weight_magnitude")
"""Metrics drawn besides the headline's, where ``lop-report`` has not drawn the run yet."""


def results(directory: Path, wandb_run: WandbRun, at_end: Sequence[str]) -> None:
    """Sends what ``at_end`` names (see :data:`~lop_lightning.wandb_tools.mirror.AT_END`) as the history's last row.

    The loss of plasticity of every performance metric, with its interval, also goes into the run's summary.
    """
    import wandb

    run = read_run(directory)
    row: dict[str, Any] = _last_place(run)
    rows = summary_rows(run)
    if "results" in at_end and rows:
        row["results"] = wandb.Table(columns=list(COLUMNS), data=[[one[name] for name in COLUMNS] for one in rows])
    figures = _figures(run, wandb_run.folder / "figures") if "figures" in at_end else []
    row |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
    wandb_run.log([row])
    for one in rows:
        numbers = {"": one["difference"], "_low": one["low"], "_high": one["high"]}
        wandb_run.summarise({
            f"loss_of_plasticity/{one['metric']}{ending}": number
            for ending, number in numbers.items() if math.isfinite(number)
        })  # fmt: skip
    if figures:
        wandb_run.upload("figures", figures)
    if "record" in at_end:
        names = ("record.csv", "config.yaml", "run.json")
        wandb_run.upload("record", [directory / name for name in names])


def _last_place(run: Run) -> dict[str, Any]:
    return {name: int(run.record[name].max()) for name in ("task", "update")} if len(run.record) else {}


def _figures(run: Run, folder: Path) -> list[Path]:
    """The figures that ``lop-report`` made of the run; else some, drawn here."""
    made = sorted((run.directory / "figures").glob("*.png"))
    if made or not len(run.record):
        return made
    from lop_lightning.report.choice import Choice
    from lop_lightning.report.figures import save
    from lop_lightning.report.output import OutputFolder
    from lop_lightning.report.run_figures import figures_of

    choice, target = Choice(metrics=[*performance_metrics(run)[:1], *DRAWN]), OutputFolder(folder)
    return [save(make(), target, name)[0] for name, make in figures_of(run, choice)]
