"""Colours: one for each method, the same in every figure and every report; layers by depth."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.colors import to_hex, to_rgb

from lop_lightning.analysis.runs import Run

# Okabe and Ito 2008: told apart with any colour vision. The baseline is grey, so that methods stand out against it.
METHODS = {
    "bp": "#4d4d4d",
    "cbp": "#0072b2",
    "l2": "#e69f00",
    "shrink_and_perturb": "#009e73",
    "snp": "#009e73",
    "redo": "#cc79a7",
    "l2_init": "#d55e00",
    "upgd": "#56b4e9",
}
SPARE = ("#8c6d1f", "#6a51a3", "#b2182b", "#35978f", "#d6a400", "#1b4f72", "#7a4b2a", "#c51b7d")
FRESH = "#8a8a8a"
LINE_STYLES = ("-", "--", "-.", ":")


def method_colours(runs: Sequence[Run]) -> dict[str, str]:
    """Label -> colour. Runs of one method share its hue, later ones lighter; methods not known here get spare hues."""
    unknown = [algo for algo in dict.fromkeys(sorted(run.algo for run in runs)) if algo not in METHODS]
    base = METHODS | {algo: SPARE[i % len(SPARE)] for i, algo in enumerate(unknown)}
    colours: dict[str, str] = {}
    for run in runs:
        siblings = [other.label for other in runs if other.algo == run.algo]
        lighter = 0.45 * siblings.index(run.label) / max(1, len(siblings) - 1) if len(siblings) > 1 else 0.0
        r, g, b = to_rgb(base[run.algo])
        colours[run.label] = to_hex(
            (1 - (1 - lighter) * (1 - r), 1 - (1 - lighter) * (1 - g), 1 - (1 - lighter) * (1 - b))
        )
    return colours


def method_styles(runs: Sequence[Run]) -> dict[str, str]:
    """Label -> line style: solid for the first run of a method, then dashed and dotted."""
    seen: dict[str, int] = {}
    styles: dict[str, str] = {}
    for run in runs:
        styles[run.label] = LINE_STYLES[seen.get(run.algo, 0) % len(LINE_STYLES)]
        seen[run.algo] = seen.get(run.algo, 0) + 1
    return styles


def layer_colours(layers: Sequence[str]) -> dict[str, str]:
    """Layer -> colour, dark at the input to light at the output (viridis without its faint yellow end)."""
    ramp = matplotlib.colormaps["viridis"]
    return {layer: to_hex(ramp(0.05 + 0.8 * i / max(1, len(layers) - 1))) for i, layer in enumerate(layers)}
