"""What every stream promises: purity, cuts that do not depend on where one begins, resumption, stacked = single."""

import itertools
from dataclasses import asdict

import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.tasks import (
    GaussianMixtures,
    PermutedImages,
    Position,
    SlowlyChangingRegression,
    StreamSpec,
    Task,
    TaskStream,
)

STREAMS = {
    "gmm": lambda **more: GaussianMixtures(**more),
    "gmm_reference": lambda **more: GaussianMixtures(reference_rng=True, n=15, n_val=4, **more),
    "gmm_mini_batches": lambda **more: GaussianMixtures(
        n=50, batch_size=8, passes_per_epoch=2, epochs_per_task=3, shuffle=True, **more
    ),
    "gmm_short_passes": lambda **more: GaussianMixtures(n=6, batch_size=2, passes_per_epoch=7, **more),
    "redraw": lambda **more: SlowlyChangingRegression(task_length=230, **more),
    "flip_one": lambda **more: SlowlyChangingRegression(mode="flip_one", task_length=230, batch_size=4, **more),
    "many_patterns": lambda **more: SlowlyChangingRegression(slow_bits=0, task_length=50, **more),
    "images": lambda **more: PermutedImages(task_length=90, **more),
    "images_composed": lambda **more: PermutedImages(composed=True, task_length=90, batch_size=7, **more),
    "images_shuffled": lambda **more: PermutedImages(
        task_length=60, batch_size=7, passes_per_epoch=2, epochs_per_task=2, shuffle=True, **more
    ),
}
SIZES = [1, 3, 17, "auto"]


@pytest.fixture(params=STREAMS)
def make(request):
    return STREAMS[request.param]


def same(a, b):
    return all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def joined(chunks):
    """Every update's batch, one after another."""
    return [(x, y) for chunk in chunks for x, y in zip(chunk.inputs, chunk.targets)]


def test_a_task_does_not_depend_on_what_was_made_before(make):
    fresh, used = make(), make(seeds=3)
    for seed, index in [(1, 9), (0, 2), (2, 7), (1, 0)]:
        used.task(seed, index)
        used.load(index)
    a, b = fresh.task(2, 7), used.task(2, 7)
    assert same(a.train, b.train)
    assert a.info == b.info
    assert a.evaluation.keys() == b.evaluation.keys()
    assert all(same(a.evaluation[name], b.evaluation[name]) for name in a.evaluation)
    assert not torch.equal(a.train[0], fresh.task(2, 8).train[0])
    assert not torch.equal(a.train[0], fresh.task(1, 7).train[0])


def test_shapes_are_those_of_the_spec(make):
    stream = make(seeds=[4, 2])
    inputs, targets = stream.task(4, 3).train
    assert inputs.shape == (stream.task_size, *stream.spec.input_shape)
    assert inputs.dtype == stream.spec.dtype
    if stream.spec.loss == "cross_entropy":
        assert targets.shape == (stream.task_size,)
        assert targets.dtype == torch.int64
    else:
        assert targets.shape == (stream.task_size, stream.spec.output_size)
        assert targets.dtype == stream.spec.dtype
    for chunk in stream.task_chunks(1):
        assert chunk.inputs.shape[1] == 2
        assert chunk.inputs.shape[3:] == inputs.shape[1:]
        assert chunk.targets.shape == (*chunk.inputs.shape[:3], *targets.shape[1:])
        assert chunk.inputs.is_contiguous() or stream.batch_size is None


def test_stacked_examples_are_the_tasks_of_each_seed(make):
    stream = make(seeds=[4, 2, 9])
    loaded = stream.load(5)
    order = torch.randint(0, stream.task_size, (6, 3, 4))
    everything, gathered = loaded.everything(2), loaded.gather(order)
    sliced = loaded.slice(2, 6, 2)
    for place, seed in enumerate(stream.seeds):
        train = make().task(seed, 5).train
        assert same([part[0, place] for part in everything], train)
        assert same([part[:, place] for part in gathered], [part[order[:, place]] for part in train])
        assert same([part[:, place].flatten(0, 1) for part in sliced], [part[2:6] for part in train])


def test_probe_is_the_beginning_of_the_task(make):
    stream = make(seeds=[4, 2], probe_size=5)
    stacked = stream.stacked_probe(3)
    for place, seed in enumerate(stream.seeds):
        assert same(stream.probe(seed, 3), [part[:5] for part in stream.task(seed, 3).train])
        assert same([part[place] for part in stacked], stream.probe(seed, 3))


@pytest.mark.parametrize("chunk", SIZES)
def test_chunks_hold_the_same_updates_however_they_are_cut(make, chunk):
    whole, cut = joined(make(seeds=2, chunk=10**6).task_chunks(1)), joined(make(seeds=2, chunk=chunk).task_chunks(1))
    assert len(whole) == make().updates_per_task()
    assert all(same(a, b) for a, b in zip(whole, cut, strict=True))


def test_an_unshuffled_pass_shows_each_example_once_in_order(make):
    stream = make(seeds=2, chunk=4)
    if stream.shuffle:
        pytest.skip("shuffled")
    updates = joined(itertools.islice(stream.task_chunks(2), 1000))[: stream.updates_per_pass()]
    for place, seed in enumerate(stream.seeds):
        seen = [torch.cat([update[part][place] for update in updates]) for part in (0, 1)]
        assert same(seen, stream.task(seed, 2).train)


def test_beginning_anywhere_gives_the_rest(make):
    stream = make(seeds=2, chunk=5)
    for epoch in range(stream.epochs_per_task):
        chunks = list(stream.chunks(Position(2, epoch)))
        updates = joined(chunks)
        for update in {0, 1, 4, 5, 6, len(updates) // 2, len(updates) - 1}:
            late = list(make(seeds=2, chunk=5).chunks(Position(2, epoch, update)))
            assert all(same(a, b) for a, b in zip(updates[update:], joined(late), strict=True))
            ends = [chunk.end for chunk in chunks if chunk.end > Position(2, epoch, update)]
            assert [chunk.end for chunk in late] == ends


def test_resumption_from_the_saved_position(make):
    def run(stream, count):
        """Trains ``count`` chunks as the trainer does: epoch after epoch, the position moved after each chunk."""
        made = []
        while len(made) < count:
            for chunk in stream.train_dataloader():
                stream.position = chunk.end
                made.append(chunk)
                if len(made) == count:
                    break
        return made

    whole, first = run(make(seeds=2, chunk=9), 30), make(seeds=2, chunk=9)
    begun = run(first, 13)
    second = make(seeds=2, chunk=9)
    second.load_state_dict(first.state_dict())
    for a, b in zip(whole, begun + run(second, 17), strict=True):
        assert same((a.inputs, a.targets), (b.inputs, b.targets))
        assert (a.begin, a.end) == (b.begin, b.end)
    assert asdict(second.position) == second.state_dict()


def test_each_shuffled_pass_is_a_permutation_of_its_own():
    stream = STREAMS["gmm_mini_batches"](seeds=2)
    batches = joined(stream.task_chunks(3))
    assert [len(x[0]) for x, _ in batches] == [8, 8, 8, 8, 8, 8, 2] * 6  # the smaller last batch is kept
    passes = [torch.cat([x for x, _ in batches[7 * i : 7 * i + 7]], dim=1) for i in range(6)]
    for place, seed in enumerate(stream.seeds):
        rows = stream.task(seed, 3).train[0]
        for one in passes:
            assert sorted(one[place].tolist()) == sorted(rows.tolist())
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(passes, 2))


def test_the_clock():
    stream = GaussianMixtures(tasks=3, n=10, batch_size=4, passes_per_epoch=2, epochs_per_task=5)
    assert (stream.updates_per_pass(), stream.updates_per_epoch(), stream.updates_per_task()) == (3, 6, 30)
    assert stream.updates_before(Position(2, 1, 4)) == 70
    assert GaussianMixtures(passes_per_epoch=123).updates_per_task() == 123
    stream.position = Position(3)
    assert stream.finished
    assert list(stream.train_dataloader()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("tasks", 0), ("batch_size", -1), ("passes_per_epoch", 0), ("epochs_per_task", 1.5), ("shuffle", "ture"),
     ("probe_size", 0), ("chunk", "big"), ("seeds", 0), ("seeds", [1, 1]), ("seeds", []), ("seeds", "3"),
     ("seeds", [-1])],
)  # fmt: skip
def test_wrong_settings_name_their_key(key, value):
    with pytest.raises(ConfigError, match=f"^{key}="):
        GaussianMixtures(**{key: value})


class Masked(TaskStream):
    """Two examples a task, and a mask of the outputs."""

    @property
    def spec(self):
        return StreamSpec((1,), 3, "cross_entropy")

    @property
    def task_size(self):
        return 2

    def task(self, seed, index):
        active = torch.tensor([True, index > 0, seed > 0])
        return Task(index, (torch.full((2, 1), float(seed)), torch.zeros(2, dtype=torch.int64)), active_outputs=active)


def test_masks_travel_with_the_chunk():
    (chunk,) = Masked(tasks=2, seeds=2).task_chunks(1)
    assert chunk.active_outputs.tolist() == [[True, True, False], [True, True, True]]
    assert (chunk.starts_task, chunk.ends_task, chunk.ends_epoch) == (True, True, True)
