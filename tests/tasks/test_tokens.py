import os
import subprocess
import sys

import numpy as np
import pytest

from lop_lightning.errors import LopError
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.synthetic import synthetic_sentences

WORDS = ["[PAD]", "x", "[UNK]", "[CLS]", "[SEP]", "manana", "ho", "##la", "!", "你", "好", "[", "]", "pad"]
TEXTS = [one.text for language in ("spa", "por", "cmn", "hin") for one in synthetic_sentences(language, 150)]
IN_ANOTHER_PROCESS = """
import sys
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.synthetic import synthetic_sentences
texts = [one.text for language in ("spa", "por", "cmn", "hin") for one in synthetic_sentences(language, 150)]
made = tokens.train(texts, 300)
sys.stdout.buffer.write(made.to_str().encode())
"""


@pytest.fixture
def bert(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return file


def encoded(made, texts, length=8):
    return tokens.encode(made, texts, length)[0].tolist()


def test_the_words_of_bert(bert):
    """Lower case, no accents, Chinese characters apart, the longest piece first, a word unknown as a whole."""
    made = tokens.load(bert)
    assert tokens.size(made) == len(WORDS)
    assert encoded(made, ["Mañana", "HOLA hola!", "你好!", "holaz ho", "[PAD]"]) == [
        [3, 5, 4, 0, 0, 0, 0, 0],
        [3, 6, 7, 6, 7, 8, 4, 0],
        [3, 9, 10, 8, 4, 0, 0, 0],
        [3, 2, 6, 4, 0, 0, 0, 0],
        [3, 11, 13, 12, 4, 0, 0, 0],  # the characters, not padding in the middle
    ]


def test_cut_off_but_for_the_last(bert):
    made = tokens.load(bert)
    rows, truncated = tokens.encode(made, ["hola hola", "hola!", "ho"], 5)
    assert rows.tolist() == [[3, 6, 7, 6, 4], [3, 6, 7, 8, 4], [3, 6, 4, 0, 0]]
    assert truncated == 1 / 3
    assert tokens.encode(made, ["hola!"], 3)[0].tolist() == [[3, 6, 4]]
    assert tokens.encode(made, ["hola hola"], 6)[0].tolist() == [[3, 6, 7, 6, 7, 4]]  # a length is no memory


def test_trained_by_hand():
    """The commonest pair is merged first, and nothing that occurs once."""
    made = tokens.train(["aab aab", "ÁAB", "aac"], 4 + 3 * 2 + 2)
    words = made.get_vocab()
    assert [word for word, _ in sorted(words.items(), key=lambda item: item[1])] == [
        *tokens.SPECIAL,
        "a",
        "b",
        "c",
        "aa",
        "aab",
    ]
    a, c, aa, aab = (words[word] for word in ("a", "c", "aa", "aab"))
    assert encoded(made, ["aab aac", "aaa zz[PAD]"]) == [[2, aab, aa, c, 3, 0, 0, 0], [2, aa, a, 1, 1, 1, a, 3]]


def test_rare_characters_are_unknown():
    texts = ["你好 你好 天地 ab"]
    made = tokens.train(texts, 16)
    assert set(made.get_vocab()) == {*tokens.SPECIAL, "你", "好", "a", "b", "地", "天"}
    made = tokens.train([*texts, "abcdefgh"], 16)  # room for 6 characters of 12: the commonest, then the first
    assert set("你好abcd") <= set(made.get_vocab())
    assert not set("efgh天地") & set(made.get_vocab())


def test_training_is_a_function_of_the_texts(tmp_path):
    """Twice here, in whatever order of the texts, and in a process with another hash and more threads."""
    here = tokens.train(TEXTS, 300)
    assert tokens.size(here) == 300
    assert tokens.train(TEXTS, 300).to_str() == here.to_str() == tokens.train(TEXTS[::-1], 300).to_str()
    environment = {**os.environ, "PYTHONHASHSEED": "2", "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS], env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == here.to_str()
    (tmp_path / "tokenizer.json").write_text(here.to_str(), encoding="utf-8")
    read = tokens.load(tmp_path / "tokenizer.json")
    assert np.array_equal(tokens.encode(read, TEXTS, 9)[0], tokens.encode(here, TEXTS, 9)[0])


def test_padding_is_at_the_end_alone():
    rows, truncated = tokens.encode(tokens.train(TEXTS, 300), TEXTS, 20)
    lengths = (rows > 0).sum(1)
    assert rows.dtype == np.int64
    assert 0 < truncated < 1
    assert rows.max() < 300
    assert all((row[:n] > 0).all() and row[0] == 2 and row[n - 1] == 3 for row, n in zip(rows, lengths))


def test_files_that_are_no_tokenisers(tmp_path, bert):
    def refused(name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LopError) as error:
            tokens.load(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)
        return str(error.value)

    words = bert.read_text(encoding="utf-8")
    assert "[CLS], [SEP] among them" in refused("a.txt", b"[PAD]\nhola\n")
    assert "'x' occurs twice" in refused("b.txt", f"{words}x\n".encode())
    assert "not in UTF-8" in refused("c.txt", words.encode("utf-16"))
    assert "expected token 0 to be padding, and it is 'x'" in refused("d.txt", f"x\n{words.replace('x', 'y')}".encode())
    assert "is no tokeniser of the tokenizers library" in refused("e.json", b"{}")
    assert "is no tokeniser of the tokenizers library" in refused("f.json", b"<html>404</html>")
    swapped = tokens.train(TEXTS, 60).to_str().replace("[PAD]", "[BOS]")
    assert "it is '[BOS]'" in refused("g.json", swapped.encode())
    with pytest.raises(LopError, match="there is no tokeniser"):
        tokens.load(tmp_path / "nowhere.json")


def test_a_tokeniser_without_first_and_last(tmp_path):
    """A text of which nothing is left is no example."""
    from tokenizers import Tokenizer, models

    plain = Tokenizer(models.WordLevel({"<pad>": 0, "hola": 1, "?": 2}, unk_token="?"))
    plain.save(str(tmp_path / "tokenizer.json"))
    made = tokens.load(tmp_path / "tokenizer.json")
    assert encoded(made, ["hola"], 3) == [[1, 0, 0]]
    with pytest.raises(LopError, match="the tokeniser does not fit"):
        encoded(made, ["<pad>"], 3)
