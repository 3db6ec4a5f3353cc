"""``lop -m +tune=NAME``: a search on seeds of its own, then the best setting on the seeds that one reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lop_lightning.config import build, composed, jobs, parse
from lop_lightning.config.overrides import command_of
from lop_lightning.config.sweeps import read_options
from lop_lightning.errors import LopError, nearest
from lop_lightning.report.table import number
from lop_lightning.search import Search
from lop_lightning.tuning import Say, Train, Tuning, words


def main(settings: Sequence[str], train: Train, say: Say) -> None:
    """A search for every combination of the other settings, each with the same number of trials on the same seeds.

    Args:
        settings: The command line, with one ``+tune=NAME`` and perhaps ``tune.trials=…`` and its like.
        train: Trains what a configuration describes, unless that is done.
        say: Takes a line for the person who asked.

    Raises:
        LopError: a setting is wrong (then nothing was trained), or a run failed in another way than by diverging.
    """
    search = search_of(settings)
    lines = jobs(parse([one for one in settings if not command_of(one) and not one.startswith("tune.")]))
    tunings = [Tuning(composed(line), search, train, say) for line in lines]
    for tuning in tunings:
        tuning.check()
    results = []
    for line, tuning in zip(lines, tunings):
        say(f"search: {search.trials} trials, {' '.join(line)}")
        results.append(tuning.run())
    Console().print(_table(results))
    for rule in dict.fromkeys(result["rule"] for result in results):
        say(rule)


def search_of(settings: Sequence[str]) -> Search:
    """The search that ``+tune=NAME`` and ``tune.…=…`` of a command line mean.

    Raises:
        LopError: there is none of that name, several are given, or a key of it is wrong.
    """
    names = [one.partition("=")[2] for one in settings if command_of(one) == "tune"]
    if len(names) != 1:
        raise LopError(f"one search at a time: +tune={', +tune='.join(names)}")
    node = read_options("tune", names[0])
    for override in parse([one for one in settings if one.startswith("tune.")]):
        key = override.key_or_group.removeprefix("tune.")
        if key not in node or override.is_sweep_override():
            legal = [name for name in node if name not in ("name", "_target_")]
            raise LopError(f"tune.{key} is not legal: one value for one of {', '.join(legal)}{nearest(key, legal)}")
        value = override.value()
        node[key] = value
    found: Search = build("tune", node)
    return found


def _table(results: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"tuned · {results[0]['metric']}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("method", "best of its search", "on the search's seeds", "on other seeds", "n"):
        table.add_column(name, justify="right" if "seeds" in name or name == "n" else "left")
    for result in results:
        cells = [_interval(result[part]) for part in ("search", "report")]
        table.add_row(result["method"], words(result["best"]), *cells, f"{result['report']['n']:.0f}")
    return table


def _interval(part: dict[str, Any]) -> str:
    bounds = "" if part["low"] != part["low"] else f" [{number(part['low'])}, {number(part['high'])}]"
    return number(part["estimate"]) + bounds
