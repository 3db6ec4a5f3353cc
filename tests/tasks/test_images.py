import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from lop_lightning.errors import LopError
from lop_lightning.tasks import PermutedImages
from lop_lightning.tasks.images import MNIST_FILES, digits, mnist

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (30, 28, 28)), rng.integers(0, 10, 30)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("Error downloading train-images:\nTried somewhere, got:\n<urlopen error no route to host>\n")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)


def write(folder, images, labels, zipped=False):
    for name, array in ((IMAGES, images), (LABELS, labels)):
        content = idx(array)
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)


def line(tmp_path):
    with pytest.raises(LopError) as error:
        mnist(str(tmp_path))
    message = str(error.value)
    assert "\n" not in message
    assert "digits" in message
    assert all(name in message for name in MNIST_FILES)
    return message


def test_digits():
    images = digits("nowhere")
    assert images.pixels.shape == (1797, 64)
    assert (images.pixels.max(), images.white) == (16, 16)
    assert images.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_files(raw, tmp_path, small, zipped):
    write(raw, *small, zipped)
    images = mnist(str(tmp_path))
    assert np.array_equal(images.pixels, small[0].reshape(30, 784))
    assert np.array_equal(images.labels, small[1])
    assert images.labels.dtype == torch.int64
    stream = PermutedImages(source="mnist", data_dir=str(tmp_path))
    inputs, _ = stream.task(0, 0).train
    assert stream.task_size == 30
    permuted = images.pixels[:, stream.permutation(0, 0)][stream.load(0).orders[0].long()]
    assert torch.equal(inputs, permuted.float() / 255)


def test_download_moves_whole_files(tmp_path, small, monkeypatch):
    class Downloads:
        def __init__(self, root, download):
            folder = Path(root) / "MNIST" / "raw"
            folder.mkdir(parents=True)
            write(folder, *small)

    monkeypatch.setattr(torchvision.datasets, "MNIST", Downloads)
    assert len(mnist(str(tmp_path)).labels) == 30
    assert sorted(path.name for path in (tmp_path / "MNIST" / "raw").iterdir()) == [IMAGES, LABELS]


def test_offline(tmp_path):
    message = line(tmp_path)
    assert str(tmp_path / "MNIST" / "raw") in message
    assert "no route to host" in message


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "MNIST").write_text("a file where a folder should be")
    assert str(tmp_path / "MNIST" / "raw") in line(tmp_path)


def cut(content):
    return content[:-5]


def test_damaged_files(raw, tmp_path, small):
    def spoil(name, content):
        write(raw, *small)
        (raw / name).write_bytes(content)
        message = line(tmp_path)
        assert message.startswith(str(raw / name))
        assert MNIST_FILES[name] in message
        return message

    images, labels = (idx(array) for array in small)
    assert "promises 23536" in spoil(IMAGES, cut(images))
    assert "promises 38" in spoil(LABELS, cut(labels))
    assert "idx" in spoil(LABELS, b"<html>404: not found</html>")
    spoil(IMAGES, b"")
    spoil(IMAGES, b"\x00\x00\x08")
    spoil(LABELS, idx(small[1][:-1]))
    spoil(LABELS, idx(small[1] + 10))
    assert "(20, 20)" in spoil(IMAGES, idx(small[0][:, :20, :20]))
    spoil(IMAGES, idx(small[1]))


@pytest.mark.parametrize(
    "damage", [cut, lambda content: b"no gzip at all", lambda content: content[:30] + content[40:]]
)
def test_damaged_gzip(raw, tmp_path, small, damage):
    write(raw, *small, zipped=True)
    path = raw / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    assert line(tmp_path).startswith(str(path))
