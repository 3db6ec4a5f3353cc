"""Tatoeba's exports: number, language and text of a sentence a line, with tabs between them."""

from __future__ import annotations

import bz2
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from lop_lightning.errors import LopError

DUMPS = ("sentences.csv", "sentences.tar.bz2")
"""What the export of all languages is called, alone and packed."""


class Sentence(NamedTuple):
    """One sentence.

    Attributes:
        number: Its number at Tatoeba.
        language: Code of its language by ISO 639-3.
        text: What it says, without white space around it.
    """

    number: int
    language: str
    text: str


def language_file(language: str) -> str:
    """Name of the export of one language, which may be packed as ``.bz2``."""
    return f"{language}_sentences.tsv"


def export_files(source: Path, languages: Collection[str]) -> list[Path]:
    """The file, or the exports in the folder that can have sentences of ``languages``.

    Of a file and its packed form, the file is taken.

    Raises:
        LopError: there is no such file or folder, or no export in it.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise LopError(f"there is no {source}: expected an export of Tatoeba, or a folder of exports")
    places = ((language_file(one), f"{one}/{language_file(one)}") for one in languages)  # the second is Tatoeba's own
    alternatives = [DUMPS, *([*own, *(f"{name}.bz2" for name in own)] for own in places)]
    found = (next((source / name for name in names if (source / name).is_file()), None) for names in alternatives)
    if files := [file for file in found if file]:
        return files
    expected = f"{' or '.join(DUMPS)}, or {language_file('<language>')} (.bz2 or not) of the languages"
    raise LopError(f"{source} has none of Tatoeba's exports: expected {expected}")


def read_sentences(
    file: Path, languages: Collection[str] | None = None, seen: set[str] | None = None
) -> Iterator[tuple[int, Sentence]]:
    """Line number and sentence of every line of an export, in the order of the file; blank texts are left out.

    Args:
        file: The export: plain, ``.bz2``, or ``sentences.csv`` in a ``.tar.bz2``.
        languages: Only sentences in one of these; ``None``: all.
        seen: Takes up the codes of all languages that occur.

    Raises:
        LopError: the file is missing, damaged, or a line of it is not number, language and text in UTF-8; the line is
            named. The text of a sentence in another language is not looked at.
    """
    wanted = None if languages is None else {one.encode() for one in languages}
    codes: set[bytes] = set()
    with _opened(file) as lines:
        for place, line in enumerate(lines, 1):
            parts = line.rstrip(b"\r\n").split(b"\t")
            if len(parts) != 3 or not parts[0].isdigit() or not parts[1]:
                if not line.strip():
                    continue
                found = line[:60].decode(errors="replace").strip()
                expected = "number, language and text in UTF-8 with tabs between them"
                raise LopError(f"{file}, line {place}: expected {expected}, and found {found!r}")
            if parts[1] not in codes:
                codes.add(parts[1])
                if seen is not None:
                    seen.add(parts[1].decode(errors="replace"))
            if wanted is not None and parts[1] not in wanted:
                continue
            try:
                language, text = parts[1].decode(), parts[2].decode().strip()
            except UnicodeDecodeError as error:
                raise LopError(f"{file}, line {place}: is not in UTF-8 ({error.reason})") from None
            if text:
                yield place, Sentence(int(parts[0]), language, text)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The lines of an export; whatever is wrong with the file while they are read is one line."""
    try:
        if file.name.endswith(".tar.bz2"):
            with tarfile.open(file, "r|bz2") as archive:
                yield _member(file, archive)
        elif file.suffix == ".bz2":
            with bz2.open(file) as lines:
                yield lines
        else:
            with file.open("rb") as lines:
                yield lines
    except FileNotFoundError:
        raise LopError(f"there is no {file}") from None
    except (OSError, EOFError, tarfile.TarError) as error:
        raise LopError(f"{file} is damaged or cannot be read: {' '.join(str(error).split())}") from error


def _member(file: Path, archive: tarfile.TarFile) -> IO[bytes]:
    for member in archive:
        content = archive.extractfile(member) if Path(member.name).name == DUMPS[0] else None
        if content is not None:
            return content
    raise LopError(f"{file} has no {DUMPS[0]} in it")


def write_sentences(file: Path, sentences: list[Sentence]) -> None:
    """Writes sentences as Tatoeba does."""
    with file.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(f"{one.number}\t{one.language}\t{one.text}\n" for one in sentences)
