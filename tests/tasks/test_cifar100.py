import hashlib
import io
import pickle
import struct
import tarfile

import numpy as np
import pytest
import torch
import torchvision

from lop_lightning.errors import LopError
from lop_lightning.tasks import cifar100 as loading
from lop_lightning.tasks.cifar100 import ARCHIVE, FOLDER, cifar100

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 3))
PIXELS = np.random.default_rng(1).integers(0, 256, (300, 3072), np.uint8)


def by_python_2(pixels, labels):
    """A pickle of CIFAR-100's keys, opcode by opcode as the published files have them: text and bytes are ``str``."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def whole(value):
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNN"
    dtype += whole(-1) + whole(-1) + b"K\x00tb"
    shape = whole(len(pixels)) + whole(pixels.shape[1]) + b"\x86"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    array += b"(K\x01" + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    items = {
        b"batch_label": text(b"training batch 1 of 1"),
        b"data": array,
        b"fine_labels": b"](" + b"".join(map(whole, labels)) + b"e",
    }
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in items.items()) + b"u."


def by_python_3(pixels, labels):
    return pickle.dumps({b"data": pixels, b"fine_labels": labels.tolist(), b"coarse_labels": []})


def published(monkeypatch, **contents):
    """Makes these contents the ones whose md5 torchvision knows."""
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    known = torchvision.datasets.CIFAR100
    monkeypatch.setattr(known, "train_list", [["train", md5.get("train", "0" * 32)]])
    monkeypatch.setattr(known, "test_list", [["test", md5.get("test", "1" * 32)]])
    monkeypatch.setattr(known, "tgz_md5", md5.get("archive", "2" * 32))


def zipped(**contents):
    """The archive with these files in its folder."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("Error downloading\n<urlopen error no route to host>\n")

    monkeypatch.setattr(torchvision.datasets.CIFAR100, "__init__", refuse)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Writes a file into the folder of the data, and makes its md5 the published one."""

    def write(content, name="train", genuine=True):
        (tmp_path / FOLDER).mkdir(exist_ok=True)
        (tmp_path / FOLDER / name).write_bytes(content)
        if genuine:
            published(monkeypatch, **{name: content})
        return tmp_path / FOLDER / name

    return write


def line(tmp_path, part="train", per_class=3):
    with pytest.raises(LopError) as error:
        cifar100(str(tmp_path), part, per_class)
    message = str(error.value)
    assert "\n" not in message
    return message


def expected(per_class):
    """The first images of each class, in the order of the file."""
    images = [[PIXELS[i] for i in range(300) if LABELS[i] == label][:per_class] for label in range(100)]
    return torch.from_numpy(np.array(images)).view(100, per_class, 3, 1024)


@pytest.mark.parametrize("write", [by_python_2, by_python_3])
@pytest.mark.parametrize("part", ["train", "test"])
def test_files(put, tmp_path, write, part):
    put(write(PIXELS, LABELS), part)
    for per_class in (3, 1):
        images = cifar100(str(tmp_path), part, per_class)
        assert images.dtype == torch.uint8
        assert torch.equal(images, expected(per_class))


def test_python_2_pickles_are_what_pickle_reads():
    entry = pickle.loads(by_python_2(PIXELS, LABELS), encoding="latin1")
    assert np.array_equal(entry["data"], PIXELS)
    assert entry["fine_labels"] == LABELS.tolist()


def test_channels_are_planes(put, tmp_path):
    pixels = np.repeat(np.array([10, 20, 30], np.uint8), 1024)[None].repeat(100, 0)
    put(by_python_2(pixels, np.arange(100)))
    assert cifar100(str(tmp_path), "train", 1)[7, 0, :, ::500].tolist() == [[10] * 3, [20] * 3, [30] * 3]


def test_archive(tmp_path, monkeypatch):
    content = zipped(train=by_python_2(PIXELS, LABELS), test=by_python_2(PIXELS[:100], np.arange(100)), meta=b"")
    (tmp_path / ARCHIVE).write_bytes(content)
    published(monkeypatch, archive=content)
    assert torch.equal(cifar100(str(tmp_path), "train", 3), expected(3))
    assert torch.equal(cifar100(str(tmp_path), "test", 1)[:, 0].flatten(1), torch.from_numpy(PIXELS[:100]))
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]  # nothing was unpacked


def test_download_moves_whole_files(tmp_path, monkeypatch):
    content = by_python_2(PIXELS, LABELS)

    def download(self, root, download):
        assert download
        (tmp_path / root / FOLDER).mkdir()
        for name in ("train", "test", "meta"):
            (tmp_path / root / FOLDER / name).write_bytes(content)

    published(monkeypatch, train=content, test=content)
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "__init__", download)
    assert cifar100(str(tmp_path / "data"), "train", 3).shape == (100, 3, 3, 1024)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FOLDER]
    assert sorted(path.name for path in (tmp_path / "data" / FOLDER).iterdir()) == ["meta", "test", "train"]


def test_missing_and_offline(tmp_path, monkeypatch):
    published(monkeypatch)
    message = line(tmp_path / "data")
    assert message.startswith(f"CIFAR-100 is not in {tmp_path / 'data'} and cannot be downloaded")
    for part in ("no route to host", f"{ARCHIVE} (md5 {'2' * 32})", f"train (md5 {'0' * 32})", f"test (md5 {'1' * 32})",
                 f"into {tmp_path / 'data'}", "task.source=synthetic"):  # fmt: skip
        assert part in message
    assert list((tmp_path / "data").iterdir()) == []


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    assert str(tmp_path / "data") in line(tmp_path / "data")


def test_a_wrong_md5_is_refused_before_anything_is_read(put, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "safe_loads", lambda *args: pytest.fail("it was read"))
    published(monkeypatch)
    content = by_python_2(PIXELS, LABELS)
    path = put(content, genuine=False)
    message = line(tmp_path)
    found = hashlib.md5(content).hexdigest()
    assert message.startswith(f"{path} is damaged: the md5 of its {len(content)} bytes is {found}, expected {'0' * 32}")
    assert "task.source=synthetic" in message


def test_the_published_md5_is_torchvisions():
    known = torchvision.datasets.CIFAR100
    assert loading.checksums() == {
        ARCHIVE: known.tgz_md5,
        "train": known.train_list[0][1],
        "test": known.test_list[0][1],
    }


def test_a_cut_off_archive(tmp_path, monkeypatch):
    content = zipped(train=by_python_2(PIXELS, LABELS))
    (tmp_path / ARCHIVE).write_bytes(content[:-5000])
    published(monkeypatch, archive=content)
    message = line(tmp_path)
    assert message.startswith(f"{tmp_path / ARCHIVE} is damaged: the md5 of its {len(content) - 5000} bytes is ")
    assert message.split("expected ")[1].startswith(hashlib.md5(content).hexdigest())
    published(monkeypatch, archive=content[:-5000])  # and if nobody noticed
    assert line(tmp_path).startswith(f"{tmp_path / ARCHIVE} is damaged: train cannot be read from it")


def test_archives_of_something_else(tmp_path, monkeypatch):
    for content in (zipped(test=b""), b"no archive at all", b""):
        (tmp_path / ARCHIVE).write_bytes(content)
        published(monkeypatch, archive=content)
        assert line(tmp_path).startswith(f"{tmp_path / ARCHIVE} is damaged: train cannot be read from it")


def test_a_cut_off_file(put, tmp_path):
    path = put(by_python_2(PIXELS, LABELS)[:-2000])
    assert str(path) in line(tmp_path)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([1, 2], "it holds a list, expected a dictionary"),
        ({b"fine_labels": LABELS.tolist()}, "'data' is missing"),
        ({b"data": PIXELS, b"coarse_labels": []}, "'fine_labels' is missing"),
        ({b"data": PIXELS[:, :100], b"fine_labels": LABELS.tolist()}, "'data' is uint8 [300, 100], expected"),
        ({b"data": PIXELS / 255, b"fine_labels": LABELS.tolist()}, "'data' is float64 [300, 3072]"),
        ({b"data": PIXELS, b"fine_labels": LABELS[:-1].tolist()}, "one class for each of 300 images"),
        ({b"data": PIXELS, b"fine_labels": ["apple"] * 300}, "one class for each of 300 images"),
        ({b"data": PIXELS, b"fine_labels": (LABELS + 1).tolist()}, "goes from 1 to 100, expected 0 to 99"),
        ({b"data": PIXELS, b"fine_labels": (LABELS - 1).tolist()}, "goes from -1 to 98, expected 0 to 99"),
        ({b"data": PIXELS[LABELS != 42], b"fine_labels": LABELS[LABELS != 42]}, "0 images of class 42 in train"),
    ],
)  # fmt: skip
def test_other_contents(put, tmp_path, entry, reason):
    path = put(pickle.dumps(entry))
    message = line(tmp_path)
    assert message.startswith(f"{path} is damaged: ")
    assert reason in message


def test_fewer_images_of_a_class_than_needed(put, tmp_path):
    put(by_python_2(PIXELS, LABELS), "test")
    assert "it has 3 images of class 0 in test, expected at least 4" in line(tmp_path, "test", 4)


def test_a_pickle_of_code_is_not_run(put, tmp_path):
    path = put(b"cos\nsystem\n(S'touch " + str(tmp_path / "made").encode() + b"'\ntR.")
    assert str(path) in line(tmp_path)
    assert not (tmp_path / "made").exists()
