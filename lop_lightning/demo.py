"""``make demo``: four methods on one stream, thirty seeds each, and a report of which of them lose plasticity."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from lop_lightning.config import composed
from lop_lightning.errors import LopError
from lop_lightning.report.main import main as report
from lop_lightning.train import run

METHODS = ("bp", "l2", "shrink_and_perturb", "cbp")
METRICS = ("online_loss", "post_loss", "weight_magnitude", "gradient_norm", "dead_units", "effective_rank")
"""What the report draws: every metric would take longer than a method takes to train."""


def main(arguments: list[str] | None = None) -> int:
    """Trains what is not trained yet, reports, and returns the exit code.

    Further arguments are settings for every run, as on ``lop``'s command line (``task.tasks=20 seeds=5``).
    """
    parser = argparse.ArgumentParser(prog="python -m lop_lightning.demo", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"), help="where the runs and the report go")
    options, settings = parser.parse_known_args(arguments)
    console = Console(stderr=True)
    try:
        directories = []
        for number, method in enumerate(METHODS, 1):
            console.rule(f"{number}/{len(METHODS)}  {method}")
            line = [f"experiment=demo/{method}", f"runs_dir={options.runs}", *settings]
            directories.append(str(run(composed(line)).path))
    except LopError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    console.rule("report")
    return report([*directories, "--out", str(options.runs / "report"), "--metrics", ",".join(METRICS)])


if __name__ == "__main__":
    sys.exit(main())
