"""A search for hyper-parameters: what is varied, how often, and on which seeds; the proposals are Optuna's."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lop_lightning.errors import ConfigError, LopError, check_choice, check_count, check_number
from lop_lightning.tasks.seeds import seed_list

_DIGITS = 4
"""Significant digits of a proposed number, so that it can be typed."""


@dataclass(frozen=True)
class Trial:
    """Number, from 0; the values tried; how good they were (larger is better, -inf for a run that diverged)."""

    number: int
    values: dict[str, Any]
    goodness: float


class Search:
    """A seeded search (``+tune=NAME``), one trial after another.

    The proposals are a function of ``sampler_seed`` and of how good the trials before were, so a search that was
    interrupted is repeated up to where it stopped, its runs being there already.

    Args:
        space: Key -> where it is searched: ``{low: 1e-4, high: 1, log: true}``, ``{low: 1, high: 8, whole: true}`` or
            ``{choices: [a, b]}``. ``log``: evenly in the logarithm.
        trials: Runs of the search.
        seeds: Seeds of the search; a number n is not legal, for 0 … n-1 are those that one reports.
        metric: The performance metric that counts; ``None``: the headline of the record.
        window: Last tasks that count; ``None``: a tenth of the stream.
        sampler: ``tpe`` (tree-structured Parzen estimator, Bergstra et al. 2011) or ``random``.
        sampler_seed: Seed of the proposals.

    Raises:
        ConfigError: one of them is wrong.
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        trials: int = 20,
        seeds: Sequence[int] = (1000, 1001, 1002, 1003, 1004),
        metric: str | None = None,
        window: int | None = None,
        sampler: str = "tpe",
        sampler_seed: int = 0,
    ) -> None:
        check_count("trials", trials)
        check_choice("sampler", sampler, ("tpe", "random"))
        check_count("sampler_seed", sampler_seed, 0)
        if window is not None:
            check_count("window", window)
        if not isinstance(space, Mapping) or not space:
            raise ConfigError("space", space, "keys and where to search each")
        for key, place in space.items():
            _check_place(f"space.{key}", place)
        self.space, self.trials, self.seeds = dict(space), trials, seed_list(seeds)
        self.metric, self.window, self.sampler, self.sampler_seed = metric, window, sampler, sampler_seed

    def corners(self) -> list[dict[str, Any]]:
        """All keys at their smallest value (or first choice), and all at their largest (or last)."""
        ends = {key: place.get("choices") or [place["low"], place["high"]] for key, place in self.space.items()}
        return [{key: values[end] for key, values in ends.items()} for end in (0, -1)]

    def run(self, goodness: Callable[[int, dict[str, Any]], float]) -> Iterator[Trial]:
        """The trials, one after another.

        Args:
            goodness: Makes the trial of this number with these values, and says how good it was: larger is better.

        Raises:
            LopError: Optuna is not installed.
        """
        try:
            import optuna
        except ImportError:
            raise LopError("tuning needs Optuna: pip install 'lop-lightning[tune]'") from None
        optuna.logging.set_verbosity(logging.WARNING)
        kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        study = optuna.create_study(direction="maximize", sampler=kinds[self.sampler](seed=self.sampler_seed))
        places = {key: _distribution(optuna.distributions, place) for key, place in self.space.items()}
        for number in range(self.trials):
            asked = study.ask(places)
            values = {key: _value(asked.params[key], self.space[key]) for key in self.space}
            found = goodness(number, values)
            found = found if math.isfinite(found) else -math.inf
            study.tell(asked, found)
            yield Trial(number, values, found)


def _check_place(key: str, place: Any) -> None:
    if not isinstance(place, Mapping):
        raise ConfigError(key, place, "{low: …, high: …, log: true} or {choices: […]}")
    if "choices" in place:
        if set(place) != {"choices"} or not isinstance(place["choices"], list | tuple) or not place["choices"]:
            raise ConfigError(key, dict(place), "{choices: [a, b, …]} and nothing else")
        return
    unknown = set(place) - {"low", "high", "log", "whole"}
    if unknown or not {"low", "high"} <= set(place):
        raise ConfigError(key, dict(place), "low and high, perhaps log and whole; or choices")
    log, whole = place.get("log", False), place.get("whole", False)
    check_number(f"{key}.low", place["low"], 0 if log else -math.inf, open_low=bool(log))
    check_number(f"{key}.high", place["high"], place["low"], open_low=True)
    for end in ("low", "high") if whole else ():
        check_count(f"{key}.{end}", place[end], -(2**53))


def _distribution(kinds: Any, place: Mapping[str, Any]) -> Any:
    if "choices" in place:
        return kinds.CategoricalDistribution(tuple(range(len(place["choices"]))))
    kind = kinds.IntDistribution if place.get("whole") else kinds.FloatDistribution
    return kind(place["low"], place["high"], log=bool(place.get("log", False)))


def _value(proposed: Any, place: Mapping[str, Any]) -> Any:
    """A choice is proposed by its number; a number is rounded, and stays inside."""
    if "choices" in place:
        return place["choices"][proposed]
    if isinstance(proposed, int):
        return proposed
    return min(max(float(f"{proposed:.{_DIGITS}g}"), float(place["low"])), float(place["high"]))
