import numpy as np
import pytest
import torch

from lop_lightning.errors import ConfigError, LopError
from lop_lightning.tasks.base import Position
from lop_lightning.tasks.continual_imagenet import ContinualImageNet
from lop_lightning.tasks.imagenet32 import synthetic_images

TINY = {"source": "synthetic", "classes": 6, "train_images": 5, "test_images": 3, "batch_size": 4, "epochs_per_task": 2}


@pytest.fixture
def files(tmp_path):
    """Eight classes of twelve images; every number of image i of class c is c / 10 + i / 1000, but for its place."""
    for c in range(8):
        rows = c / 10 + np.arange(12)[:, None] / 1000 + np.arange(3072)[None] / 1e7
        np.save(tmp_path / f"{c}.npy", rows.reshape(12, 3, 32, 32).astype(np.float32))
    return tmp_path


def from_files(folder, **changes):
    return ContinualImageNet(**{**TINY, "source": "files", "data_dir": str(folder), "classes": 8, **changes})


def test_a_task_has_the_first_images_of_two_classes(files):
    stream = from_files(files)
    task = stream.task(3, 2)
    pair = task.info["classes"]
    assert pair == list(stream.classes_of(3, 2))
    inputs, targets = task.train
    assert (inputs.shape, inputs.dtype, targets.dtype) == ((10, 3, 32, 32), torch.float32, torch.int64)
    assert targets.tolist() == [0, 1] * 5
    rows = [np.load(files / f"{c}.npy") for c in pair]
    for label in (0, 1):
        assert np.array_equal(inputs[targets == label], rows[label][:5])
        test_inputs, test_targets = task.evaluation["test"]
        assert np.array_equal(test_inputs[test_targets == label], rows[label][5:8])
    assert list(task.evaluation) == ["test"]


def test_the_published_sizes():
    stream = ContinualImageNet()
    assert (stream.tasks, stream.task_size, stream.updates_per_epoch(), stream.updates_per_task()) == (
        5000, 1200, 12, 3000)  # fmt: skip
    assert stream.spec.input_shape == (3, 32, 32)
    assert (stream.spec.output_size, stream.spec.loss) == (2, "cross_entropy")
    assert (stream.spec.new_heads, stream.spec.head_momentum) == (True, False)
    other = ContinualImageNet(new_heads=False, head_momentum=True).spec
    assert (other.new_heads, other.head_momentum) == (False, True)


def test_each_block_has_every_class_once():
    stream = ContinualImageNet()
    pairs = [[stream.classes_of(seed, index) for index in range(1500)] for seed in (0, 1)]
    for own in pairs:
        for block in range(3):
            assert sorted(np.ravel(own[500 * block : 500 * (block + 1)])) == list(range(1000))
        assert own[:500] != own[500:1000] != own[1000:]
    assert pairs[0] != pairs[1]
    assert stream.classes_of(1, 1499) == pairs[1][1499]  # whatever was asked before
    met = {frozenset(pair) for pair in pairs[0]}
    assert len(met) > 1490  # 1500 of 499,500 pairs hardly meet twice


def test_a_tiled_order_comes_back():
    tile = ContinualImageNet(class_order="tile", classes=10)
    pairs = [tile.classes_of(4, index) for index in range(15)]
    assert pairs[:5] == pairs[5:10] == pairs[10:]
    assert sorted(np.ravel(pairs[:5])) == list(range(10))
    assert pairs[:5] == [ContinualImageNet(classes=10).classes_of(4, index) for index in range(5)]


def test_the_order_depends_on_seed_and_classes_alone():
    one = ContinualImageNet(classes=20, seeds=[7])
    other = ContinualImageNet(
        tasks=3, source="synthetic", classes=20, train_images=9, test_images=2, batch_size=None, epochs_per_task=1,
        new_heads=False, head_momentum=True, shuffle=False, probe_size=3, seeds=[1, 7],
    )  # fmt: skip
    assert all(one.classes_of(7, index) == other.classes_of(7, index) for index in range(40))


def test_seeds_together_are_seeds_apart(files):
    stream = from_files(files, seeds=[5, 0, 2])
    for index in (9, 1):  # whatever the order
        train, test = stream.stacked(index), stream.stacked_evaluation(index)["test"]
        probe = stream.stacked_probe(index)
        for place, seed in enumerate((5, 0, 2)):
            alone = from_files(files).task(seed, index)
            for stacked, (inputs, targets) in ((train, alone.train), (test, alone.evaluation["test"])):
                assert torch.equal(stacked.inputs[place], inputs)
                assert torch.equal(stacked.targets[place], targets)
            for stacked, own in zip(probe, from_files(files).probe(seed, index)):
                assert torch.equal(stacked[place], own)


def test_the_probe_has_as_many_of_each_class():
    stream = ContinualImageNet(**TINY, probe_size=6)
    inputs, targets = stream.probe(0, 1)
    assert targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert torch.equal(inputs, stream.task(0, 1).train[0][:6])


def test_every_epoch_shows_every_image_once():
    stream = ContinualImageNet(**{**TINY, "batch_size": 5}, seeds=2)
    train = stream.stacked(1)
    for epoch in (0, 1):
        shown = torch.cat([chunk.inputs for chunk in stream.chunks(Position(1, epoch))])  # [K, S, B, ...]
        for seed in (0, 1):
            sums = shown[:, seed].flatten(0, 1).sum((1, 2, 3)).sort().values
            assert torch.allclose(sums, train.inputs[seed].sum((1, 2, 3)).sort().values, atol=1e-4)


def test_synthetic_images():
    images = synthetic_images(3, 40)
    assert (images.shape, images.dtype) == ((40, 3, 32, 32), np.float32)
    assert np.array_equal(images[:7], synthetic_images(3, 7))
    assert not np.array_equal(images[:7], synthetic_images(4, 7))
    assert np.abs(images).max() == np.float32(0.63)
    assert abs(images.mean()) < 0.01
    assert abs(images.std() - 0.26) < 0.01


def test_synthetic_classes_can_be_told_apart_but_not_all_by_a_line():
    """The nearest class mean is a linear rule; the power at the wave of a class is not."""
    right, stronger = [], []
    for first, second in ((0, 1), (2, 3), (4, 5), (6, 7)):
        a, b = (synthetic_images(c, 700).reshape(700, 3, 32, 32) for c in (first, second))
        means = [x[:600].mean(0) for x in (a, b)]
        for own, other, x in ((means[0], means[1], a), (means[1], means[0], b)):
            test = x[600:].reshape(100, -1)
            right += list(((test - (means[0] + means[1]).ravel() / 2) @ (own - other).ravel()) > 0)
        spectra = [np.abs(np.fft.rfft2(x[:600])).mean(0) for x in (a, b)]
        for own, other, x in ((spectra[0], spectra[1], a), (spectra[1], spectra[0], b)):
            test = np.abs(np.fft.rfft2(x[600:]))
            stronger += list(((test - (own + other) / 2) * (own - other)).sum((1, 2, 3)) > 0)
    assert 0.7 < np.mean(right) < 0.9
    assert np.mean(stronger) > 0.95


def test_own_generator_is_pinned(sha256):
    stream = ContinualImageNet()
    assert [stream.classes_of(*which) for which in ((0, 0), (0, 4999), (29, 731))] == PINNED_PAIRS
    rounded = (torch.from_numpy(synthetic_images(2, 2)) * 1000).round().to(torch.int32)  # the last bit is the machine's
    assert sha256(rounded) == PINNED_IMAGES


def test_making_a_stream_loads_nothing(tmp_path):
    assert ContinualImageNet(data_dir=str(tmp_path / "nowhere")).spec.input_shape == (3, 32, 32)


# ---- what is wrong


@pytest.mark.parametrize(
    ("key", "value"),
    [("source", "file"), ("data_dir", ""), ("classes", 7), ("classes", 0), ("class_order", "tiles"),
     ("train_images", 0), ("test_images", 0), ("new_heads", "no"), ("head_momentum", 1), ("tasks", 0),
     ("epochs_per_task", 0), ("batch_size", 0), ("probe_size", 0)],
)  # fmt: skip
def test_wrong_settings_name_their_key(key, value):
    with pytest.raises(ConfigError, match=f"^{key}="):
        ContinualImageNet(**{key: value})


def line(stream):
    with pytest.raises(LopError) as error:
        stream.stacked(0)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_files_are_checked_before_the_first_task(files):
    """All of them, also those that no early task has."""
    unused = next(c for c in range(1, 7) if c not in from_files(files).classes_of(0, 0))
    path = files / f"{unused}.npy"
    rows = np.load(path)
    whole = path.read_bytes()

    def spoiled(content):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        message = line(from_files(files))
        assert message.startswith(f"{path} ")
        assert "expected floats of zero mean, about ±0.63, of shape [8 or more, 3, 32, 32]" in message
        assert "lop-prepare imagenet32" in message
        assert "task.source=synthetic" in message
        return message

    assert "is cut off or no array" in spoiled(whole[:-1])
    assert "is cut off or no array" in spoiled(whole[:50])
    assert "is cut off or no array" in spoiled(b"")
    assert "is cut off or no array" in spoiled(b"<html>404</html>")
    assert "is a uint8 array of shape (12, 3, 32, 32)" in spoiled((rows * 255).astype(np.uint8))
    assert "(12, 32, 32, 3)" in spoiled(rows.transpose(0, 2, 3, 1))
    assert "(7, 3, 32, 32)" in spoiled(rows[:7])
    assert "array of shape ()" in spoiled(np.float32(1))
    np.savez(files / "archive.npz", rows)
    assert "is an archive" in spoiled((files / "archive.npz").read_bytes())
    path.unlink()
    assert line(from_files(files)).startswith(f"{path} is missing")
    (files / "0.npy").rename(path)
    assert line(from_files(files)).startswith(f"{files / '0.npy'} is missing")
    path.rename(files / "0.npy")
    np.save(path, rows.astype(np.float64))
    assert from_files(files).stacked(0).inputs.dtype == torch.float32


def test_numbers_are_checked_when_they_are_read(files):
    first, _ = from_files(files).classes_of(0, 0)
    path = files / f"{first}.npy"
    rows = np.load(path)
    for number, says in ((np.nan, "not finite"), (-np.inf, "not finite"), (255.0, "numbers of up to 255")):
        spoiled = rows.copy()
        spoiled[4, 1, 2, 3] = number
        np.save(path, spoiled)
        assert says in line(from_files(files))
        assert line(from_files(files)).startswith(f"{path} ")
        from_files(files, train_images=4).stacked(0)  # it is not read then


def test_fewer_classes_than_were_asked_for(files, tmp_path):
    with pytest.raises(ConfigError, match=r"^task.classes=10 is not legal: expected at most 8") as error:
        from_files(files, classes=10).stacked(0)
    assert str(files) in str(error.value)
    nothing = line(from_files(tmp_path / "nowhere"))
    assert nothing.startswith(f"there is no {tmp_path / 'nowhere' / '0.npy'}: expected 0.npy to 7.npy")
    assert "lop-prepare imagenet32" in nothing


PINNED_PAIRS = [(480, 217), (830, 477), (825, 46)]
PINNED_IMAGES = "acb22c2ca59033c618b6074dc9de3c67bbbcb64296dcbbbe9529c14635549518"
