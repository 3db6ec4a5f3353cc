"""A sample of sentences that does not depend on the order in which they come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path

from lop_lightning.errors import LopError
from lop_lightning.randomness import stable_hash
from lop_lightning.tasks.language.sentences import Sentence


class Sample:
    """Of each language the sentences whose hash of (seed, language, text) is smallest, so many, and no more in memory.

    Texts that differ in case and white space alone are one, and the sentence with the smallest number stands for them.
    Sentences are the same wherever they stand in whatever files; a few new ones at Tatoeba change a few of the sample.

    Args:
        languages: Codes of the languages.
        count: Sentences of each.
        seed: Another seed is another sample.
    """

    def __init__(self, languages: Sequence[str], count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._heaps: dict[str, list[int]] = {language: [] for language in languages}
        self._kept: dict[str, dict[int, Sentence]] = {language: {} for language in languages}
        self._numbers: dict[int, Sentence] = {}

    def add(self, one: Sentence, file: Path, line: int) -> None:
        """Takes the sentence in, or not.

        Raises:
            LopError: it has the number of another one that is in the sample.
        """
        heap, kept = self._heaps[one.language], self._kept[one.language]
        key = stable_hash(self.seed, one.language, " ".join(one.text.casefold().split()))
        if len(heap) == self.count and key > -heap[0]:
            return
        other = self._numbers.get(one.number)
        if other is not None and other != one:
            raise LopError(
                f"{file}, line {line}: number {one.number} was given before, to another sentence ({other.language}: "
                f"{other.text[:40]!r}); are these exports of different weeks?"
            )
        same = kept.get(key)
        if same is not None and same.number <= one.number:
            return
        if same is None:
            heapq.heappush(heap, -key)
        else:
            del self._numbers[same.number]
        kept[key] = self._numbers[one.number] = one
        if len(heap) > self.count:
            del self._numbers[kept.pop(-heapq.heappop(heap)).number]

    def sentences(self) -> dict[str, list[Sentence]]:
        """The sample, in the order of the hashes, which is as good as random; some languages may have too few."""
        return {language: [kept[key] for key in sorted(kept)] for language, kept in self._kept.items()}
