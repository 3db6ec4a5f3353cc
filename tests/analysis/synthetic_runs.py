"""Run directories as a training run leaves them, with numbers that look like loss of plasticity."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

HEADER = ["seed", "task", "epoch", "update", "layer", "metric", "value"]


def write_run(
    root: Path,
    algo: str = "bp",
    task: str = "permuted_mnist",
    decay: float = 0.3,
    seeds: int = 5,
    tasks: int = 40,
    layers: int = 3,
    bins: int = 2,
    done: bool = True,
    name: str | None = None,
    classification: bool = True,
    **config: object,
) -> Path:
    """Write a run whose performance falls by ``decay`` over the stream; return its directory."""
    directory = root / task / "mlp" / algo / (name or f"{algo}{decay:g}")
    directory.mkdir(parents=True)
    settings = {
        "task": {"name": task, "tasks": tasks},
        "model": {"name": "mlp", "width": 100},
        "algo": {"name": algo},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "seeds": list(range(seeds)),
    }
    for key, value in config.items():
        section, leaf = key.split("__")
        settings[section][leaf] = value
    OmegaConf.save(OmegaConf.create(settings), directory / "config.yaml")
    record = make_record(seeds, tasks, layers, bins, decay, task == "gmm", classification)
    record.to_csv(directory / "record.csv", index=False, na_rep="nan")
    if done:
        (directory / "summary.json").write_text(json.dumps({"done": True}))
    return directory


def write_exact(
    root: Path,
    rows: list[tuple],
    algo: str = "bp",
    task: str = "permuted_images",
    name: str = "exact",
    model: str = "mlp",
    widths: dict[str, int] | None = None,
    **config: object,
) -> Path:
    """Write a run with exactly these rows (of :data:`HEADER`), ``widths`` in ``run.json``; return its directory."""
    directory = root / task / model / algo / name
    directory.mkdir(parents=True)
    frame = pd.DataFrame(rows, columns=HEADER)
    settings = {
        "task": {"name": task},
        "model": {"name": model},
        "algo": {"name": algo},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "seeds": sorted(frame.seed.unique().tolist()),
    }
    for key, value in config.items():
        section, leaf = key.split("__")
        settings[section][leaf] = value
    OmegaConf.save(OmegaConf.create(settings), directory / "config.yaml")
    frame.to_csv(directory / "record.csv", index=False, na_rep="nan")
    (directory / "summary.json").write_text("{}")
    layers = {layer: {"width": width} for layer, width in (widths or {}).items()}
    (directory / "run.json").write_text(json.dumps({"format": 1} | ({"layers": layers} if widths else {})))
    return directory


def rows_of(metric: str, values: object, layer: str = "", updates: int = 10, first_seed: int = 0) -> list[tuple]:
    """Rows of values [seeds][tasks] or [seeds][tasks][epochs], in the order of the stream, ``updates`` a task."""
    table = np.asarray(values, dtype=float)
    table = table if table.ndim == 3 else table[:, :, None]
    seeds, tasks, epochs = table.shape
    return [
        (first_seed + s, t, e, t * updates + (e + 1) * updates // epochs, layer, metric, table[s, t, e])
        for t in range(tasks)
        for e in range(epochs)
        for s in range(seeds)
    ]


def line(plot, label):
    """x -> mean of one line of a plot."""
    table = plot.numbers()
    rows = table[table["line"] == label]
    return dict(zip(rows.iloc[:, 1], rows["mean"].round(9)))


def make_record(
    seeds: int, tasks: int, layers: int, bins: int, decay: float, decades: bool, classification: bool
) -> pd.DataFrame:
    """The long table: every metric seeds × tasks (× layers), rows in the order of the stream."""
    rng = np.random.default_rng(seeds * 1000 + tasks)
    seed, task = np.meshgrid(np.arange(seeds), np.arange(tasks), indexing="ij")
    age = task / max(1, tasks - 1)

    def noise(scale: float) -> np.ndarray:
        return rng.normal(0, scale, seed.shape) + rng.normal(0, scale, (seeds, 1))

    accuracy = np.clip(0.94 - decay * age**1.5 + noise(0.008), 0, 1)
    low = 10.0 ** (-8 + 25 * decay * age + noise(0.7)) if decades else 0.2 + decay * age + np.abs(noise(0.01))
    whole = {
        "online_loss": 1.2 - accuracy + np.abs(noise(0.01)),
        "initial_loss": 2.3 + noise(0.05),
        "min_loss": low,
        "final_loss": low * 1.5,
        "post_loss": low * 1.2,
        "gradient_norm": 10.0 ** (-1 - 2 * decay * age + noise(0.1)),
        "weight_magnitude": 0.03 + 0.05 * age * (0.2 + decay) + np.abs(noise(0.001)),
        "fresh_post_loss": 10.0 ** (-8 + noise(0.7)) * 1.2 if decades else 0.2 + np.abs(noise(0.01)),
        "fresh_min_loss": 10.0 ** (-8 + noise(0.7)) if decades else 0.2 + np.abs(noise(0.01)),
    }
    if classification:
        whole["online_accuracy"] = accuracy
    pieces = []
    for metric, value in whole.items():
        repeats = bins if metric.startswith("online") else 1
        for part in range(repeats):
            pieces.append(_rows(seed, task, part + 1, repeats, "", metric, value))
    for i in range(layers):
        depth = (i + 1) / layers
        layered = {
            "dead_units": np.clip(decay * age * depth + np.abs(noise(0.01)), 0, 1),
            "saturation_2": np.clip(0.1 + decay * age * depth + np.abs(noise(0.02)), 0, 1),
            "preactivation_covariance_rank": 18 - 30 * decay * age * depth + noise(0.4),
            "effective_rank": 60 - 80 * decay * age * depth + noise(1.0),
            "feature_duplication": np.clip(decay * age * (1.2 - depth) + np.abs(noise(0.02)), 0, 1),
        }
        for metric, value in layered.items():
            pieces.append(_rows(seed, task, 1, 1, f"layers.{i}", metric, value))
    return pd.concat(pieces).sort_values(["task", "update"], kind="stable")[HEADER]


def _rows(seed, task, part, parts, layer, metric, value) -> pd.DataFrame:
    columns = {"seed": seed.ravel(), "task": task.ravel(), "epoch": task.ravel()}
    columns["update"] = (task.ravel() * 600) + 600 * part // parts
    return pd.DataFrame(columns | {"layer": layer, "metric": metric, "value": value.ravel()})
