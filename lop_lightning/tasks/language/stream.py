"""What streams of sentences have in common: a task chooses among sentences that all seeds share, and names classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from lop_lightning.tasks.base import Batch, StackedTask, StreamSpec, Task
from lop_lightning.tasks.image_sets import whole
from lop_lightning.tasks.language.selection import Selection
from lop_lightning.tasks.language.table import Tables, TokenSet, TokenTable
from lop_lightning.tasks.stream import TaskStream


class LanguageStream(TaskStream):
    """A stream of tasks in which the language of a sentence is to be told.

    Inputs ``[n, max_length]``, int64, tokens with padding, 0, at the end; targets ``[n]``, int64; cross-entropy. The
    held-out set is ``test``. A sentence is for training or for testing once and for all. Examples are the first
    sentence of each class of the task, then the second of each, and so on, so that the beginning has all classes.

    Args:
        tasks: Number of tasks.
        selection: Which sentences there are, and how they become tokens.
        outputs: Classes of a task.
        batch_size: See :class:`TaskStream`.
        epochs_per_task: See :class:`TaskStream`.
        shuffle: See :class:`TaskStream`.
        probe_size: See :class:`TaskStream`.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.
    """

    def __init__(
        self,
        tasks: int,
        selection: Selection,
        outputs: int,
        batch_size: int | None,
        epochs_per_task: int,
        shuffle: bool,
        probe_size: int,
        seeds: int | Sequence[int],
        chunk: int | str,
    ) -> None:
        super().__init__(tasks, seeds, batch_size, 1, epochs_per_task, shuffle, probe_size, chunk)
        self.selection, self.outputs = selection, outputs
        self._tables: Tables | None = None

    @abstractmethod
    def classes_of(self, seed: int, index: int) -> np.ndarray:
        """For each output of the task, the number of the language that is its class, ``[outputs]``."""

    @property
    def spec(self) -> StreamSpec:
        """See :class:`TaskStream`; needs the sentences, since their tokeniser knows the size of the vocabulary."""
        shape = (self.selection.max_length,)
        return StreamSpec(shape, self.outputs, "cross_entropy", vocabulary=self.tables.vocabulary)

    @property
    def notes(self) -> tuple[str, ...]:
        """See :class:`TaskStream`: how many sentences are longer than ``max_length``."""
        cut, length = self.tables.train.truncated, self.selection.max_length
        line = f"task.max_length={length}: {cut:.1%} of the sentences have more tokens and lose what is beyond"
        return (line,) if cut else ()

    @property
    def task_size(self) -> int:
        """See :class:`TaskStream`."""
        return self.outputs * (self.selection.sentences - self.selection.test_sentences)

    @property
    def tables(self) -> Tables:
        """The sentences as tokens, read or made up when they are first needed, and held once for all seeds."""
        self._tables = (self._tables or self.selection.tables()).to(self.device)
        return self._tables

    def task(self, seed: int, index: int) -> Task:
        """See :class:`TaskStream`; ``info`` has the language of each class and the shares of sentences cut short."""
        train, test = (self._set(table, [seed], index) for table in (self.tables.train, self.tables.test))
        languages = [self.selection.languages[number] for number in self.classes_of(seed, index)]
        truncated = {"train": self.tables.train.truncated, "test": self.tables.test.truncated}
        return Task(index, whole(train), {"test": whole(test)}, info={"languages": languages, "truncated": truncated})

    def probe(self, seed: int, index: int) -> Batch:
        """See :class:`TaskStream`."""
        return whole(self._set(self.tables.train, [seed], index), self.probe_size)

    def load(self, index: int) -> StackedTask:
        """See :class:`TaskStream`; the seeds share the sentences."""
        return self._set(self.tables.train, self.seeds, index)

    def load_evaluation(self, index: int) -> dict[str, StackedTask]:
        """See :class:`TaskStream`."""
        return {"test": self._set(self.tables.test, self.seeds, index)}

    def _set(self, table: TokenTable, seeds: list[int], index: int) -> TokenSet:
        """All sentences of the task's languages; within each round of them the languages keep their order."""
        classes = np.stack([self.classes_of(seed, index) for seed in seeds])
        label = np.argsort(classes, axis=1)
        rounds = np.arange(len(table.tokens) // table.languages) * table.languages
        rows = rounds[:, None] + np.sort(classes, axis=1)[:, None]
        labels = np.broadcast_to(label[:, None], rows.shape)
        as_tensor = (torch.from_numpy(part.reshape(len(seeds), -1)).to(self.device) for part in (rows, labels))
        return TokenSet(table, *as_tensor)
