"""Matrices that change, as a small animation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lop_lightning.report.heat_maps import COLOURS, limit_of

Array = NDArray[np.float64]
MOST_FRAMES = 96
LONGEST_SIDE, LARGEST_CELL = 150, 8
"""Pixels of a matrix's longer side, at most, and of a cell's."""
MARGIN, LINE, TEXT = 10, 16, 11
SHADES = 21
WHITE, BLACK = SHADES, SHADES + 1
"""Their places in the palette, after the shades of the matrices; few colours make small files."""
MILLISECONDS = 125


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers 0, …, count - 1, evenly spread, with the first and the last.

    >>> evenly(5, 3), evenly(2, 8)
    ([0, 2, 4], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()


def write_gif(path: Path, rows: Sequence[Mapping[str, Array]], titles: Sequence[str]) -> None:
    """An animation that is repeated for ever: all matrices of a frame in one picture, of at most 96 frames.

    Args:
        path: Where to.
        rows: Rows of equally many matrices side by side: title -> ``[n, H, F]``. A matrix has the same colours in all
            frames, which end at mean ± 2 std.
        titles: Of each of the n frames.
    """
    shown = evenly(len(titles), MOST_FRAMES)
    font = ImageFont.truetype(findfont("DejaVu Sans"), TEXT)
    drawn = [[(name, shades(matrices[shown])) for name, matrices in row.items()] for row in rows]
    pictures = [_picture(drawn, number, titles[at], font) for number, at in enumerate(shown)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0)


def shades(matrices: Array) -> NDArray[np.uint8]:
    """Pixels ``[n, height, width]`` of matrices ``[n, H, F]``: a shade from 0 (blue) to 20 (red), 10 where it is 0."""
    limit = limit_of(matrices)
    cell = max(1, min(LARGEST_CELL, LONGEST_SIDE // max(matrices.shape[1:])))
    levels = (np.clip(matrices / limit, -1, 1) + 1) / 2 * (SHADES - 1)
    return levels.round().astype(np.uint8).repeat(cell, axis=1).repeat(cell, axis=2)


def _picture(
    rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]], number: int, title: str, font: ImageFont.FreeTypeFont
) -> Image.Image:
    columns = [
        max(max(pixels.shape[2], int(font.getlength(name))) for name, pixels in column) + MARGIN
        for column in zip(*rows)
    ]
    heights = [max(pixels.shape[1] for _, pixels in row) + LINE + MARGIN for row in rows]
    width = max(sum(columns), int(font.getlength(title)) + MARGIN)
    picture = Image.new("P", (width + MARGIN, sum(heights) + LINE + MARGIN), WHITE)
    picture.putpalette(_palette())
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN // 2), title, fill=BLACK, font=font)
    top = LINE + MARGIN
    for row, height in zip(rows, heights):
        left = MARGIN
        for (name, pixels), column in zip(row, columns):
            pen.text((left, top), name, fill=BLACK, font=font)
            picture.paste(Image.fromarray(pixels[number]), (left, top + LINE))
            left += column
        top += height
    return picture


def _palette() -> list[int]:
    colours = matplotlib.colormaps[COLOURS](np.linspace(0, 1, SHADES), bytes=True)[:, :3]
    return [*colours.ravel().tolist(), *(255, 255, 255), *(0, 0, 0)]
