"""All that is drawn of one plastic network that watches a movie, and the numbers beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from lop_lightning.analysis.hebbian import spectra
from lop_lightning.analysis.hebbian.activity import Watched
from lop_lightning.analysis.hebbian.plastic_states import States, norms, states
from lop_lightning.analysis.hebbian.snapshots import Snapshot
from lop_lightning.report.activity_figures import activity_figure, logits_figure, output_figure, output_table
from lop_lightning.report.figures import Plot, save
from lop_lightning.report.heat_maps import matrices_figure, strip_figure
from lop_lightning.report.hebbian_figures import norm_plots, spectrum_plot, trajectory_plots
from lop_lightning.report.movie_frames import evenly, write_gif
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.progress import tracked

MOMENTS = 8
"""Frames of a strip."""


def write_pictures(
    snapshot: Snapshot, watched: Watched, trajectory: pd.DataFrame, facts: Mapping[str, Any], folder: OutputFolder,
    gif: bool, errors: Console,
) -> list[Path]:  # fmt: skip
    """Writes figures (PNG and SVG), numbers (CSV, or npz) and ``metadata.json``; returns their paths.

    Args:
        snapshot: The network.
        watched: What it did.
        trajectory: λ and η over R in its run, see :func:`lop_lightning.analysis.hebbian.trajectories.trajectories`.
        facts: What goes into ``metadata.json``.
        folder: Where to.
        gif: Whether the plastic matrices are animated, too.
        errors: Where a progress bar goes.
    """
    source = _source(snapshot)
    found = states(snapshot.network, watched.inputs, watched.window)
    written = []
    figures = _figures(snapshot, watched, trajectory, found, source)
    for name, drawn in tracked(list(figures.items()), lambda one: one[0], errors):
        written += save(drawn, folder, name)
    for name, arrays in _arrays(snapshot, watched, found).items():
        path = folder.claim(f"{name}.npz")
        np.savez_compressed(path, **arrays)
        written.append(path)
    if found and gif:
        path = folder.claim("plastic_states.gif")
        plastic, effective = _titled(snapshot, found)
        write_gif(path, [plastic, effective], [_moment(watched, frame) for frame in watched.window])
        written.append(path)
    tables = {"output.csv": output_table(watched)}
    if len(trajectory):
        tables["over_r_all.csv"] = trajectory
    for name, table in tables.items():
        written.append(folder.claim(name))
        table.to_csv(written[-1], index=False, float_format="%.10g")
    target = folder.claim("metadata.json")
    target.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*written, target]


def _figures(
    snapshot: Snapshot, watched: Watched, trajectory: pd.DataFrame, found: Mapping[str, States], source: str
) -> dict[str, Plot | Figure]:
    network = snapshot.network
    weights, rates = spectra.weights(network), spectra.rates(network)
    figures: dict[str, Plot | Figure] = {
        "weights": matrices_figure({f"W of {name}": w for name, w in weights.items()}, source),
        "readout": matrices_figure({"Readout": spectra.readout(network)}, source, "unit", "output"),
        "hidden_activity": activity_figure(watched, source),
        "output": output_figure(watched, source),
        "logits": logits_figure(watched, source),
    }
    if len(values := spectra.singular_values(network)):
        figures["singular_values"] = spectrum_plot(values, source)
    if rates:
        figures["eta"] = matrices_figure({f"η of {name}": eta for name, eta in rates.items()}, source)
    if found:
        moments = evenly(len(watched.window), MOMENTS)
        titles = [f"frame {watched.window[at]}" for at in moments]
        plastic, effective = _titled(snapshot, found)
        figures["plastic_states"] = strip_figure(plastic, moments, titles, source)
        figures["effective_weights"] = strip_figure(effective, moments, titles, source)
        figures |= norm_plots(norms(network, watched.inputs), source)
    return figures | trajectory_plots(trajectory, f"run {snapshot.run}")


def _arrays(snapshot: Snapshot, watched: Watched, found: Mapping[str, States]) -> dict[str, dict[str, Any]]:
    """What pictures of matrices show, by file and name."""
    window = np.array(watched.window)
    shown = {name: h[window] for name, h in watched.activations.items()}
    arrays: dict[str, dict[str, Any]] = {
        "weights": {**spectra.weights(snapshot.network), "readout": spectra.readout(snapshot.network)},
        "hidden_activity": {"frames": window, **shown},
    }
    if rates := spectra.rates(snapshot.network):
        arrays["eta"] = dict(rates)
    if found:
        arrays["plastic_states"] = {"frames": window, **{name: one.plastic for name, one in found.items()}}
        arrays["effective_weights"] = {"frames": window, **{name: one.effective for name, one in found.items()}}
    return arrays


def _titled(snapshot: Snapshot, found: Mapping[str, States]) -> tuple[dict[str, Any], dict[str, Any]]:
    """P of each layer, and the weights that its inputs meet, under their formulas."""
    met = {name: "W ∘ (1 + P)" if kind == "M" else "W + P" for name, kind in snapshot.kinds.items()}
    plastic = {f"P of {name}": one.plastic for name, one in found.items()}
    return plastic, {f"{met[name]} of {name}": one.effective for name, one in found.items()}


def _moment(watched: Watched, frame: int) -> str:
    scene = frame // watched.scene_time
    return f"frame {frame}, scene {scene} ({'familiar' if watched.labels[scene] else 'novel'})"


def _source(snapshot: Snapshot) -> str:
    if snapshot.task is not None:
        when = f"before period {snapshot.task}, R = {snapshot.r} in training"
    else:
        when = f"R = {snapshot.r} solved" if snapshot.r else "before training"
    return f"run {snapshot.run}, seed {snapshot.seed}, {when}, {snapshot.updates:,} updates"
