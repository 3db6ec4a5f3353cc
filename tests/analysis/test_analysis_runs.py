import numpy as np
import pandas as pd
import pytest
from synthetic_runs import write_run

from lop_lightning.analysis.find import find_runs, group_by_task
from lop_lightning.analysis.labels import stream_titles
from lop_lightning.analysis.runs import read_run

HEADER = "seed,task,epoch,update,layer,metric,value\n"


def test_series_is_seeds_by_tasks_and_averages_bins(make_run):
    run = make_run(seeds=3, tasks=6, bins=4)
    record = pd.read_csv(run.directory / "record.csv", keep_default_na=False)
    rows = record[(record.metric == "online_accuracy") & (record.seed == 1) & (record.task == 4)]
    assert len(rows) == 4
    series = run.series("online_accuracy")
    assert series.shape == (3, 6)
    assert series.loc[1, 4] == pytest.approx(rows.value.mean())
    assert run.rows_per_task("online_accuracy").loc[1, 4] == 4
    assert run.done
    assert run.seeds == [0, 1, 2]


def test_layers_come_in_the_order_of_first_appearance(make_run):
    run = make_run(layers=12, tasks=2, seeds=1)
    assert run.layers("dead_units") == [f"layers.{i}" for i in range(12)]
    assert "dead_units" in run.layer_metrics()
    assert "dead_units" not in run.metrics()
    expected = np.mean([run.series("dead_units", f"layers.{i}").to_numpy() for i in range(12)], axis=0)
    np.testing.assert_allclose(run.layer_mean("dead_units"), expected)


def test_record_is_typed(make_run):
    record = make_run().record
    assert str(record.dtypes["metric"]) == str(record.dtypes["layer"]) == "category"
    assert record.dtypes["value"] == np.float64


@pytest.mark.parametrize("tail", ["1,3,0,400,layers.0,dead", "1,3,0,400,,online_loss,0.1", "1", "1,3,0,400,lay"])
def test_a_cut_last_line_is_left_out(make_run, tail):
    run = make_run(tasks=3, seeds=2)
    whole = len(run.record)
    with (run.directory / "record.csv").open("a") as file:
        file.write(tail)
    assert len(read_run(run.directory).record) == whole


@pytest.mark.parametrize("content", ["", "seed,ta", HEADER, HEADER.strip()])
def test_a_record_that_has_just_begun_is_empty(make_run, content):
    run = make_run(tasks=2, seeds=1)
    (run.directory / "record.csv").write_text(content)
    run = read_run(run.directory)
    assert len(run.record) == 0
    assert run.metrics() == run.layer_metrics() == []


def test_nan_and_inf_are_read_and_make_their_task_nan(make_run):
    run = make_run(tasks=2, seeds=1)
    rows = "0,0,0,1,,online_loss,nan\n0,0,0,2,,online_loss,1.0\n0,1,1,3,,online_loss,inf\n"
    (run.directory / "record.csv").write_text(HEADER + rows)
    series = read_run(run.directory).series("online_loss")
    assert np.isnan(series.loc[0, 0])
    assert np.isinf(series.loc[0, 1])


@pytest.mark.parametrize("content", ["a,b\n1,2\n", HEADER + "0,x,0,1,,post_loss,1.0\n"])
def test_what_is_no_record_is_named(make_run, content):
    run = make_run(tasks=2, seeds=1)
    (run.directory / "record.csv").write_text(content)
    with pytest.raises(ValueError, match=r"record\.csv: ") as caught:
        _ = read_run(run.directory).record
    assert "\n" not in str(caught.value)


def test_find_runs_is_recursive_and_names_a_wrong_path(make_run, tmp_path):
    run = make_run()
    make_run("cbp")
    assert [r.algo for r in find_runs([tmp_path, run.directory])] == ["bp", "cbp"]
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(ValueError, match=path.name) as caught:
            find_runs([tmp_path, path])
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="'lost_loss'"):
        run.series("lost_loss")


def test_labels_say_what_differs(make_run, tmp_path):
    make_run("bp")
    make_run("cbp", algo__replacement_rate=1e-4)
    assert [r.label for r in find_runs([tmp_path])] == ["bp", "cbp"]
    make_run("cbp", name="other", algo__replacement_rate=1e-5)
    labels = sorted(r.label for r in find_runs([tmp_path]))
    assert labels == ["bp", "cbp replacement_rate=0.0001", "cbp replacement_rate=1e-05"]
    make_run("bp", name="adam", optimizer__name="adam", optimizer__betas=[0.9, 0.99])
    assert "bp adam" in {r.label for r in find_runs([tmp_path])}


def test_labels_are_unique_even_for_equal_runs(make_run, tmp_path):
    make_run("bp", name="one", seeds=3)
    make_run("bp", name="two", seeds=5)
    make_run("bp", name="three", seeds=5)
    assert sorted(r.label for r in find_runs([tmp_path])) == ["bp seeds=0–2", "bp seeds=0–4 three", "bp seeds=0–4 two"]


def test_runs_are_grouped_by_stream(tmp_path):
    write_run(tmp_path, "bp", tasks=4)
    write_run(tmp_path, "cbp", tasks=4)
    write_run(tmp_path, "bp", tasks=6, name="longer")
    groups = group_by_task(find_runs([tmp_path]))
    assert sorted(len(group) for group in groups) == [1, 2]
    titles = stream_titles([group[0].config for group in groups])
    assert sorted(titles) == ["permuted_mnist tasks=4", "permuted_mnist tasks=6"]
