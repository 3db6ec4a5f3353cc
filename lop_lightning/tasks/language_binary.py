"""Language pairs: each task tells two languages apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lop_lightning.randomness import generator
from lop_lightning.tasks.language.selection import Selection
from lop_lightning.tasks.language.stream import LanguageStream


class LanguageBinary(LanguageStream):
    """Which of two languages a sentence is in; a task is an ordered pair (i, j), i ≠ j, with i as 0 and j as 1.

    Inputs ``[n, max_length]``, int64, tokens with padding, 0, at the end; targets ``[n]``, int64, 0 or 1; cross-entropy
    on two outputs. The held-out set is ``test``. Of L languages all L(L - 1) ordered pairs come once, in an order of
    the seed's own, then all of them again in another order, and so on.

    Args:
        tasks: Number of tasks.
        source: ``synthetic`` (made-up languages, no files; :mod:`lop_lightning.tasks.language.synthetic`) or ``files``
            (made by ``lop-prepare tatoeba``).
        data_dir: Folder of the files.
        languages: Codes of the languages (ISO 639-3), 2 at least.
        sentences: Sentences of each language.
        test_sentences: How many of them are for testing, in every task the same: none is ever trained on.
        max_length: Tokens of an input; a longer sentence loses what comes before its last token, ``[SEP]``.
        vocabulary: Tokens of the tokeniser at most. One that is trained has fewer where there is little text; one that
            is read must not have more.
        tokenizer: File of a tokeniser to use instead of the folder's, or of one that is trained (see
            :func:`lop_lightning.tasks.language.tokens.load`).
        batch_size: Examples an update; ``None`` is the full batch.
        epochs_per_task: Passes over the sentences for training a task lasts, each a Lightning epoch.
        shuffle: Whether each pass draws its own order; else the two languages take turns.
        probe_size: Sentences for training that plasticity is measured on, the first ones, half of each language.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range; or, when data are first needed, the files have fewer sentences, not
            these languages, or more tokens.
        LopError: when data are first needed and a file is missing or damaged.

    Source: Khan et al. (2025), "Loss of Plasticity in Recurrent Models" (``lang-binary``). There every task splits its
    sentences anew, so that a later task tests on sentences that an earlier one trained on.
    """

    def __init__(
        self,
        tasks: int = 100,
        source: str = "synthetic",
        data_dir: str = "data/tatoeba",
        languages: Sequence[str] = (
            "spa", "por", "ita", "fra", "ron", "deu", "swe", "rus", "hin", "ara", "jpn", "kor", "tur", "nld", "ell",
            "pol", "ukr", "ces", "heb", "cmn",
        ),
        sentences: int = 3000,
        test_sentences: int = 600,
        max_length: int = 50,
        vocabulary: int = 4000,
        tokenizer: str | None = None,
        batch_size: int | None = 128,
        epochs_per_task: int = 30,
        shuffle: bool = True,
        probe_size: int = 2000,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:  # fmt: skip
        selection = Selection(
            source, data_dir, languages, sentences, test_sentences, max_length, vocabulary, tokenizer
        )  # fmt: skip
        super().__init__(tasks, selection, 2, batch_size, epochs_per_task, shuffle, probe_size, seeds, chunk)

    def classes_of(self, seed: int, index: int) -> np.ndarray:
        """See :class:`LanguageStream`: the pair (i, j)."""
        count = len(self.selection.languages)
        block, place = divmod(index, count * (count - 1))
        pair = generator(seed, "language pairs", block).permutation(count * (count - 1))[place]
        first, other = divmod(int(pair), count - 1)
        return np.array([first, other + (other >= first)])
