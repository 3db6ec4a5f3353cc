"""``lop-hebbian``: what plastic networks have become that a curriculum has trained to recognise what comes back.

``visualise`` looks at one network, ``generalise`` tests networks at other intervals R (its numbers are kept beside the
run, a file a network, so that nothing is tested twice), ``progress`` says how far runs have come.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console

from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.hebbian.activity import FRAMES, watch
from lop_lightning.analysis.hebbian.answers import chance
from lop_lightning.analysis.hebbian.generalisation import GEOMETRIC, LINEAR, generalisation, intervals_of
from lop_lightning.analysis.hebbian.labels import shortly_labelled
from lop_lightning.analysis.hebbian.metadata import metadata
from lop_lightning.analysis.hebbian.progress import reached, stages, trained_over_updates
from lop_lightning.analysis.hebbian.snapshots import LETTER, chosen_networks, load_snapshot, stream_of
from lop_lightning.analysis.hebbian.trajectories import trajectories
from lop_lightning.analysis.networks import kept_solved
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.timescales.results import Results
from lop_lightning.console import OneLineParser, count, numbers
from lop_lightning.errors import LopError
from lop_lightning.report.figures import save
from lop_lightning.report.hebbian_figures import Generalised, generalisation_plots
from lop_lightning.report.hebbian_pictures import write_pictures
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.progress import tracked
from lop_lightning.report.progress_figures import progress_plot, reached_figure, reached_numbers

DEFAULT_OUT = Path("hebbian")


def main(argv: Sequence[str] | None = None) -> int:
    """Looks at runs. Returns 0; what the user can mend is one line on stderr and exit code 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    errors = Console(stderr=True)
    with parser.mending():
        runs = shortly_labelled(find_runs(arguments.runs))
        written = arguments.do(runs, arguments, errors)
    for path in written:
        print(path)
    return 0


def visualise(runs: Sequence[Run], arguments: argparse.Namespace, errors: Console) -> list[Path]:
    """Figures of one network, in a folder of its own.

    Raises:
        LopError: there are several runs, or no such network.
    """
    if len(runs) > 1:
        raise LopError(f"{arguments.runs[0]}: {len(runs)} runs are here; name one, as {runs[0].directory}")
    (run,) = runs
    snapshot = load_snapshot(run, arguments.r, arguments.seed, arguments.task, arguments.trust)
    watched = watch(snapshot, arguments.frames)
    folder = OutputFolder(arguments.out / f"{run.directory.name}-{snapshot.name}")
    facts, over_r = metadata(run, snapshot, watched), trajectories(run, arguments.trust)
    return write_pictures(snapshot, watched, over_r, facts, folder, arguments.gif, errors)


def generalise(runs: Sequence[Run], arguments: argparse.Namespace, errors: Console) -> list[Path]:
    """Tests networks at other R; of several runs, those that have no such networks are left out, with a word.

    Raises:
        LopError: no run has such networks.
    """
    shown, complaints = [], []
    for run in runs:
        try:
            chosen_networks(run, arguments.r, arguments.seeds, arguments.every)
        except LopError as error:
            complaints.append(str(error))
            continue
        shown.append(generalised(run, arguments, errors))
    _complain(shown, complaints, errors)
    apart = arguments.every or arguments.r is not None
    plots = generalisation_plots(shown, apart, log_x=arguments.tests == GEOMETRIC)
    folder, written = OutputFolder(arguments.out), []
    for name, plot in plots.items():
        written += save(plot, folder, name)
    everything = pd.concat([one.table.assign(run=one.label) for one in shown], ignore_index=True)
    return [*written, _table(everything, folder, "generalise_all.csv")]


def generalised(run: Run, arguments: argparse.Namespace, errors: Console) -> Generalised:
    """The tests of one run's networks, from its kept results or made now.

    Raises:
        LopError: there are no such networks, or a setting is not legal.
    """
    tests = arguments.tests
    settings = {"tests": tests, "movies": arguments.movies, "scenes": arguments.scenes}
    results, tables = Results(run.directory, "generalise", settings, LETTER), []
    chosen = chosen_networks(run, arguments.r, arguments.seeds, arguments.every)

    def compute(r: int, seed: int, which: str) -> pd.DataFrame:
        one = load_snapshot(run, r, seed, trust=arguments.trust)
        intervals = tracked(intervals_of(tests, r), lambda other: f"{run.label}: {which}, at R {other}", errors)
        return generalisation(
            one.network, one.stream, intervals, arguments.movies, arguments.scenes, until_chance=tests == GEOMETRIC
        )

    for number, (r, seed) in enumerate(chosen, 1):
        updates = kept_solved(run.directory, seed, r, LETTER)["updates"]
        which = f"R {r}, seed {seed} ({number}/{len(chosen)})"
        tables.append(results.get(seed, r, updates, partial(compute, r, seed, which)))
    level = chance(stream_of(run, arguments.trust).movies)
    return Generalised(run.label, pd.concat(tables, ignore_index=True), level)


def progress(runs: Sequence[Run], arguments: argparse.Namespace, errors: Console) -> list[Path]:
    """How far runs have come; of several, those that have no curriculum over R are left out, with a word.

    Raises:
        LopError: no run has one.
    """
    staged, complaints = {}, []
    for run in runs:
        try:
            staged[run.label] = stages(run), trained_over_updates(run), reached(run)
        except LopError as error:
            complaints.append(str(error))
    _complain(staged, complaints, errors)
    of_runs = {label: own[0] for label, own in staged.items()}
    furthest = {label: own[2] for label, own in staged.items()}
    folder = OutputFolder(arguments.out)
    written = save(progress_plot({label: own[1] for label, own in staged.items()}, of_runs), folder, "progress")
    written += save(reached_figure(furthest), folder, "reached")
    everything = pd.concat([table.assign(run=label) for label, table in of_runs.items()], ignore_index=True)
    tables = {"reached.csv": reached_numbers(furthest), "progress_all.csv": everything}
    return [*written, *(_table(table, folder, name) for name, table in tables.items())]


def _complain(shown: object, complaints: Sequence[str], errors: Console) -> None:
    if not shown:
        raise LopError(complaints[0])
    for complaint in complaints:
        errors.print(f"left out: {complaint}", soft_wrap=True, highlight=False, markup=False)


def _table(table: pd.DataFrame, folder: OutputFolder, name: str) -> Path:
    target = folder.claim(name)
    table.to_csv(target, index=False, float_format="%.10g")
    return target


def _parser() -> OneLineParser:
    command = OneLineParser(prog="lop-hebbian", description=(__doc__ or "").partition("\n")[0].partition(": ")[2])
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser)
    help_ = "what one network's units and plastic weights do while it watches a movie"
    one = commands.add_parser("visualise", help=help_, description=help_)
    one.add_argument("runs", nargs=1, type=Path, metavar="RUN", help="a run directory")
    which = one.add_mutually_exclusive_group()
    which.add_argument("--r", type=_from_zero, metavar="R", help="as it had solved this R; 0: before training")
    which.add_argument("--task", type=_from_zero, help="as it was before this period (callbacks.keep_networks)")
    one.add_argument("--seed", type=_from_zero, help="of this seed (default: the first that solved an R)")
    one.add_argument("--frames", type=count, default=FRAMES, help=f"frames that are shown (default: {FRAMES})")
    one.add_argument("--gif", action=argparse.BooleanOptionalAction, default=True, help="animate plastic weights")
    _common(one, visualise)
    help_ = "accuracy, true- and false-positive rate at repeat intervals other than those that were trained"
    tests = commands.add_parser("generalise", help=help_, description=help_)
    _several(tests)
    which = tests.add_mutually_exclusive_group()
    which.add_argument("--r", type=numbers, metavar="R,R,…", help="networks that solved these R")
    which.add_argument("--every", action="store_true", help="networks of all R solved (default: each seed's greatest)")
    tests.add_argument("--seeds", type=numbers, metavar="S,S,…", help="of these seeds alone")
    shapes = f"{LINEAR}: 1 to max(20, 5 R) - 1; {GEOMETRIC}: by factors of 1.3 until it can do no more; or R,R,…"
    tests.add_argument("--tests", type=_tests, default=LINEAR, help=f"R of the tests: {shapes} (default: {LINEAR})")
    tests.add_argument("--movies", type=count, default=4, help="movies of a test (default: 4)")
    tests.add_argument("--scenes", type=count, help="scenes of a movie (default: max(1000, 200 R))")
    _common(tests, generalise)
    help_ = "R against updates, and the greatest R solved and trained"
    far = commands.add_parser("progress", help=help_, description=help_)
    _several(far)
    _common(far, progress)
    return command


def _several(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="run directories, or folders above them")


def _common(parser: argparse.ArgumentParser, do: object) -> None:
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help=f"where it goes (default: {DEFAULT_OUT})")
    if do is not progress:  # which builds no network
        parser.add_argument("--trust", action="store_true", help="run classes of your own that no YAML of conf/ names")
    parser.set_defaults(do=do)


def _from_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _tests(text: str) -> str | list[int]:
    if text in (LINEAR, GEOMETRIC):
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither {LINEAR} nor {GEOMETRIC}, nor a list of R, as 1,5,10")
    return sorted({int(part) for part in parts})


if __name__ == "__main__":
    sys.exit(main())
