"""Tests at other intervals, of a network of which it is known at which it can do anything."""

import numpy as np
import pandas as pd
import pytest
import torch
from hebbian_networks import knows_the_last, memo

from lop_lightning.analysis.hebbian import generalisation as module
from lop_lightning.analysis.hebbian.answers import chance
from lop_lightning.analysis.hebbian.generalisation import FURTHEST, generalisation, intervals_of, rates_at
from lop_lightning.analysis.timescales.results import Results
from lop_lightning.errors import ConfigError
from lop_lightning.tasks.familiarity import Familiarity
from lop_lightning.tasks.movies import Movies
from lop_lightning.tasks.scenes import Scenes


def test_intervals():
    assert intervals_of("linear", 0) == intervals_of("linear", 4) == list(range(1, 20))
    assert intervals_of("linear", 6) == list(range(1, 30))
    assert intervals_of([9, 2], 6) == [9, 2]
    series = intervals_of("geometric", 6)
    assert series[:10] == [1, 2, 3, 4, 6, 8, 11, 15, 20, 26]
    assert series[-1] <= FURTHEST < 1.3 * series[-1]


def test_a_network_that_knows_the_last_item_is_right_at_1_and_calls_all_else_novel():
    table = generalisation(knows_the_last(), Familiarity(), [1, 2, 6], movies=3)
    assert table["tested"].tolist() == [1, 2, 6]
    assert table["scenes"].tolist() == [1000, 1000, 1200]  # max(1000, 200 R)
    assert table["movies"].tolist() == [3] * 3
    assert table["accuracy"][0] == 1
    assert table["true_positive_rate"].tolist() == [1, 0, 0]
    assert table["false_positive_rate"].tolist() == [0, 0, 0]
    assert table["accuracy"][1:].tolist() == pytest.approx([2 / 3] * 2, abs=0.02)


def test_two_outputs_are_tested_as_one():
    stream = Familiarity(out_dim=2)
    table = generalisation(knows_the_last(out_dim=2), stream, [1, 2], movies=2, scenes=60)
    assert table[["accuracy", "true_positive_rate", "false_positive_rate"]].loc[0].tolist() == [1, 1, 0]
    assert table["true_positive_rate"][1] == 0
    assert table["scenes"].tolist() == [60, 60]


def test_a_geometric_series_ends_where_the_network_can_do_no_more():
    known = intervals_of("geometric", 1)
    table = generalisation(knows_the_last(), Familiarity(), known, movies=1, scenes=100, until_chance=True)
    assert table["tested"].tolist() == [1, 2]
    everything = generalisation(knows_the_last(), Familiarity(), known[:4], movies=1, scenes=100)
    pd.testing.assert_frame_equal(everything[:2], table)


def test_movies_are_the_same_for_every_network_and_however_many_are_read_at_once(monkeypatch):
    stream = Scenes()
    found = rates_at(memo(), stream, 3, movies=3, scenes=40)
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", 160)  # one movie
    assert rates_at(memo(), Scenes(seeds=[7]), 3, movies=3, scenes=40) == found
    assert rates_at(memo(), stream, 2, movies=3, scenes=40) != found


def test_a_network_whose_output_is_no_number_says_novel():
    network = knows_the_last()
    with torch.no_grad():
        network.layers[0].eta.fill_(float("nan"))
    found = rates_at(network, Familiarity(), 1, movies=1, scenes=100)
    assert (found.true_positive_rate, found.false_positive_rate) == (0, 0)


def test_an_interval_that_no_movie_is_long_enough_for():
    with pytest.raises(ConfigError, match="below the number of scenes, 30"):
        generalisation(knows_the_last(), Familiarity(), [30], movies=1, scenes=30)


@pytest.mark.parametrize(
    ("settings", "share"),
    [
        ({}, 2 / 3),
        ({"repeat_prob": 0.25}, 0.8),
        ({"repeat_prob": 1.0}, 0.5),
        ({"allow_multi_repeat": True, "repeat_prob": 0.75}, 0.75),
    ],
)
def test_chance(settings, share):
    movies = Movies(scene_time=1, VAR=0.0, **settings)
    assert chance(movies) == pytest.approx(share)
    labels = movies.make([movies.draw(np.random.default_rng(0), [1], 20_000, 1)]).labels
    assert max(labels.double().mean(), 1 - labels.double().mean()) == pytest.approx(share, abs=0.01)


def test_results_are_kept_by_r(tmp_path):
    results, made = Results(tmp_path, "generalise", {"tests": "linear"}, "R"), []

    def compute():
        made.append(1)
        return pd.DataFrame({"tested": [1, 2], "accuracy": [0.5, 1 / 3]})

    first, second = (results.get(4, 7, 700, compute) for _ in range(2))
    assert len(made) == 1
    assert first.columns.tolist() == ["seed", "R", "tested", "accuracy"]
    assert first[["seed", "R"]].to_numpy().tolist() == [[4, 7]] * 2
    pd.testing.assert_frame_equal(first, second)
    assert [path.name for path in tmp_path.rglob("*.csv")] == ["seed-00004-R-00007.csv"]
    results.get(4, 7, 800, compute)  # trained anew
    assert len(made) == 2
