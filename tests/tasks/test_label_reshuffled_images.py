import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.tasks.base import Position
from lop_lightning.tasks.image_splits import SPLITS, scaled
from lop_lightning.tasks.label_reshuffled_images import LabelReshuffledImages


def test_every_task_has_all_images_under_permuted_labels():
    stream = LabelReshuffledImages()
    for part, get in (("train", lambda task: task.train), ("test", lambda task: task.evaluation["test"])):
        images = SPLITS["digits"]("", part)
        for seed, index in ((0, 0), (1, 4)):
            inputs, targets = get(stream.task(seed, index))
            assert torch.equal(inputs, scaled(images, "digits", "normalised"))
            labels = torch.tensor(stream.task(seed, index).info["labels"])
            assert torch.equal(targets, labels[images.labels])  # of the data set's own labels, not the last task's
            assert sorted(labels.tolist()) == list(range(10))


def test_permutations_differ_and_are_pure():
    stream = LabelReshuffledImages()
    drawn = {(seed, index): stream.targets_of(seed, index).tolist() for seed in (0, 1) for index in range(20)}
    assert len({tuple(labels) for labels in drawn.values()}) == 40
    assert LabelReshuffledImages().targets_of(1, 19).tolist() == drawn[1, 19]


def test_normalised_inputs():
    inputs, targets = LabelReshuffledImages().task(0, 0).train
    assert (inputs.shape, inputs.dtype, targets.dtype) == ((1442, 8, 8), torch.float32, torch.int64)
    assert abs(inputs.mean()) < 1e-3
    assert abs(inputs.std() - 1) < 1e-3


def test_clock():
    stream = LabelReshuffledImages()
    assert (stream.updates_per_pass(), stream.updates_per_task(), stream.total_updates) == (10, 300, 15_000)
    assert LabelReshuffledImages(batch_size=None).updates_per_task() == 30
    assert LabelReshuffledImages(train_images=3, batch_size=12).updates_per_pass() == 3


def test_few_images():
    stream = LabelReshuffledImages(train_images=3, test_images=2)
    task = stream.task(2, 5)
    counts = [task.train[1].bincount().tolist(), task.evaluation["test"][1].bincount().tolist()]
    assert counts == [[3] * 10, [2] * 10]
    assert stream.task_size == 30


def test_seeds_share_the_images():
    stream = LabelReshuffledImages(seeds=[0, 5, 1])
    train, test = stream.load(2), stream.load_evaluation(2)["test"]
    assert train.images.data_ptr() == stream.part("train")[0].data_ptr() == stream.load(3).images.data_ptr()
    assert (train.images.shape, test.images.shape) == ((1442, 8, 8), (355, 8, 8))
    for place, seed in enumerate(stream.seeds):
        alone = stream.task(seed, 2)
        inputs, targets = train.slice(0, 1442, 1442)
        assert torch.equal(inputs[0, place], alone.train[0])
        assert torch.equal(targets[0, place], alone.train[1])
        assert torch.equal(test.slice(0, 355, 355)[1][0, place], alone.evaluation["test"][1])


def test_a_pass_shows_every_image_once_with_its_label():
    stream = LabelReshuffledImages(seeds=2, train_images=4, inputs="raw", batch_size=7)
    chunks = list(stream.chunks(Position(1, 1)))
    for place, seed in enumerate(stream.seeds):
        inputs = torch.cat([one for chunk in chunks for one in chunk.inputs[:, place]])
        targets = torch.cat([one for chunk in chunks for one in chunk.targets[:, place]])
        alone = stream.task(seed, 1).train
        shown = sorted((tuple(image.flatten().tolist()), t) for image, t in zip(inputs, targets.tolist()))
        assert shown == sorted((tuple(image.flatten().tolist()), t) for image, t in zip(alone[0], alone[1].tolist()))
        assert not torch.equal(inputs, alone[0])


def test_probe_is_the_beginning_of_the_task():
    stream = LabelReshuffledImages(seeds=2, probe_size=100)
    for place, seed in enumerate(stream.seeds):
        own, stacked = stream.probe(seed, 3), stream.stacked_probe(3)
        for part in (0, 1):
            assert torch.equal(own[part], stream.task(seed, 3).train[part][:100])
            assert torch.equal(own[part], stacked[part][place])


def test_making_a_stream_loads_nothing(tmp_path):
    stream = LabelReshuffledImages(source="mnist", data_dir=str(tmp_path))
    assert (stream.spec.input_shape, stream.spec.output_size) == ((28, 28), 10)
    assert list(tmp_path.iterdir()) == []


def test_own_generator_is_pinned():
    stream = LabelReshuffledImages()
    assert [stream.targets_of(3, index).tolist() for index in (0, 7)] == PINNED


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("source", "minst", "did you mean 'mnist'"), ("data_dir", "", "folder"), ("tasks", 0, "at least 1"),
     ("inputs", "normalized", "did you mean 'normalised'"), ("train_images", 0, "at least 1 and at most 140"),
     ("train_images", 141, "at most 140"), ("test_images", 35, "at most 34"), ("test_images", True, "whole number"),
     ("shuffle", "no", "true or false"), ("batch_size", 0, "at least 1")],
)  # fmt: skip
def test_wrong_settings_name_their_key(key, value, words):
    with pytest.raises(ConfigError, match=f"^{key}=.*{words}"):
        LabelReshuffledImages(**{key: value})


def test_mnist_has_more_images():
    LabelReshuffledImages(source="mnist", train_images=5421, test_images=892)
    with pytest.raises(ConfigError, match="at most 5421"):
        LabelReshuffledImages(source="mnist", train_images=5422)


PINNED = [[2, 4, 3, 8, 6, 0, 1, 7, 9, 5], [5, 1, 7, 2, 6, 8, 9, 3, 4, 0]]
