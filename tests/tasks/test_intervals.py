"""The curriculum over R, by hand: streaks across batches and periods, steps, the end, and what is given up."""

from itertools import pairwise

import pytest

from lop_lightning.errors import ConfigError
from lop_lightning.tasks.intervals import IntervalCurriculum

OK, NO = 1.0, 0.5


def through(curriculum, *periods):
    """Levels and moments of solving, period by period."""
    level, passed = curriculum.initial(), []
    for accuracies in periods:
        level, solved_after = curriculum.after_period(level, accuracies)
        passed.append((level["r"], level["solved"], level["streak"], level["updates"], solved_after))
    return passed


def test_a_streak_of_movies_goes_on_across_batches_and_periods():
    curriculum = IntervalCurriculum(acc_num=5)
    assert through(
        curriculum,
        [[OK, OK, NO], [OK, OK, OK]],  # three at the end
        [[OK, NO, OK], [OK, OK, OK]],  # four, and no more: the one in the middle broke it
        [[OK, OK, NO], [NO, NO, NO]],  # with the first one there are five: solved in update 1 of this period
        [[OK, OK, OK], [OK, NO, NO]],  # and at the next R the count began at 0
    ) == [(1, 0, 3, 2, None), (1, 0, 4, 4, None), (2, 1, 0, 0, 5), (2, 1, 0, 2, None)]  # fmt: skip


def test_steps_are_counted_by_the_mean_of_their_movies():
    curriculum = IntervalCurriculum(acc_num=3, acc_threshold=0.8, streak_unit="step")
    assert through(
        curriculum,
        [[1.0, 0.5], [1.0, 0.6], [0.9, 0.7]],  # means .75, .8, .8
        [[0.6, 1.0], [0.0, 0.0]],  # the third in a row
    ) == [(1, 0, 2, 3, None), (2, 1, 0, 0, 4)]
    movies = IntervalCurriculum(acc_num=3, acc_threshold=0.8)
    assert through(movies, [[1.0, 0.5], [1.0, 0.6], [0.9, 0.7]])[0][2] == 0


def test_the_threshold_is_reached_by_being_equal_in_single_precision_too():
    single = 0.949999988079071  # float32(95/100)
    below = 0.949  # 949 of 1000
    for accuracy, solved in ((single, 1), (below, 0)):
        curriculum = IntervalCurriculum(acc_threshold=0.95, acc_num=1)
        assert curriculum.after_period(curriculum.initial(), [[accuracy]])[0]["solved"] == solved


def test_what_is_no_number_breaks_a_streak():
    curriculum = IntervalCurriculum(acc_num=2, acc_threshold=0.1)
    assert through(curriculum, [[OK, float("nan")], [OK, float("nan")]])[0][1:3] == (0, 0)
    by_step = IntervalCurriculum(acc_num=1, acc_threshold=0.1, streak_unit="step")
    assert through(by_step, [[OK, float("nan")]])[0][1] == 0


def test_levels_are_followed_and_not_changed():
    curriculum = IntervalCurriculum(acc_num=2)
    first = curriculum.initial()
    kept = dict(first)
    after, _ = curriculum.after_period(first, [[OK], [NO], [OK]])
    assert first == kept
    following, when = curriculum.after_period(after, [[OK]])
    assert (after["streak"], after["updates"]) == (1, 3)
    assert (following["r"], following["solved"], when) == (2, 1, 4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"start_r": 3, "step_r": 2}, [3, 5, 7, 9]),
        ({"step_r": 2.0}, [1, 3, 5]),
        ({"step_r": 1.5}, [1, 2, 3, 5, 8, 12, 18, 27]),
        ({"start_r": 10, "step_r": 1.1}, [10, 11, 13, 15]),
        ({"step_r": 3, "largest_r": 6}, [1, 4, 6, None]),
        ({"step_r": 3, "limit": 6}, [1, 4, None]),
        ({"step_r": 3, "limit": 7}, [1, 4, 7, None]),
    ],
)
def test_which_r_follow(settings, expected):
    curriculum = IntervalCurriculum(**settings)
    assert curriculum.initial()["r"] == expected[0]
    assert [curriculum.next_r(r) for r, _ in pairwise(expected)] == expected[1:]


def test_the_last_r_ends_it():
    curriculum = IntervalCurriculum(largest_r=2, acc_num=1)
    level = curriculum.initial()
    for expected in ((2, 1, False), (2, 2, True), (2, 2, True)):
        level, _ = curriculum.after_period(level, [[OK]])
        assert (level["r"], level["solved"], level["finished"]) == expected
    assert level["updates"] == 1  # nothing is counted any more
    assert not level["capped"]


@pytest.mark.parametrize("on_cap", ["stop", "advance"])
def test_an_r_that_takes_too_long(on_cap):
    curriculum = IntervalCurriculum(max_updates_per_r=5, acc_num=2, on_cap=on_cap)
    level = curriculum.initial()
    level, when = curriculum.after_period(level, [[NO], [NO], [OK]])
    assert (level["updates"], level["capped"], when) == (3, False, None)
    level, when = curriculum.after_period(level, [[NO], [OK], [OK]])  # the third is one too late
    assert when is None
    if on_cap == "stop":
        assert (level["r"], level["solved"], level["finished"], level["capped"]) == (1, 0, True, True)
        assert curriculum.after_period(level, [[OK], [OK]]) == (level, None)
    else:
        assert level == {"r": 2, "solved": 0, "updates": 0, "streak": 0, "finished": False, "capped": False}
    in_time = curriculum.after_period(curriculum.initial(), [[NO], [NO], [NO], [OK], [OK]])
    assert (in_time[0]["solved"], in_time[1]) == (1, 5)


def test_after_the_cap_of_the_last_r_there_is_nothing():
    curriculum = IntervalCurriculum(max_updates_per_r=1, largest_r=1, on_cap="advance")
    level, _ = curriculum.after_period(curriculum.initial(), [[NO]])
    assert (level["r"], level["solved"], level["finished"], level["capped"]) == (1, 0, True, True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start_r": 0}, "start_r=0"),
        ({"step_r": 0}, "step_r=0 .* a whole number of at least 1, which is added to R"),
        ({"step_r": 0.5}, "step_r=0.5"),
        ({"step_r": float("nan")}, "step_r=nan"),
        ({"step_r": float("inf")}, "step_r=inf"),
        ({"step_r": True}, "step_r=true"),
        ({"step_r": "2"}, "step_r=2"),
        ({"start_r": 4, "largest_r": 3}, "largest_r=3 .* at least 4"),
        ({"acc_threshold": 0}, r"acc_threshold=0 .*\(0, 1\]"),
        ({"acc_threshold": 1.01}, "acc_threshold=1.01"),
        ({"acc_num": 0}, "acc_num=0"),
        ({"streak_unit": "movies"}, "streak_unit=movies .*; did you mean 'movie'"),
        ({"max_updates_per_r": 0}, "max_updates_per_r=0"),
        ({"on_cap": "go"}, "on_cap=go .* one of stop, advance"),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(ConfigError, match=f"^{words}") as error:
        IntervalCurriculum(**settings)
    assert "\n" not in str(error.value)
