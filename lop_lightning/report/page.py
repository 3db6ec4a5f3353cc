"""One self-contained HTML page: tables, and the figures as data inside; nothing is fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lop_lightning.analysis.statistics import UNPAIRED
from lop_lightning.report.accuracy import ACCURACY_HEADER, accuracy_cells, accuracy_footnote
from lop_lightning.report.best import BEST_HEADER, best_cells, best_footnote
from lop_lightning.report.table import HEADER, NUMERIC, footnote, row_cells, with_interval

CSS = """
:root { color-scheme: light dark; --text: #1d2733; --soft: #667383; --line: #dfe4ea; --ground: #f7f8fa; --card: #fff;
  --lost: #b3261e; --improved: #1b7f4b; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ee; --soft: #97a3b3; --line: #333c48; --ground: #14181e;
  --card: #1c222a; --lost: #ff8a80; --improved: #6fd3a0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p, figcaption { color: var(--soft); margin: .25rem 0 1rem; font-size: .87rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: .45rem .8rem; text-align: left; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
td.number, th.number { text-align: right; } .lost { color: var(--lost); font-weight: 600; }
.improved { color: var(--improved); font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); gap: 1rem; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: .6rem; }
figure img { display: block; width: 100%; height: auto; } figure.wide { grid-column: 1 / -1; }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
"""
CONTRAST_HEADER = ("run", "against", "metric", "difference in loss of plasticity", "n", "verdict")
UNPAIRED_NOTE = f"paired by seed where both have the same tasks, else {UNPAIRED}"
VERDICT_CLASS = {"lost": "lost", "lost more": "lost", "improved": "improved", "lost less": "improved"}


@dataclass(frozen=True)
class Section:
    """A part of the page: rows of each table, the comparison's figures, each run's own."""

    title: str
    summary: Sequence[dict[str, Any]]
    contrasts: Sequence[dict[str, Any]]
    best: Sequence[dict[str, Any]]
    accuracy: Sequence[dict[str, Any]]
    figures: Sequence[Path]
    run_figures: Mapping[str, Sequence[Path]]


def page(title: str, sections: Sequence[Section], note: str = "") -> str:
    """The page's HTML. Figures are SVG files, embedded in base64; on a dark screen they keep their white ground."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(note)}</p>" if note else "",
    ]
    for section in sections:
        parts += _section(section)
    return "\n".join(part for part in [*parts, "</main></body></html>"] if part) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts.append(_table(HEADER, [row_cells(row) for row in section.summary]))
    parts.append(f"<p>{escape(footnote(section.summary))}</p>")
    if section.contrasts:
        parts.append(_table(CONTRAST_HEADER, [_contrast_cells(row) for row in section.contrasts]))
        how = "paired by seed" if all(row["kind"] != UNPAIRED for row in section.contrasts) else UNPAIRED_NOTE
        parts.append(f"<p>Loss of plasticity minus that of the reference, {how}: negative, it lost less.</p>")
    if section.accuracy:
        parts.append(_table(ACCURACY_HEADER, accuracy_cells(section.accuracy)))
        parts.append(f"<p>{escape(accuracy_footnote(section.accuracy))}</p>")
    if section.best:
        parts.append(_table(BEST_HEADER, [best_cells(row) for row in section.best]))
        parts.append(f"<p>{escape(best_footnote(section.best))}</p>")
    parts.append(_figures(section.figures))
    for label, figures in section.run_figures.items():
        opened = " open" if not section.figures and len(section.run_figures) == 1 else ""
        parts.append(
            f"<details{opened}><summary>{escape(label)}: its own figures</summary>{_figures(figures)}</details>"
        )
    return parts


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cell(tag: str, name: str, text: str) -> str:
        verdict = VERDICT_CLASS.get(text, "") if name == "verdict" else ""
        kind = "number" if name in (*NUMERIC, CONTRAST_HEADER[3], *ACCURACY_HEADER[2:]) else verdict
        return f'<{tag} class="{kind}">{escape(text)}</{tag}>' if kind else f"<{tag}>{escape(text)}</{tag}>"

    head = "".join(cell("th", name, name) for name in header)
    body = "".join(f"<tr>{''.join(cell('td', n, t) for n, t in zip(header, row))}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _contrast_cells(row: dict[str, Any]) -> list[str]:
    difference = with_interval(row["difference"], row["low"], row["high"])
    return [row["label"], row["against"], row["metric"], difference, str(row["n"]), row["verdict"]]


def _figures(paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    images = []
    for path in paths:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        wide = ' class="wide"' if path.stem == "gmm_reference" else ""
        alt = escape(path.stem.replace("_", " "))
        images.append(f'<figure{wide}><img alt="{alt}" src="data:image/svg+xml;base64,{data}"></figure>')
    return f'<div class="figures">{"".join(images)}</div>'
