"""Colours: one for each method, the same in every figure and every report; layers by depth."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.colors import to_hex, to_rgb

from lop_lightning.analysis.runs import Run

# Okabe and Ito 2008: told apart with any colour vision. The baseline is grey, so that methods stand out against it.
METHODS = {
    "bp": "#4d4d4d",
    "curriculum": "#4d4d4d",
    "hebbian": "#4d4d4d",
    "cbp": "#0072b2",
    "l2": "#e69f00",
    "shrink_and_perturb": "#009e73",
    "snp": "#009e73",
    "redo": "#cc79a7",
    "l2_init": "#d55e00",
    "upgd": "#56b4e9",
    "head_reset": "#8c6d1f",
    "retrain": "#6a51a3",
    "linear": "#b2182b",
}
"""Method -> hue; a linear network is a baseline of its own, whatever trains it."""
SPARE = ("#35978f", "#d6a400", "#1b4f72", "#7a4b2a", "#c51b7d", "#7f9f3f")
FRESH = "#8a8a8a"
LINE_STYLES = ("-", "--", "-.", ":")


def method_colours(runs: Sequence[Run]) -> dict[str, str]:
    """Label -> colour. Runs of one method share its hue, later ones lighter; methods not known here get spare hues."""
    return dict(zip([run.label for run in runs], shades([_hue(run) for run in runs])))


def method_styles(runs: Sequence[Run]) -> dict[str, str]:
    """Label -> line style: solid for the first run of a method, then dashed and dotted."""
    seen: dict[str, int] = {}
    styles: dict[str, str] = {}
    for run in runs:
        number = seen.get(_hue(run), 0)
        styles[run.label], seen[_hue(run)] = LINE_STYLES[number % len(LINE_STYLES)], number + 1
    return styles


def shades(methods: Sequence[str]) -> list[str]:
    """A colour for each entry: its method's hue, lighter for every later entry of that method."""
    unknown = [method for method in sorted(set(methods)) if method not in METHODS]
    base = METHODS | {method: SPARE[i % len(SPARE)] for i, method in enumerate(unknown)}
    colours = []
    for i, method in enumerate(methods):
        lighter = 0.45 * methods[:i].count(method) / max(1, methods.count(method) - 1)
        r, g, b = to_rgb(base[method])
        colours.append(to_hex((1 - (1 - lighter) * (1 - r), 1 - (1 - lighter) * (1 - g), 1 - (1 - lighter) * (1 - b))))
    return colours


def layer_colours(layers: Sequence[str]) -> dict[str, str]:
    """Layer -> colour, dark at the input to light at the output (viridis without its faint yellow end)."""
    ramp = matplotlib.colormaps["viridis"]
    return {layer: to_hex(ramp(0.05 + 0.8 * i / max(1, len(layers) - 1))) for i, layer in enumerate(layers)}


def _hue(run: Run) -> str:
    return "linear" if run.model == "linear" else run.algo
