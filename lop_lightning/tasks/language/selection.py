"""Which sentences a stream has and how they become tokens, as the configuration says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lop_lightning.errors import ConfigError, check_choice, check_count, check_folder
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.corpus import TOKENIZER, Corpus, read_corpus, read_tokenizer, synthetic_corpus
from lop_lightning.tasks.language.synthetic import LANGUAGES
from lop_lightning.tasks.language.table import Tables, TokenTable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SOURCES = ("synthetic", "files")


@dataclass(frozen=True)
class Selection:
    """The settings of :class:`lop_lightning.tasks.language.stream.LanguageStream` that say what its sentences are.

    Raises:
        ConfigError: a value is out of its range, languages are unknown, or one occurs twice.
    """

    source: str
    data_dir: str
    languages: Sequence[str]
    sentences: int
    test_sentences: int
    max_length: int
    vocabulary: int
    tokenizer: str | None

    def __post_init__(self) -> None:
        check_choice("source", self.source, SOURCES)
        check_folder("data_dir", self.data_dir)
        check_count("sentences", self.sentences, 2)
        check_count("test_sentences", self.test_sentences, 1, self.sentences - 1)
        check_count("max_length", self.max_length, tokens.SHORTEST)
        check_count("vocabulary", self.vocabulary, tokens.SMALLEST)
        if self.tokenizer is not None and (not isinstance(self.tokenizer, str) or not self.tokenizer):
            raise ConfigError("tokenizer", self.tokenizer, "the path of a file, or null")
        check_languages("languages", self.languages, self.source == "synthetic")
        object.__setattr__(self, "languages", tuple(self.languages))

    def tables(self) -> Tables:
        """The sentences as tokens. Made-up ones are kept for the next stream with the same settings.

        Raises:
            ConfigError: the files have fewer sentences, not these languages, or more tokens.
            LopError: a file is missing or damaged.
        """
        return _made_up(self) if self.source == "synthetic" and self.tokenizer is None else _tables(self)


def check_languages(key: str, languages: Sequence[str], synthetic: bool) -> None:
    """Raises ConfigError unless there are two different languages or more, which, if ``synthetic``, can be made up."""
    if isinstance(languages, str) or not isinstance(languages, Sequence) or len(languages) < 2:
        raise ConfigError(key, languages, "a list of at least 2 languages, as [spa, rus]: of one, a task has one class")
    for number, language in enumerate(languages):
        if synthetic:
            check_choice(key, language, LANGUAGES)
        if not isinstance(language, str) or not language:
            raise ConfigError(key, language, "codes of languages, as [spa, rus]")
        if language in languages[:number]:
            raise ConfigError(key, list(languages), f"different languages ({language} occurs twice)")


def _tables(chosen: Selection) -> Tables:
    counts = chosen.languages, chosen.sentences, chosen.test_sentences
    folder = Path(chosen.data_dir).expanduser()
    corpus = synthetic_corpus(*counts) if chosen.source == "synthetic" else read_corpus(folder, *counts)
    tokenizer = _tokenizer(chosen, folder, corpus)
    train, test = (TokenTable.of(tokenizer, part, chosen.max_length) for part in (corpus.train, corpus.test))
    return Tables(train, test, tokens.size(tokenizer))


_made_up = lru_cache(maxsize=2)(_tables)


def _tokenizer(chosen: Selection, folder: Path, corpus: Corpus) -> Tokenizer:
    if chosen.tokenizer is not None:
        file = Path(chosen.tokenizer).expanduser()
        read = tokens.load(file)
    elif chosen.source == "files":
        file = folder / TOKENIZER
        read = read_tokenizer(folder)
    else:
        return corpus.tokenizer(chosen.vocabulary)
    if tokens.size(read) > chosen.vocabulary:
        expected = f"at least {tokens.size(read)}, the tokens of {file}"
        raise ConfigError("task.vocabulary", chosen.vocabulary, expected)
    return read
