from itertools import combinations, pairwise

import pytest
import torch
import yaml

from lop_lightning.config import config_directory
from lop_lightning.errors import ConfigError
from lop_lightning.randomness import generator
from lop_lightning.tasks import relabelled_images
from lop_lightning.tasks.base import Position
from lop_lightning.tasks.binary_images import BinaryImages
from lop_lightning.tasks.image_splits import SPLITS, scaled
from lop_lightning.tasks.images import Images

PUBLISHED = sorted((config_directory() / "experiment" / "recurrent_lop" / "mnist_binary").glob("*.yaml"))
MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def published():
    return yaml.safe_load(PUBLISHED[0].read_text())["task"]["pairs"]


def test_a_task_tells_two_classes_apart():
    stream = BinaryImages()
    for part, count, get in (
        ("train", 140, lambda task: task.train),
        ("test", 34, lambda task: task.evaluation["test"]),
    ):
        images = SPLITS["digits"]("", part)
        for seed, index in ((0, 0), (1, 4)):
            task = stream.task(seed, index)
            inputs, targets = get(task)
            a, b = task.info["classes"]
            assert (a, b) == stream.classes_of(seed, index)
            every = scaled(images, "digits", "normalised")
            assert torch.equal(inputs[targets == 0], every[images.labels == a][:count])
            assert torch.equal(inputs[targets == 1], every[images.labels == b][:count])
            assert targets.bincount().tolist() == [count, count]


def test_drawn_pairs_come_in_blocks():
    stream = BinaryImages()
    for seed in (0, 1):
        drawn = [stream.classes_of(seed, index) for index in range(450)]
        for begin in range(0, 450, 45):
            assert sorted(tuple(sorted(pair)) for pair in drawn[begin : begin + 45]) == list(combinations(range(10), 2))
        assert {a < b for a, b in drawn} == {True, False}
    assert [stream.classes_of(0, i) for i in range(9)] != [stream.classes_of(1, i) for i in range(9)]
    assert BinaryImages().classes_of(1, 449) == drawn[449]


def test_no_two_classes_come_twice_in_a_row():
    stream = BinaryImages()
    borders = [(seed, 45 * block) for seed in range(40) for block in range(1, 6)]  # where chance would do it 4 times
    assert all(set(stream.classes_of(s, i)) != set(stream.classes_of(s, i - 1)) for s, i in borders)
    swapped = [(s, i) for s, i in borders if not (stream._block(s, i // 45) == unswapped(s, i // 45)).all()]
    assert swapped  # else this test has tried nothing
    for seed, index in swapped:
        drawn = [set(stream.classes_of(seed, i)) for i in range(index - 45, index + 45)]
        assert all(one != other for one, other in pairwise(drawn))


def unswapped(seed, block):
    return generator(seed, "pairs", block).permutation(45)


def test_seeds_with_pairs_of_their_own_are_of_one_size():
    stream = BinaryImages(seeds=[0, 5, 1])
    train, test = stream.load(2), stream.load_evaluation(2)["test"]
    assert len({stream.classes_of(seed, 2) for seed in stream.seeds}) == 3
    assert train.images.data_ptr() == stream.part("train")[0].data_ptr()
    assert (train.size, test.size) == (280, 68) == (stream.size_of(2), 2 * 34)
    for place, seed in enumerate(stream.seeds):
        alone = stream.task(seed, 2)
        for stacked, own in ((train, alone.train), (test, alone.evaluation["test"])):
            inputs, targets = stacked.slice(0, stacked.size, stacked.size)
            assert torch.equal(inputs[0, place], own[0])
            assert torch.equal(targets[0, place], own[1])


def test_listed_pairs_are_for_every_seed_and_begin_again():
    stream = BinaryImages(pairs=[[8, 1], [1, 4]])
    assert [stream.classes_of(seed, index) for seed in (0, 3) for index in (0, 1, 2)] == [(8, 1), (1, 4), (8, 1)] * 2
    assert stream.task(0, 2).train[1].bincount().tolist() == [140, 140]


def test_all_images_of_listed_pairs():
    stream = BinaryImages(pairs=[[8, 1], [1, 4]], balanced=False)
    counts = SPLITS["digits"]("", "train").labels.bincount().tolist()
    assert counts[8] != counts[4]
    inputs, targets = stream.task(0, 0).train
    assert targets.bincount().tolist() == [counts[8], counts[1]]  # all there are
    assert stream.size_of(0) == len(inputs) == counts[8] + counts[1]
    assert stream.size_of(1) == counts[1] + counts[4] != stream.size_of(0)
    assert BinaryImages(pairs=[[8, 1]], balanced=False, train_images=7).task(0, 0).train[1].bincount().tolist() == [
        7,
        7,
    ]


def test_one_class():
    stream = BinaryImages(pairs=[[3, 3], [0, 3]], allow_one_class=True, outputs=10)
    inputs, targets = stream.task(0, 0).train
    assert targets.unique().tolist() == [1]
    assert len(inputs) == stream.size_of(0) == 140 == stream.size_of(1) / 2
    assert stream.spec.output_size == 10


def test_a_stream_of_tasks_of_different_size_shows_every_image_once_a_pass():
    pairs = {"pairs": [[8, 1], [2, 2]], "allow_one_class": True, "balanced": False}
    stream = BinaryImages(tasks=3, **pairs, seeds=2, batch_size=64, epochs_per_task=2)
    for index in range(3):
        for epoch in range(2):
            chunks = list(stream.chunks(Position(index, epoch)))
            assert sum(chunk.inputs.shape[0] * chunk.inputs.shape[2] for chunk in chunks) == stream.size_of(index)
            assert sum(chunk.inputs.shape[0] for chunk in chunks) == stream.updates_per_pass(index)
            assert chunks[-1].ends_epoch
    sizes = [stream.size_of(index) for index in (0, 1, 0)]
    assert stream.total_updates == sum(2 * -(-size // 64) for size in sizes)


def test_the_published_stream(monkeypatch):
    """Fifty pairs, five of one class, and 3,480 updates on the true MNIST (spec: verified on the authors' code)."""
    assert len({str(yaml.safe_load(file.read_text())["task"]) for file in PUBLISHED}) == 1
    task = yaml.safe_load(PUBLISHED[0].read_text())["task"]
    assert [index + 1 for index, (a, b) in enumerate(task["pairs"]) if a == b] == [14, 19, 23, 36, 48]
    assert len({tuple(pair) for pair in task["pairs"]}) == 33
    labels = torch.arange(10).repeat_interleave(torch.tensor(MNIST_COUNTS))
    counted = Images(torch.zeros(len(labels), 0, dtype=torch.uint8), labels, 255)
    monkeypatch.setattr(relabelled_images, "first_images", lambda *settings: counted)
    monkeypatch.setattr(relabelled_images, "scaled", lambda images, *settings: images.pixels)
    stream = BinaryImages(**task)
    assert stream.total_updates == 3480
    assert stream.spec.input_shape == (28, 28)


def test_inputs_as_stored():
    assert BinaryImages(inputs="raw").task(0, 0).train[0].unique().tolist() == list(range(17))


def test_own_generator_is_pinned():
    assert [BinaryImages().classes_of(3, index) for index in (0, 1, 2, 50)] == PINNED


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"pairs": []}, "null or a list of pairs"), ({"pairs": "8,1"}, "null or a list of pairs"),
     ({"pairs": [8, 1]}, "pairs=8 .*two classes from 0 to 9"), ({"pairs": [[8, 1], [1]]}, r"pairs=\[1\] "),
     ({"pairs": [[8, 10]]}, r"pairs=\[8, 10\] .*from 0 to 9"), ({"pairs": [[-1, 2]]}, "from 0 to 9"),
     ({"pairs": [[8, 1.0]]}, "from 0 to 9"), ({"pairs": [[8, 1, 2]]}, "two classes"),
     ({"pairs": [[8, 1], [4, 4]]}, r"pairs=\[4, 4\] .*two different classes.*allow_one_class=true"),
     ({"allow_one_class": "yes"}, "^allow_one_class=.*true or false"), ({"outputs": 1}, "^outputs=.*at least 2"),
     ({"balanced": False}, "^balanced=false .*where pairs are drawn"), ({"balanced": 0}, "^balanced=.*true or false"),
     ({"train_images": 0}, "^train_images=.*at least 1"), ({"train_images": 141}, "^train_images=.*at most 140"),
     ({"test_images": 900, "source": "mnist"}, "^test_images=.*at most 892"),
     ({"inputs": "rwa"}, "did you mean 'raw'")],
)  # fmt: skip
def test_wrong_settings_name_their_key(settings, words):
    with pytest.raises(ConfigError, match=words) as error:
        BinaryImages(**settings)
    assert "\n" not in str(error.value)


PINNED = [(0, 1), (5, 4), (3, 2), (7, 9)]
