"""Tokenisers: trained on sentences, or read from a file; nothing is ever downloaded.

Text is made plain as ``bert-base-uncased`` does it: lower case, no accents, words apart at white space and punctuation,
Chinese characters each a word. A sentence becomes ``[CLS] … [SEP]``; one that is too long loses what comes before
``[SEP]``. Token 0 is padding.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lop_lightning.errors import LopError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, FIRST, LAST = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SHORTEST = 3
"""Tokens that a sentence has at least: the first, the last, and one of the text."""
SMALLEST = 16
"""Tokens that are few enough to be a mistake."""


def library() -> Any:
    """The library of tokenisers, imported when it is first needed.

    It would use all cores, and warn when the process is forked later; one core does thousands of sentences in a second.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import tokenizers

    return tokenizers


def train(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) with at most ``vocabulary`` tokens, a function of the texts alone.

    Half of the tokens at most are single characters, the commonest, and of equally common ones those that come first
    in Unicode; any other character is unknown. Which pairs are merged does not depend on the order of the texts.
    """
    lib = library()
    made = lib.Tokenizer(lib.models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    _speak_bert(made)
    counts = Counter(character for text in texts for character in made.normalizer.normalize_str(text))
    common = sorted((c for c in counts if not c.isspace()), key=lambda c: (-counts[c], c))
    alphabet = common[: (vocabulary - len(SPECIAL)) // 2]
    made.train_from_iterator(
        texts,
        lib.trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            min_frequency=2,
            show_progress=False,
        ),
    )
    _enclose(made)
    return _ready(made)


def load(file: Path) -> Tokenizer:
    """A tokeniser from a file.

    Args:
        file: ``tokenizer.json`` of the ``tokenizers`` library, or, ending in ``.txt``, the list of words of an uncased
            BERT, a word a line, which is used as WordPiece (Devlin et al. 2019).

    Raises:
        LopError: the file is missing, damaged, or its token 0 is not padding.
    """
    if not file.is_file():
        raise LopError(f"there is no tokeniser {file}: expected tokenizer.json, or the vocab.txt of an uncased BERT")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LopError(f"{file} is no tokeniser: it is not in UTF-8") from None
    made = _word_pieces(file, text) if file.suffix == ".txt" else _from_json(file, text)
    padding = made.id_to_token(0)
    if padding is None or "pad" not in padding.lower():
        raise LopError(f"{file} does not fit: expected token 0 to be padding, and it is {padding!r}")
    return _ready(made)


def _word_pieces(file: Path, text: str) -> Tokenizer:
    words = text.removesuffix("\n").split("\n")
    numbers = {word: number for number, word in enumerate(words)}
    missing = [word for word in SPECIAL if word not in numbers]
    if missing:
        raise LopError(f"{file} is no list of BERT's words: expected one a line, and {', '.join(missing)} among them")
    if len(numbers) < len(words):
        twice = next(word for place, word in enumerate(words) if numbers[word] != place)
        raise LopError(f"{file} is no list of BERT's words: {twice!r} occurs twice")
    lib = library()
    made = lib.Tokenizer(lib.models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=100))
    _speak_bert(made)
    _enclose(made)
    return made


def _from_json(file: Path, text: str) -> Tokenizer:
    try:
        return library().Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain ones
        raise LopError(f"{file} is no tokeniser of the tokenizers library: {' '.join(str(error).split())}") from None


def _speak_bert(made: Tokenizer) -> None:
    lib = library()
    made.normalizer = lib.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = lib.pre_tokenizers.BertPreTokenizer()


def _enclose(made: Tokenizer) -> None:
    last, first = ((word, made.token_to_id(word)) for word in (LAST, FIRST))
    made.post_processor = library().processors.BertProcessing(last, first)


def _ready(made: Tokenizer) -> Tokenizer:
    made.no_padding()
    made.no_truncation()
    made.encode_special_tokens = True  # a text that has "[PAD]" in it means these characters
    return made


def size(tokenizer: Tokenizer) -> int:
    """One more than the largest token."""
    return max(tokenizer.get_vocab().values()) + 1


def encode(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> tuple[np.ndarray, float]:
    """The tokens of each text, ``[N, length]``, int64, padded by 0 at the end; the share of texts that were cut off.

    Raises:
        LopError: a text has no token but padding, or padding within it.
    """
    tokenizer.enable_truncation(length)
    rows, cut = np.zeros((len(texts), length), np.int64), 0
    for row, text, encoding in zip(rows, texts, tokenizer.encode_batch(texts)):
        row[: len(encoding)] = encoding.ids
        cut += bool(encoding.overflowing)
        if not len(encoding) or not row[: len(encoding)].all():
            raise LopError(f"the tokeniser does not fit: padding, token 0, is among the tokens of {text[:60]!r}")
    tokenizer.no_truncation()
    return rows, cut / max(1, len(texts))
