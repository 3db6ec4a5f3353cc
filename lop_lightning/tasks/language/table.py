"""The tokens of all sentences, held once, and the sets of them that several seeds train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lop_lightning.tasks.base import Batch, StackedTask, in_batches
from lop_lightning.tasks.image_sets import seeds_of
from lop_lightning.tasks.language.sentences import Sentence
from lop_lightning.tasks.language.tokens import encode

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class TokenTable:
    """Sentences as tokens: the first of each language, then the second of each, and so on.

    Attributes:
        tokens: ``[n·L, length]``, int64, for L languages; 0 is padding, at the end.
        languages: How many, L. Sentence r is in language r mod L.
        truncated: Share of the sentences that were too long and have lost their ends.
    """

    tokens: Tensor
    languages: int
    truncated: float

    @classmethod
    def of(cls, tokenizer: Tokenizer, sentences: dict[str, list[Sentence]], length: int) -> TokenTable:
        """The table of as many sentences of each language."""
        texts = [one.text for row in zip(*sentences.values(), strict=True) for one in row]
        tokens, truncated = encode(tokenizer, texts, length)
        return cls(torch.from_numpy(tokens), len(sentences), truncated)

    def to(self, device: torch.device) -> TokenTable:
        """The same table on ``device``."""
        return TokenTable(self.tokens.to(device), self.languages, self.truncated)


@dataclass(frozen=True)
class Tables:
    """All that a stream of sentences holds.

    Attributes:
        train: Sentences for training.
        test: Sentences for testing.
        vocabulary: Tokens are below this.
    """

    train: TokenTable
    test: TokenTable
    vocabulary: int

    def to(self, device: torch.device) -> Tables:
        """The same tables on ``device``."""
        return Tables(self.train.to(device), self.test.to(device), self.vocabulary)


class TokenSet(StackedTask):
    """A choice of shared sentences for each seed; inputs ``[..., length]``, int64, targets int64.

    Args:
        table: The sentences of all seeds.
        rows: Which sentence each example is, ``[S, n]``, int64.
        labels: The class of each example, ``[S, n]``, int64.
    """

    def __init__(self, table: TokenTable, rows: Tensor, labels: Tensor) -> None:
        self.tokens, self.rows, self.labels = table.tokens, rows, labels
        self.size = rows.shape[1]

    def gather(self, order: Tensor) -> Batch:
        """See :class:`StackedTask`."""
        seeds = seeds_of(order)
        return self.tokens[self.rows[seeds, order]], self.labels[seeds, order]

    def slice(self, begin: int, end: int, batch: int) -> Batch:
        """See :class:`StackedTask`."""
        rows, labels = self.rows[:, begin:end], self.labels[:, begin:end]
        return self.tokens[in_batches(rows, batch)], in_batches(labels, batch)
