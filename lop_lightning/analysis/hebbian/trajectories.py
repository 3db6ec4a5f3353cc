"""What training makes of λ and η from one solved R to the next."""

from __future__ import annotations

import pandas as pd
import torch

from lop_lightning.analysis.hebbian.snapshots import snapshots
from lop_lightning.analysis.runs import Run

COLUMNS = ["seed", "R", "updates", "layer", "quantity", "value"]


@torch.no_grad()
def trajectories(run: Run, trust: bool = False) -> pd.DataFrame:
    """What plastic layers have of their own, in all networks of a run that had solved an R or were not yet trained.

    Args:
        run: The run.
        trust: See :func:`~lop_lightning.analysis.networks.load_network`.

    Returns:
        Columns ``seed``; ``R``, 0: before training; ``updates``; ``layer``; ``quantity``: ``decay`` (mean λ),
        ``eta_mean``, ``eta_std`` or ``eta_norm``; ``value``. No rows where no layer is plastic.

    Raises:
        LopError: a network cannot be read.
    """
    rows = [
        (one.seed, one.r, one.updates, layer, quantity, float(value))
        for one in snapshots(run, trust)
        for (quantity, layer), value in one.network.constants().items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_r(table: pd.DataFrame, quantity: str, layer: str) -> pd.DataFrame:
    """Seeds × R of one quantity of one layer."""
    own = table[(table["quantity"] == quantity) & (table["layer"] == layer)]
    return own.pivot(index="seed", columns="R", values="value").rename_axis(columns="R")
