import gzip
import struct

import numpy as np
import pytest
import torch
import torchvision

from lop_lightning.errors import ConfigError, LopError
from lop_lightning.tasks.image_splits import FEWEST, MOMENTS, SPLITS, first_images, numbers_within_class, scaled
from lop_lightning.tasks.images import MNIST_FILES, digits, mnist

SEED = 0


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def drawn(part, classes):
    rng = np.random.default_rng([SEED, part == "train"])
    return rng.integers(0, 256, (len(classes), 28, 28)), np.array(classes)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)


@pytest.fixture
def write(tmp_path):
    """Writes one part of a small MNIST as the true files are, and gives its arrays."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)

    def files(part, classes, zipped=False):
        names = [name for name in MNIST_FILES if name.startswith({"train": "train", "test": "t10k"}[part])]
        arrays = drawn(part, classes)
        for name, array in zip(names, arrays):
            content = idx(array)
            (raw / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
        return arrays

    return files


def test_digits_are_split_without_a_rest():
    train, test, every = (*(SPLITS["digits"]("", part) for part in ("train", "test")), digits(""))
    assert (len(train.labels), len(test.labels)) == (1442, 355)
    rows = torch.cat([train.pixels, test.pixels]).numpy()
    assert np.array_equal(rows[np.lexsort(rows.T)], every.pixels.numpy()[np.lexsort(every.pixels.numpy().T)])
    assert (train.labels.bincount() + test.labels.bincount()).equal(every.labels.bincount())
    assert test.labels.bincount().equal(every.labels.bincount() // 5)
    assert (int(train.labels.bincount().min()), int(test.labels.bincount().min())) == FEWEST["digits"]
    zeros = every.pixels[every.labels == 0]
    assert torch.equal(test.pixels[test.labels == 0], zeros[4::5])  # by hand: the 5th, the 10th, … of a class


def test_moments_are_those_of_the_training_digits():
    values = SPLITS["digits"]("", "train").pixels.double() / 16
    assert (round(values.mean().item(), 4), round(values.std(unbiased=False).item(), 4)) == MOMENTS["digits"]


@pytest.mark.parametrize("zipped", [False, True])
def test_both_parts_of_mnist(write, tmp_path, zipped):
    for part in ("train", "test"):
        pixels, classes = write(part, [*range(10), 3], zipped)
        images = mnist(str(tmp_path), part)
        assert np.array_equal(images.pixels, pixels.reshape(11, 784))
        assert images.labels.tolist() == classes.tolist()
    assert not torch.equal(mnist(str(tmp_path), "train").pixels, mnist(str(tmp_path), "test").pixels)


def test_training_files_alone_do_not_do(write, tmp_path):
    write("train", range(10))
    mnist(str(tmp_path))
    with pytest.raises(LopError, match=r"cannot be downloaded.*no route.*t10k-images-idx3-ubyte.*digits"):
        mnist(str(tmp_path), "test")


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damaged_test_files(write, tmp_path, name):
    write("test", range(10))
    path = tmp_path / "MNIST" / "raw" / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(LopError, match=f"{name} is damaged.*{MNIST_FILES[name]}"):
        mnist(str(tmp_path), "test")


def test_a_missing_class_is_named(write, tmp_path):
    write("test", [0, 1, 2, 3, 4, 5, 6, 8, 9])
    with pytest.raises(LopError, match=r"test images of mnist in .* none of class 7"):
        first_images("mnist", str(tmp_path), "test", None, balanced=False)


def test_the_first_of_each_class(write, tmp_path):
    classes = [*range(10), 4, 4, *range(10)]
    pixels, _ = write("train", classes)
    data = str(tmp_path)
    assert first_images("mnist", data, "train", None, balanced=False).labels.tolist() == classes
    assert first_images("mnist", data, "train", None, balanced=True).labels.bincount().tolist() == [2] * 10
    one = first_images("mnist", data, "train", 1, balanced=True)
    assert np.array_equal(one.pixels, pixels[:10].reshape(10, 784))
    with pytest.raises(ConfigError, match=r"^train_images=3 is not legal: expected at most 2, as class 0 of mnist"):
        first_images("mnist", data, "train", 3, balanced=False)


def test_numbers_within_class():
    assert numbers_within_class(torch.tensor([7, 2, 7, 7, 2])).tolist() == [0, 0, 1, 2, 1]


def test_scales(write, tmp_path):
    pixels, _ = write("train", range(10))
    images, grey = mnist(str(tmp_path)), torch.from_numpy(pixels).double()
    assert torch.equal(scaled(images, "mnist", "raw"), grey.float())
    assert torch.equal(scaled(images, "mnist", "unit"), (grey / 255).float())
    torch.testing.assert_close(scaled(images, "mnist", "normalised"), ((grey / 255 - 0.1307) / 0.3081).float())
    assert scaled(digits(""), "digits", "unit").shape == (1797, 8, 8)
    assert (scaled(digits(""), "digits", "raw").max(), scaled(digits(""), "digits", "unit").max()) == (16, 1)
