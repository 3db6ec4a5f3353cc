"""Sentences of several languages, for training and for testing: made up, or in a folder of ``lop-prepare tatoeba``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lop_lightning.errors import ConfigError, LopError, check_choice
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.sentences import Sentence, read_sentences, write_sentences
from lop_lightning.tasks.language.synthetic import synthetic_sentences

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TRAIN, TEST, TOKENIZER, MANIFEST = "train.tsv", "test.tsv", "tokenizer.json", "manifest.json"
HELP = "lop-prepare tatoeba makes such a folder, and task.source=synthetic needs none"


@dataclass(frozen=True)
class Corpus:
    """Sentences by language, the languages in the order of their classes.

    Attributes:
        train: For training, as many of each language.
        test: For testing, as many of each language.
    """

    train: dict[str, list[Sentence]]
    test: dict[str, list[Sentence]]

    @classmethod
    def split(cls, sentences: dict[str, list[Sentence]], test_sentences: int) -> Corpus:
        """The first sentences of each language for testing, the others for training."""
        return cls(
            {language: own[test_sentences:] for language, own in sentences.items()},
            {language: own[:test_sentences] for language, own in sentences.items()},
        )

    def tokenizer(self, vocabulary: int) -> Tokenizer:
        """A tokeniser trained on the sentences for training, and on no other."""
        return tokens.train([one.text for own in self.train.values() for one in own], vocabulary)


def synthetic_corpus(languages: Sequence[str], sentences: int, test_sentences: int) -> Corpus:
    """Made-up sentences, ``sentences`` of each language.

    Raises:
        ConfigError: a language is unknown.
    """
    return Corpus.split({one: synthetic_sentences(one, sentences) for one in languages}, test_sentences)


# ---- the folder


def write_corpus(folder: Path, corpus: Corpus, tokenizer: Tokenizer, about: dict[str, Any]) -> None:
    """Writes train.tsv and test.tsv as Tatoeba does, tokenizer.json, and manifest.json with counts and ``about``."""
    write_sentences(folder / TRAIN, [one for own in corpus.train.values() for one in own])
    write_sentences(folder / TEST, [one for own in corpus.test.values() for one in own])
    (folder / TOKENIZER).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    counts = {one: {"train": len(corpus.train[one]), "test": len(corpus.test[one])} for one in corpus.train}
    manifest = {**about, "vocabulary": tokens.size(tokenizer), "sentences": counts}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_corpus(folder: Path, languages: Sequence[str], sentences: int, test_sentences: int) -> Corpus:
    """The first sentences of each language for training and for testing, as the folder has them apart.

    Args:
        folder: Folder of ``lop-prepare tatoeba``.
        languages: Codes of the languages.
        sentences: Sentences of each language, those for testing included.
        test_sentences: How many of them are for testing.

    Raises:
        ConfigError: a language is not there, or has fewer sentences.
        LopError: a file is missing or damaged.
    """
    for name in (TRAIN, TEST):
        if not (folder / name).is_file():
            raise LopError(f"there is no {(folder / name).absolute()}: {HELP}")
    train = _first(folder / TRAIN, languages, sentences - test_sentences, "task.sentences", test_sentences)
    return Corpus(train, _first(folder / TEST, languages, test_sentences, "task.test_sentences", 0))


def _first(file: Path, languages: Sequence[str], count: int, key: str, besides: int) -> dict[str, list[Sentence]]:
    """The first ``count`` sentences of each language; ``key`` asks for so many, and for ``besides`` elsewhere."""
    found: dict[str, list[Sentence]] = {one: [] for one in languages}
    seen: set[str] = set()
    for _, one in read_sentences(file, languages, seen):
        found[one.language].append(one)
    for language, own in found.items():
        check_choice("task.languages", language, sorted(seen))
        if len(own) < count:
            most = f"at most {len(own) + besides}, as {file} has {len(own)} sentences of {language}"
            raise ConfigError(key, count + besides, most)
    return {language: own[:count] for language, own in found.items()}


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokeniser.

    Raises:
        LopError: tokenizer.json or manifest.json is missing or damaged, or they are not of one making.
    """
    made = tokens.load(folder / TOKENIZER)
    try:
        promised = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["vocabulary"]
    except FileNotFoundError:
        raise LopError(f"there is no {(folder / MANIFEST).absolute()}: {HELP}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LopError(f"{folder / MANIFEST} is damaged: {error}; {HELP}") from error
    if promised != tokens.size(made):
        has = f"{folder / TOKENIZER} has {tokens.size(made)} tokens, and {MANIFEST} says {promised}"
        raise LopError(f"{has}: the tokeniser was changed after the folder was made; {HELP}")
    return made
