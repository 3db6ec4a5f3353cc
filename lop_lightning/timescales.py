"""``lop-timescales``: what networks have become that a curriculum has trained to remember.

Every analysis looks at networks as they were when they had solved an N. Its numbers are kept beside the run, a file a
network, so a second look (or one that was interrupted) computes only what is not there yet.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from lop_lightning.analysis.find import find_runs, labelled_across
from lop_lightning.analysis.networks import kept_solved, read_config
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.timescales.perturbation import KINDS
from lop_lightning.analysis.timescales.results import Results
from lop_lightning.analysis.timescales.solved import load_solved
from lop_lightning.analysis.timescales.studies import STUDIES, Study, chosen_networks
from lop_lightning.console import OneLineParser, count, numbers
from lop_lightning.errors import LopError
from lop_lightning.report.figures import save
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.progress import QUIET_SECONDS
from lop_lightning.report.steps_figure import shown_of, steps_lines, steps_plot
from lop_lightning.report.timescale_figures import PLOTS

STEPS = "steps"
HELP = {
    "trials": "series of random bits", "steps": "steps of each", "count": "units of each group",
    "repeats": "repeats, each with sequences of its own", "mode": "unit, or readout: leave it in the network",
    "kind": f"one of {', '.join(KINDS)}", "span": "how many N further", "periods": "periods of training on each",
    "batches": "batches of a test", "epsilon": "size of the perturbation",
    "perturbed": f"perturbed in one of these ways before: {', '.join(KINDS)}",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Analyses runs. Returns 0; what the user can mend is one line on stderr and exit code 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    errors = Console(stderr=True)
    with parser.mending():
        runs = labelled_across(find_runs(arguments.runs))
        written = _steps(runs, arguments) if arguments.study == STEPS else _study(runs, arguments, errors)
    for path in written:
        print(path)
    return 0


def measured(
    run: Run,
    name: str,
    options: Mapping[str, Any],
    ns: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    errors: Console | None = None,
    trust: bool = False,
) -> pd.DataFrame:
    """The table of an analysis of one run, from its kept results or computed now.

    Args:
        run: The run.
        name: Key of :data:`STUDIES`.
        options: Settings other than the analysis's own.
        ns: The N whose networks are looked at; ``None``: the analysis's own choice.
        seeds: The seeds; ``None``: all.
        errors: Where a progress bar goes.
        trust: See :func:`lop_lightning.analysis.networks.load_network`.

    Raises:
        LopError: there are no such networks, or a setting is not legal.
    """
    study = STUDIES[name]
    settings = {**study.options, **options}
    results = Results(run.directory, study.kept_as, settings)
    chosen = chosen_networks(run.directory, study.which, ns, seeds)
    config = read_config(run.directory, trust, "--trust allows it")
    tables, bar = [], _Bar(errors or Console(stderr=True), len(chosen))

    def compute(seed: int, n: int) -> pd.DataFrame:  # a network is built only where its table is not there
        return study.measure(load_solved(run.directory, seed, n, trust), config, settings, bar.within)

    try:
        for done, (n, seed) in enumerate(chosen):
            bar.at(done, f"{run.label}: N {n}, seed {seed}")
            updates = kept_solved(run.directory, seed, n)["updates"]
            tables.append(results.get(seed, n, updates, partial(compute, seed, n)))
    finally:
        bar.stop()
    return pd.concat(tables, ignore_index=True)


def _study(runs: Sequence[Run], arguments: argparse.Namespace, errors: Console) -> list[Path]:
    name, study = arguments.study, STUDIES[arguments.study]
    options = {key: getattr(arguments, key) for key in study.options}
    shown, complaints = [], []
    for run in runs:
        try:
            chosen_networks(run.directory, study.which, arguments.n, arguments.seeds)
        except LopError as error:  # of several runs, say a whole folder's, some may be beside the point
            complaints.append(str(error))
            continue
        shown.append(shown_of(run, measured(run, name, options, arguments.n, arguments.seeds, errors, arguments.trust)))
    if not shown:
        raise LopError(complaints[0])
    for complaint in complaints:
        errors.print(f"left out: {complaint}", soft_wrap=True, highlight=False, markup=False)
    folder = OutputFolder(arguments.out)
    written = []
    for title, plot in PLOTS[name](shown).items():
        written += save(plot, folder, title)
    everything = pd.concat([one.table.assign(run=one.label) for one in shown], ignore_index=True)
    target = folder.claim(f"{name}_all.csv")
    everything.to_csv(target, index=False, float_format="%.10g")
    return [*written, target]


def _steps(runs: Sequence[Run], arguments: argparse.Namespace) -> list[Path]:
    """Runs under a curriculum, and beside them those without one."""
    curricula, fresh = steps_lines(runs)
    folder, target = OutputFolder(arguments.out), "steps_to_solve"
    written = save(steps_plot(curricula, fresh), folder, target)
    table = folder.claim(f"{target}_all.csv")
    everything = [one.table.assign(run=one.label) for one in (*curricula, *fresh)]
    pd.concat(everything, ignore_index=True).to_csv(table, index=False)
    return [*written, table]


def _parser() -> OneLineParser:
    command = OneLineParser(prog="lop-timescales", description=(__doc__ or "").partition("\n")[0].partition(": ")[2])
    commands = command.add_subparsers(dest="study", required=True, metavar="ANALYSIS", parser_class=OneLineParser)
    for name, study in STUDIES.items():
        one = commands.add_parser(name, help=study.help, description=study.help)
        _common(one)
        one.add_argument("--n", type=numbers, metavar="N,N,…", help="networks that solved these N")
        one.add_argument("--seeds", type=numbers, metavar="S,S,…", help="of these seeds alone")
        one.add_argument("--trust", action="store_true", help="run classes of your own that no YAML of conf/ names")
        _options(one, study)
    help_ = "updates to solve N by a curriculum and by fresh networks (runs with task.curriculum=none)"
    _common(commands.add_parser(STEPS, help=help_, description=help_))
    return command


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run directories, or folders above them")
    parser.add_argument("--out", type=Path, default=Path("timescales"), help="where figures go (default: timescales)")


def _options(parser: argparse.ArgumentParser, study: Study) -> None:
    for key, value in study.options.items():
        kind = count if isinstance(value, int) else type(value)
        parser.add_argument(f"--{key}", type=kind, default=value, help=f"{HELP[key]} (default: {value})")


class _Bar:
    """Progress over networks and within one, shown once it takes more than a few seconds."""

    def __init__(self, console: Console, total: int) -> None:
        columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn(),
                   TextColumn("{task.description}", markup=False))  # fmt: skip
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.line, self.begun, self.done = self.progress.add_task("", total=total), time.monotonic(), 0

    def at(self, done: int, what: str) -> None:
        """So many networks are done, and this comes now."""
        self.done = done
        self.progress.update(self.line, completed=done, description=what)
        self._show()

    def within(self, part: int, whole: int) -> None:
        """How far the present network is."""
        self.progress.update(self.line, completed=self.done + part / max(1, whole))
        self._show()

    def stop(self) -> None:
        """Takes the bar away."""
        if self.progress.live.is_started:
            self.progress.stop()

    def _show(self) -> None:
        if not self.progress.live.is_started and time.monotonic() - self.begun > QUIET_SECONDS:
            self.progress.start()


if __name__ == "__main__":
    sys.exit(main())
