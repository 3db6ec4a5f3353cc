import numpy as np
import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.tasks import PermutedImages
from lop_lightning.tasks.images import digits


def test_a_task_is_all_images_permuted_and_shuffled():
    stream = PermutedImages()
    inputs, targets = stream.task(1, 4).train
    seen_at = stream.permutation(1, 4)
    original = digits("").pixels.float() / 16
    restored = torch.empty_like(inputs)
    restored[:, seen_at] = inputs
    order = torch.from_numpy(np.lexsort(restored.T.numpy())), torch.from_numpy(np.lexsort(original.T.numpy()))
    assert torch.equal(restored[order[0]], original[order[1]])
    assert torch.equal(targets[order[0]].sort().values, digits("").labels.sort().values)
    assert not torch.equal(restored, original)  # the order is the task's own
    assert 0 == inputs.min() < inputs.max() == 1
    assert stream.task(1, 4).info["permutation"] == seen_at.tolist()


def test_labels_stay_with_their_images():
    stream = PermutedImages()
    inputs, targets = stream.task(0, 2).train
    images = digits("")
    lookup = {tuple(row.tolist()): label for row, label in zip(images.pixels, images.labels.tolist())}
    back = np.argsort(stream.permutation(0, 2))
    rows = (inputs[:, back] * 16).round().int()
    assert all(lookup[tuple(row.tolist())] == target for row, target in zip(rows, targets.tolist()))


@pytest.mark.parametrize("composed", [False, True])
def test_permutations_are_permutations_and_differ(composed):
    stream = PermutedImages(composed=composed)
    drawn = [stream.permutation(seed, index) for seed in (0, 1) for index in (0, 1, 5)]
    assert all(sorted(p) == list(range(64)) for p in drawn)
    assert len({tuple(p) for p in drawn}) == 6


def test_composed_permutations_go_on_from_the_last_task():
    own, composed = PermutedImages(), PermutedImages(composed=True)
    pixels = np.arange(64)
    for index in range(12):
        pixels = pixels[own.permutation(3, index)]  # what the published code does to its array
        assert np.array_equal(composed.permutation(3, index), pixels)
    assert np.array_equal(PermutedImages(composed=True).permutation(3, 11), pixels)
    backwards = [composed.permutation(3, index) for index in (11, 4, 9)]
    forwards = {index: PermutedImages(composed=True).permutation(3, index) for index in (4, 9, 11)}
    assert all(np.array_equal(a, forwards[index]) for a, index in zip(backwards, (11, 4, 9)))


def test_task_length():
    whole = PermutedImages().task(0, 1).train
    short = PermutedImages(task_length=100).task(0, 1).train
    long = PermutedImages(task_length=4000).task(0, 1).train
    for part in (0, 1):
        assert torch.equal(short[part], whole[part][:100])
        assert torch.equal(long[part], whole[part].repeat(*[3] + [1] * (whole[part].ndim - 1))[:4000])
    assert PermutedImages().updates_per_task() == 1797
    assert PermutedImages(task_length=4000).updates_per_task() == 4000


def test_making_a_stream_loads_nothing(tmp_path):
    stream = PermutedImages(source="mnist", data_dir=str(tmp_path))
    assert stream.spec.input_shape == (784,)
    assert stream._images is None
    assert list(tmp_path.iterdir()) == []


def test_images_are_held_once():
    stream = PermutedImages(seeds=5)
    loaded = stream.load(0)
    assert loaded.images.pixels.data_ptr() == stream.images.pixels.data_ptr()
    assert loaded.images.pixels.dtype == torch.uint8
    assert loaded.orders.shape == (5, 1797)


def test_own_generator_is_pinned(sha256):
    inputs, targets = PermutedImages(task_length=20).task(3, 7).train
    assert sha256(inputs) == PINNED[0]
    assert sha256(targets) == PINNED[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [("source", "minst"), ("data_dir", ""), ("data_dir", None), ("composed", "no"), ("task_length", 0), ("tasks", -3),
     ("batch_size", 0)],
)  # fmt: skip
def test_wrong_settings_name_their_key(key, value):
    with pytest.raises(ConfigError, match=f"^{key}="):
        PermutedImages(**{key: value})


PINNED = (
    "00fbb57b76c666ec282c96d4e10cd2dc7d7bcd8f7bf4ca34ab12e28296451dc4",
    "00d3b2e1358080f322d04c859cbfb2cc1062365f7e43b9af7f29f25f9f134220",
)
