"""Short names for runs on movies: the network, and what tells it from others of its kind."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lop_lightning.analysis.labels import ACROSS, run_labels
from lop_lightning.analysis.runs import Run

PLAIN = ("hebbian", "bp")
"""Methods that go without saying: both are backpropagation."""
LISTS = {"hidden_dims": "+", "plastic_types": ""}
"""Keys of networks whose lists are written without brackets, and what is between their entries."""
UNSAID = r"tasks=\d+|plastic=True|hetero_rates=\[1(?:, 1)*\]"
"""Settings that go without saying where runs can be told apart without them."""


def shortly_labelled(runs: Sequence[Run]) -> list[Run]:
    """The same runs, labelled ``memo MA 50+50``, and ``scenes memo`` where there are several streams.

    Settings are spoken of only where runs of one stream and network differ in them.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.task, run.model), []).append(run)
    several, labels = len({run.task for run in runs}) > 1, {}
    for (task, model), alike in groups.items():
        words = run_labels([(run.config, run.directory.name) for run in alike], ACROSS)
        for run, label in zip(alike, words):
            method, _, rest = label.partition(" ")
            parts = (task if several else "", model, "" if method in PLAIN else method, shortened(rest))
            labels[run.directory] = " ".join(part for part in parts if part)
    terse = {directory: without_the_unsaid(label) for directory, label in labels.items()}
    shown = terse if len(set(terse.values())) == len(terse) else labels
    return [run.changed(label=shown[run.directory]) for run in runs]


def without_the_unsaid(label: str) -> str:
    """A label without what goes without saying.

    >>> without_the_unsaid("memo tasks=400 100 M hetero_rates=[1] plastic=False")
    'memo 100 M frozen'
    """
    words = re.sub(rf"\b(?:{UNSAID})(?=\s|$)", "", label).replace("plastic=False", "frozen")
    return " ".join(words.split())


def shortened(words: str) -> str:
    """Lists of widths and of kinds as people write them.

    >>> shortened("hidden_dims=[50, 50] plastic_types=['M', 'A'] lr=0.01")
    '50+50 MA lr=0.01'
    """
    pattern = rf"\b({'|'.join(LISTS)})=\[([^]]*)\]"
    return re.sub(pattern, lambda found: LISTS[found[1]].join(re.findall(r"\w+", found[2])), words)
