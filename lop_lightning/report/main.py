"""``lop-report``: figures, tables and a page from runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lop_lightning.analysis.curves import AXES, Axis
from lop_lightning.analysis.find import find_runs, group_by_task, labelled_across, relabelled
from lop_lightning.analysis.labels import stream_titles
from lop_lightning.analysis.over_epochs import RULES
from lop_lightning.analysis.runs import Run
from lop_lightning.console import OneLineParser
from lop_lightning.report.arguments import check, count, level, names, one_of
from lop_lightning.report.paper_figures import PAPERS
from lop_lightning.report.progress import tracked
from lop_lightning.report.streams import not_compared, stream_of

PROGRAM = "lop-report"


def parser() -> OneLineParser:
    """The command line."""
    result = OneLineParser(prog=PROGRAM, description="Figures, tables and one page from runs.")
    result.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run directories, or folders above them")
    result.add_argument("--out", type=Path, help="folder of the comparison (default: report, beside the runs)")
    result.add_argument("--metrics", type=names, metavar="a,b", help="only these metrics (default: all)")
    result.add_argument("--level", type=level, default=0.95, help="coverage of the intervals (default: 0.95)")
    result.add_argument("--window", type=count, help="tasks at either end (default: a tenth of the stream)")
    result.add_argument("--figures", type=one_of(PAPERS), metavar="PAPER", help=f"draw a paper's: {', '.join(PAPERS)}")
    result.add_argument(
        "--over-epochs",
        type=one_of(RULES),
        metavar="RULE",
        help=f"a task of several rows is their {', '.join(RULES)} (default: last, of online series the mean)",
    )
    result.add_argument("--x", type=one_of(AXES), default="task", help=f"draw against {' or '.join(AXES)}")
    result.add_argument("--bin", type=count, help="average so many consecutive tasks into a point, drop the remainder")
    result.add_argument("--horizontal", metavar="RUN", help="draw this run (label, method, network) as its mean")
    result.add_argument("--relative-to", metavar="RUN", help="draw performance also minus that of this run")
    result.add_argument("--across-streams", action="store_true", help="compare runs whose streams differ all the same")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Make a report. Returns 0; a wrong path or argument is one line on stderr and exit code 2."""
    command = parser()
    arguments = command.parse_args(argv)
    console, errors = Console(), Console(stderr=True)
    with command.mending():
        any_length = arguments.figures is not None  # a paper's methods may have been run on streams of several lengths
        runs = [run.changed(over_epochs=arguments.over_epochs) for run in find_runs(arguments.runs, any_length)]
        runs = _with_rows(runs, errors, any_length)
        groups = group_by_task(runs, any_length)
        if arguments.across_streams and len(groups) > 1:
            runs = labelled_across(runs)
            groups = [runs]
        check(runs, groups, arguments)

    from lop_lightning.report.build import build, plan  # matplotlib: only once there is something to draw
    from lop_lightning.report.choice import Choice

    out = arguments.out.resolve() if arguments.out else _common_parent(runs) / "report"
    titles = stream_titles([group[0].config for group in groups]) if len(groups) > 1 else [stream_of(groups[0])]
    choice = Choice(
        arguments.metrics, arguments.level, arguments.window, Axis(arguments.x, arguments.bin), arguments.horizontal,
        arguments.relative_to, arguments.figures,
    )  # fmt: skip
    streams = dict(zip(titles, groups))
    with command.mending():
        drawings = plan(streams, out, choice, errors)
    if len(groups) > 1 and not arguments.figures:
        errors.print(f"{PROGRAM}: {not_compared(groups)}", soft_wrap=True, highlight=False, markup=False)
    with command.mending():  # a file in the way, a folder that cannot be written
        tables = build(streams, drawings, out, choice, errors)
    for table in tables:
        console.print(table)
    console.print(f"report: {out / 'report.html'}", soft_wrap=True, highlight=False)
    return 0


def _with_rows(runs: list[Run], errors: Console, any_length: bool) -> list[Run]:
    """The runs that have recorded something; the others are named and left out."""
    full = []
    for run in tracked(runs, lambda run: f"reading {run.directory}", errors):
        if len(run.record):
            full.append(run)
        elif len(runs) > 1:
            errors.print(
                f"{PROGRAM}: {run.directory}: has recorded nothing yet, left out", soft_wrap=True, highlight=False
            )
    if not full:
        raise ValueError(f"{runs[0].directory}: has recorded nothing yet")
    return full if len(full) == len(runs) else relabelled(full, any_length)


def _common_parent(runs: list[Run]) -> Path:
    """The folder above all runs; a single run's own directory."""
    return Path(os.path.commonpath([run.directory for run in runs]))


if __name__ == "__main__":
    sys.exit(main())
