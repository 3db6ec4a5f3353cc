"""``lop-prepare``: data sets in the form that the streams read."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from lop_lightning.console import OneLineParser
from lop_lightning.errors import LopError, nearest
from lop_lightning.prepare import imagenet32, tatoeba
from lop_lightning.prepare.base import Preparation

PROGRAM = "lop-prepare"
DATA_SETS: dict[str, Preparation] = {
    "imagenet32": imagenet32.PREPARATION,
    "tatoeba": tatoeba.PREPARATION,
}


def parser() -> OneLineParser:
    """The command line: the name of a data set, then its own options."""
    result = OneLineParser(
        prog=PROGRAM, description="Makes the files that a stream reads from those that are published."
    )
    names = result.add_subparsers(dest="data_set", metavar="DATA_SET", required=True, help="what to prepare:")
    for name, preparation in DATA_SETS.items():
        own = names.add_parser(name, help=preparation.summary, description=preparation.summary)
        preparation.add_arguments(own)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare one data set. Returns 0; what the user can mend is one line on stderr and exit code 2; SIGINT is 130."""
    command, words = parser(), list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in DATA_SETS:
        known = list(DATA_SETS)
        command.error(f"{words[0]!r} is no data set: expected one of {', '.join(known)}{nearest(words[0], known)}")
    arguments = command.parse_args(words)
    try:
        for line in DATA_SETS[arguments.data_set].prepare(arguments, Console(stderr=True)):
            print(line)
    except LopError as error:
        command.error(str(error))
    except OSError as error:  # a disk that is full, a folder that cannot be written to
        where = error.filename or getattr(arguments, "out", "")
        command.error(f"{where}: {error.strerror or error}")
    except KeyboardInterrupt:
        print(f"{PROGRAM}: SIGINT: stopped; nothing was made", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
