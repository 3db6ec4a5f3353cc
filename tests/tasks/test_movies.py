"""The generator of movies: which scenes repeat, what they show, with what probabilities, and how it is called."""

import itertools
import math

import numpy as np
import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.randomness import generator
from lop_lightning.tasks.movie_repeats import choose_components, choose_repeats
from lop_lightning.tasks.movies import Movies, frame_labels


def batch(intervals, scenes, count=8, seed=0, **options):
    """Movies of one seed: frames ``[B, T, S, d]``, labels and sources ``[B, T]``."""
    movies = Movies(**options)
    made = movies.make([movies.draw(generator(seed, "movies"), intervals, scenes, count)])
    frames = made.frames[0].unflatten(1, (scenes, movies.scene_time))
    return frames, made.labels[0], made.source[0]


def shown_sources(frames, source):
    """The scenes that the sources are, ``[B, T, S, d]``."""
    return frames[torch.arange(len(frames))[:, None], source]


def distance(a, b):
    """In how many components frames differ."""
    return (a != b).sum(-1)


def near(share, expected, count):
    """Whether a share of ``count`` independent yes or no is within five standard deviations of what is expected."""
    return abs(share - expected) <= 5 * math.sqrt(expected * (1 - expected) / count) + 1e-12


def plain_repeats(wished, intervals, again):
    """Scene by scene: labels and sources of one movie."""
    labels, source = [], []
    for t, (wish, r) in enumerate(zip(wished, intervals)):
        familiar = bool(wish) and t >= r and (again or not labels[t - r])
        labels.append(int(familiar))
        source.append(source[t - r] if familiar else t)
    return labels, source


def test_repeats_by_hand():
    """R = 2. Even scenes wish n y y y: n, repeats 0, its own repeat is not repeated, repeats 4. Odd ones y y n y."""
    wished = np.array([[0, 1, 1, 1, 1, 0, 1, 1]], dtype=bool)
    intervals = np.full((1, 8), 2)
    familiar, source = choose_repeats(wished, intervals, again=False)
    assert familiar[0].tolist() == [False, False, True, True, False, False, True, True]
    assert source[0].tolist() == [0, 1, 0, 1, 4, 5, 4, 5]
    familiar, source = choose_repeats(wished, intervals, again=True)
    assert familiar[0].tolist() == [False, False, True, True, True, False, True, True]
    assert source[0].tolist() == [0, 1, 0, 1, 0, 5, 0, 5]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("shares", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("choices", [[1], [2], [7], [39], [1, 3], [5, 2, 30]])
def test_repeats_are_those_of_a_loop(choices, shares, again):
    rng = np.random.default_rng(0)
    wished, intervals = rng.random((6, 40)) < shares, rng.choice(choices, size=(6, 40))
    familiar, source = choose_repeats(wished, intervals, again)
    for row in range(6):
        labels, sources = plain_repeats(wished[row], intervals[row], again)
        assert familiar[row].tolist() == [bool(y) for y in labels]
        assert source[row].tolist() == sources


@pytest.mark.parametrize("scenes", [30, 33, 200])
@pytest.mark.parametrize("r", [1, 3, 10, 29])
def test_labels(r, scenes):
    _, labels, source = batch([r], scenes)
    assert (labels[:, :r] == 0).all()
    assert labels[:, r:].any()
    assert not (labels[:, r:] & labels[:, :-r]).any()
    times = torch.arange(scenes).expand_as(source)
    assert torch.equal(source, times - r * labels)


def test_familiarity_is_a_plain_loop():
    """One frame a scene: a number for the wish, one for the interval, then d for the signs, scene after scene."""
    d, r, scenes = 7, 3, 60
    movies = Movies(vec_len=d, scene_time=1, VAR=0)
    made = movies.make([movies.draw(generator(5, "cfd"), [r], scenes, 4)])
    numbers = generator(5, "cfd").random((4, scenes * (d + 2)), dtype=np.float32).reshape(4, scenes, d + 2)
    for b in range(4):
        items, labels, source = [], [], []
        for t in range(scenes):
            familiar = t >= r and numbers[b, t, 0] < 0.5 and labels[t - r] == 0
            labels.append(int(familiar))
            source.append(t - r if familiar else t)
            items.append(items[t - r] if familiar else [1.0 if u < 0.5 else -1.0 for u in numbers[b, t, 2:]])
        assert made.labels[0, b].tolist() == labels
        assert made.source[0, b].tolist() == source
        assert made.frames[0, b].tolist() == items


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("chance", [0.0, 0.3, 0.5, 1.0])
def test_how_often_a_scene_is_familiar(chance, again):
    """q = P (1 - q) from block to block, 0 in the first; the scenes of one block are independent of each other."""
    r, count = 5, 2000
    _, labels, _ = batch([r], 8 * r, count, vec_len=1, scene_time=1, repeat_prob=chance, allow_multi_repeat=again)
    expected = 0.0
    for block in labels.double().split(r, dim=1):
        assert near(block.mean().item(), expected, block.numel())
        expected = chance if again else chance * (1 - expected)
    if chance < 1:
        limit = chance if again else chance / (1 + chance)
        assert near(labels[:, -r:].double().mean().item(), limit, r * count)
    elif not again:
        assert labels.double().mean() == 0.5


def test_several_intervals():
    """Each scene draws its own of them, with equal probability; what it copies lies as far back."""
    r, scenes = [2, 5, 6], 60
    frames, labels, source = batch(r, scenes, 400, vec_len=3, scene_time=2, shuffle_familiar=False)
    familiar = labels.bool()
    lags = (torch.arange(scenes) - source)[familiar]
    assert set(lags.tolist()) == set(r)
    assert (labels[:, :2] == 0).all()
    assert (labels.gather(1, source) == 0).all()
    assert torch.equal(frames, shown_sources(frames, source))
    _, labels, source = batch(r, 7, 9000, vec_len=1, scene_time=1, repeat_prob=1.0)  # scenes 0, 1 are novel
    second = (2 - source[:, 2])[labels[:, 2] == 1]
    assert (second == 2).all()
    assert near(labels[:, 2].double().mean().item(), 1 / 3, 9000)  # scene 2 is too early for 5 and 6
    sixth = 6 - source[:, 6]
    assert near((sixth == 6).double().mean().item(), 1 / 3, 9000)  # scene 0 is always novel
    assert near((sixth == 5).double().mean().item(), 1 / 3, 9000)  # and so is scene 1


def test_repeats_of_repeats():
    frames, labels, source = batch([3], 60, 16, allow_multi_repeat=True, shuffle_familiar=False)
    assert (labels[:, 3:] & labels[:, :-3]).any()
    lags = torch.arange(60) - source
    assert (lags % 3 == 0).all()
    assert lags.max() > 3
    assert torch.equal(labels, (lags > 0).long())
    assert (labels.gather(1, source) == 0).all()
    before = source[:, :-3]
    assert torch.equal(source[:, 3:], torch.where(labels[:, 3:] == 1, before, torch.arange(3, 60)))
    assert torch.equal(frames, shown_sources(frames, source))


@pytest.mark.parametrize("values", ["pm1", "01", "normal"])
@pytest.mark.parametrize(
    ("d", "share", "k"), [(25, 0.1, 2), (25, 0, 0), (25, 1, 25), (10, 0.7, 7), (100, 0.29, 29), (3, 0.5, 1)]
)
def test_a_variation_flips_k_components(d, share, k, values):
    frames, labels, _ = batch([4], 40, vec_len=d, VAR=share, values=values)
    assert Movies(vec_len=d, VAR=share).flips == k
    novel = frames[labels == 0]
    base, variations = novel[:, :1], novel[:, 1:]
    assert (distance(base, variations) == k).all()
    if values == "normal":
        assert torch.equal(base.abs().expand_as(variations), variations.abs())
    else:
        assert set(frames.unique().tolist()) == {(-1.0 if values == "pm1" else 0.0), 1.0}
    if 0 < k < d:
        assert not torch.equal(variations[:, 0], variations[:, 1])


def test_a_chain_varies_the_frame_before():
    frames, labels, _ = batch([2], 100, variation_mode="chain")
    novel = frames[labels == 0]
    assert (distance(novel[:, 1:], novel[:, :-1]) == 2).all()
    assert set(distance(novel[:, 0], novel[:, 2]).tolist()) == {0, 2, 4}
    assert {2, 4, 6} <= set(distance(novel[:, 0], novel[:, 3]).tolist()) <= {0, 2, 4, 6}


def test_novel_scenes_differ():
    """Two unrelated frames of 25 signs differ in 12.5 on average."""
    frames, labels, _ = batch([4], 200)
    bases = frames[:, :, 0][labels == 0]
    apart = distance(bases[1:], bases[:-1]).double()
    assert apart.mean().item() == pytest.approx(12.5, abs=5 * 2.5 / math.sqrt(len(apart)))
    assert (apart > 0).all()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("mode", ["base", "chain"])
def test_a_familiar_scene_is_its_source(mode, shuffle):
    frames, labels, source = batch([3], 90, variation_mode=mode, shuffle_familiar=shuffle)
    originals = shown_sources(frames, source)
    assert torch.equal(frames[labels == 0], originals[labels == 0])
    same = (frames == originals).all(-1).all(-1)
    assert same.all() == (not shuffle)
    for scene, original in zip(frames[labels == 1].tolist(), originals[labels == 1].tolist()):
        assert sorted(scene) == sorted(original)


def test_every_order_is_equally_frequent():
    """The base is at each of four places in a quarter of the cases, and all 24 orders of four frames occur as often."""
    frames, labels, source = batch([1], 100, 100, vec_len=100)
    scenes, originals = frames[labels == 1], shown_sources(frames, source)[labels == 1]
    orders = (scenes[:, :, None] == originals[:, None]).all(-1).long().argmax(-1)
    for order in itertools.permutations(range(4)):
        share = (orders == torch.tensor(order)).all(-1).double().mean().item()
        assert near(share, 1 / 24, len(orders))


def test_every_set_of_components_is_equally_frequent():
    chosen = choose_components(np.random.default_rng(1).random((40_000, 3), dtype=np.float32), 5)
    for components in itertools.combinations(range(5), 3):
        wanted = np.isin(np.arange(5), components)
        assert near((chosen == wanted).all(1).mean(), 1 / 10, 40_000)
    highest = np.full((1, 4), 1 - 2.0**-24, dtype=np.float32)
    assert choose_components(highest, 6)[0].tolist() == [False, False, True, True, True, True]
    assert choose_components(np.zeros((1, 4), dtype=np.float32), 6)[0].tolist() == [
        True,
        False,
        False,
        True,
        True,
        True,
    ]


def test_components_are_fair():
    """Every component of a base, and how often each is flipped; normal ones have the moments of N(0, 1)."""
    frames, _, _ = batch([4], 100, 64, VAR=0.2, repeat_prob=0)
    base, count = frames[:, :, 0], 6400
    for share in (base == 1).double().mean((0, 1)).tolist():
        assert near(share, 0.5, count)
    for share in (frames[:, :, 1] != base).double().mean((0, 1)).tolist():
        assert near(share, 0.2, count)
    base = batch([4], 100, 64, values="normal", repeat_prob=0)[0][:, :, 0].double()
    size = base.numel()
    assert base.isfinite().all()
    assert base.mean().item() == pytest.approx(0, abs=6 / math.sqrt(size))
    assert base.var().item() == pytest.approx(1, abs=6 * math.sqrt(2 / size))
    assert near((base.abs() < 1.959964).double().mean().item(), 0.95, size)
    assert base.abs().max() > 4


def test_resampled_scenes_have_the_base_but_not_the_variations():
    settings = {"vec_len": 40, "VAR": 0.2}
    frames, labels, source = batch([2], 100, familiar_noise="resample", **settings)
    originals = shown_sources(frames, source)
    familiar, sources = frames[labels == 1], originals[labels == 1]
    assert torch.equal(familiar[:, 0], sources[:, 0])
    assert (distance(familiar[:, :1], familiar[:, 1:]) == 8).all()
    assert (familiar[:, 1:] != sources[:, 1:]).any(-1).double().mean() > 0.999
    twice = batch([1], 30, familiar_noise="resample", allow_multi_repeat=True, repeat_prob=1.0, **settings)[0]
    assert torch.equal(twice[:, :, 0], twice[:, :1, 0].expand(-1, 30, -1))
    assert len(twice[0, :, 1].unique(dim=0)) == 30


OPTIONS = [
    {},
    {"scene_time": 1, "VAR": 0},
    {"values": "normal", "variation_mode": "chain", "familiar_noise": "resample"},
    {"values": "01", "shuffle_familiar": False, "allow_multi_repeat": True, "VAR": 0.9},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_batch_is_its_halves(options):
    movies = Movies(**options)
    whole = movies.make([movies.draw(generator(3, "x"), [3, 2], 31, 5)])
    rng = generator(3, "x")
    halves = [movies.make([movies.draw(rng, [3, 2], 31, count)]) for count in (2, 3)]
    for name in ("frames", "labels", "source"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(half, name) for half in halves], dim=1))
    assert not torch.equal(whole.frames[:, :2], whole.frames[:, 2:4])


@pytest.mark.parametrize("options", OPTIONS)
def test_seeds_of_different_lengths_are_padded(options):
    movies = Movies(**options)
    settings = [([2], 20), ([7, 3], 35), ([1], 4)]
    drawn = [movies.draw(generator(seed, "x"), r, scenes, 6) for seed, (r, scenes) in enumerate(settings)]
    together = movies.make(drawn)
    frames = movies.scene_time
    assert together.frames.shape == (3, 6, 35 * frames, 25)
    assert together.labels.shape == together.source.shape == (3, 6, 35)
    assert (together.frames.dtype, together.labels.dtype, together.source.dtype) == (
        torch.float32, torch.int64, torch.int64,
    )  # fmt: skip
    for seed, (own, (_, scenes)) in enumerate(zip(drawn, settings)):
        alone = movies.make([own])
        assert torch.equal(together.frames[seed, :, : scenes * frames], alone.frames[0])
        assert torch.equal(together.labels[seed, :, :scenes], alone.labels[0])
        assert torch.equal(together.source[seed, :, :scenes], alone.source[0])
        assert together.frames[seed, :, scenes * frames :].isnan().all()
        assert (together.labels[seed, :, scenes:] == -1).all()
        assert (together.source[seed, :, scenes:] == -1).all()


def test_global_generators_are_left_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    batch([2], 20, values="normal")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002


def test_frame_labels():
    labels = torch.tensor([[[0, 1, -1]], [[1, -1, -1]]])
    assert frame_labels(labels, 3).tolist() == [[[2, 2, 0, 2, 2, 1, 2, 2, 2]], [[2, 2, 1, 2, 2, 2, 2, 2, 2]]]
    assert frame_labels(labels, 1).tolist() == [[[0, 1, 2]], [[1, 2, 2]]]
    assert frame_labels(labels, 3).dtype == torch.int64


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("vec_len", 0, "whole number of at least 1"),
        ("scene_time", 0, "whole number of at least 1"),
        ("scene_time", 2.5, "whole number of at least 1"),
        ("VAR", 1.1, r"\[0, 1\]"),
        ("VAR", -0.1, r"\[0, 1\]"),
        ("VAR", float("nan"), r"\[0, 1\]"),
        ("repeat_prob", 1.5, r"\[0, 1\]"),
        ("allow_multi_repeat", "no", "true or false"),
        ("shuffle_familiar", 1, "true or false"),
        ("variation_mode", "chains", "did you mean 'chain'"),
        ("familiar_noise", "exactly", "did you mean 'exact'"),
        ("values", "pm2", "pm1, 01, normal"),
    ],
)
def test_bad_values(key, value, words):
    with pytest.raises(ConfigError, match=f"^{key}=.*{words}"):
        Movies(**{key: value})


@pytest.mark.parametrize("intervals", [[20], [21], [3, 20], [0], [-1], [1.5], [True], []])
def test_bad_intervals(intervals):
    with pytest.raises(ConfigError, match=r"^intervals=\[.*at least 1 and below the number of scenes, 20"):
        Movies().draw(generator(0, "x"), intervals, 20, 2)
