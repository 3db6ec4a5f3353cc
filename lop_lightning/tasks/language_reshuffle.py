"""Language reshuffle: the sentences stay, and each task gives the languages new class numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lop_lightning.randomness import generator
from lop_lightning.tasks.language.selection import Selection
from lop_lightning.tasks.language.stream import LanguageStream


class LanguageReshuffle(LanguageStream):
    """Which of L languages a sentence is in; each task, the first included, permutes the L classes anew.

    Inputs ``[n, max_length]``, int64, tokens with padding, 0, at the end; targets ``[n]``, int64: π(language), the
    same π for training and for the held-out set ``test``; cross-entropy on L outputs.

    Args:
        tasks: Number of tasks.
        source: ``synthetic`` (made-up languages, no files; :mod:`lop_lightning.tasks.language.synthetic`) or ``files``
            (made by ``lop-prepare tatoeba``).
        data_dir: Folder of the files.
        languages: Codes of the languages (ISO 639-3), 2 at least.
        sentences: Sentences of each language.
        test_sentences: How many of them are for testing, in every task the same.
        max_length: Tokens of an input; a longer sentence loses what comes before its last token, ``[SEP]``.
        vocabulary: Tokens of the tokeniser at most. One that is trained has fewer where there is little text; one that
            is read must not have more.
        tokenizer: File of a tokeniser to use instead of the folder's, or of one that is trained (see
            :func:`lop_lightning.tasks.language.tokens.load`).
        batch_size: Examples an update; ``None`` is the full batch.
        epochs_per_task: Passes over the sentences for training a task lasts, each a Lightning epoch.
        shuffle: Whether each pass draws its own order; else the first sentence of each language, the second, and so on.
        probe_size: Sentences for training that plasticity is measured on, the first ones, at most.
        seeds: See :class:`TaskStream`.
        chunk: See :class:`TaskStream`.

    Raises:
        ConfigError: a value is out of its range; or, when data are first needed, the files have fewer sentences, not
            these languages, or more tokens.
        LopError: when data are first needed and a file is missing or damaged.

    Source: Khan et al. (2025), "Loss of Plasticity in Recurrent Models" (``lang-reshuffle``). There sentences are split
    without regard to their language, and chosen by their place in that week's dump.
    """

    def __init__(
        self,
        tasks: int = 100,
        source: str = "synthetic",
        data_dir: str = "data/tatoeba",
        languages: Sequence[str] = ("spa", "por", "ita", "fra", "ron", "deu", "cmn", "rus", "hin", "ara"),
        sentences: int = 3000,
        test_sentences: int = 400,
        max_length: int = 25,
        vocabulary: int = 4000,
        tokenizer: str | None = None,
        batch_size: int | None = 512,
        epochs_per_task: int = 30,
        shuffle: bool = True,
        probe_size: int = 2000,
        seeds: int | Sequence[int] = 1,
        chunk: int | str = "auto",
    ) -> None:
        selection = Selection(
            source, data_dir, languages, sentences, test_sentences, max_length, vocabulary, tokenizer
        )  # fmt: skip
        outputs = len(languages)
        super().__init__(tasks, selection, outputs, batch_size, epochs_per_task, shuffle, probe_size, seeds, chunk)

    def classes_of(self, seed: int, index: int) -> np.ndarray:
        """See :class:`LanguageStream`: π⁻¹, a permutation of the languages."""
        return generator(seed, "language classes", index).permutation(self.outputs)
