"""The seeds that a stream trains together."""

from __future__ import annotations

from collections.abc import Sequence

from lop_lightning.errors import ConfigError, check_count


def seed_list(seeds: int | Sequence[int]) -> list[int]:
    """``n`` → 0 … n-1; a list stays itself.

    Raises:
        ConfigError: the number is not positive, the list is empty, or a seed is negative or occurs twice.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        check_count("seeds", seeds)
        return list(range(seeds))
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        raise ConfigError("seeds", seeds, "a number of seeds, or a list of different whole numbers as [3,5,8]")
    chosen = list(seeds)
    if not chosen or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in chosen):
        raise ConfigError("seeds", chosen, "a number of at least 1, or a list of different whole numbers as [3,5,8]")
    twice = [s for s in dict.fromkeys(chosen) if chosen.count(s) > 1]
    if twice:
        raise ConfigError("seeds", chosen, f"different seeds ({twice[0]} occurs {chosen.count(twice[0])} times)")
    return chosen
