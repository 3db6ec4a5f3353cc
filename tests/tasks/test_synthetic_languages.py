import unicodedata
from collections import Counter

import numpy as np
import pytest

from lop_lightning.errors import ConfigError
from lop_lightning.tasks.language.synthetic import LANGUAGES, WORDS, synthetic_sentences, vocabulary

PUBLISHED = [
    "spa", "por", "ita", "fra", "ron", "deu", "swe", "rus", "hin", "ara",
    "jpn", "kor", "tur", "nld", "ell", "pol", "ukr", "ces", "heb", "cmn",
]  # fmt: skip


def test_languages_are_the_published_ones():
    assert sorted(LANGUAGES) == sorted(PUBLISHED)


def test_a_sentence_is_a_function_of_language_and_number():
    long = synthetic_sentences("pol", 700)
    assert synthetic_sentences("pol", 20) == long[:20]


@pytest.mark.parametrize("language", PUBLISHED)
def test_sentences_are_as_tatoebas(language):
    own, style = synthetic_sentences(language, 400), LANGUAGES[language]
    assert len({one.text for one in own}) == len({one.number for one in own}) == 400
    assert all(one.language == language and one.text.endswith(style.end) for one in own)
    assert not any(character in one.text for one in own for character in "\t\n\r")
    assert len(set(vocabulary(language))) == WORDS
    if style.gap:
        lengths = {len(one.text.split()) for one in own}
        assert lengths == set(range(3, 13))
        later = {word for one in own for word in one.text[: -len(style.end)].split()[1:]}  # the first has a capital
        assert later <= set(vocabulary(language))


def test_numbers_are_of_one_sentence():
    numbers = [one.number for language in PUBLISHED for one in synthetic_sentences(language, 300)]
    assert len(set(numbers)) == len(numbers)


def test_words_are_as_common_as_zipf_and_mandelbrot_say():
    drawn = Counter(word.casefold() for one in synthetic_sentences("deu", 4000) for word in one.text[:-1].split())
    shares = 1 / (np.arange(WORDS) + 1 + 2.7)
    total = drawn.total()
    for rank in (0, 1, 10, 100):
        expected = total * shares[rank] / shares.sum()
        assert abs(drawn[vocabulary("deu")[rank].casefold()] - expected) < 5 * expected**0.5


def test_languages_of_a_family_share_words():
    def bare(language):
        plain = (unicodedata.normalize("NFD", word) for word in vocabulary(language))
        return {"".join(c for c in word if not unicodedata.combining(c)) for word in plain}

    def shared(one, other):
        return len(bare(one) & bare(other)) / WORDS

    assert min(shared("spa", "por"), shared("ita", "fra"), shared("deu", "swe"), shared("rus", "ukr")) > 0.25
    assert max(shared("spa", "deu"), shared("tur", "ita"), shared("nld", "ces")) < 0.05
    assert shared("rus", "pol") == 0  # another script


def test_scripts():
    def script(language):
        text = "".join(one.text for one in synthetic_sentences(language, 50))
        return {unicodedata.name(c).split()[0] for c in text if c.isalpha()}

    expected = {"spa": "LATIN", "rus": "CYRILLIC", "hin": "DEVANAGARI", "ara": "ARABIC", "heb": "HEBREW",
                "ell": "GREEK", "cmn": "CJK", "kor": "HANGUL"}  # fmt: skip
    assert {language: script(language) for language in expected} == {k: {v} for k, v in expected.items()}
    assert script("jpn") == {"HIRAGANA", "KATAKANA", "CJK"}


def test_no_such_language():
    with pytest.raises(ConfigError, match=r"languages=spn is not legal: expected one of .*did you mean 'spa'"):
        synthetic_sentences("spn", 3)
