"""Figures of networks on movies: what is drawn of numbers written by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from synthetic_runs import line

from lop_lightning.analysis.hebbian.activity import Watched
from lop_lightning.report.activity_figures import (
    BOX,
    FAMILIAR,
    activity_figure,
    logits_figure,
    output_figure,
    output_table,
    probability,
)
from lop_lightning.report.figures import Plot, save
from lop_lightning.report.heat_maps import clipped, draw_matrix, limit_of, matrices_figure, strip_figure, wrapped
from lop_lightning.report.hebbian_figures import (
    Generalised,
    generalisation_plots,
    norm_plots,
    spectrum_plot,
    trajectory_plots,
)
from lop_lightning.report.movie_frames import BLACK, SHADES, WHITE, evenly, shades, write_gif
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.progress_figures import hues, progress_plot, reached_figure, reached_numbers

T = 12.706204736432095
"""97.5 % quantile of Student's t with one degree of freedom."""


def watched(window=range(4, 12), scene_time=2):
    """Eight scenes of two frames (by default); the window has scenes 2 to 5, of which 3 and 5 are familiar."""
    labels = np.array([0, 0, 0, 1, 0, 1, 0, 0])
    logits = np.linspace(-3, 3, 8 * scene_time)
    logits[scene_time - 1 :: scene_time] = np.array([-2, -1, -2, 3, 1, -0.5, -2, -3])  # wrong at 4 and 5
    called = logits[scene_time - 1 :: scene_time] >= 0
    h = np.arange(8.0 * scene_time)[:, None] * np.array([[0.01, -0.01, 0.05]])
    activations = {"layers.0": h, "layers.1": -h[:, :2]}
    return Watched(torch.zeros(1, 8 * scene_time, 3), labels, logits, called, activations, scene_time, window)


def boxes(axes, colour):
    """(left, right) of rectangles with an edge of this colour."""

    found = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_edgecolor() == to_rgba(colour)]
    return [(p.get_x(), p.get_x() + p.get_width()) for p in found]


def points(axes, marker):
    """(x, y) of all points with this marker."""
    return [tuple(p) for drawn in axes.lines if drawn.get_marker() == marker for p in zip(*drawn.get_data())]


# ---- heat maps


def test_colours_end_at_two_standard_deviations():
    values = np.array([0.0] * 9 + [10])  # mean 1, std 3
    assert clipped(values).tolist() == [0] * 9 + [7]
    assert clipped(-values).tolist() == [0] * 9 + [-7]
    assert limit_of(values) == limit_of(-values) == 7
    assert limit_of(np.array([-1.0, 1.0])) == 1
    assert limit_of(np.zeros(4)) == 1  # there must be one


def test_cells_are_square_and_zero_is_white():
    axes = Figure().add_subplot()
    image = draw_matrix(axes, np.array([[1.0, 0, -1]]), 2)
    assert (image.norm.vmin, image.norm.vmax) == (-2, 2)
    assert axes.get_aspect() == 1
    red, white, blue = image.cmap(image.norm([2.0, 0.0, -2.0]))
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert white[:3] == pytest.approx([0.97] * 3, abs=0.01)


def test_matrices_are_side_by_side_each_with_its_scale():
    figure = matrices_figure({"a": np.eye(3), "b": 5 * np.ones((4, 1))}, "x")
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert [image.get_array().shape for image in images[:2]] == [(3, 3), (4, 1)]
    assert [image.norm.vmax for image in images[:2]] == [limit_of(np.eye(3)), 5]
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["a", "b"]


def test_long_names_are_broken_after_dots():
    assert wrapped("W of layers.0.forwards.weight_ih", 1.5) == "W of layers.0.\nforwards.\nweight_ih"
    assert wrapped("η of layers.0", 3) == "η of layers.0"


def test_a_strip_has_a_column_a_moment_and_one_scale_a_row():
    first, second = np.zeros((6, 2, 3)), np.ones((6, 4, 4))
    first[1], first[5] = 1, -1  # 5 is not shown
    figure = strip_figure({"a": first, "b": second}, [0, 1, 3], ["frame 7", "frame 8", "frame 10"], "x")
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(shown) == 6
    assert [image.get_array().sum() for image in shown] == [0, 6, 0, 16, 16, 16]
    assert len({image.norm.vmax for image in shown[:3]}) == len({image.norm.vmax for image in shown[3:]}) == 1
    assert [axes.get_title() for axes in figure.axes[:3]] == ["frame 7", "frame 8", "frame 10"]


# ---- animation


def test_evenly_spread_numbers():
    assert evenly(5, 3) == [0, 2, 4]
    assert evenly(2, 8) == [0, 1]
    assert evenly(1, 8) == [0]
    assert len(evenly(1000, 96)) == 96


def test_shades_are_of_the_clipped_values():
    pixels = shades(np.array([[[-1.0, 0.0, 1.0]], [[-9.0, 0.5, 0.0]]]))
    assert pixels.shape == (2, 8, 24)  # cells of 8 pixels
    limit = limit_of(np.array([-1.0, 0.0, 1.0, -9.0, 0.5, 0.0]))
    assert pixels[0, 3, [0, 8, 16]].tolist() == [round((v / limit + 1) / 2 * 20) for v in (-1, 0, 1)]
    assert pixels[1, 0, [7, 23]].tolist() == [0, 10]
    assert shades(np.zeros((1, 500, 2))).shape == (1, 500, 2)


@pytest.mark.parametrize(("count", "frames"), [(5, 5), (200, 96), (1, 1)])
def test_a_gif_has_a_picture_a_frame_and_no_more_than_96(tmp_path, count, frames):
    rng = np.random.default_rng(0)
    p, more = rng.normal(size=(count, 4, 3)), rng.normal(size=(count, 2, 2))
    titles = [f"frame {number}" for number in range(count)]
    write_gif(tmp_path / "a.gif", [{"P": p, "Q": more}, {"W + P": p + 1, "W": more}], titles)
    with Image.open(tmp_path / "a.gif") as found:
        assert found.n_frames == frames
        assert found.info["loop"] == 0
        found.seek(frames - 1)
        last = np.asarray(found.convert("RGB"))
    # where the first matrix begins: below two lines of text
    top, left = 16 + 10 + 16, 10
    expected = shades(p[evenly(count, 96)])[-1]
    blue = last[top : top + 32, left : left + 24, 2].astype(int) - last[top : top + 32, left : left + 24, 0]
    np.testing.assert_array_equal(blue > 0, expected < 10)
    assert last[0, 0].tolist() == [255] * 3
    assert WHITE == SHADES
    assert BLACK == SHADES + 1


# ---- a movie


def test_activity_has_familiar_scenes_boxed_and_errors_starred():
    figure = activity_figure(watched(), "x")
    first, second, answers = figure.axes[:3]
    for axes, units in ((first, 3), (second, 2)):
        (image,) = axes.images
        assert image.get_array().shape == (units, 8)
        assert image.get_extent() == [3.5, 11.5, units - 0.5, -0.5]
        assert boxes(axes, BOX) == [(5.5, 7.5), (9.5, 11.5)]
        assert sorted(drawn.get_xdata()[0] for drawn in axes.lines) == [5.5, 7.5, 9.5]
    np.testing.assert_allclose(first.images[0].get_array()[2], 0.05 * np.arange(4, 12))
    assert [x for x, _ in points(answers, "*")] == [9, 11]
    assert [text.get_text() for text in answers.texts] == ["0", "0", "1", "1", "0", "1", "1", "0"]
    assert first.get_xlim() == (3.5, 11.5)


def test_a_window_may_end_within_a_scene():
    cut = watched(range(4, 11))
    assert (cut.scenes, cut.asked) == (range(2, 6), range(2, 5))
    figure = activity_figure(cut, "x")
    assert boxes(figure.axes[0], BOX) == [(5.5, 7.5), (9.5, 10.5)]
    assert [x for x, _ in points(figure.axes[2], "*")] == [9]


def test_many_scenes_of_one_frame_have_no_labels():
    one = watched(range(2, 8), scene_time=1)
    figure = activity_figure(one, "x")
    assert boxes(figure.axes[0], BOX) == [(2.5, 3.5), (4.5, 5.5)]
    assert not figure.axes[0].lines  # every frame is a scene
    assert len(figure.axes[2].texts) == 12


def test_the_output_at_all_frames_and_the_targets_at_last_ones():
    one = watched()
    axes = output_figure(one, "x").axes[0]
    p = next(drawn for drawn in axes.lines if drawn.get_label() == "p at every frame")
    np.testing.assert_array_equal(p.get_xdata(), np.arange(4, 12))
    np.testing.assert_allclose(p.get_ydata(), 1 / (1 + np.exp(-one.logits[4:12])))
    targets = {drawn.get_color(): drawn for drawn in axes.lines if drawn.get_marker() == "o"}
    assert targets[FAMILIAR].get_xdata().tolist() == [7, 11]
    assert len(targets) == 2
    assert [x for x, _ in points(axes, "*")] == [9, 11]
    right = watched(range(2, 8), scene_time=1)
    assert len(points(output_figure(right, "x").axes[0], "*")) == 2
    assert points(output_figure(watched(range(4, 8)), "x").axes[0], "*") == []


def test_the_output_as_numbers():
    table = output_table(watched())
    assert len(table) == 16
    assert table["scene"].tolist() == [frame // 2 for frame in range(16)]
    assert table["target"].tolist() == [2, 0, 2, 0, 2, 0, 2, 1, 2, 0, 2, 1, 2, 0, 2, 0]
    assert table["called"].tolist() == [2, 0, 2, 0, 2, 0, 2, 1, 2, 1, 2, 0, 2, 0, 2, 0]
    np.testing.assert_allclose(table["p"], 1 / (1 + np.exp(-table["logit"])))
    assert probability(np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


def test_logits_of_novel_and_familiar_scenes():
    axes = logits_figure(watched(), "x").axes[0]
    novel, familiar = axes.patches
    assert (novel.get_label(), familiar.get_label()) == ("novel (n = 6)", "familiar (n = 2)")
    for drawn, own in ((novel, [-2, -1, -2, 1, -2, -3]), (familiar, [3, -0.5])):
        values, edges, _ = drawn.get_data()
        assert values.sum() == pytest.approx(1)
        for logit in own:
            assert values[np.searchsorted(edges, logit) - 1] >= own.count(logit) / len(own) - 1e-12


# ---- runs


def rows_of_tests(values, seeds=((0, 3), (1, 2))):
    """Rows of {R of the test: accuracy of each (seed, R)}; both rates follow from it."""
    rows = [
        (seed, r, tested, accuracy, accuracy / 2, accuracy / 4)
        for tested, own in values.items()
        for (seed, r), accuracy in zip(seeds, own)
    ]
    return pd.DataFrame(
        rows, columns=["seed", "R", "tested", "accuracy", "true_positive_rate", "false_positive_rate"]
    )  # fmt: skip


def test_accuracy_at_other_intervals_is_a_mean_over_seeds():
    one = Generalised("memo", rows_of_tests({1: (1.0, 0.8), 2: (0.9, 0.9)}), 2 / 3)
    plots = generalisation_plots([one], apart=False, log_x=False)
    numbers = plots["generalisation_accuracy"].numbers()
    assert numbers.columns[1] == "R_of_the_test"
    assert line(plots["generalisation_accuracy"], "memo") == {1: 0.9, 2: 0.9}
    np.testing.assert_allclose(numbers[["low", "high"]][:2], [[0.9 - 0.1 * T, 0.9 + 0.1 * T], [0.9, 0.9]])
    assert numbers["line"].tolist() == ["memo", "memo", "chance 0.667"]
    assert numbers["mean"].iloc[-1] == pytest.approx(2 / 3)
    assert line(plots["generalisation_rates"], "true positives") == {1: 0.45, 2: 0.45}
    assert line(plots["generalisation_rates"], "false positives") == {1: 0.225, 2: 0.225}
    assert list(plots["generalisation_accuracy"].panel.ends) == [2, 3]


def test_networks_of_each_interval_apart_and_runs_together():
    one = Generalised("memo", rows_of_tests({1: (1.0, 0.8)}), 2 / 3)
    other = Generalised("lstm", rows_of_tests({1: (0.5, 0.7)}), 0.8)
    apart = generalisation_plots([one, other], apart=True, log_x=True)["generalisation_accuracy"]
    assert [drawn.label for drawn in apart.panel.lines] == [
        "memo, R = 2", "memo, R = 3", "lstm, R = 2", "lstm, R = 3",
    ]  # fmt: skip
    assert line(apart, "memo, R = 2") == {1: 0.8}
    assert [level.label for level in apart.panel.levels] == ["chance 0.667", "chance 0.8"]
    rates = generalisation_plots([one, other], apart=False, log_x=False)["generalisation_rates"]
    assert line(rates, "lstm, true positives") == {1: 0.3}
    assert len({drawn.colour for drawn in rates.panel.lines}) == 2


STAIRCASE = pd.DataFrame([[1, 1, 2, 2], [1, 1, 1, 3]], index=[0, 5], columns=pd.Index([0, 20, 30, 60], name="update"))
STAGES = pd.DataFrame({"seed": [0, 0, 5], "R": [1, 2, 3], "total": [20, 60, 60], "capped": [False, True, False]})
REACHED = pd.DataFrame({"solved": [1, 3], "attempted": [2, 3], "capped": [1, 0]}, index=[0, 5])


def test_progress_has_means_and_the_staircase_of_every_seed():
    plot = progress_plot({"memo": STAIRCASE}, {"memo": STAGES})
    assert line(plot, "memo") == {0: 1, 20: 1, 30: 1.5, 60: 2.5}
    axes = plot.figure().axes[0]
    mean, *seeds = [drawn for drawn in axes.lines if drawn.get_marker() != "X"]
    assert [drawn.get_ydata().tolist() for drawn in seeds] == [[1, 1, 2, 2], [1, 1, 1, 3]]
    assert {drawn.get_drawstyle() for drawn in seeds} == {"steps-pre"}
    assert mean.get_marker() == ""
    assert points(axes, "X") == [(60, 2)]
    assert axes.get_ylim() == (0, 4)
    assert "given up" in plot.source
    calm = progress_plot({"memo": STAIRCASE}, {"memo": STAGES.assign(capped=False)})
    assert "given up" not in calm.source


def test_seeds_that_end_early_are_drawn_as_far_as_they_came():
    table = STAIRCASE.astype(float)
    table.loc[5, 60] = np.nan
    axes = progress_plot({"memo": table}, {"memo": STAGES[:0]}).figure().axes[0]
    assert axes.lines[-1].get_xdata().tolist() == [0, 20, 30]


def test_the_greatest_intervals_as_bars_and_numbers():
    axes = reached_figure({"memo": REACHED, "lstm": REACHED * 2}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2, 2.5, 4, 5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["memo", "lstm"]
    crosses = [x for x, _ in points(axes, "X")]
    assert crosses == [1, 2]  # of lstm nobody is marked by 1
    numbers = reached_numbers({"memo": REACHED})
    assert numbers[["line", "quantity", "mean", "n", "capped"]].to_numpy().tolist() == [
        ["memo", "solved", 2, 2, 1],
        ["memo", "attempted", 2.5, 2, 1],
    ]
    np.testing.assert_allclose(numbers[["low", "high"]], [[2 - T, 2 + T], [2.5 - T / 2, 2.5 + T / 2]])


def test_decay_and_rates_over_r():
    rows = [
        (seed, r, 0, layer, quantity, value + seed)
        for seed in (0, 1)
        for r in (0, 2)
        for layer, quantity, value in (
            ("layers.0", "decay", r),
            ("layers.0", "eta_mean", -r),
            ("layers.0", "eta_std", 1),
            ("layers.1", "eta_mean", 2 * r),
            ("layers.1", "eta_std", 3),
        )
    ]
    table = pd.DataFrame(rows, columns=["seed", "R", "updates", "layer", "quantity", "value"])
    plots = trajectory_plots(table, "x")
    assert list(plots) == ["decay_over_r", "eta_mean_over_r", "eta_std_over_r"]
    assert [drawn.label for drawn in plots["decay_over_r"].panel.lines] == ["layers.0"]  # the other has no memory
    assert line(plots["decay_over_r"], "layers.0") == {0: 0.5, 2: 2.5}
    assert line(plots["eta_mean_over_r"], "layers.1") == {0: 0.5, 2: 4.5}
    assert plots["decay_over_r"].numbers().columns[1] == "R"
    axes = plots["decay_over_r"].figure().axes[0]
    assert [drawn.get_ydata().tolist() for drawn in axes.lines[1:]] == [[0, 2], [1, 3]]
    one_rate = table[(table["quantity"] != "eta_std") | (table["value"] < 0)]
    zero = pd.concat([one_rate, table[table["quantity"] == "eta_std"].assign(value=0.0)])
    assert list(trajectory_plots(zero, "x")) == ["decay_over_r", "eta_mean_over_r"]
    assert trajectory_plots(table[:0], "x") == {}


def test_norms_and_spectra_are_drawn_layer_by_layer():
    norms = pd.DataFrame({"frame": [0, 1] * 2, "layer": ["a", "a", "b", "b"], "norm": [0.0, 3, 0, 4], "share": 0.5})
    plots = norm_plots(norms, "x")
    assert line(plots["plastic_norm"], "b") == {0: 0, 1: 4}
    assert line(plots["plastic_share"], "a") == {0: 0.5, 1: 0.5}
    values = pd.DataFrame({"matrix": ["W", "W", "η"], "layer": "a", "number": [1, 2, 1], "value": [5.0, 2.0, 3.0]})
    spectrum = spectrum_plot(values, "x")
    assert line(spectrum, "W, a") == {1: 5, 2: 2}
    assert line(spectrum, "η, a") == {1: 3}


def test_every_plot_can_be_saved(tmp_path):
    plot = progress_plot({"memo": STAIRCASE}, {"memo": STAGES})
    assert isinstance(plot, Plot)
    names = [path.name for path in save(plot, OutputFolder(tmp_path / "out"), "progress")]
    assert names == ["progress.png", "progress.svg", "progress.csv"]
    figures = (reached_figure({"memo": REACHED}), activity_figure(watched(), "x"))
    for number, figure in enumerate(figures):
        for path in save(figure, OutputFolder(tmp_path / "out"), str(number)):
            assert path.stat().st_size > 1000


@pytest.mark.parametrize("count", [1, 12, 13, 30])
def test_no_two_runs_have_one_colour(count):
    assert len(set(hues(count))) == count


def test_long_labels_leave_room_for_the_bars():
    table = pd.DataFrame({"solved": [1, 2], "attempted": [2, 3], "capped": [0, 0]})
    label = "memo updates_per_task=25 largest_r=None min_scenes=100 scenes_per_r=20 batch_size=4 vec_len=25"
    figure = reached_figure({label: table, "memo": table})
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width
    assert axes.get_yticklabels()[0].get_text().replace("\n", " ") == label
