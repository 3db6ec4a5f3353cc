"""Made-up languages in the place of true ones: words of letters in a chain, shared within a family, in true scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from lop_lightning.errors import check_choice
from lop_lightning.randomness import generator
from lop_lightning.tasks.language.sentences import Sentence

LETTERS, VOWELS = 24, 6
"""Of the sounds that all languages have, the first six are vowels."""
WORDS = 600
"""Words of a language."""
KINSHIP = 0.8
"""Share of a language's words that come from its family's list."""
OFFSET = 2.7
"""Of Zipf and Mandelbrot's law."""
BLOCK = 256
"""Sentences drawn at once, so that one of them costs little."""
SHORTEST, LONGEST = 3, 12
"""Words of a sentence."""

LATIN = "aeiouybcdfghjklmnprstvwz"
CYRILLIC = "аеиоуыбцдфгхжклмнпрствщз"
GREEK = "αειουωβγδζηθκλμνξπρστφχψ"
HEBREW = "אהויעחבגדזטכלמנסםפצקרשתן"
ARABIC = "اويىةهبتثجحخدرزسشصطعغفقل"
DEVANAGARI = "अइउएओऐकखगघचजझटडतथदनपबमरल"
HANGUL = [chr(0xAC00 + 588 * (place % 19) + 28 * (place * 5 % 21)) for place in range(96)]
KANA = [chr(0x3042 + 2 * place) for place in range(20)] + [chr(0x30A2 + 2 * place) for place in range(20)]
HAN = [chr(0x4E00 + 37 * place) for place in range(240)]


@dataclass(frozen=True)
class Language:
    """How a language is made.

    Attributes:
        family: Languages of one family share words and how letters follow each other.
        script: What its sounds are written with: one sign for each of 24 sounds, or more signs, one a syllable.
        own: Sounds that it writes in a way of its own, by their number.
        gap: Between two words.
        end: After a sentence.
    """

    family: str
    script: str | list[str]
    own: tuple[tuple[int, str], ...] = ()
    gap: str = " "
    end: str = "."


LANGUAGES = {
    "spa": Language("romance", LATIN, ((14, "ñ"), (3, "ó"))),
    "por": Language("romance", LATIN, ((7, "ç"), (0, "ã"))),
    "ita": Language("romance", LATIN, ((4, "ù"),)),
    "fra": Language("romance", LATIN, ((1, "é"), (7, "ç"))),
    "ron": Language("romance", LATIN, ((0, "ă"), (18, "ș"))),
    "deu": Language("germanic", LATIN, ((4, "ü"), (18, "ß"))),
    "cmn": Language("sinitic", HAN, gap="", end="。"),
    "rus": Language("slavic", CYRILLIC),
    "hin": Language("indic", DEVANAGARI, end="।"),
    "ara": Language("semitic", ARABIC),
    "swe": Language("germanic", LATIN, ((0, "å"), (3, "ö"))),
    "jpn": Language("japonic", [*KANA, *HAN[:120]], gap="", end="。"),
    "kor": Language("koreanic", HANGUL),
    "tur": Language("turkic", LATIN, ((2, "ı"), (18, "ş"), (10, "ğ"))),
    "nld": Language("germanic", LATIN, ((5, "ij"),)),
    "ell": Language("hellenic", GREEK),
    "pol": Language("slavic", LATIN, ((13, "ł"), (0, "ą"))),
    "ukr": Language("slavic", CYRILLIC, ((5, "і"),)),
    "ces": Language("slavic", LATIN, ((17, "ř"), (1, "ě"))),
    "heb": Language("semitic", HEBREW),
}
"""By the codes of the true ones (ISO 639-3)."""


def synthetic_sentences(language: str, count: int) -> list[Sentence]:
    """The first ``count`` different sentences of a language, a function of the language alone.

    A sentence has 3 to 12 words, all numbers equally likely, drawn on their own: word r of the language with
    probability ∝ 1 / (r + 2.7), after Zipf and Mandelbrot.

    Raises:
        ConfigError: there is no such language.
    """
    check_choice("languages", language, LANGUAGES)
    found: dict[str, Sentence] = {}
    block = 0
    while len(found) < count:
        for one in _block(language, block):
            found.setdefault(one.text, one)
        block += 1
    return list(found.values())[:count]


def _block(language: str, block: int) -> list[Sentence]:
    rng, style = generator(0, "synthetic sentences", language, block), LANGUAGES[language]
    lengths = rng.integers(SHORTEST, LONGEST, BLOCK, endpoint=True)
    shares = np.cumsum(1 / (np.arange(1, WORDS + 1) + OFFSET))
    drawn = np.searchsorted(shares, rng.uniform(0, shares[-1], (BLOCK, LONGEST)))
    words, place = vocabulary(language), list(LANGUAGES).index(language)
    texts = (style.gap.join(words[r] for r in ranks[:length]) for ranks, length in zip(drawn, lengths))
    return [
        Sentence(
            1 + place + len(LANGUAGES) * (BLOCK * block + number), language, text[0].upper() + text[1:] + style.end
        )
        for number, text in enumerate(texts)
    ]


@cache
def vocabulary(language: str) -> list[str]:
    """The 600 words of a language, the commonest first, all different.

    At each place is the family's word of that place with probability 0.8, and else a word of its own.
    """
    style, rng = LANGUAGES[language], generator(0, "synthetic words", language)
    family = generator(0, "synthetic family", style.family)
    follows = _chain(family)
    shared = _words(family, follows, WORDS)
    own = _words(rng, follows * rng.uniform(0.2, 1.8, follows.shape), WORDS)
    kin = rng.uniform(size=WORDS) < KINSHIP
    chosen = [word if is_kin else other for word, other, is_kin in zip(shared, own, kin)]
    written = dict.fromkeys(_written(style, word) for word in chosen)
    for word in _words(rng, follows, WORDS):  # in the place of those that are written alike
        written.setdefault(_written(style, word))
    return list(written)[:WORDS]


def _chain(rng: np.random.Generator) -> np.ndarray:
    """Weights of each sound after each other, ``[24, 24]``: vowels and consonants take turns, mostly."""
    weights = rng.gamma(0.4, size=(LETTERS, LETTERS)) + 0.01
    vowel = np.arange(LETTERS) < VOWELS
    weights[np.equal.outer(vowel, vowel)] *= 0.15
    return weights


def _words(rng: np.random.Generator, follows: np.ndarray, count: int) -> list[np.ndarray]:
    """``count`` words of 2 to 8 sounds; of a word of one chain, each sound depends on the one before."""
    lengths = np.clip(rng.poisson(3.0, count) + 2, 2, 8)
    shares = np.cumsum(follows / follows.sum(1, keepdims=True), axis=1)
    sounds = np.empty((count, 8), np.int64)
    sounds[:, 0] = rng.integers(0, LETTERS, count)
    for place in range(1, 8):
        chances = shares[sounds[:, place - 1]]
        sounds[:, place] = (chances < rng.uniform(0, 1, (count, 1)) * chances[:, -1:]).sum(1)
    return [word[:length] for word, length in zip(sounds, lengths)]


def _written(style: Language, word: np.ndarray) -> str:
    if len(style.script) == LETTERS:
        own = dict(style.own)
        return "".join(own.get(sound, style.script[sound]) for sound in word.tolist())
    syllables = [word[place : place + 2] for place in range(0, len(word), 2)]
    return "".join(style.script[int(np.dot(s, (7, 1)[: len(s)])) % len(style.script)] for s in syllables)
