import functools
import hashlib
import itertools
import pickle

import numpy as np
import pytest
import torch
import torchvision

from lop_lightning.randomness import generator
from lop_lightning.tasks import Position
from lop_lightning.tasks.augmentation import draw_looks, transformed
from lop_lightning.tasks.cifar100 import DEVIATION, FOLDER, MEAN
from lop_lightning.tasks.incremental_cifar import SOURCES, IncrementalCIFAR
from lop_lightning.tasks.synthetic_images import synthetic as make_synthetic

synthetic = functools.cache(make_synthetic)
TINY = {"source": "synthetic", "tasks": 3, "classes_per_task": 2, "train_images": 6, "validation_images": 2,
        "test_images": 3, "batch_size": 4, "epochs_per_task": 2, "representation_images": 10}  # fmt: skip


@pytest.fixture(autouse=True)
def synthetic_images_are_made_once(monkeypatch):
    monkeypatch.setitem(SOURCES, "synthetic", synthetic)


def tiny(**more):
    return IncrementalCIFAR(**{**TINY, **more})


def images(part, per_class):
    """The images ``[100, per_class, 3, 32, 32]`` as the network sees them, by the definition."""
    scaled = synthetic("", part, per_class).unflatten(-1, (32, 32)).float() / 255
    mean, deviation = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, DEVIATION))
    return (scaled - mean) / deviation


def batch_of(one, place):
    """All examples of a stacked set, of the seed in that place."""
    inputs, targets = one.slice(0, one.size, one.size)
    return inputs[0, place], targets[0, place]


def same(a, b):
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def joined(chunks):
    return [(x, y) for chunk in chunks for x, y in zip(chunk.inputs, chunk.targets)]


def test_the_first_images_are_for_validation_and_the_next_for_training():
    stream, index = tiny(seeds=[4, 7]), 1
    train, test = images("train", 8), images("test", 3)
    held_out = stream.load_evaluation(index)
    for place, seed in enumerate(stream.seeds):
        classes = stream.class_order(seed)[:4].tolist()
        for one, source, numbers in (
            (stream.load(index), train, range(2, 8)),
            (held_out["validation"], train, range(2)),
            (held_out["test"], test, range(3)),
        ):
            inputs, targets = batch_of(one, place)
            assert targets.tolist() == classes * len(numbers)
            assert torch.equal(inputs, torch.stack([source[c, number] for number in numbers for c in classes]))


def test_classes_accumulate():
    stream = tiny(seeds=[4, 7])
    for seed in stream.seeds:
        seen = [stream.task(seed, index).info["classes"] for index in range(3)]
        assert [len(classes) for classes in seen] == [2, 4, 6]
        assert seen[0] == seen[2][:2]
        assert seen[1] == seen[2][:4]
        for index, classes in enumerate(seen):
            task = stream.task(seed, index)
            assert set(task.train[1].tolist()) == set(classes)
            assert task.active_outputs.nonzero().flatten().tolist() == sorted(classes)
            assert len(task.train[1]) == stream.size_of(index) == 12 * (index + 1)
            assert task.train[1].dtype == torch.int64


def test_the_class_order_is_a_permutation_of_the_seed():
    orders = [tiny().class_order(seed) for seed in range(20)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == 20
    assert np.array_equal(IncrementalCIFAR(tasks=4, batch_size=45).class_order(13), orders[13])
    assert orders[0][:6].tolist() == PINNED


def test_no_image_is_in_two_sets():
    stream = tiny()
    sets = {"train": stream.load(2), **stream.load_evaluation(2)}
    rows = {name: {image.numpy().tobytes() for image in batch_of(one, 0)[0]} for name, one in sets.items()}
    assert {name: len(found) for name, found in rows.items()} == {"train": 36, "validation": 12, "test": 18}
    assert not any(a & b for a, b in itertools.combinations(rows.values(), 2))


@pytest.mark.parametrize("more", [{}, {"augmented_test": True}, {"augment": False}])
def test_a_task_does_not_depend_on_what_was_made_before(more):
    used = tiny(seeds=3, **more)
    for seed, index in [(1, 2), (0, 0), (2, 1)]:
        used.task(seed, index)
        list(itertools.islice(used.task_chunks(index), 2))
    fresh = tiny(seeds=[2], **more)
    a, b = fresh.task(2, 1), used.task(2, 1)
    assert same(a.train, b.train)
    assert list(a.evaluation) == ["validation", "test"]
    assert all(same(a.evaluation[name], b.evaluation[name]) for name in a.evaluation)
    assert torch.equal(a.active_outputs, b.active_outputs)
    assert not torch.equal(a.train[0], fresh.task(1, 1).train[0])
    stacked, held_out = used.load(1), used.load_evaluation(1)
    assert same(batch_of(stacked, 2), a.train)
    assert all(same(batch_of(held_out[name], 2), a.evaluation[name]) for name in held_out)
    assert torch.equal(stacked.active_outputs[2], a.active_outputs)
    for x, y in zip(joined(fresh.task_chunks(1)), joined(used.task_chunks(1)), strict=True):
        assert same([part[0] for part in x], [part[2] for part in y])


def test_every_update_shows_its_examples_as_drawn_for_them():
    stream, index = tiny(seeds=[4, 7]), 1
    batches = joined(stream.task_chunks(index))
    assert len(batches) == 2 * 6
    mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
    pixels = synthetic("", "train", 8)
    for place, seed in enumerate(stream.seeds):
        classes = stream.class_order(seed)[:4]
        own = torch.stack([pixels[c, number] for number in range(2, 8) for c in classes])
        for number in range(2):
            looks = torch.from_numpy(draw_looks(generator(seed, "augment", index, number), 24))
            order = generator(seed, "order", index, number).permutation(24)
            expected = transformed(own, looks, mean, deviation)[order].unflatten(-1, (32, 32))
            seen = [
                torch.cat([batch[part][place] for batch in batches[6 * number : 6 * number + 6]]) for part in (0, 1)
            ]
            assert torch.equal(seen[0], expected)
            assert seen[1].tolist() == [classes[e % 4] for e in order]


@pytest.mark.parametrize("chunk", [1, 2, 4, 5, "auto"])
@pytest.mark.parametrize("augment", [True, False])
def test_chunks_hold_the_same_updates_however_they_are_cut(chunk, augment):
    whole, cut = (list(tiny(seeds=2, chunk=size, augment=augment).task_chunks(2)) for size in (10**6, chunk))
    assert all(same(a, b) for a, b in zip(joined(whole), joined(cut), strict=True))
    assert len(joined(cut)) == tiny().updates_per_task(2) == 18
    late = tiny(seeds=2, chunk=chunk, augment=augment).chunks(Position(2, 1, 5))
    assert all(same(a, b) for a, b in zip(joined(whole)[9 + 5 :], joined(late), strict=True))


def test_images_are_shown_as_they_are_without_augmentation():
    stream = tiny(augment=False, shuffle=False)
    assert not stream.varies
    batches = joined(stream.chunks(Position(1)))
    inputs, targets = torch.cat([x[0] for x, _ in batches]), torch.cat([y[0] for _, y in batches])
    assert same((inputs, targets), stream.task(0, 1).train)
    shuffled = torch.cat([y[0] for _, y in joined(tiny(augment=False).chunks(Position(1)))])
    assert not torch.equal(shuffled, targets)
    assert torch.equal(shuffled.sort().values, targets.sort().values)


def test_slices_are_parts_of_the_whole():
    for one in (tiny(seeds=2).load(1), tiny(seeds=2, augmented_test=True).load_evaluation(1)["test"]):
        inputs, targets = one.slice(2, 8, 3)
        assert inputs.shape == (2, 2, 3, 3, 32, 32)
        assert inputs.is_contiguous()
        order = torch.tensor([[5, 0, 3], [1, 1, 7]])[None]
        gathered = one.gather(order)
        for place in range(2):
            every = batch_of(one, place)
            assert same((inputs[:, place].flatten(0, 1), targets[:, place].flatten()), [part[2:8] for part in every])
            assert same([part[0, place] for part in gathered], [part[order[0, place]] for part in every])


def test_augmented_test_images():
    clean, stream = tiny(seeds=[4, 7]).load_evaluation(1), tiny(seeds=[4, 7], augmented_test=True)
    held_out = stream.load_evaluation(1)
    for place, seed in enumerate(stream.seeds):
        assert same(batch_of(held_out["validation"], place), batch_of(clean["validation"], place))
        inputs, targets = batch_of(held_out["test"], place)
        looks = torch.from_numpy(draw_looks(generator(seed, "augment test", 1), 12))
        classes = stream.class_order(seed)[:4]
        pixels = torch.stack([synthetic("", "test", 3)[c, number] for number in range(3) for c in classes])
        expected = transformed(pixels, looks, torch.tensor(MEAN), torch.tensor(DEVIATION)).unflatten(-1, (32, 32))
        assert torch.equal(inputs, expected)
        assert torch.equal(targets, batch_of(clean["test"], place)[1])


def test_representation_sets():
    stream = tiny(seeds=[4, 7])
    assert list(stream.representation_sets(0)) == ["next"]
    sets = stream.representation_sets(2)
    assert {name: one.size for name, one in sets.items()} == {"next": 10, "previous": 10}
    again = tiny(seeds=[7]).representation_sets(2)
    train = images("train", 8)[:, 2:]
    for place, seed in enumerate(stream.seeds):
        order = stream.class_order(seed)
        for name, classes in (("next", order[4:6]), ("previous", order[:4])):
            inputs, targets = batch_of(sets[name], place)
            assert set(targets.tolist()) <= set(classes)
            found = [(train[c] == image).flatten(1).all(1).nonzero().item() for image, c in zip(inputs, targets)]
            assert len(set(zip(found, targets.tolist()))) == 10  # training images, each at most once
    assert all(same(batch_of(again[name], 0), batch_of(sets[name], 1)) for name in sets)
    every = tiny(representation_images=1000).representation_sets(1)
    assert {name: one.size for name, one in every.items()} == {"next": 12, "previous": 12}


def test_the_probe_has_all_classes_as_they_are():
    stream = tiny(seeds=[4, 7], probe_size=8)
    inputs, targets = stream.stacked_probe(1)
    for place, seed in enumerate(stream.seeds):
        assert same((inputs[place], targets[place]), stream.probe(seed, 1))
        assert same(stream.probe(seed, 1), [part[:8] for part in stream.task(seed, 1).train])
        assert targets[place].tolist() == stream.class_order(seed)[:4].tolist() * 2


def test_images_are_held_once():
    stream = tiny(seeds=5)
    held = stream.images[0].pixels
    assert held.dtype == torch.uint8
    assert held.shape == (800, 3, 1024)
    sets = (stream.load(2), stream.load_evaluation(2)["validation"], stream.representation_sets(2)["next"])
    assert all(one.images.pixels.data_ptr() == held.data_ptr() for one in sets)


def test_from_the_files_to_batches(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = {
        "train": rng.permutation(np.repeat(np.arange(100), 8)),
        "test": rng.permutation(np.repeat(np.arange(100), 3)),
    }
    pixels = {part: rng.integers(0, 256, (len(own), 3072), np.uint8) for part, own in labels.items()}
    (tmp_path / FOLDER).mkdir()
    for part in ("train", "test"):
        content = pickle.dumps({b"data": pixels[part], b"fine_labels": labels[part].tolist()})
        (tmp_path / FOLDER / part).write_bytes(content)
        known = [[part, hashlib.md5(content).hexdigest()]]
        monkeypatch.setattr(torchvision.datasets.CIFAR100, f"{part}_list", known)
    stream = tiny(source="cifar100", data_dir=str(tmp_path), seeds=[3])
    inputs, targets = stream.task(3, 0).train
    first = int(stream.class_order(3)[0])
    own = pixels["train"][labels["train"] == first][2:]  # the first two are for validation
    mean, deviation = (np.array(numbers, np.float32)[:, None, None] for numbers in (MEAN, DEVIATION))
    expected = (own.reshape(-1, 3, 32, 32) / np.float32(255) - mean) / deviation
    assert np.allclose(inputs[targets == first], expected, atol=1e-6)
    (chunk, *_) = stream.task_chunks(1)
    assert chunk.inputs.shape[1:] == (1, 4, 3, 32, 32)


PINNED = [56, 73, 98, 94, 2, 15]
