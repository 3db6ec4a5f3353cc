"""Checks that convolutional networks share: the shape of an image, and lists of counts."""

from __future__ import annotations

from collections.abc import Sequence

from lop_lightning.errors import ConfigError, check_count


def image_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """``(channels, height, width)``.

    Raises:
        ConfigError: examples are no images of this layout.
    """
    if len(input_shape) != 3:
        shape = [int(size) for size in input_shape]
        raise ConfigError("input_shape", shape, "images [channels,height,width]; this task gives none")
    channels, height, width = input_shape
    return channels, height, width


def check_counts(key: str, values: Sequence[int], length: int | None = None) -> None:
    """Raises :class:`ConfigError` unless ``values`` lists positive whole numbers, ``length`` of them if given."""
    if isinstance(values, str | int) or (length is not None and len(values) != length):
        many = "" if length is None else f"{length} of them, "
        raise ConfigError(key, values, f"a list of whole numbers, {many}as [{','.join('3' * (length or 2))}]")
    for value in values:
        check_count(key, value)
