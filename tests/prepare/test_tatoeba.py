import bz2
import io
import json
import os
import subprocess
import sys
import tarfile

import pytest

from lop_lightning.prepare import sample, tatoeba
from lop_lightning.prepare.main import main
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.sentences import read_sentences, write_sentences
from lop_lightning.tasks.language.synthetic import synthetic_sentences

CODES = ("spa", "rus", "cmn")
FILES = ["manifest.json", "test.tsv", "tokenizer.json", "train.tsv"]
ROWS = [one for code in (*CODES, "deu") for one in synthetic_sentences(code, 40)]


def text(rows):
    return "".join(f"{one.number}\t{one.language}\t{one.text}\n" for one in rows).encode()


@pytest.fixture
def dump(tmp_path):
    file = tmp_path / "sentences.csv"
    file.write_bytes(b"5\t\\N\tunknown\n" + text(ROWS) + b"6\tspa\t  \n")
    return file


@pytest.fixture
def out(tmp_path):
    return tmp_path / "made" / "tatoeba"


def words(source, out, *more, sentences=12, test=4, languages=CODES):
    sources = source if isinstance(source, list) else [source]
    counts = ["--sentences", sentences, "--test-sentences", test, "--vocabulary", 90, "--languages", *languages]
    return ["tatoeba", "--exports", *map(str, sources), *map(str, counts), *map(str, more), "--out", str(out)]


def names_in(path):
    return sorted(file.name for file in path.iterdir())


def sentences_in(out, part):
    return [one for _, one in read_sentences(out / f"{part}.tsv")]


def content(out):
    assert names_in(out) == FILES
    return {name: (out / name).read_bytes() for name in FILES if name != "manifest.json"}


def refused(arguments, out, capsys, left_over=()):
    """The one line of a refusal; nothing new is left."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not out.parent.exists() or names_in(out.parent) == sorted(left_over)
    return line.strip()


def test_a_folder_is_made(dump, out, capsys):
    assert main(words(dump, out)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 languages of 8 sentences for training and 4 for testing"
    assert "CC BY 2.0 FR" in lines[2]
    assert lines[-1] == f"written to {out}"
    train, test = sentences_in(out, "train"), sentences_in(out, "test")
    assert [one.language for one in train] == [code for code in CODES for _ in range(8)]
    assert [one.language for one in test] == [code for code in CODES for _ in range(4)]
    assert len({*train, *test}) == 36
    assert {*train, *test} < set(ROWS)
    manifest = json.loads((out / "manifest.json").read_text())
    made = tokens.load(out / "tokenizer.json")
    assert manifest["sentences"] == {code: {"train": 8, "test": 4} for code in CODES}
    assert manifest["vocabulary"] == tokens.size(made) == 90
    assert "CC BY 2.0 FR" in manifest["attribution"]
    assert manifest["sources"] == ["sentences.csv"]
    assert made.to_str() == tokens.train([one.text for one in train], 90).to_str()  # no sentence for testing


def test_the_sample_does_not_depend_on_the_form_of_the_export(dump, out, tmp_path):
    main(words(dump, out))
    expected = content(out)
    backwards = tmp_path / "backwards.csv"
    write_sentences(backwards, ROWS[::-1])
    with tarfile.open(tmp_path / "sentences.tar.bz2", "w:bz2") as archive:
        member = tarfile.TarInfo("sentences.csv")
        member.size = dump.stat().st_size
        archive.addfile(member, io.BytesIO(dump.read_bytes()))
    folder = tmp_path / "per_language"
    folder.mkdir()
    for code in CODES:
        rows = text([one for one in ROWS if one.language == code])
        (folder / f"{code}_sentences.tsv.bz2").write_bytes(bz2.compress(rows))
    sources = [backwards, tmp_path / "sentences.tar.bz2", folder, [dump, folder]]  # the last has everything twice
    for number, source in enumerate(sources):
        other = tmp_path / f"other{number}"
        assert main(words(source, other)) == 0
        assert content(other) == expected
    other = tmp_path / "seeded"
    main(words(dump, other, "--seed", 1))
    assert content(other)["train.tsv"] != expected["train.tsv"]


def test_another_process_makes_the_same(dump, out, tmp_path):
    main(words(dump, out))
    other = tmp_path / "other"
    command = [sys.executable, "-m", "lop_lightning.prepare.main", *words(dump, other)]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "2"}, capture_output=True, check=True)
    assert content(other) == content(out)


def test_texts_that_are_alike_are_one(tmp_path, out):
    """The smallest number stands for them, so none is for training and for testing too."""
    file = tmp_path / "alike.csv"
    numbers = {"spa": range(12), "rus": range(50, 62)}
    rows = ((100 * n + k, code, n) for code, own in numbers.items() for n in own for k in (2, 1, 0))
    lines = (f"{number}\t{code}\t {f'A  b{n}' if number % 100 else f'a b{n}'}\n" for number, code, n in rows)
    file.write_text("".join(lines))
    main(words(file, out, languages=("spa", "rus")))
    found = [*sentences_in(out, "train"), *sentences_in(out, "test")]
    assert sorted(one.number for one in found) == [100 * n for own in numbers.values() for n in own]


def test_a_tokeniser_of_ones_own(dump, out, tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join([*tokens.SPECIAL, "a", "##b"]) + "\n")
    main(words(dump, out, "--tokenizer", vocabulary))
    assert tokens.load(out / "tokenizer.json").to_str() == tokens.load(vocabulary).to_str()
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["vocabulary"], manifest["tokenizer"]) == (6, "vocab.txt")


def test_synthetic_sentences_need_no_export(out, capsys):
    arguments = ["tatoeba", "--synthetic", "--sentences", "9", "--test-sentences", "2", "--vocabulary", "700"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("20 languages of 7 sentences")
    assert sentences_in(out, "test")[:2] == synthetic_sentences("spa", 2)
    assert "made-up" in json.loads((out / "manifest.json").read_text())["attribution"]


def test_too_few_and_unknown(dump, out, capsys):
    line = refused(words(dump, out, sentences=41), out, capsys)
    assert f"spa has 40 different sentences in {dump}: expected 41 (--sentences)" in line
    line = refused(words(dump, out, languages=("spa", "rsu")), out, capsys)
    assert "rsu has 0 different sentences" in line
    assert "did you mean 'rus'?" in line
    assert "expected fewer than --sentences" in refused(words(dump, out, test=12), out, capsys)
    assert "at least 2 languages" in refused(words(dump, out, languages=("spa",)), out, capsys)
    assert "(rus occurs twice)" in refused(words(dump, out, languages=("spa", "rus", "rus")), out, capsys)
    assert "did you mean 'spa'?" in refused(
        ["tatoeba", "--synthetic", "--languages", "spq", "rus", "--out", str(out)], out, capsys
    )
    assert "--vocabulary=3 is not legal" in refused([*words(dump, out), "--vocabulary", "3"], out, capsys)
    assert "there is no tokeniser" in refused(words(dump, out, "--tokenizer", out / "no.json"), out, capsys)


def test_exports_that_are_wrong(dump, out, tmp_path, capsys):
    whole = dump.read_bytes()
    dump.write_bytes(whole + "999\tspa\tmañana\n".encode("latin-1"))
    assert f"{dump}, line 163: is not in UTF-8" in refused(words(dump, out), out, capsys)
    dump.write_bytes(b"id,lang,text\n" + whole)
    assert f"{dump}, line 1: expected number, language and text" in refused(words(dump, out), out, capsys)
    dump.write_bytes(whole + text([ROWS[0]._replace(text="something else")]))
    line = refused(words(dump, out, sentences=40), out, capsys)
    assert f"{dump}, line 163: number {ROWS[0].number} was given before, to another sentence (spa: " in line
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has none of Tatoeba's exports" in refused(words(empty, out), out, capsys)
    assert "there is no" in refused(words(tmp_path / "nowhere.csv", out), out, capsys)


@pytest.mark.parametrize("line", [["tatoeba"], ["tatoba"], ["tatoeba", "--synthetic", "--exports", "x"],
                                  ["tatoeba", "--synthetic", "--sentences", "0"]])  # fmt: skip
def test_a_wrong_command_line(line, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(line)
    assert leaving.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert line != ["tatoba"] or "did you mean 'tatoeba'?" in message


def test_what_is_there_is_never_overwritten(dump, out, capsys):
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    assert "never overwritten" in refused(words(dump, out), out, capsys, ["tatoeba"])
    assert names_in(out) == ["mine.txt"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [(KeyboardInterrupt(), 130, "nothing was made"), (OSError(28, "No space left on device"), 2, "No space left")],
)
@pytest.mark.parametrize(("place", "name"), [(sample.Sample, "add"), (tatoeba, "write_corpus")])
def test_stopped_in_the_middle(place, name, error, code, says, dump, out, monkeypatch, capsys):
    whole = getattr(place, name)

    def stops(*arguments):
        if name == "write_corpus":
            whole(*arguments)
        assert names_in(out.parent) == ["tatoeba.part"]
        raise error

    monkeypatch.setattr(place, name, stops)
    try:
        left_with = main(words(dump, out))
    except SystemExit as leaving:
        left_with = leaving.code
    assert left_with == code
    message = capsys.readouterr().err
    assert says in message
    assert message.count("\n") == 1
    assert not out.parent.exists()
    monkeypatch.undo()
    assert main(words(dump, out)) == 0
    assert len(content(out)) == 3
