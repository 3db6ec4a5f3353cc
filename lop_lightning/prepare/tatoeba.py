"""Sentences of Tatoeba for the language streams: a sample of each language, split, and a tokeniser."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lop_lightning.errors import LopError, nearest
from lop_lightning.prepare.base import Preparation, count, tracked
from lop_lightning.prepare.folder import new_folder
from lop_lightning.prepare.sample import Sample
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.corpus import Corpus, synthetic_corpus, write_corpus
from lop_lightning.tasks.language.selection import check_languages
from lop_lightning.tasks.language.sentences import Sentence, export_files, read_sentences
from lop_lightning.tasks.language.synthetic import LANGUAGES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SENTENCES, TEST_SENTENCES = 3200, 600  # 2600 for training: enough for both streams as published
TRAINED = "train"
ATTRIBUTION = (
    "Sentences by the contributors of Tatoeba (https://tatoeba.org), CC BY 2.0 FR "
    "(https://creativecommons.org/licenses/by/2.0/fr/); sentence N is https://tatoeba.org/sentences/show/N"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``lop-prepare tatoeba``."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--exports", type=Path, nargs="+", metavar="PATH",
        help="sentences.csv, sentences.tar.bz2, LANG_sentences.tsv(.bz2), or folders of them",
    )  # fmt: skip
    source.add_argument("--synthetic", action="store_true", help="made-up languages, for trying things out")
    parser.add_argument("--out", type=Path, default=Path("data/tatoeba"), help="new folder (%(default)s)")
    parser.add_argument(
        "--languages", nargs="+", default=list(LANGUAGES), metavar="LANG",
        help=f"codes by ISO 639-3 ({' '.join(LANGUAGES)})",
    )  # fmt: skip
    parser.add_argument(
        "--sentences", type=count, default=SENTENCES, metavar="N", help="sentences a language (%(default)s)"
    )
    parser.add_argument(
        "--test-sentences", type=count, default=TEST_SENTENCES, metavar="N", help="of them for testing (%(default)s)"
    )
    parser.add_argument(
        "--tokenizer", default=TRAINED, metavar="train|FILE",
        help="train one on the training sentences, or a tokenizer.json, or the vocab.txt of bert-base-uncased",
    )  # fmt: skip
    parser.add_argument(
        "--vocabulary", type=count, default=4000, metavar="N", help="tokens of one that is trained (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed is another sample (%(default)s)")


def prepare(arguments: argparse.Namespace, console: Console) -> Iterable[str]:
    """Writes ``<out>/train.tsv`` and ``test.tsv``, ``tokenizer.json`` and ``manifest.json``.

    Raises:
        LopError: an option is wrong, an export is missing or damaged, or a language has too few sentences; nothing is
            then left.
    """
    check(arguments)
    given = None if arguments.tokenizer == TRAINED else tokens.load(Path(arguments.tokenizer).expanduser())
    with new_folder(arguments.out) as folder:
        if arguments.synthetic:
            corpus = synthetic_corpus(arguments.languages, arguments.sentences, arguments.test_sentences)
        else:
            corpus = Corpus.split(sampled(arguments, console), arguments.test_sentences)
        tokenizer = given or corpus.tokenizer(arguments.vocabulary)
        about = {
            "attribution": "made-up sentences" if arguments.synthetic else ATTRIBUTION,
            "sources": [str(path.name) for path in arguments.exports or ()],
            "seed": arguments.seed,
            "tokenizer": "trained on train.tsv" if given is None else Path(arguments.tokenizer).name,
        }
        write_corpus(folder, corpus, tokenizer, about)
        lines = list(summary(corpus, tokenizer, arguments))
    return [*lines, f"written to {arguments.out}"]


def check(arguments: argparse.Namespace) -> None:
    """Raises LopError for what the parser does not see."""
    check_languages("--languages", arguments.languages, arguments.synthetic)
    if arguments.test_sentences >= arguments.sentences:
        most = f"expected fewer than --sentences, which is {arguments.sentences}"
        raise LopError(f"--test-sentences={arguments.test_sentences} is not legal: {most}")
    if arguments.vocabulary < tokens.SMALLEST:
        raise LopError(f"--vocabulary={arguments.vocabulary} is not legal: expected at least {tokens.SMALLEST}")


def sampled(arguments: argparse.Namespace, console: Console) -> dict[str, list[Sentence]]:
    """Sentences of each language from the exports.

    Raises:
        LopError: an export is missing or damaged, or a language has too few sentences.
    """
    languages: list[str] = arguments.languages
    files = [file for source in arguments.exports for file in export_files(source.expanduser(), languages)]
    sample, seen = Sample(languages, arguments.sentences, arguments.seed), set[str]()

    def rows() -> Iterator[None]:
        for file in files:
            for line, one in read_sentences(file, languages, seen):
                sample.add(one, file, line)
                yield

    for _ in tracked(rows(), "reading sentences", console):
        pass
    found = sample.sentences()
    for language, own in found.items():
        if len(own) < arguments.sentences:
            where = ", ".join(str(source) for source in arguments.exports)
            close = "" if own else nearest(language, sorted(seen))
            has = f"{language} has {len(own)} different sentences in {where}"
            raise LopError(f"{has}: expected {arguments.sentences} (--sentences){close}")
    return found


def summary(corpus: Corpus, tokenizer: Tokenizer, arguments: argparse.Namespace) -> Iterator[str]:
    """What was made."""
    train, test = arguments.sentences - arguments.test_sentences, arguments.test_sentences
    yield f"{len(corpus.train)} languages of {train} sentences for training and {test} for testing"
    yield f"{tokens.size(tokenizer)} tokens"
    if not arguments.synthetic:
        yield "the sentences are Tatoeba's, CC BY 2.0 FR: see manifest.json"


PREPARATION = Preparation(
    "sentences of Tatoeba, for the language streams: a sample and a tokeniser", add_arguments, prepare
)
