"""Lines of networks on movies: generalisation to other R, λ and η over R, spectra, plastic norms along a movie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lop_lightning.analysis.hebbian.trajectories import by_r
from lop_lightning.analysis.statistics import Interval
from lop_lightning.report.bands import Band, band
from lop_lightning.report.colours import layer_colours
from lop_lightning.report.figures import Plot
from lop_lightning.report.panels import Level, Line, Panel
from lop_lightning.report.progress_figures import hues
from lop_lightning.report.seed_plot import SeedPlot

GREY = "#8a8a8a"
TESTED = "R of the test"


@dataclass(frozen=True)
class Generalised:
    """What a figure shows of networks of a run.

    Attributes:
        label: Name of the run.
        table: Columns ``seed``, ``R`` and those of
            :func:`~lop_lightning.analysis.hebbian.generalisation.generalisation`.
        chance: Accuracy of whoever always gives the more frequent answer.
    """

    label: str
    table: pd.DataFrame
    chance: float


def by_seed(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Seeds (and, of each, the R that its network solved) × tested R of one column."""
    return table.pivot_table(index=["seed", "R"], columns="tested", values=column).rename_axis(columns=TESTED)


def generalisation_plots(shown: Sequence[Generalised], apart: bool, log_x: bool) -> dict[str, Plot]:
    """Accuracy, and the two rates, against the R of the test; a line a run, or with ``apart`` a line a run and R.

    Where R was solved is marked by a thin dashed line, accuracy of chance by a dotted one.
    """
    lines = [part for one in shown for part in (_parts(one) if apart else [one])]
    solved = sorted({float(r) for one in shown for r in one.table["R"] if r > 0})
    source, colours = "dashed: R that was solved", hues(len(lines))
    accuracy = [Line(one.label, _band(one, "accuracy"), hue) for one, hue in zip(lines, colours)]
    levels = [Level(f"chance {level:.3g}", _exactly(level), GREY) for level in sorted({one.chance for one in shown})]
    rates = [
        Line(f"{one.label}, {name}" if len(lines) > 1 else name, _band(one, column), hue, style)
        for one, hue in zip(lines, colours)
        for column, name, style in (("true_positive_rate", "true positives", "-"),
                                    ("false_positive_rate", "false positives", "--"))
    ]  # fmt: skip
    settings: dict[str, Any] = {"fraction": True, "log_x": log_x, "ends": solved}
    return {
        "generalisation_accuracy": Plot(
            Panel("Accuracy at other R", "fraction of scenes", accuracy, levels=levels, **settings), source
        ),
        "generalisation_rates": Plot(
            Panel("Scenes called familiar", "fraction of the familiar, of the novel", rates, **settings), source
        ),
    }


def _parts(one: Generalised) -> list[Generalised]:
    return [replace(one, label=f"{one.label}, R = {r}", table=own) for r, own in one.table.groupby("R")]


def _band(one: Generalised, column: str) -> Band:
    return band(by_seed(one.table, column), bin_width=1)


def _exactly(value: float) -> Interval:
    return Interval(value, float("nan"), float("nan"), 0, 0.95, "exact")


def trajectory_plots(table: pd.DataFrame, source: str) -> dict[str, SeedPlot]:
    """λ of each layer over the R that was solved, and mean and spread of η; R = 0 is before training."""
    layers = list(dict.fromkeys(table["layer"]))
    decays = {layer: by_r(table, "decay", layer) for layer in layers}
    decays = {layer: own for layer, own in decays.items() if len(own)}
    found = {}
    if decays:
        found["decay_over_r"] = _over_r("Decay λ", "λ, mean of a layer", decays, layers, source)
    for quantity, title in (("mean", "Mean of η"), ("std", "Standard deviation of η")):
        rates = {layer: by_r(table, f"eta_{quantity}", layer) for layer in layers}
        if any((own.to_numpy() != 0).any() for own in rates.values()):  # the spread of one number is 0
            found[f"eta_{quantity}_over_r"] = _over_r(title, f"{quantity} of a layer's η", rates, layers, source)
    return found


def _over_r(title: str, axis: str, tables: Mapping[str, pd.DataFrame], layers: Sequence[str], source: str) -> SeedPlot:
    colours = layer_colours(layers)
    lines = [Line(layer, band(own, bin_width=1), colours[layer]) for layer, own in tables.items()]
    values = np.concatenate([own.to_numpy().ravel() for own in tables.values()])
    low, high = np.nanmin(values), np.nanmax(values)
    edge = 0.15 * (high - low) or 0.1  # the interval of two seeds would stretch the axis too far
    panel = Panel(title, axis, lines, limits=[(low - edge, high + edge)])
    return SeedPlot(panel, f"{source} · R = 0: before training", seeds=tables)


def norm_plots(norms: pd.DataFrame, source: str) -> dict[str, Plot]:
    """‖P‖ of each layer at every frame of a movie, and what it adds to the weights, relative to them."""
    return {
        "plastic_norm": _lines(norms, "frame", "norm", "Plastic matrices", "‖P‖ (Frobenius)", source),
        "plastic_share": _lines(
            norms, "frame", "share", "Plastic part of the weights", "‖P‖ / ‖W‖, of M layers ‖W ∘ P‖ / ‖W‖", source
        ),
    }


def spectrum_plot(values: pd.DataFrame, source: str) -> Plot:
    """Singular values of W and η of every layer, largest first, on a logarithmic axis."""
    named = values.assign(layer=values["matrix"] + ", " + values["layer"])
    return _lines(named, "number", "value", "Singular values", "singular value", source, log=True)


def _lines(table: pd.DataFrame, x: str, y: str, title: str, axis: str, source: str, log: bool = False) -> Plot:
    """One line a layer of one network."""
    layers = list(dict.fromkeys(table["layer"]))
    colours, lines = layer_colours(layers), []
    for layer in layers:
        own = table[table["layer"] == layer]
        values = pd.DataFrame([own[y].to_numpy()], columns=pd.Index(own[x], name=x))
        lines.append(Line(layer, band(values, log=log, bin_width=1), colours[layer]))
    return Plot(Panel(title, axis, lines, log=log), source)
