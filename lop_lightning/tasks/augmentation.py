"""Random flips, crops and rotations of square images, composed into one look-up of source pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PADDING = 4
LARGEST_ANGLE = 15.0
IMAGES_AT_ONCE = 512  # bounds what is held besides the result


def draw_looks(rng: np.random.Generator, count: int) -> np.ndarray:
    """How ``count`` images shall look, ``[count, 5]``, float32: flip, top, left, cosine and sine of the angle.

    Independent of one another: flip is 1 with probability ½, else 0; top and left are uniform in 0 … 8; the angle is
    uniform in [0°, 15°).
    """
    flip = rng.random(count) < 0.5
    top, left = rng.integers(0, 2 * PADDING + 1, (2, count))
    angle = np.radians(rng.uniform(0, LARGEST_ANGLE, count))
    return np.stack([flip, top, left, np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)


def source_pixels(looks: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Which pixel of the original is seen at each pixel of the transformed image, and where none is.

    The image is, in this order: flipped horizontally; padded by 4 pixels on each side by reflection, and cropped to
    rows top … top + side - 1 and columns left … left + side - 1; rotated counter-clockwise about its centre. The pixel
    at (x, y) from the centre (y downwards) then is the nearest to (x cos a - y sin a, x sin a + y cos a). This is
    torchvision's flip, reflect pad, crop and ``rotate`` with its defaults, in the same arithmetic.

    Args:
        looks: ``[n, 5]``, see :func:`draw_looks`.
        side: Pixels of a side, more than 4.

    Returns:
        Places ``[n, side²]`` in the flattened original, int64, and a mask ``[n, side²]`` of the pixels that the
        rotation brings in from outside, whose places mean nothing.
    """
    flip, top, left, cos, sin = (column[:, None, None] for column in looks.unbind(1))
    half, last = side / 2, side - 1
    x = torch.arange(side, dtype=looks.dtype, device=looks.device) - last / 2
    y = x[:, None]
    # coordinates in [-1, 1] and back, as torchvision does: what is rounded then falls on the same side of a half
    columns = (x * cos - y * sin).div_(half).add_(1).mul_(half).sub_(0.5).round_()
    rows = (x * sin + y * cos).div_(half).add_(1).mul_(half).sub_(0.5).round_()
    outside = torch.maximum((columns - last / 2).abs_(), (rows - last / 2).abs_()) > half
    rows.add_(top - PADDING).abs_().sub_(last).abs_()  # now last - row, after the reflection at both borders
    columns.add_(left - PADDING).abs_().sub_(last).abs_()
    columns.mul_(2 * flip - 1).add_(last * (1 - flip))
    places = columns.add_(rows.mul_(-side).add_(side * last))
    return places.flatten(1).long(), outside.flatten(1)


def transformed(pixels: Tensor, looks: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Images ``[n, C, side²]`` of bytes as they look, (value / 255 - mean) / deviation, and 0 outside; float32.

    The fill is 0 after the normalisation, hence the mean colour.

    Args:
        pixels: ``[n, C, side²]``, uint8.
        looks: ``[n, 5]``, see :func:`draw_looks`.
        mean: Of each channel, ``[C]``, in [0, 1].
        deviation: Of each channel, ``[C]``.
    """
    seen = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device)
    side = round(pixels.shape[-1] ** 0.5)
    for part in range(0, len(pixels), IMAGES_AT_ONCE):
        here = slice(part, part + IMAGES_AT_ONCE)
        places, outside = source_pixels(looks[here], side)
        found = pixels[here].gather(2, places[:, None].expand(-1, pixels.shape[1], -1))
        seen[here] = normalised(found, mean, deviation).masked_fill_(outside[:, None], 0)
    return seen


def normalised(pixels: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Images ``[..., C, side²]`` of bytes as (value / 255 - mean) / deviation, float32."""
    return pixels.float().div_(255).sub_(mean[:, None]).div_(deviation[:, None])
