"""What the units of a network do while it watches a movie, and what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from lop_lightning.analysis.hebbian.activity import Watched
from lop_lightning.report.figures import WIDTH, add_caption, add_legend, house_style
from lop_lightning.report.heat_maps import CLIPPED, draw_matrix, limit_of

NOVEL, FAMILIAR, WRONG, BOX = "#d9d9d9", "#33628d", "#c0392b", "#ffd400"
ACROSS, PANEL, ANSWERS = 11.0, 2.2, 0.75
"""Inches: width of a figure along frames, height of a layer's panel and of the answers'."""
MOST_LABELLED = 32
"""Scenes whose answers are written into their cells."""
BINS = 30


def activity_figure(watched: Watched, source: str) -> Figure:
    """Units × frames of each layer in the window; below, for each scene, what it is and what the network said."""
    layers, window = watched.activations, watched.window
    with house_style():
        heights = [PANEL] * len(layers) + [ANSWERS]
        figure = Figure(figsize=(ACROSS, sum(heights) + 0.9), layout="constrained")
        places = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (name, h) in zip(places, layers.items()):
            shown = h[window.start : window.stop]
            image = draw_matrix(axes, shown.T, limit_of(shown))
            image.set_extent((window.start - 0.5, window.stop - 0.5, h.shape[1] - 0.5, -0.5))
            axes.set_aspect("auto")
            axes.set_title(name)
            axes.set_ylabel("unit")
            figure.colorbar(image, ax=axes, shrink=0.9, pad=0.01)
            _mark_scenes(axes, watched, h.shape[1])
        _draw_answers(places[-1], watched)
        places[-1].set_xlim(window.start - 0.5, window.stop - 0.5)
        boxed = "boxed: familiar scenes · star: a wrong answer, at a scene's last frame"
        add_caption(figure, f"{source} · {boxed} · {CLIPPED}")
    return figure


def _mark_scenes(axes: Axes, watched: Watched, units: int) -> None:
    time, window = watched.scene_time, watched.window
    line = min(1.4, 6 * ACROSS * time / len(window))  # points; a box of a narrow scene is a fine one
    for scene in watched.scenes:
        begin, end = max(scene * time, window.start) - 0.5, min((scene + 1) * time, window.stop) - 0.5
        if time > 1 and begin > window.start:
            axes.axvline(begin, color="#777777", linewidth=0.4)
        if watched.labels[scene] == 1:
            box = Rectangle((begin, -0.5), end - begin, units, fill=False, edgecolor=BOX, linewidth=line)
            box.set_path_effects([Stroke(linewidth=2 * line, foreground="black"), Normal()])  # seen on any colour
            axes.add_patch(box)


def _draw_answers(axes: Axes, watched: Watched) -> None:
    """Two rows of cells, one a scene: the target, and the output below; a star where they differ."""
    time, asked = watched.scene_time, watched.asked
    for scene in asked:
        answers = (watched.labels[scene] == 1, watched.called[scene])
        for row, familiar in enumerate(answers):
            colour = FAMILIAR if familiar else NOVEL
            axes.add_patch(Rectangle((scene * time - 0.5, row), time, 1, facecolor=colour, edgecolor="white"))
            if len(asked) <= MOST_LABELLED:
                place = (scene + 0.5) * time - 0.5, row + 0.52
                axes.text(*place, str(int(familiar)), ha="center", va="center", fontsize=7,
                          color="white" if familiar else "black")  # fmt: skip
        if answers[0] != answers[1]:
            axes.plot((scene + 1) * time - 1, 2.35, "*", color=WRONG, markersize=7, clip_on=False)
    axes.set_ylim(2.75, 0)
    axes.set_yticks([0.5, 1.5], ["target", "output"])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("frame")


def output_figure(watched: Watched, source: str) -> Figure:
    """p, the output as a probability, at all frames of the window, and the targets at the last frames of scenes."""
    with house_style():
        figure = Figure(figsize=(ACROSS, 2.8), layout="constrained")
        axes, window, time = figure.add_subplot(), watched.window, watched.scene_time
        frames = np.arange(window.start, window.stop)
        axes.axhline(0.5, color="#666666", linestyle="--", linewidth=0.8)
        axes.plot(frames, probability(watched.logits[frames]), color="#4d4d4d", linewidth=1.1, label="p at every frame")
        scenes = np.array(watched.asked, dtype=int)
        at, labels, called = (scenes + 1) * time - 1, watched.labels[scenes] == 1, watched.called[scenes]
        for wanted, colour, label in ((True, FAMILIAR, "target: familiar"), (False, "#8a8a8a", "target: novel")):
            own = at[labels == wanted]
            axes.plot(own, np.full(len(own), float(wanted)), "o", color=colour, markersize=4, label=label)
        wrong = at[labels != called]
        if len(wrong):
            p = probability(watched.logits[wrong])
            axes.plot(wrong, p, "*", color=WRONG, markersize=8, label="p, a wrong answer")
        axes.set_title("Output")
        axes.set_ylabel("p(familiar)")
        axes.set_xlabel("frame")
        axes.set_ylim(-0.05, 1.05)
        axes.margins(x=0.01)
        add_legend(figure, [axes])
        asked = "every frame" if time == 1 else f"every {time}th frame, a scene's last"
        add_caption(figure, f"{source} · the network is asked at {asked}")
    return figure


def logits_figure(watched: Watched, source: str) -> Figure:
    """Distribution of the readout's logit at the last frames of all scenes of the movie, novel and familiar ones."""
    logits = watched.logits[watched.scene_time - 1 :: watched.scene_time]
    edges = np.linspace(logits.min() - 1e-9, logits.max() + 1e-9, BINS + 1)
    found = watched.rates
    with house_style():
        figure = Figure(figsize=(WIDTH + 1.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for label, colour, name in ((0, "#8a8a8a", "novel"), (1, FAMILIAR, "familiar")):
            own = logits[watched.labels == label]
            share = np.histogram(own, edges)[0] / max(1, len(own))
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.5, label=f"{name} (n = {len(own)})")
        axes.axvline(0, color="#666666", linestyle="--", linewidth=0.9)
        axes.set_title("Logit of the readout")
        axes.set_xlabel("logit; from 0 on the scene is called familiar")
        axes.set_ylabel("fraction of scenes")
        add_legend(figure, [axes])
        shares = f"accuracy {found.accuracy:.3f}, true positives {found.true_positive_rate:.3f}"
        add_caption(figure, f"{source} · whole movie: {shares}, false positives {found.false_positive_rate:.3f}")
    return figure


def output_table(watched: Watched) -> pd.DataFrame:
    """Every frame of the movie: ``frame``, ``scene``, ``logit``, ``p``, and at last frames ``target`` and ``called``.

    At other frames these two are 2, as nothing is asked.
    """
    time, frames = watched.scene_time, np.arange(len(watched.logits))
    last = frames % time == time - 1
    return pd.DataFrame(
        {
            "frame": frames,
            "scene": frames // time,
            "logit": watched.logits,
            "p": probability(watched.logits),
            "target": np.where(last, watched.labels[frames // time], 2),
            "called": np.where(last, watched.called[frames // time], 2),
        }
    )


def probability(logits: np.ndarray) -> np.ndarray:
    """σ of logits of any size."""
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
