"""``lop-wandb``: send runs to Weights & Biases later, and write the workspace to look at them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from lop_lightning.console import OneLineParser
from lop_lightning.wandb_tools import dashboard, sync


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0; what the user can mend is one line on stderr and exit code 2."""
    command = OneLineParser(prog="lop-wandb", description="Runs at Weights & Biases.")
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sync.add_arguments(commands.add_parser("sync", help="send records of runs, whole or what is missing"))
    dashboard.add_arguments(commands.add_parser("dashboard", help="write the workspace: panels in sections"))
    arguments = command.parse_args(argv)
    with command.mending():
        if arguments.command == "sync":
            for line in sync.sync(arguments, Console(stderr=True)):
                print(line, flush=True)
        else:
            print(dashboard.dashboard(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
