"""Final performance against a hyper-parameter, where the runs at hand differ in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pandas as pd

from lop_lightning.analysis.loss_of_plasticity import in_decades
from lop_lightning.analysis.runs import Run
from lop_lightning.analysis.sensitivity import Sweep, final_performance, sweeps
from lop_lightning.report.bands import band
from lop_lightning.report.choice import ALL, Choice
from lop_lightning.report.colours import shades
from lop_lightning.report.figures import Plot
from lop_lightning.report.panels import Line, Panel
from lop_lightning.report.streams import heading, stream_of
from lop_lightning.report.vocabulary import axis_label, is_fraction, title


def sensitivity_plots(
    runs: Sequence[Run], metric: str, choice: Choice = ALL
) -> Iterator[tuple[str, Callable[[], Plot]]]:
    """``sensitivity_<key>`` and its maker for every key in which at least three runs of a method differ alone."""
    by_key: dict[str, list[Sweep]] = {}
    for sweep in sweeps([run for run in runs if metric in run.metrics()]):
        by_key.setdefault(sweep.key, []).append(sweep)
    short = [key.rsplit(".", 1)[-1] for key in by_key]
    for key, name in zip(by_key, short):
        name = name if short.count(name) == 1 else key.replace(".", "_")
        yield f"sensitivity_{name}", partial(sensitivity_plot, by_key[key], metric, choice)


def sensitivity_plot(found: Sequence[Sweep], metric: str, choice: Choice = ALL) -> Plot:
    """Mean over seeds of the performance on the last tasks against a hyper-parameter; a line for each sweep of it."""
    key, run = found[0].key, found[0].runs[0]
    log, lines = in_decades(run, metric), []
    for sweep, colour in zip(found, shades([sweep.algo for sweep in found])):
        finals = [final_performance(run, metric, choice.window) for run in sweep.runs]
        table = pd.DataFrame(dict(zip(sweep.values, finals))).rename_axis(columns=key.rsplit(".", 1)[-1])
        lines.append(Line(sweep.label, band(table, choice.level, log, bin_width=1), colour))
    shown = [run for sweep in found for run in sweep.runs]
    words = heading(shown, f"{title(metric)} on the last tasks")
    panel = Panel(words, axis_label(metric), lines, None, log, is_fraction(metric), log_x=True)
    ends = sorted({choice.window or max(1, r.series(metric).shape[1] // 10) for sweep in found for r in sweep.runs})
    return Plot(panel, f"{stream_of(shown)} · {key} · last {' or '.join(map(str, ends))} tasks of each seed")
