"""Making a report: every run's figures in its own folder, the comparisons, the tables and the page in another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lop_lightning.analysis.curves import named_run
from lop_lightning.analysis.loss_of_plasticity import headline_metric
from lop_lightning.analysis.runs import Run
from lop_lightning.report.accuracy import accuracy_rows, accuracy_table
from lop_lightning.report.best import best_rows, best_table
from lop_lightning.report.choice import Choice
from lop_lightning.report.compare import comparison_figures
from lop_lightning.report.figures import Plot, save
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.page import Section, page
from lop_lightning.report.paper import paper_plots
from lop_lightning.report.paper_figures import reference_of
from lop_lightning.report.progress import tracked
from lop_lightning.report.run_figures import figures_of, save_reference_csv
from lop_lightning.report.table import contrast_rows, summary_rows, summary_table, write_csv

MOST_RUNS_ON_A_PAGE = 12
"""With more runs than this the page holds the comparisons only, so that it stays light; the runs keep their figures."""


@dataclass(frozen=True)
class Drawing:
    """A figure to be made: of which stream (and which run, None for a comparison), where, called what, and how."""

    stream: str
    run: Run | None
    folder: OutputFolder
    name: str
    make: Callable[[], Figure | Plot]

    def __str__(self) -> str:
        return f"{self.run.label if self.run else 'comparison'}: {self.name}"


def plan(streams: Mapping[str, Sequence[Run]], out: Path, choice: Choice, errors: Console) -> list[Drawing]:
    """The figures of runs grouped by stream (title -> runs): every run's own and the comparisons.

    With ``choice.figures``, that paper's are all there are. Raises ValueError when ``choice`` cannot be made with these
    runs. Nothing is written.
    """
    draw = _paper if choice.figures else _drawings
    return [drawing for title in streams for drawing in draw(title, streams, out, choice, errors)]


def build(
    streams: Mapping[str, Sequence[Run]], drawings: Sequence[Drawing], out: Path, choice: Choice, errors: Console
) -> list[Table]:
    """Write the report of runs grouped by stream (title -> runs) and return its tables for the terminal.

    Into ``<run>/figures``: that run's figures. Into ``out``: ``summary.csv``, ``contrasts.csv`` where there is
    something to compare, ``accuracy.csv`` where runs have an accuracy, ``best.csv`` where runs of a method differ in
    their settings, the comparisons' figures with their numbers (in a folder a stream when there are several),
    ``report.html``.

    Raises FileExistsError when a file is in the way that no report made.
    """
    folder, runs = OutputFolder(out), [run for group in streams.values() for run in group]
    drawn = [
        (drawing, save(drawing.make(), drawing.folder, drawing.name)[1]) for drawing in tracked(drawings, str, errors)
    ]
    for run in [] if choice.figures else runs:
        save_reference_csv(run, OutputFolder(run.directory / "figures"))
    sections = [_section(title, group, drawn, choice, len(runs)) for title, group in streams.items()]
    write_csv([row for section in sections for row in section.summary], folder.claim("summary.csv"))
    for name in ("contrasts", "accuracy", "best"):
        rows = [row for section in sections for row in getattr(section, name)]
        if rows:
            write_csv(rows, folder.claim(f"{name}.csv"))
    note = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}, {sum(not run.done for run in runs)} unfinished."
    if len(runs) > MOST_RUNS_ON_A_PAGE:
        note += " Each run's own figures are in its folder, under figures."
    folder.claim("report.html").write_text(page("Loss of plasticity", sections, note), encoding="utf-8")
    tables = [summary_table(_headline_rows(section), section.title) for section in sections if section.summary]
    tables += [accuracy_table(section.accuracy, section.title) for section in sections if section.accuracy]
    return tables + [best_table(section.best, section.title) for section in sections if section.best]


def _drawings(
    title: str, streams: Mapping[str, Sequence[Run]], out: Path, choice: Choice, errors: Console
) -> list[Drawing]:
    result: list[Drawing] = []
    runs = streams[title]
    for run in runs:
        own = OutputFolder(run.directory / "figures")
        result += [Drawing(title, run, own, name, make) for name, make in figures_of(run, choice)]
    if len(runs) > 1:
        place = _place(title, streams, out)
        result += [Drawing(title, None, place, name, make) for name, make in comparison_figures(runs, choice)]
    return result


def _paper(
    title: str, streams: Mapping[str, Sequence[Run]], out: Path, choice: Choice, errors: Console
) -> list[Drawing]:
    plots, missing = paper_plots(streams[title], choice)
    for line in missing:
        errors.print(f"lop-report: left out {line}", soft_wrap=True, highlight=False)
    place = _place(title, streams, out / str(choice.figures))
    return [Drawing(title, None, place, name, make) for name, make in plots]


def _place(title: str, streams: Mapping[str, Sequence[Run]], out: Path) -> OutputFolder:
    return OutputFolder(out if len(streams) == 1 else out / title.replace("/", "_").replace(" ", "_"))


def _section(
    title: str, runs: Sequence[Run], drawn: Sequence[tuple[Drawing, Path]], choice: Choice, on_page: int
) -> Section:
    summary = [row for run in runs for row in summary_rows(run, choice.metrics, choice.level, choice.window)]
    headline = headline_metric(runs)
    compared = headline is not None and (choice.metrics is None or headline in choice.metrics)
    name = choice.relative_to or (reference_of(choice.figures, runs[0].task) if choice.figures else None)
    reference = named_run(runs, name) if name else None
    contrasts = contrast_rows(runs, headline, choice.level, choice.window, reference) if headline and compared else []
    best = best_rows(runs, headline, choice.level, choice.window) if headline and compared else []
    accuracy = accuracy_rows(runs, choice.metrics, choice.level, reference)
    own: dict[str, list[Path]] = {run.label: [] for run in runs} if on_page <= MOST_RUNS_ON_A_PAGE else {}
    for drawing, path in drawn:
        if drawing.stream == title and drawing.run is not None and drawing.run.label in own:
            own[drawing.run.label].append(path)
    comparisons = [path for drawing, path in drawn if drawing.stream == title and drawing.run is None]
    return Section(title, summary, contrasts, best, accuracy, comparisons, own)


def _headline_rows(section: Section) -> list[dict[str, Any]]:
    """All rows of a single run; of several runs those of the first metric (the page and the CSV have all)."""
    several = len({row["label"] for row in section.summary}) > 1
    return [row for row in section.summary if not several or row["metric"] == section.summary[0]["metric"]]
