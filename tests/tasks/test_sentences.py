import bz2
import io
import tarfile

import pytest

from lop_lightning.errors import LopError
from lop_lightning.tasks.language.sentences import Sentence, export_files, read_sentences, write_sentences

ROWS = [
    '12\tspa\tHola "mundo", dijo.',
    "7\trus\tПривет!",
    "900\t\\N\tmystery",
    "13\tspa\t   ",
    "14\tcmn\t你好。",
    "15\tspa\t  'Adiós'  ",
]
TRUE = [
    (1, Sentence(12, "spa", 'Hola "mundo", dijo.')),
    (2, Sentence(7, "rus", "Привет!")),
    (5, Sentence(14, "cmn", "你好。")),
    (6, Sentence(15, "spa", "'Adiós'")),
]
TEXT = "\n".join(ROWS).encode() + b"\n"


def packed(file, text=TEXT, name="sentences.csv"):
    with tarfile.open(file, "w:bz2") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return file


@pytest.fixture
def exports(tmp_path):
    """The same rows in all the forms that there are."""
    (tmp_path / "sentences.csv").write_bytes(TEXT)
    (tmp_path / "windows.csv").write_bytes(TEXT.replace(b"\n", b"\r\n"))
    (tmp_path / "spa_sentences.tsv.bz2").write_bytes(bz2.compress(TEXT))
    (tmp_path / "spa_sentences.tsv").write_bytes(TEXT)
    packed(tmp_path / "sentences.tar.bz2")
    return tmp_path


def test_every_form_of_an_export_is_read_alike(exports):
    """Quotation marks mean themselves, blank texts are left out, and a language may be unknown."""
    files = sorted(exports.iterdir())
    assert len(files) == 5
    for file in files:
        seen = set()
        assert list(read_sentences(file, ["spa", "rus", "cmn"], seen)) == TRUE
        assert seen == {"spa", "rus", "cmn", "\\N"}
        assert list(read_sentences(file, ["rus"])) == TRUE[1:2]
        assert len(list(read_sentences(file))) == 5


def test_what_is_written_is_read(tmp_path):
    own = [one for _, one in TRUE]
    write_sentences(tmp_path / "own.tsv", own)
    assert [one for _, one in read_sentences(tmp_path / "own.tsv")] == own
    assert (tmp_path / "own.tsv").read_bytes().splitlines()[0] == ROWS[0].encode()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (b"16 spa Hola", "line 3: expected number, language and text in UTF-8 with tabs between them, and found '16"),
        (b"16\tspa", "line 3: expected number"),
        (b"16\tspa\tHola\tana\t2010", "line 3: expected number"),
        (b"x\tspa\tHola", "line 3: expected number"),
        (b"16\t\tHola", "line 3: expected number"),
        ("16\tspa\tMañana".encode("latin-1"), "line 3: is not in UTF-8"),
        ("16\tspa\tMañana".encode("utf-16"), "line 3: expected number"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["sentences.csv", "x.tsv.bz2", "sentences.tar.bz2"])
def test_lines_that_are_wrong(tmp_path, row, says, form):
    text, file = b"1\trus\tDa\n\n" + row + b"\n", tmp_path / form
    if form.endswith("tar.bz2"):
        packed(file, text)
    else:
        file.write_bytes(bz2.compress(text) if form.endswith("bz2") else text)
    with pytest.raises(LopError) as error:
        list(read_sentences(file, ["spa"]))
    assert str(error.value).startswith(f"{file}, {says}")
    assert "\n" not in str(error.value)


def test_files_that_are_wrong(tmp_path):
    whole = bz2.compress(TEXT * 50)
    for name, content in (("a.tsv.bz2", whole[:-20]), ("b.tsv.bz2", TEXT), ("sentences.tar.bz2", whole)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LopError, match=f"{name} is damaged or cannot be read"):
            list(read_sentences(tmp_path / name))
    (tmp_path / "c.tar.bz2").write_bytes(packed(tmp_path / "d.tar.bz2").read_bytes()[:-30])
    with pytest.raises(LopError, match=r"c.tar.bz2 is damaged"):
        list(read_sentences(tmp_path / "c.tar.bz2"))
    with pytest.raises(LopError, match=r"has no sentences\.csv in it"):
        list(read_sentences(packed(tmp_path / "e.tar.bz2", name="links.csv")))
    with pytest.raises(LopError, match="there is no"):
        list(read_sentences(tmp_path / "f.csv"))


def test_exports_of_a_folder(exports, tmp_path):
    named = lambda languages: [str(file.relative_to(tmp_path)) for file in export_files(tmp_path, languages)]  # noqa: E731
    assert named(["rus", "spa"]) == ["sentences.csv", "spa_sentences.tsv"]  # plain before packed
    (tmp_path / "sentences.csv").unlink()
    (tmp_path / "rus").mkdir()  # as at Tatoeba's, a folder a language
    (tmp_path / "rus" / "rus_sentences.tsv.bz2").write_bytes(b"")
    assert named(["rus", "spa"]) == ["sentences.tar.bz2", "rus/rus_sentences.tsv.bz2", "spa_sentences.tsv"]
    (tmp_path / "sentences.tar.bz2").unlink()
    assert export_files(tmp_path / "windows.csv", ["deu"]) == [tmp_path / "windows.csv"]
    with pytest.raises(LopError, match="has none of Tatoeba's exports"):
        export_files(tmp_path, ["deu"])
    with pytest.raises(LopError, match="there is no"):
        export_files(tmp_path / "nowhere", ["deu"])
