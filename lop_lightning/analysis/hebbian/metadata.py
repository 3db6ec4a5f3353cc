"""What is written beside figures of a network: which one it is, and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lop_lightning.analysis.hebbian.activity import Watched
from lop_lightning.analysis.hebbian.answers import chance
from lop_lightning.analysis.hebbian.plastic_states import plastic_layers
from lop_lightning.analysis.hebbian.snapshots import Snapshot
from lop_lightning.analysis.runs import Run
from lop_lightning.records.provenance import main_versions


def metadata(run: Run, snapshot: Snapshot, watched: Watched) -> dict[str, Any]:
    """Plain values: the run, the network with its settings, the movie and what the network made of it, versions."""
    parameters = {name: list(p.shape) for name, p in snapshot.network.named_parameters()}
    found = watched.rates
    return {
        "run": str(run.directory),
        "identity": snapshot.run,
        "seed": snapshot.seed,
        "R": snapshot.r,
        "task": snapshot.task,
        "updates": snapshot.updates,
        "network": {
            "class": type(snapshot.network).__name__,
            "plastic_layers": list(plastic_layers(snapshot.network)),
            "parameters": parameters,
            "parameter_count": sum(p.numel() for p in snapshot.network.parameters()),
            "settings": _settings(run, "model"),
        },
        "task_settings": _settings(run, "task"),
        "movie": {
            "R": snapshot.shown_r,
            "scenes": len(watched.labels),
            "scene_time": watched.scene_time,
            "window": [watched.window.start, watched.window.stop],
            "accuracy": _plain(found.accuracy),
            "true_positive_rate": _plain(found.true_positive_rate),
            "false_positive_rate": _plain(found.false_positive_rate),
            "chance": chance(snapshot.stream.movies),
        },
        "versions": {**main_versions(), **{name: _version(name) for name in ("matplotlib", "pillow")}},
    }


def _settings(run: Run, section: str) -> Mapping[str, Any]:
    return dict(run.config.get(section) or {})


def _plain(share: float) -> float | None:
    """JSON has no NaN."""
    return share if share == share else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
