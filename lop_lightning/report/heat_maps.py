"""Matrices as pictures: square cells, red above zero and blue below, the colours ending at mean ± 2 std."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from lop_lightning.report.figures import add_caption, house_style

Array = NDArray[np.float64]
COLOURS = "RdBu_r"
DEVIATIONS = 2
CLIPPED = f"colours end at mean ± {DEVIATIONS} std, white is 0"
"""For the small print."""
HEIGHT, COLUMN, BESIDE, LETTERS = 3.4, 1.25, 1.3, 11
NARROWEST, WIDEST, LOWEST, HIGHEST = 0.9, 7.0, 0.5, 3.0
"""Inches that a matrix is wide, or high in a strip, whatever its shape."""


def clipped(values: Array) -> Array:
    """Values beyond mean ± 2 std set to that.

    >>> float(clipped(np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 10])).max())
    7.0
    """
    mean, spread = values.mean(), DEVIATIONS * values.std()
    return np.clip(values, mean - spread, mean + spread)


def limit_of(values: Array) -> float:
    """Where the colours for ``values`` end, on both sides of 0."""
    return float(np.abs(clipped(values)).max()) or 1.0


def draw_matrix(axes: Axes, matrix: Array, limit: float) -> AxesImage:
    """One matrix, rows downwards, colours from -limit to limit."""
    axes.grid(False)
    return axes.imshow(matrix, COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")


def matrices_figure(named: Mapping[str, Array], source: str, columns: str = "input", rows: str = "unit") -> Figure:
    """Matrices side by side, each with a scale of its own.

    Args:
        named: Title -> matrix.
        source: What is shown, for the small print.
        columns: What a column is.
        rows: What a row is.
    """
    widths = [min(WIDEST, max(NARROWEST, HEIGHT * m.shape[1] / m.shape[0])) for m in named.values()]
    heights = [width * m.shape[0] / m.shape[1] for width, m in zip(widths, named.values())]
    height = min(HEIGHT, max(LOWEST, *heights))
    with house_style():
        wide = [width + BESIDE for width in widths]
        figure = Figure(figsize=(sum(wide), height + 1.1), layout="constrained")
        places = figure.subplots(1, len(named), squeeze=False, width_ratios=wide)[0]
        for axes, inches, (title, matrix) in zip(places, wide, named.items()):
            image = draw_matrix(axes, matrix, limit_of(matrix))
            axes.set_title(wrapped(title, inches - 0.5), fontsize=8)
            axes.set_xlabel(columns)
            axes.set_ylabel(rows)
            if matrix.shape[0] <= 2:
                axes.set_yticks(range(matrix.shape[0]))
            if matrix.shape[1] <= 2:
                axes.set_xticks(range(matrix.shape[1]))
            figure.colorbar(image, ax=axes, shrink=0.9, pad=0.03)
        add_caption(figure, f"{source} · {CLIPPED}")
    return figure


def wrapped(name: str, inches: float) -> str:
    """A name in lines that fit into so many inches of an 8 point title; broken after dots, too."""
    most, lines = max(8, int(LETTERS * inches)), [""]
    for piece in re.split(r"(?<=[ .])", name):
        if lines[-1] and len(f"{lines[-1]}{piece}".rstrip()) > most:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def strip_figure(named: Mapping[str, Array], moments: Sequence[int], titles: Sequence[str], source: str) -> Figure:
    """Matrices that change, at some moments: a row each, one scale a row.

    Args:
        named: Title -> ``[n, H, F]``.
        moments: Which of the n are shown.
        titles: What each of them is called.
        source: What is shown, for the small print.
    """
    heights = [min(HIGHEST, max(LOWEST, COLUMN * m.shape[1] / m.shape[2])) for m in named.values()]
    with house_style():
        figure = Figure(figsize=(COLUMN * len(moments) + 1.6, sum(heights) + 0.9), layout="constrained")
        places = figure.subplots(len(named), len(moments), squeeze=False, height_ratios=heights)
        for row, (name, matrices) in zip(places, named.items()):
            shown = matrices[list(moments)]
            limit = limit_of(shown)
            for axes, matrix in zip(row, shown):
                image = draw_matrix(axes, matrix, limit)
                axes.set_xticks([])
                axes.set_yticks([])
            row[0].set_ylabel(name)
            figure.colorbar(image, ax=list(row), shrink=0.85, pad=0.01)
        for axes, title in zip(places[0], titles):
            axes.set_title(title, fontsize=8, fontweight="normal", loc="center")
        add_caption(figure, f"{source} · {CLIPPED}; a row has one scale")
    return figure
