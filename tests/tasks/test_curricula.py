"""Curricula: traces of the published code and by hand, the rule of advance, and the end."""

import json
from pathlib import Path

import pytest

from lop_lightning.errors import ConfigError
from lop_lightning.tasks import Parity
from lop_lightning.tasks.curricula import CURRICULA, curriculum_class, trained_ns

TRACES = json.loads((Path(__file__).parents[1] / "golden" / "timescales_tasks.json").read_text())["curriculum"][
    "traces"
]
PUBLISHED = {
    "cumulative add=1 from [2]": ("cumulative", {}),
    "cumulative init_heads=3 add=2": ("cumulative", {"init_heads": 3, "add_heads": 2}),
    "sliding init_heads=10 forget=5": ("sliding", {"init_heads": 10, "forget_heads": 5}),
    "sliding init_heads=3 forget=5 (init_heads raised to 5)": ("sliding", {"init_heads": 5, "forget_heads": 5}),
    "single": ("single", {}),
    "ns_init=5 cumulative init_heads=2": ("cumulative", {"start_n": 5, "init_heads": 2}),
}


def follow(curriculum, *checks):
    """The levels, one after another: a check is the accuracy of every N, or a list of them."""
    levels = [curriculum.initial()]
    for check in checks:
        shares = check if isinstance(check, list) else [check] * len(trained_ns(levels[-1]))
        levels.append(curriculum.after_check(levels[-1], shares))
    return levels


def ranges(levels):
    return [(level["low"], level["high"]) for level in levels]


@pytest.mark.parametrize("trace", TRACES)
def test_published_traces(trace):
    name, settings = PUBLISHED[trace]
    levels = follow(CURRICULA[name](**settings), *[1.0] * (len(TRACES[trace]) - 1))
    assert [[*trained_ns(level)] for level in levels] == TRACES[trace]


@pytest.mark.parametrize(
    ("shares", "solved"),
    [
        ([0.99, 0.99, 0.99], True),
        ([0.97, 1.0, 1.0], True),  # an earlier N may be below
        ([1.0, 1.0, 0.98], False),  # the last one must be above, strictly
        ([1.0, 1.0, 0.981], True),
        ([0.90, 1.0, 0.99], False),  # the mean is below
        ([float("nan"), 1.0, 1.0], False),
        ([1.0, 1.0, float("nan")], False),
    ],
)
def test_rule_of_advance(shares, solved):
    after = follow(CURRICULA["cumulative"](init_heads=3), shares)[1]
    assert (after["high"] == 5, after["solved"] == 4) == (solved, solved)
    assert after["checks"] == (0 if solved else 1)


def test_the_mean_must_be_strictly_above_too():
    half = CURRICULA["cumulative"](init_heads=2, threshold=0.75)
    assert follow(half, [0.5, 1.0])[1]["solved"] == 0
    assert follow(half, [0.51, 1.0])[1]["solved"] == 3
    never = CURRICULA["cumulative"](threshold=1.0)
    assert follow(never, 1.0, 1.0)[2] == {**never.initial(), "checks": 2}


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("cumulative", {"add_heads": 3, "largest_n": 6}, [(2, 2), (2, 5), (2, 6)]),
        ("cumulative", {"init_heads": 9, "largest_n": 4}, [(2, 4)]),
        ("sliding", {"init_heads": 4, "forget_heads": 3, "largest_n": 9}, [(2, 5), (5, 8), (6, 9)]),
        ("single", {"init_heads": 4, "largest_n": 4}, [(2, 2), (3, 3), (4, 4)]),
        ("none", {"start_n": 7, "init_heads": 2}, [(7, 8)]),
        ("adaptive", {"largest_n": 6}, [(2, 2), (2, 4), (2, 6)]),
    ],
)
def test_the_end(name, settings, expected):
    levels = follow(CURRICULA[name](**settings), *[1.0] * len(expected), 0.5)
    assert ranges(levels) == [*expected, expected[-1], expected[-1]]
    assert [level["finished"] for level in levels] == [False] * len(expected) + [True, True]
    assert levels[-1] == levels[-2]  # nothing moves a seed that is finished
    assert levels[-1]["solved"] == expected[-1][1]


def test_no_end_without_largest_n():
    assert ranges(follow(CURRICULA["single"](), *[1.0] * 150))[-1] == (152, 152)


def test_adaptive_steps_by_hand():
    """θ = 0.98: half the margin is 0.99; slow is more than two checks."""
    curriculum = CURRICULA["adaptive"](max_step=4, patience=2)
    checks = [0.99, 1.0, 1.0, 0.985, 0.9, 1.0, 0.9, 0.9, 1.0]
    levels = follow(curriculum, *checks)
    assert [(level["high"], level["step"], level["checks"]) for level in levels] == [
        (2, 1, 0),
        (4, 2, 0),  # at once and with half the margin: doubled
        (8, 4, 0),
        (12, 4, 0),  # max_step
        (16, 4, 0),  # at once, but narrowly: as before
        (16, 4, 1),
        (20, 4, 0),  # at the second check: as before
        (20, 4, 1),
        (20, 4, 2),
        (22, 2, 0),  # at the third: halved
    ]
    assert {level["low"] for level in levels} == {2}


def test_adaptive_gives_back_what_is_too_hard():
    curriculum = CURRICULA["adaptive"](init_heads=2, add_heads=5, patience=1)
    levels = follow(curriculum, 0.985, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.985)
    assert [(level["high"], level["solved"], level["step"], level["checks"]) for level in levels] == [
        (3, 0, 5, 0),
        (8, 3, 5, 0),
        (8, 3, 5, 1),
        (5, 3, 2, 0),  # of 4 … 8, three are given back
        (5, 3, 2, 1),
        (4, 3, 1, 0),
        (4, 3, 1, 1),
        (4, 3, 1, 2),  # one new N is never given back
        (5, 4, 1, 0),  # and is never halved below one
    ]


def test_adaptive_gives_back_of_the_first_range_too():
    levels = follow(CURRICULA["adaptive"](start_n=5, init_heads=4, patience=1), 0.5, 0.5, 0.5, 0.5, 0.5)
    assert ranges(levels) == [(5, 8), (5, 8), (5, 6), (5, 6), (5, 5), (5, 5)]


def test_a_check_must_be_of_every_n():
    curriculum = CURRICULA["cumulative"](init_heads=2)
    with pytest.raises(ValueError, match="3 accuracies for N = 2 to 3"):
        curriculum.after_check(curriculum.initial(), [1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start_n": 1}, "start_n=1 is not legal: expected a whole number of at least 2"),
        ({"init_heads": 0}, "init_heads=0"),
        ({"add_heads": 0}, "add_heads=0"),
        ({"forget_heads": 0}, "forget_heads=0"),
        ({"max_step": 0}, "max_step=0"),
        ({"patience": 0}, "patience=0"),
        ({"start_n": 5, "largest_n": 4}, "largest_n=4 is not legal: expected a whole number of at least 5"),
        ({"threshold": 0.0}, r"threshold=0.0 is not legal: expected a number in \(0, 1\]"),
        ({"threshold": 1.01}, "threshold=1.01"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"curriculum": "sliding", "init_heads": 3, "forget_heads": 5}, "forget_heads=5 .* at most init_heads=3"),
        ({"curriculum": "cumulativ"}, "curriculum=cumulativ .*; did you mean 'cumulative'?"),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(ConfigError, match=f"^{words}") as error:
        Parity(**settings)
    assert "\n" not in str(error.value)


def test_by_name():
    assert {curriculum_class(name) for name in CURRICULA} == set(CURRICULA.values())
    assert {name for name, kind in CURRICULA.items() if kind.heads == "position"} == {"single"}
