import os
import pickle

import numpy as np
import pytest
from PIL import Image

from lop_lightning.prepare import class_files, folder, imagenet32
from lop_lightning.prepare.main import main
from lop_lightning.tasks.imagenet32 import synthetic_images

CLASSES, EACH, IMAGES = 3, 4, 30  # a batch has 4 images of each class, so 30 are reached in the eighth of ten


def batch(seed):
    """Content of one batch of the release; its images are in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(1, CLASSES + 1), EACH))
    mean = np.random.default_rng(99).uniform(100, 140, 3072)
    return {"data": rng.integers(0, 256, (len(labels), 3072), np.uint8), "labels": labels.tolist(), "mean": mean}


@pytest.fixture
def release(tmp_path):
    """Ten batches, in the protocols that there are."""
    source = tmp_path / "release"
    source.mkdir()
    for number in range(1, 11):
        (source / f"train_data_batch_{number}").write_bytes(pickle.dumps(batch(number), protocol=(2, 4, 5)[number % 3]))
    return source


@pytest.fixture
def photographs(tmp_path):
    """Two classes of photographs in shapes, modes and formats of their own, and a file that is none."""
    source, rng = tmp_path / "train", np.random.default_rng(5)
    for name in ("n01", "n02"):
        (source / name).mkdir(parents=True)
        (source / name / "notes.txt").write_text("no photograph")
        for number, (mode, size) in enumerate(
            [("RGB", (64, 96)), ("L", (40, 33)), ("CMYK", (64, 64)), ("RGB", (70, 50))]
        ):
            channels = {"RGB": 3, "L": 1, "CMYK": 4}[mode]
            pixels = rng.integers(0, 256, (size[1], size[0], channels), np.uint8)
            Image.fromarray(pixels.squeeze(), mode).save(source / name / f"{number}.JPEG")
        pixels = rng.integers(0, 256, (96, 64, 3), np.uint8)  # lossless, for the comparison by hand
        Image.fromarray(pixels).save(source / name / "0a.png")
    return source


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "classes"


def names_in(path):
    return sorted(file.name for file in path.iterdir())


def classes_in(out):
    names = [f"{c}.npy" for c in range(len(names_in(out)))]
    assert sorted(names) == names_in(out)
    return [np.load(out / name) for name in names]


def refused(arguments, out, capsys, left_over=()):
    """The one line of a refusal; nothing new is left."""
    with pytest.raises(SystemExit) as leaving:
        main(["imagenet32", *map(str, arguments), "--out", str(out)])
    assert leaving.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not out.parent.exists() or names_in(out.parent) == sorted(left_over)
    return line.strip()


def batches(source, images=IMAGES, classes=CLASSES):
    return ["--batches", source, "--classes", classes, "--images-per-class", images]


def test_batches_become_class_files(release, out, capsys):
    assert main(["imagenet32", *map(str, batches(release)), "--out", str(out)]) == 0
    made = classes_in(out)
    for c in range(CLASSES):
        expected = []
        for number in range(1, 11):
            content = batch(number)
            expected += [
                (row.astype(float) - content["mean"]) / 255
                for row, label in zip(content["data"], content["labels"])
                if label == c + 1
            ]
        expected = np.array(expected[:IMAGES]).reshape(IMAGES, 3, 32, 32)
        assert made[c].dtype == np.float32
        assert np.array_equal(made[c], expected.astype(np.float32))
        # planes of red, green and blue, each row by row
        first = next(r for r, label in zip(batch(1)["data"], batch(1)["labels"]) if label == c + 1)
        assert made[c][0, 1, 2, 3] == np.float32((first[1024 + 67] - batch(1)["mean"][1024 + 67]) / 255)
    assert len(made) == CLASSES
    everything = np.stack(made).astype(np.float64)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 classes of 30 images"
    for number in (everything.mean(), everything.std(), np.abs(everything).max()):
        assert f" {number:.4f} (ImageNet" in lines[1]
    assert "warning: the standard deviation" in "".join(lines)  # random pixels are no photographs
    assert lines[-1] == f"written to {out}"


def test_fewer_classes_are_the_first(release, out):
    main(["imagenet32", *map(str, batches(release, images=5, classes=2)), "--out", str(out)])
    assert [rows.shape for rows in classes_in(out)] == [(5, 3, 32, 32)] * 2


def test_photographs_become_class_files(photographs, out):
    main(["imagenet32", "--images", str(photographs), "--classes", "2", "--images-per-class", "4", "--out", str(out)])
    small = []
    for name in ("n01", "n02"):
        for file in ("0.JPEG", "0a.png", "1.JPEG", "2.JPEG"):  # sorted
            with Image.open(photographs / name / file) as image:
                small.append(np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX)).astype(float))
    small = np.stack(small).transpose(0, 3, 1, 2).reshape(2, 4, 3, 32, 32)
    expected = (small - small.mean(axis=(0, 1))) / 255
    made = np.stack(classes_in(out))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-7)
    np.testing.assert_allclose(made.mean(axis=(0, 1)), 0, atol=1e-7)
    with Image.open(photographs / "n01" / "0a.png") as image:  # 64 x 96 is 2 x 3 pixels a box
        boxes = np.asarray(image).astype(float).reshape(32, 3, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(small[0, 1] - boxes).max() < 1  # rounded along each side


def test_synthetic_files(out, capsys):
    assert main(["imagenet32", "--synthetic", "--images-per-class", "6", "--out", str(out)]) == 0
    made = classes_in(out)
    assert len(made) == 20
    assert all(np.array_equal(rows, synthetic_images(c, 6)) for c, rows in enumerate(made))
    assert "warning" not in capsys.readouterr().out


def test_batches_that_are_wrong(release, out, capsys):
    def spoiled(**changes):
        content = {k: v for k, v in {**batch(3), **changes}.items() if v is not None}
        (release / "train_data_batch_3").write_bytes(pickle.dumps(content))
        line = refused(batches(release), out, capsys)
        assert str(release / "train_data_batch_3") in line
        return line

    assert "data should be bytes of shape (N, 3072), and is uint8 of shape (12, 12288)" in spoiled(
        data=np.zeros((12, 12288), np.uint8)
    )
    assert "float64 of shape (12, 3072)" in spoiled(data=np.zeros((12, 3072)))
    assert "12 whole numbers from 1 to 1000, and is int64 of shape (12,), 0 to 2" in spoiled(labels=[0, 1, 2] * 4)
    assert "shape (11,)" in spoiled(labels=[1] * 11)
    assert "mean should be 3072 numbers from 0 to 255" in spoiled(mean=np.full(3072, np.nan))
    assert "expected a dict of data, labels and mean" in spoiled(mean=None)
    assert "expected a dict" in spoiled(data=[[1], [1, 2]])


def test_pickles_that_are_none(release, out, capsys):
    file = release / "train_data_batch_2"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert str(file) in refused(batches(release), out, capsys)
    file.write_bytes(b"<html>404</html>")
    assert str(file) in refused(batches(release), out, capsys)
    harmful = release.parent / "harm"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(harmful),)

    file.write_bytes(pickle.dumps({**batch(2), "labels": Harmful()}))
    assert str(file) in refused(batches(release), out, capsys)
    assert not harmful.exists()
    file.unlink()
    assert f"there is no {file}" in refused(batches(release), out, capsys)


def test_too_few_images(release, photographs, out, capsys):
    line = refused(batches(release, images=41), out, capsys)
    assert f"label 1 occurs 40 times in {release}: expected 41 images" in line
    (photographs / "n02" / "3.JPEG").unlink()
    tree = ["--images", photographs, "--classes"]
    assert "class n02 has 4 images: expected 5" in refused([*tree, 2, "--images-per-class", 5], out, capsys)
    assert "has 2 folders: expected 3" in refused([*tree, 3], out, capsys)
    assert "has 2 folders: expected 1000" in refused(tree[:2], out, capsys)
    assert "there is no folder" in refused(["--images", photographs / "n03"], out, capsys)


def test_a_damaged_photograph(photographs, out, capsys):
    file = photographs / "n02" / "0.JPEG"
    content = file.read_bytes()
    tree = ["--images", photographs, "--classes", 2, "--images-per-class", 4]
    for damage in (content[: len(content) // 2], b"", b"no photograph"):
        file.write_bytes(damage)
        assert str(file) in refused(tree, out, capsys)


@pytest.mark.parametrize("words", [[], ["imagenet64"], ["imagenet32"], ["imagenet32", "--synthetic", "--classes", "0"]])
def test_a_wrong_command_line(words, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(words)
    assert leaving.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("lop-prepare")
    assert line.count("\n") == 1
    assert words != ["imagenet64"] or "did you mean 'imagenet32'?" in line


def test_what_is_there_is_never_overwritten(out, capsys):
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    assert "never overwritten" in refused(["--synthetic"], out, capsys, ["classes"])
    assert (out / "mine.txt").read_text() == "mine"
    (out / "mine.txt").unlink()
    part = out.with_name("classes.part")
    part.mkdir()
    (part / "mine.txt").write_text("mine")
    assert "was not made by lop-prepare" in refused(["--synthetic"], out, capsys, ["classes", "classes.part"])
    assert (part / "mine.txt").read_text() == "mine"
    (part / "mine.txt").unlink()
    assert main(["imagenet32", "--synthetic", "--images-per-class", "2", "--out", str(out)]) == 0  # both were empty
    assert names_in(out.parent) == ["classes"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [(KeyboardInterrupt(), 130, "nothing was made"), (OSError(28, "No space left on device"), 2, "No space left")],
)
def test_stopped_in_the_middle(error, code, says, release, out, monkeypatch, capsys):
    append, seen = class_files.ClassWriter.append, []

    def stops(self, c, rows):
        seen.append(names_in(out.parent))
        if len(seen) > 10:
            raise error
        append(self, c, rows)

    monkeypatch.setattr(class_files.ClassWriter, "append", stops)
    words = ["imagenet32", *map(str, batches(release)), "--out", str(out)]
    try:
        left_with = main(words)
    except SystemExit as leaving:
        left_with = leaving.code
    assert left_with == code
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert seen == [["classes.part"]] * 11
    assert not out.parent.exists()
    monkeypatch.undo()
    assert main(words) == 0
    assert all(np.isfinite(rows).all() for rows in classes_in(out))


def test_killed_in_the_middle(release, out):
    """No cleaning up is possible; what is left does not look whole, and the next call makes it anew."""
    words = ["imagenet32", *map(str, batches(release)), "--out", str(out)]
    child = os.fork()
    if child == 0:
        append, calls = class_files.ClassWriter.append, []

        def dies(self, c, rows):
            append(self, c, rows)
            calls.append(c)
            if len(calls) > 10:
                os._exit(9)

        class_files.ClassWriter.append = dies
        try:
            main(words)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert names_in(out.parent) == ["classes.part"]
    assert "0.npy" in names_in(out.with_name("classes.part"))
    assert main(words) == 0
    assert names_in(out.parent) == ["classes"]
    assert len(classes_in(out)) == CLASSES


def test_two_at_once(out, capsys):
    with folder.new_folder(out) as part:
        (part / "0.npy").write_text("the first one's")
        assert "another lop-prepare" in refused(["--synthetic"], out, capsys, ["classes.part"])
    assert names_in(out) == ["0.npy"]


def test_a_full_disk_is_seen_before(out, monkeypatch, capsys):
    usage = folder.shutil.disk_usage("/")
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda path: usage._replace(free=8 * 10**9))
    assert "needs 8.6 GB, and the disk has 8.0 GB free" in refused(["--synthetic", "--classes", 1000], out, capsys)


def test_a_batch_is_read_as_it_is(release):
    pixels, labels, mean = imagenet32.read_batch(release / "train_data_batch_3")
    assert np.array_equal(pixels, batch(3)["data"])
    assert labels.tolist() == batch(3)["labels"]
    assert np.array_equal(mean, batch(3)["mean"])
