"""Streams of movies: what a batch is, purity, seeds at an R of their own, checks, resumption."""

import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.tasks import Familiarity, Position, Scenes, StreamSpec

SMALL = {"updates_per_task": 5, "batch_size": 3, "min_scenes": 8, "scenes_per_r": 4, "check_movies": 2,
         "probe_size": 2, "vec_len": 10, "acc_num": 2}  # fmt: skip
STREAMS = {
    "scenes": (Scenes, 4),
    "familiarity": (Familiarity, 1),
    "other intervals": (lambda **more: Scenes(other_intervals=[4, 2], **more), 4),
    "two outputs": (lambda **more: Familiarity(out_dim=2, **more), 1),
}


@pytest.fixture(params=STREAMS)
def make(request):
    return lambda **more: STREAMS[request.param][0](**{**SMALL, **more})


def scenes(**more):
    return Scenes(**{**SMALL, **more})


def solve(stream, *solved, task=0):
    """A period in which these seeds get all movies right, and the others none."""
    shares = [[[1.0 if seed in solved else 0.0] * 3] * stream.period for seed in stream.seeds]
    return stream.advance(task, shares)


def stripped(inputs, targets):
    """``[B, T_pad·S, d]`` and ``[B, T_pad]`` without what comes after the movies' end."""
    frames, labels = ~inputs[0, :, 0].isnan(), targets[0] >= 0
    length, count = int(frames.sum()), int(labels.sum())
    assert frames[:length].all()
    assert inputs[:, length:].isnan().all()
    assert not inputs[:, :length].isnan().any()
    assert (targets[:, count:] == -1).all()
    assert (targets[:, :count] >= 0).all()
    return inputs[:, :length].tolist(), targets[:, :count].tolist()


def updates(chunks, row=0):
    return [stripped(x[row], y[row]) for chunk in chunks for x, y in zip(chunk.inputs, chunk.targets)]


@pytest.mark.parametrize("name", STREAMS)
def test_shapes(name):
    make, time = STREAMS[name]
    stream = make(**{**SMALL, "start_r": 3, "seeds": [4, 2]})
    items = 16 if name == "other intervals" else 12  # four for each scene of the largest interval
    spec = StreamSpec(
        (items * time, 10), 2 if name == "two outputs" else 1, "sequence_cross_entropy", ragged=True, read_every=time
    )
    assert stream.spec == spec
    assert stream.updates_per_task() == 5 == stream.task_size // 3
    for chunk in stream.task_chunks(0):
        assert chunk.inputs.shape[1:] == (2, 3, items * time, 10)
        assert chunk.inputs.dtype == torch.float32
        assert chunk.targets.shape == (*chunk.inputs.shape[:3], items)
        assert chunk.targets.dtype == torch.int64
        assert chunk.self_paced
    solve(stream, 4, 2)
    assert stream.spec == spec  # of the first R, whatever comes


def test_a_familiar_scene_is_the_one_r_scenes_before():
    stream = scenes(start_r=3, VAR=0.3, shuffle_familiar=False)
    (chunk,) = stream.task_chunks(2)
    frames, labels = chunk.inputs[:, 0].unflatten(2, (12, 4)), chunk.targets[:, 0]
    same = (frames[:, :, 3:] == frames[:, :, :-3]).all(-1).all(-1)
    assert torch.equal(labels[..., 3:] == 1, same)
    assert not labels[..., :3].any()
    assert 0.1 < labels.double().mean() < 0.4
    flips = (frames[..., 1:, :] != frames[..., :1, :]).sum(-1)
    assert (flips == 3).all()
    items = Familiarity(**SMALL, start_r=2)
    (chunk,) = items.task_chunks(0)
    same = (chunk.inputs[:, 0, :, 2:] == chunk.inputs[:, 0, :, :-2]).all(-1)
    assert torch.equal(chunk.targets[:, 0, :, 2:] == 1, same)


def test_how_long_movies_are():
    defaults = {Scenes: (100, 100, 120), Familiarity: (200, 200, 200)}
    for make, expected in defaults.items():
        stream = make()
        assert tuple(stream.train_scenes(r) for r in (1, 5, 6)) == expected
        assert stream.train_scenes(11) == 220
        assert [stream.test_scenes(r) for r in (1, 5, 6)] == [1000, 1000, 1200]
        assert Scenes(scenes=30).train_scenes(7) == 30


def test_a_period_is_pure(make):
    fresh, used = make(seeds=1), make(seeds=3)
    for seed, index in [(1, 9), (0, 2), (2, 7)]:
        used.task(seed, index)
        list(used.task_chunks(index))
        list(used.checks(index))
    a, b = fresh.task(2, 7), used.task(2, 7)
    assert a.info == b.info
    assert a.info["r"] == 1
    assert all(torch.equal(x, y) for x, y in zip(a.train, b.train))
    for other in (fresh.task(2, 8), fresh.task(1, 7)):
        assert not torch.equal(a.train[0][:3], other.train[0][:3])
    assert stripped(*a.train)[0] == [movie for batch, _ in updates(used.task_chunks(7), 2) for movie in batch]


def test_a_batch_is_of_its_r():
    """At another R other movies are drawn, the same whatever came before."""
    one, other = scenes(acc_num=1), scenes(start_r=2)
    solve(one, 0, task=0)
    assert one.levels[0]["r"] == 2
    assert updates(one.task_chunks(3)) == updates(other.task_chunks(3))


@pytest.mark.parametrize("chunk", [1, 2, "auto"])
def test_chunks_hold_the_same_updates_however_they_are_cut(make, chunk):
    for row in (0, 1):
        whole, cut = make(seeds=2, chunk=100), make(seeds=2, chunk=chunk)
        for task in (0, 1):
            assert updates(whole.task_chunks(task), row) == updates(cut.task_chunks(task), row)
            solve(whole, 1, task=task), solve(cut, 1, task=task)


def test_chunks_are_cut_by_the_level(monkeypatch):
    monkeypatch.setattr("lop_lightning.tasks.paced.CHUNK_BYTES", 3 * 4 * 10 * 4 * 8 * 3)  # three updates at R = 1, 2
    stream = scenes()
    assert [len(chunk.inputs) for chunk in stream.task_chunks(0)] == [3, 2]
    for task in (0, 1):
        solve(stream, 0, task=task)
    assert [len(chunk.inputs) for chunk in stream.task_chunks(2)] == [2, 2, 1]


def test_seeds_together_are_seeds_alone(make):
    together = make(seeds=[5, 0, 8])
    alone = {seed: make(seeds=[seed]) for seed in together.seeds}
    for task, passing in enumerate([{5, 8}, {8}, {0, 8}, set()]):
        for row, seed in enumerate(together.seeds):
            own = alone[seed]
            assert own.levels == [together.levels[row]]
            assert updates(together.task_chunks(task), row) == updates(own.task_chunks(task))
            ours = [*together.checks(task), together.stacked_probe(task)]
            theirs = [*own.checks(task), own.stacked_probe(task)]
            for (x, y), (own_x, own_y) in zip(ours, theirs, strict=True):
                assert stripped(x[row], y[row]) == stripped(own_x[0], own_y[0])
            assert stripped(*together.probe(seed, task)) == stripped(*own.probe(seed, task))
            solve(own, *passing, task=task)
        solve(together, *passing, task=task)
    assert together.history == [own.history[0] for own in alone.values()]
    assert together.standing == "R 2-4"


def test_training_check_and_probe_share_no_movie():
    stream = scenes(seeds=[0, 1])
    made = [batch for task in (0, 1) for row in (0, 1) for batch, _ in updates(stream.task_chunks(task), row)]
    for task in (0, 1):
        for x, y in [*stream.checks(task), stream.stacked_probe(task)]:
            assert x.shape[:2] == (2, 2)
            made += [stripped(x[row], y[row])[0] for row in (0, 1)]
    movies = [str(movie) for batch in made for movie in batch]
    assert len(set(movies)) == len(movies) == 2 * 2 * (15 + 4)


def test_advance_and_history():
    stream = scenes(seeds=[7, 3], largest_r=2)
    assert stream.standing == "R 1"
    assert solve(stream, 3, task=0) == [1]
    assert solve(stream, task=1) == []
    half = [[0.0] * 3] * 4 + [[0.0, 1.0, 1.0]]  # solved in the period's last update
    assert stream.advance(2, [half, half], updates=99) == [0, 1]
    assert stream.history == [
        [{"task": 2, "r": 1, "solved": True, "solved_after": 15, "updates": 99}],
        [{"task": 0, "r": 1, "solved": True, "solved_after": 1, "updates": 5},
         {"task": 2, "r": 2, "solved": True, "solved_after": 10, "updates": 99}],
    ]  # fmt: skip
    assert [level["finished"] for level in stream.levels] == [False, True]
    assert not stream.finished
    assert len(updates(stream.task_chunks(3), row=1)) == 5  # it goes on while the other needs time
    assert solve(stream, 7, 3, task=3) == [0]
    assert stream.finished
    assert list(stream.train_dataloader()) == []


def test_a_seed_that_gives_up_has_ended_too():
    stream = scenes(seeds=2, max_updates_per_r=10)
    assert solve(stream, 1, task=0) == [1]
    assert solve(stream, 1, task=1) == [0, 1]
    assert stream.history[0] == [{"task": 1, "r": 1, "solved": False, "solved_after": 0, "updates": 10}]
    assert [(level["capped"], level["finished"]) for level in stream.levels] == [(True, True), (False, False)]
    goes_on = scenes(max_updates_per_r=10, on_cap="advance")
    for task in (0, 1):
        solve(goes_on, task=task)
    assert (goes_on.levels[0]["r"], goes_on.levels[0]["solved"], goes_on.finished) == (2, 0, False)


def test_no_r_goes_beyond_a_fixed_number_of_scenes():
    stream = scenes(scenes=6, start_r=2, step_r=3)
    assert stream.spec.input_shape == (24, 10)
    solve(stream, 0, task=0)
    assert (stream.levels[0]["r"], stream.finished) == (5, False)
    solve(stream, 0, task=1)
    assert (stream.levels[0]["r"], stream.levels[0]["solved"], stream.finished) == (5, 5, True)


def test_resumption(make, tmp_path):
    first = make(seeds=[0, 6], chunk=2)
    solve(first, 6)
    first.position = Position(1, 0, 2)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = make(seeds=[0, 6], chunk=2)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (second.levels, second.history, second.position) == (first.levels, first.history, first.position)
    for row in (0, 1):
        rest = updates(second.train_dataloader(), row)
        assert rest == updates(first.train_dataloader(), row)
        assert rest == updates(first.task_chunks(1), row)[2:]
    saved = first.state_dict()
    solve(first, 0, 6, task=1)
    assert (saved["levels"], saved["history"]) == (second.levels, second.history)  # what is saved stays as it was


def test_what_chance_is():
    assert "33.3% are familiar; to call all of them novel is right in 66.7%" in Scenes().notes[0]
    assert "task.repeat_prob=0.25: " in Familiarity(repeat_prob=0.25).notes[0]
    assert "is right in 80.0%" in Familiarity(repeat_prob=0.25).notes[0]
    assert "is right in 75.0%" in Familiarity(repeat_prob=0.25, allow_multi_repeat=True).notes[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scenes": 6, "start_r": 6}, "start_r=6 is not legal: expected less than scenes=6"),
        ({"scenes": 6, "largest_r": 6}, "largest_r=6 is not legal: expected less than scenes=6"),
        ({"scenes": 6, "other_intervals": [2, 7]}, r"other_intervals=\[2, 7\] is not legal: expected each less than"),
        ({"scenes": 1}, "scenes=1"),
        ({"scenes": "atuo"}, "scenes=atuo .*; did you mean 'auto'?"),
        ({"scenes": None}, "scenes=null"),
        ({"scenes_per_r": 1}, "scenes_per_r=1 is not legal: expected a whole number of at least 2"),
        ({"min_scenes": 1}, "min_scenes=1"),
        ({"other_intervals": [0]}, r"other_intervals=\[0\]"),
        ({"other_intervals": 3}, "other_intervals=3"),
        ({"out_dim": 3}, "out_dim=3 is not legal: expected a whole number of at least 1 and at most 2"),
        ({"check_movies": 0}, "check_movies=0"),
        ({"updates_per_task": 0}, "updates_per_task=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"vec_len": 0}, "vec_len=0"),
        ({"repeat_prob": 1.5}, "repeat_prob=1.5"),
        ({"acc_num": 0}, "acc_num=0"),
    ],
)
@pytest.mark.parametrize("stream", [Scenes, Familiarity])
def test_wrong_settings(stream, settings, words):
    with pytest.raises(ConfigError, match=f"^{words}") as error:
        stream(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("settings", "words"), [({"VAR": 1.2}, "VAR=1.2"), ({"scene_time": 0}, "scene_time=0")])
def test_wrong_settings_of_scenes(settings, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        Scenes(**settings)
