"""Figures of the analyses of curriculum runs: intervals over seeds, a line a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lop_lightning.analysis.statistics import seed_interval
from lop_lightning.analysis.timescales.retraining import last_period
from lop_lightning.report.bands import band
from lop_lightning.report.colours import LINE_STYLES
from lop_lightning.report.figures import Plot, add_caption, house_style
from lop_lightning.report.panels import Line, Panel

COLOURS = {
    ("single", "parity"): "#d48a6a", ("single", "dms"): "#803515",
    ("cumulative", "parity"): "#74ae97", ("cumulative", "dms"): "#0e573a",
    ("sliding", "parity"): "#6f8fc9", ("sliding", "dms"): "#2b4a8b",
    ("adaptive", "parity"): "#b07cc6", ("adaptive", "dms"): "#6a3d86",
}  # fmt: skip
"""(curriculum, task) -> hue: single-head brown, multi-head green, as in the paper."""
OTHER = "#8a8a8a"
SHARE, CORRECT = "fraction of units", "fraction correct"
GROUPS = {"baseline": OTHER, "slowest": "#8c7aae", "fastest": "#aa9c39", "random": "#5f9ea0"}


@dataclass(frozen=True)
class Shown:
    """What a figure shows of one run.

    Attributes:
        label: Name of the run.
        curriculum: Its curriculum.
        task: ``parity`` or ``dms``.
        table: Rows of all its networks that were looked at, with the columns ``seed`` and ``N``.
    """

    label: str
    curriculum: str
    task: str
    table: pd.DataFrame


def over_n(
    shown: Sequence[Shown], statistic: Callable[[pd.DataFrame], Any], title: str, axis: str, **panel: bool
) -> Plot:
    """A statistic of each network's rows against the N that the network solved."""
    return against("N", shown, statistic, title, axis, "N", **panel)


def against(
    column: str,
    shown: Sequence[Shown],
    statistic: Callable[[pd.DataFrame], Any],
    title: str,
    axis: str,
    counts: str,
    **panel: bool,
) -> Plot:
    """A statistic of each network's rows with one value of a column, against that value, called ``counts``."""
    tables = {}
    for one in shown:
        values = {place: float(statistic(own)) for place, own in one.table.groupby(["seed", column])}
        tables[one.label] = pd.Series(values, dtype=np.float64).unstack().rename_axis(columns=counts)
    return lines(shown, tables, title, axis, **panel)


def lines(shown: Sequence[Shown], tables: Mapping[str, pd.DataFrame], title: str, axis: str, **panel: bool) -> Plot:
    """A line with its interval for each run's table of seeds × points."""
    drawn, seen = [], dict.fromkeys(COLOURS.values(), 0) | {OTHER: 0}
    for one in shown:
        colour = COLOURS.get((one.curriculum, one.task), OTHER)
        style = LINE_STYLES[seen[colour] % len(LINE_STYLES)]
        seen[colour] += 1
        drawn.append(Line(one.label, band(tables[one.label], log=panel.get("log", False), bin_width=1), colour, style))
    return Plot(Panel(title, axis, drawn, **panel), "networks that had just solved N")  # type: ignore[arg-type]


def tau_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Trained time constants: mean and spread over units, the share that is stuck below 1, and distributions."""
    return {
        "tau_mean": over_n(shown, lambda t: t["tau"].mean(), "Trained time constants", "mean τ over units (steps)"),
        "tau_std": over_n(shown, lambda t: t["tau"].std(ddof=0), "Their spread", "std of τ over units (steps)"),
        "tau_stuck": over_n(
            shown, lambda t: (t["tau"] < 1).mean(), "Time constants stuck below 1", "fraction of units"
        ),
        "tau_distribution": distributions(shown, "tau", "trained τ (steps)"),
    }


def network_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Time constants of activity: mean, spread and median of τ_net, units that are left out of the mean, the models."""
    units = _of_kind(shown, "unit")
    figures: dict[str, Plot | Figure] = {}
    for name, statistic, title, axis in (
        ("mean", lambda t: _kept(t).mean(), "Time constants in the network", "mean τ_net over units with τ_net > 1"),
        ("std", lambda t: _kept(t).std(ddof=0), "Their spread", "std of τ_net over units with τ_net > 1"),
        ("median", lambda t: t["tau_net"].median(), "Median over all units", "τ_net (steps)"),
        ("excluded", lambda t: 1 - len(_kept(t)) / len(t), "Units without τ_net > 1, left out of the mean", SHARE),
        ("double", lambda t: (t["tau2"].notna()).mean(), "Units with two time constants", SHARE),
        ("agreement", _agreement, "AIC and BIC choose alike", SHARE),
    ):
        figures[f"tau_net_{name}"] = over_n(units, statistic, title, axis)
    together = [one for one in _of_kind(shown, "population") if len(one.table)]
    if together:
        figures["tau_net_population"] = over_n(
            together, lambda t: t["tau_net"].mean(), "The sum over units", "τ_net (steps)"
        )
    return {**figures, "tau_net_distribution": distributions(units, "tau_net", "τ_net (steps)")}


def _kept(units: pd.DataFrame) -> pd.Series:
    return units["tau_net"][units["tau_net"] > 1]


def _agreement(units: pd.DataFrame) -> float:
    fitted = units[units["model"] > 0]
    return float(((fitted["aic2"] < fitted["aic1"]) == (fitted["bic2"] < fitted["bic1"])).mean())


def _of_kind(shown: Sequence[Shown], kind: str) -> list[Shown]:
    return [replace(one, table=one.table[one.table["kind"] == kind]) for one in shown]


def dimension_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Principal components for 90 % of the variance, the mean over trials."""
    trials = _of_kind(shown, "trial")
    label = "components for 90 % of the variance"
    return {"dimension": over_n(trials, lambda t: t["dimension"].mean(), "Dimension of the states", label)}


def ablation_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Accuracy without one unit: a mean for each group of units, a dot for each network."""
    with house_style():
        figure = Figure(figsize=(2.2 * len(shown) + 1.2, 3.4), layout="constrained")
        places = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, one in zip(places, shown):
            _draw_groups(axes, one)
        places[0].set_ylabel("accuracy of the readout for N")
        lowest = min(one.table.groupby(["seed", "kind"])["accuracy"].mean().min() for one in shown)
        places[0].set_ylim(min(0.45, lowest - 0.02), 1.02)
        networks = "–".join(map(str, sorted({one.table["seed"].nunique() for one in shown})))
        what = f"one unit silenced at a time · bar: mean over networks (n = {networks}), over units and repeats of each"
        add_caption(figure, f"{what} · line: 95 % interval over networks · dots: networks")
    return {"ablation": figure}


def _draw_groups(axes: Axes, one: Shown) -> None:
    ticks = []
    for at, (kind, colour) in enumerate(GROUPS.items()):
        each = one.table[one.table["kind"] == kind].groupby("seed")[["accuracy", "tau"]].mean()
        if each.empty:
            continue
        found, tau = seed_interval(each["accuracy"].to_numpy()), float(each["tau"].mean())
        axes.bar(at, float(found.estimate), color=colour, alpha=0.55, width=0.7)
        axes.vlines(at, float(found.low), float(found.high), color="#333333", linewidth=1.2)
        axes.plot(np.full(len(each), at), each["accuracy"], "o", color=colour, markersize=3)
        ticks.append((at, kind if np.isnan(tau) else f"{kind}\nτ = {tau:.2f}"))
    axes.set_xticks(*zip(*ticks), rotation=30)
    ns = ", ".join(str(n) for n in sorted(one.table["N"].unique()))
    axes.set_title(f"{one.label}\nN = {ns}", fontsize=8)


def perturbation_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Relative accuracy against the size of the perturbation."""
    plot = against("epsilon", shown, lambda t: t["relative"].mean(), "Accuracy of perturbed networks",
                   "(accuracy - ½) / (unperturbed - ½)", "size ε of the perturbation", log_x=True)  # fmt: skip
    return {f"perturbation_{shown[0].table['kind'].iloc[0]}": plot}


def retraining_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Accuracy after a short training on one larger N, against that N less the one that had been solved."""
    last = []
    for one in shown:
        table = last_period(one.table)
        last.append(replace(one, table=table.assign(further=table["asked"] - table["N"])))
    plot = against("further", last, lambda t: t["accuracy"].mean(), "Trained on, on one larger N", CORRECT,
                   "N trained on, less the N that had been solved", fraction=True)  # fmt: skip
    return {"retraining": plot}


def accuracy_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Accuracy of every readout against its N."""
    plot = against("asked", shown, lambda t: t["accuracy"].mean(), "Accuracy of every readout", CORRECT,
                   "N of the readout", fraction=True)  # fmt: skip
    return {"accuracy": plot}


def duration_plots(shown: Sequence[Shown]) -> dict[str, Plot | Figure]:
    """Accuracy, mean over trained readouts, against how many steps a bit lasts."""
    plot = against("k", shown, lambda t: t["accuracy"].mean(), "Bits of other durations", CORRECT, "steps k of a bit",
                   log_x=True, fraction=True)  # fmt: skip
    return {"duration": plot}


def distributions(shown: Sequence[Shown], column: str, label: str) -> Figure:
    """Distribution over the units of all networks of a run, at up to four N."""
    with house_style():
        figure = Figure(figsize=(3.2 * len(shown) + 0.6, 3.0), layout="constrained")
        axes = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
        for place, one in zip(axes, shown):
            place.set_title(one.label, fontsize=8)
            place.set_xlabel(label)
            values = one.table[column].dropna()
            if values.empty:
                continue  # no unit had one
            edges = np.linspace(values.min(), max(values.quantile(0.999), values.min() + 1e-6), 41)
            ns = sorted(one.table["N"].unique())
            picked = [ns[i] for i in dict.fromkeys(np.linspace(0, len(ns) - 1, min(4, len(ns))).round().astype(int))]
            for at, n in enumerate(picked):
                own = one.table.loc[one.table["N"] == n, column].dropna().clip(upper=edges[-1])
                share = np.histogram(own, edges)[0] / max(1, len(own))
                colour = COLOURS.get((one.curriculum, one.task), OTHER)
                place.stairs(share, edges, color=colour, alpha=(at + 1) / len(picked), label=f"N = {n}")
            place.legend()
        axes[0].set_yscale("log")
        axes[0].set_ylabel("fraction of units")
        add_caption(figure, "units of all networks of a run together · the last bin holds all that is larger")
    return figure


PLOTS: dict[str, Callable[[Sequence[Shown]], dict[str, Plot | Figure]]] = {
    "tau": tau_plots,
    "network": network_plots,
    "dimension": dimension_plots,
    "ablate": ablation_plots,
    "perturb": perturbation_plots,
    "retrain": retraining_plots,
    "accuracy": accuracy_plots,
    "duration": duration_plots,
}
"""Analysis -> its figures."""
