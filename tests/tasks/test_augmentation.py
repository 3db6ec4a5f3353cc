import math

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as vision

from lop_lightning.randomness import generator
from lop_lightning.tasks.augmentation import draw_looks, normalised, source_pixels, transformed

MEAN, DEVIATION = torch.tensor([0.5071, 0.4865, 0.4409]), torch.tensor([0.2673, 0.2564, 0.2762])


def looks(*rows):
    """Looks from flip, top, left and the angle in degrees."""
    return torch.tensor(
        [[*shift, math.cos(math.radians(angle)), math.sin(math.radians(angle))] for *shift, angle in rows]
    )


def by_torchvision(pixels, look, angle):
    """One image ``[3, 32, 32]`` of bytes: normalise, flip, pad and crop, rotate, each by torchvision."""
    flip, top, left = (int(number) for number in look[:3])
    image = vision.normalize(pixels.float() / 255, MEAN.tolist(), DEVIATION.tolist())
    image = vision.hflip(image) if flip else image
    image = vision.crop(vision.pad(image, 4, padding_mode="reflect"), top, left, 32, 32)
    return vision.rotate(image, angle)


def nearly_between_two_pixels(look):
    """Where rounding to the nearest pixel is decided by the last bits of the arithmetic, ``[32, 32]``."""
    cos, sin = look[3].double(), look[4].double()
    x = torch.arange(32, dtype=torch.float64) - 15.5
    sources = torch.stack([x * cos - x[:, None] * sin, x * sin + x[:, None] * cos])
    return (sources - sources.round()).abs().lt(1e-5).any(0)  # pixels lie at 15.5, 14.5, … from the centre


def test_equals_torchvision_image_by_image():
    count, rng = 600, np.random.default_rng(3)
    drawn = torch.from_numpy(draw_looks(rng, count))
    angles = torch.rad2deg(torch.atan2(drawn[:, 4].double(), drawn[:, 3].double()))
    pixels = torch.from_numpy(rng.integers(0, 256, (count, 3, 32, 32), np.uint8))
    seen = transformed(pixels.flatten(2), drawn, MEAN, DEVIATION).unflatten(2, (32, 32))
    doubtful = 0
    for image, look, angle, ours in zip(pixels, drawn, angles.tolist(), seen):
        sure = ~nearly_between_two_pixels(look)
        assert torch.equal(ours[:, sure], by_torchvision(image, look, angle)[:, sure])
        doubtful += int((~sure).sum())
    assert doubtful < 1e-4 * count * 32 * 32
    corner_is_outside = 15.5 * (drawn[:, 3] + drawn[:, 4]) > 16
    assert torch.equal((seen[:, :, 0, 0] == 0).all(1), corner_is_outside)


def test_each_part_by_hand():
    places, outside = source_pixels(looks((0, 4, 4, 0), (1, 4, 4, 0), (0, 0, 4, 0), (0, 8, 7, 0)), 32)
    plain, flipped, lowered, moved = places.unflatten(1, (32, 32))
    own = torch.arange(1024).view(32, 32)
    assert not outside.any()
    assert torch.equal(plain, own)
    assert torch.equal(flipped, own.flip(1))
    assert torch.equal(lowered, own[[4, 3, 2, 1, *range(28)]])  # reflection does not repeat the border
    assert torch.equal(moved, own[[*range(4, 32), 30, 29, 28, 27]][:, [*range(3, 32), 30, 29, 28]])


def test_rotation_goes_counter_clockwise_and_fills_with_the_mean_colour():
    pixels = torch.zeros(1, 3, 1024, dtype=torch.uint8)
    pixels[0, :, 16 * 32 + 30] = 255  # to the right of the centre, half a pixel below
    seen = transformed(pixels, looks((0, 4, 4, 15)), MEAN, DEVIATION)[0].unflatten(1, (32, 32))
    white = (seen[0] == seen[0].max()).nonzero().tolist()
    # (14.5, 0.5) from the centre goes to (14.5 cos 15° + 0.5 sin 15°, 0.5 cos 15° - 14.5 sin 15°) = (14.1, -3.3)
    assert all(abs(r - (15.5 - 3.27)) < 1 and abs(c - (15.5 + 14.14)) < 1 for r, c in white)
    assert white
    assert seen[:, 0, 0].tolist() == [0, 0, 0]
    assert torch.allclose(seen[:, 16, 16], -MEAN / DEVIATION)


def test_draws():
    drawn = draw_looks(generator(0, "a test"), 40_000).astype(np.float64)
    flip, top, left, cos, sin = drawn.T
    angle = np.degrees(np.arctan2(sin, cos))
    assert np.allclose(cos**2 + sin**2, 1)
    assert set(flip) == {0, 1}
    assert flip.mean() == pytest.approx(0.5, abs=0.01)
    for shift in (top, left):
        assert np.bincount(shift.astype(int)) / 40_000 == pytest.approx(np.full(9, 1 / 9), abs=0.008)
    assert np.histogram(angle, 15, (0, 15))[0] / 40_000 == pytest.approx(np.full(15, 1 / 15), abs=0.006)
    assert 0 <= angle.min() < 0.01
    assert 14.99 < angle.max() < 15
    assert np.abs(np.corrcoef([flip, top, left, angle]) - np.eye(4)).max() < 0.02


def test_the_number_of_images_at_once_changes_nothing():
    drawn = torch.from_numpy(draw_looks(generator(1), 700))
    pixels = torch.from_numpy(generator(2).integers(0, 256, (700, 3, 1024), np.uint8))
    together = transformed(pixels, drawn, MEAN, DEVIATION)
    apart = [transformed(pixels[i : i + 1], drawn[i : i + 1], MEAN, DEVIATION) for i in (0, 511, 512, 699)]
    assert torch.equal(together[[0, 511, 512, 699]], torch.cat(apart))


def test_other_sizes():
    places, outside = source_pixels(looks((0, 4, 4, 0), (1, 8, 0, 15)), 8)
    assert torch.equal(places[0], torch.arange(64))
    assert places.min() >= 0
    assert places.max() < 64
    assert outside[1].any()


def test_normalised():
    pixels = torch.tensor([[0], [128], [255]], dtype=torch.uint8)
    expected = [(0 - 0.5071) / 0.2673, (128 / 255 - 0.4865) / 0.2564, (1 - 0.4409) / 0.2762]
    assert normalised(pixels, MEAN, DEVIATION).flatten().tolist() == pytest.approx(expected, abs=1e-6)
