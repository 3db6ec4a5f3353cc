"""Short names for runs: the method, plus what differs between the configurations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lop_lightning.errors import as_written

SCIENCE = ("task", "model", "algo", "optimizer", "seeds")
"""Sections that have their own place in a label; the others are spoken of only when runs could not be told apart."""


LENGTHS = ("tasks", "task_length")
"""Keys of a task's configuration that say how long the stream and a task are, not what is learnt."""

ELSEWHERE = ("data_dir",)
"""Keys of a task's configuration that say where its data lie, which changes no number."""

LABELLED = ("model", "optimizer", "task.task_length")
"""What a label speaks of besides the method, among runs of one stream."""

ACROSS = ("task", "model", "optimizer")
"""What a label speaks of besides the method, among runs of different streams."""

MOST_VALUES = 4


def same_task(config: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """A key that two runs share when their ``task`` sections are equal, but for the keys ``without`` and the folder."""
    task = {key: value for key, value in config["task"].items() if key not in (*without, *ELSEWHERE)}
    return json.dumps(task, sort_keys=True, default=str)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping -> ``{"optimizer.lr": 0.01, ...}``; lists are leaves; ``_target_`` and its like are left out."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if str(key).startswith("_"):
            continue
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def run_labels(runs: Sequence[tuple[Mapping[str, Any], str]], general: Sequence[str] = LABELLED) -> list[str]:
    """Labels for runs of one stream, given (configuration, directory name): ``cbp``, ``bp lr=0.01``, ``bp adam``.

    The method's name, then every value of the ``general`` sections or keys (model, optimiser, the task's length;
    :data:`ACROSS` for different streams), or of the method (compared among runs of that method only) that differs. Runs
    that are still alike get the other sections' differences, then their seeds, then their directory's name.
    """
    configs = [without_folders(flat(config)) for config, _ in runs]
    labels = [str(config["algo.name"]) for config in configs]
    everyone = list(range(len(runs)))
    of_method = [_differences([_sections(configs[i], ["algo"]) for i in alike]) for alike in _alike(labels)]
    own = dict(zip([i for alike in _alike(labels) for i in alike], [words for group in of_method for words in group]))
    shared = _differences([_sections(configs[i], general) for i in everyone])
    labels = [" ".join([labels[i], *shared[i], *own[i]]) for i in everyone]

    def other(alike: list[int]) -> list[str]:
        rest = [[section for section in runs[i][0] if section not in SCIENCE] for i in alike]
        return [" ".join(words) for words in _differences([_sections(configs[i], s) for i, s in zip(alike, rest)])]

    def seeds(alike: list[int]) -> list[str]:
        words = [f"seeds={_seeds(configs[i].get('seeds', []))}" for i in alike]
        return words if len(set(words)) > 1 else [""] * len(alike)

    def directory(alike: list[int]) -> list[str]:
        return [runs[i][1] for i in alike]

    for more in (other, seeds, directory):
        for alike in _alike(labels):
            if len(alike) > 1:
                for i, word in zip(alike, more(alike)):
                    labels[i] = f"{labels[i]} {word}".strip()
    return labels


def stream_titles(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Titles for different streams: the task's name, plus what differs among the streams of that name."""
    tasks = [{key: value for key, value in flat(config["task"]).items() if key not in ELSEWHERE} for config in configs]
    titles = [str(task["name"]) for task in tasks]
    for alike in _alike(titles):
        for i, words in zip(alike, _differences([tasks[i] for i in alike])):
            titles[i] = " ".join([titles[i], *words])
    return titles


def stream_differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """In what the streams of some runs differ: ``task digits / mnist``, ``task.max_length 25 / 50``.

    The task's name, and the keys in which streams of the same name differ; of many values the first few.
    """
    tasks = [without_folders(flat({"task": config["task"]})) for config in configs]
    names = [str(task["task.name"]) for task in tasks]
    found = {"task": list(dict.fromkeys(names))} if len(set(names)) > 1 else {}
    for alike in _alike(names):
        for key in dict.fromkeys(key for i in alike for key in tasks[i]):
            values = list(dict.fromkeys(as_written(tasks[i].get(key, "absent")) for i in alike))
            if len(values) > 1:
                found[key] = list(dict.fromkeys([*found.get(key, []), *values]))
    return [
        f"{key} {' / '.join(values[:MOST_VALUES])}{' / …' if len(values) > MOST_VALUES else ''}"
        for key, values in found.items()
    ]


def without_folders(config: Mapping[str, Any]) -> dict[str, Any]:
    """A flat configuration without the task's keys of :data:`ELSEWHERE`."""
    return {key: value for key, value in config.items() if key not in [f"task.{name}" for name in ELSEWHERE]}


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Indices of equal names, a list for each name."""
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(name, []).append(i)
    return list(groups.values())


def _sections(config: Mapping[str, Any], sections: Sequence[str]) -> dict[str, Any]:
    """The part of a flat configuration that belongs to some sections, or is one of these keys."""
    return {key: value for key, value in config.items() if key in sections or key.split(".")[0] in sections}


def _differences(configs: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """For each flat configuration, the words for the values that are not the same in all that have the key.

    A key that only some have (momentum, where the others train with Adam) is implied by a name that differs.
    """
    keys = list(dict.fromkeys(key for config in configs for key in config))
    differing = [key for key in keys if len({repr(config[key]) for config in configs if key in config}) > 1]
    last = Counter(key.rsplit(".", 1)[-1] for key in differing)
    short = {key: key if last[key.rsplit(".", 1)[-1]] > 1 else key.rsplit(".", 1)[-1] for key in differing}
    return [[_word(key, short[key], config[key]) for key in differing if key in config] for config in configs]


def _word(key: str, short: str, value: object) -> str:
    if key.endswith("name"):
        return str(value)  # `bp adam`, not `bp name=adam`
    return f"{short}={value:g}" if isinstance(value, float) else f"{short}={value}"


def _seeds(seeds: Sequence[int]) -> str:
    """``0–9`` for consecutive seeds, else the list."""
    if len(seeds) > 1 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ",".join(map(str, seeds))
