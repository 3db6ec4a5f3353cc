import numpy as np
import pandas as pd
import pytest

from lop_lightning.analysis.find import find_runs
from lop_lightning.report.bands import band, binned, caption
from lop_lightning.report.choice import Choice
from lop_lightning.report.colours import method_colours, method_styles
from lop_lightning.report.compare import comparison_figures
from lop_lightning.report.figures import save
from lop_lightning.report.output import OutputFolder
from lop_lightning.report.run_figures import (
    figures_of,
    network_panel,
    reference_panels,
    reference_table,
    save_run_figures,
)
from lop_lightning.report.vocabulary import axis_label, title, wants_log


def test_a_run_of_the_mixture_gets_the_references_figures_and_columns(make_run):
    run = make_run(task="gmm", seeds=3, tasks=8, layers=2)
    names = {path.name for path in save_run_figures(run)}
    assert {"gmm_reference.png", "gmm_reference.svg", "min_loss.png", "dead_units_by_layer.svg"} <= names
    assert "fresh_min_loss.png" not in names
    for name in names:
        assert (run.directory / "figures" / name).stat().st_size > 0
    table = pd.read_csv(run.directory / "figures" / "gmm_reference_seed_1.csv")
    assert list(table.columns) == [
        "task", "min_CE", "final_CE", "sat", "grad_norm", "eff_rank_L0", "eff_rank_L1", "dup_frac_L0", "dup_frac_L1",
    ]  # fmt: skip
    assert table.task.tolist() == list(range(1, 9))
    assert table.sat[3] == pytest.approx(run.layer_mean("saturation_2").loc[1, 3])
    assert table.eff_rank_L1[3] == pytest.approx(run.series("preactivation_covariance_rank", "layers.1").loc[1, 3])


def test_the_six_panels(make_run):
    panels = reference_panels(make_run(task="gmm", tasks=5, layers=4))
    assert len(panels) == 6
    assert [panel.log for panel in panels[:2]] == [True, True]
    assert panels[0].fresh is not None
    assert panels[1].fresh is None
    assert len(panels[4].lines) == len(panels[5].lines) == 4


def test_missing_metrics_are_empty_columns(make_run):
    run = make_run(task="gmm", tasks=5, layers=1)
    kept = run.record[run.record.metric != "feature_duplication"]
    kept.to_csv(run.directory / "record.csv", index=False)
    table = reference_table(find_runs([run.directory])[0], 0)
    assert list(table.columns)[-2:] == ["eff_rank_L0", "dup_frac_L0"]
    assert table.dup_frac_L0.isna().all()


def test_figures_say_what_they_show(make_run):
    run = make_run(seeds=12, tasks=450)
    figure = dict(figures_of(run))["online_accuracy"]()
    text = figure.get_supxlabel().replace("\n", " ")
    for words in ("permuted_mnist, bp", "n = 12", "95 % BCa bootstrap interval", "mean of 5 tasks"):
        assert words in text.replace("\u00a0", " ")
    figure = dict(figures_of(run))["dead_units_by_layer"]()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["layers.0", "layers.1", "layers.2"]


def test_figures_are_the_same_file_each_time(make_run, tmp_path):
    run = make_run(seeds=3, tasks=5)
    one, two = (
        save(dict(figures_of(run))["online_loss"](), OutputFolder(tmp_path / name), "a") for name in ("one", "two")
    )
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


@pytest.mark.parametrize(("seeds", "tasks"), [(1, 1), (1, 6), (2, 1), (2, 3)])
def test_the_smallest_runs_can_be_drawn(make_run, seeds, tasks):
    run = make_run(task="gmm", seeds=seeds, tasks=tasks, layers=1)
    for name, make in figures_of(run):
        if name in ("gmm_reference", "min_loss", "dead_units_by_layer"):
            make().savefig("/dev/null", format="png")


def test_bins_are_means_and_keep_the_end():
    series = pd.DataFrame(np.arange(2 * 305.0).reshape(2, 305))
    table, width = binned(series)
    assert width == 4
    assert table.shape == (2, 77)
    assert table.iloc[0, 0] == pytest.approx(1.5)
    assert table.columns[0] == pytest.approx(1.5)
    assert table.iloc[0, -1] == 304
    assert binned(series.iloc[:, :200])[1] == 1


def test_a_logarithmic_band_is_geometric_and_floors_zeros():
    series = pd.DataFrame([[1e-8, 1e-2], [1e-6, 0.0]])
    result = band(series, log=True)
    assert result.mean[0] == pytest.approx(1e-7)
    assert result.mean[1] == pytest.approx(1e-5)
    assert result.low[0] > 0
    assert "geometric mean" in caption([result])
    assert "1 values ≤ 0" in caption([result])


def test_scales_and_names():
    decades = pd.DataFrame(np.geomspace(1e-9, 1, 50)[None].repeat(2, axis=0))
    assert wants_log("min_loss", [decades])
    assert not wants_log("dead_units", [decades])
    assert not wants_log("online_loss", [decades * 0 + 1])
    assert title("dormant_units_0.025") == "Dormant units, τ = 0.025"
    assert axis_label("dormant_units_0.025") == "fraction of units"
    assert title("hebbian_trace") == "Hebbian trace"


def test_methods_keep_their_colours(make_run, tmp_path):
    for algo in ("bp", "cbp", "something_new"):
        make_run(algo, tasks=2, seeds=1)
    three = method_colours(find_runs([tmp_path]))
    make_run("bp", name="slow", tasks=2, seeds=1, optimizer__lr=0.001)
    four = find_runs([tmp_path])
    colours = method_colours(four)
    assert len(set(colours.values())) == 4
    assert three["cbp"] == colours["cbp lr=0.01"]
    assert set(method_styles([run for run in four if run.algo == "bp"]).values()) == {"-", "--"}


def test_comparisons(make_run, tmp_path):
    make_run("bp", tasks=12)
    make_run("cbp", tasks=12, decay=0.0)
    runs = find_runs([tmp_path])
    figures = dict(comparison_figures(runs))
    assert list(figures)[:2] == ["online_accuracy", "loss_of_plasticity_online_accuracy"]
    assert "dead_units_layer_mean" in figures
    assert "fresh_post_loss" not in figures
    labels = [label.get_text() for label in figures["loss_of_plasticity_online_accuracy"]().axes[0].get_yticklabels()]
    assert labels == ["bp", "cbp"]
    assert list(dict(comparison_figures(runs, Choice(metrics=["dead_units"])))) == ["dead_units_layer_mean"]


def test_an_aged_network_is_drawn_with_the_fresh_one(make_run):
    panel = network_panel(make_run(tasks=5), "post_loss")
    assert panel.fresh is not None
    assert len(panel.bands) == 2
