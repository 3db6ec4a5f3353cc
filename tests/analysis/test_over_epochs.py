import numpy as np
import pandas as pd
import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.over_epochs import over_epochs, row_by_row, rule_of
from lop_lightning.analysis.runs import read_run

NAN = float("nan")


def table(*rows):
    return pd.DataFrame(rows, columns=["seed", "task", "update", "value"])


def values(rows, rule, **options):
    result, count = over_epochs(rows, rule, **options)
    return result.to_numpy().tolist(), count.to_numpy().tolist()


ROWS = table(  # the seeds take turns, as a run writes them; seed 5 did not reach task 3
    (2, 0, 4, 0.5), (5, 0, 4, 3.0), (2, 0, 6, 0.9), (5, 0, 6, 1.0), (2, 0, 10, 0.7), (5, 0, 10, 2.0), (2, 3, 14, 0.2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("last", [0.7, 0.2, 2.0]),
        ("max", [0.9, 0.2, 3.0]),
        ("min", [0.5, 0.2, 1.0]),
        ("mean", [0.7, 0.2, 2.0]),
    ],
)
def test_each_rule(rule, expected):
    result, count = over_epochs(ROWS, rule)
    assert result.index.tolist() == [2, 5]
    assert result.columns.tolist() == [0, 3]
    assert [result.loc[2, 0], result.loc[2, 3], result.loc[5, 0]] == pytest.approx(expected)
    assert np.isnan(result.loc[5, 3])
    assert count.to_numpy().tolist() == [[3, 1], [3, 0]]


def test_bins_weigh_by_their_updates():
    # seed 2: 4, 2 and 4 updates; then 4 of task 3.  (4·0.5 + 2·0.9 + 4·0.7) / 10
    result, _ = over_epochs(ROWS, "mean", by_updates=True)
    assert result.loc[2, 0] == pytest.approx(0.66)
    assert result.loc[5, 0] == pytest.approx((4 * 3 + 2 * 1 + 4 * 2) / 10)
    assert result.loc[2, 3] == pytest.approx(0.2)


def test_bins_without_updates_between_them_weigh_the_same():
    rows = table((0, 0, 0, 1.0), (0, 0, 0, 4.0), (0, 1, 3, 1.0), (0, 1, 9, 4.0))
    assert values(rows, "mean", by_updates=True)[0] == [[2.5, 3.0]]


@pytest.mark.parametrize(("rule", "expected"), [("last", 1.0), ("max", NAN), ("min", NAN), ("mean", NAN)])
def test_a_nan_in_a_task_is_not_passed_over(rule, expected):
    rows = table((0, 0, 1, NAN), (0, 0, 2, 1.0))
    np.testing.assert_equal(values(rows, rule)[0], [[expected]])
    np.testing.assert_equal(values(rows[::-1], "last")[0], [[NAN]])


def test_many_rows_agree_with_pandas():
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        {
            "seed": rng.integers(3, 8, 5000),
            "task": rng.integers(0, 40, 5000),
            "update": 1,
            "value": rng.normal(size=5000),
        }
    )
    groups = rows.groupby(["seed", "task"]).value
    for rule in ("last", "max", "min", "mean"):
        pd.testing.assert_frame_equal(
            over_epochs(rows, rule)[0], getattr(groups, rule)().unstack(), check_names=False, check_index_type=False,
            check_column_type=False,
        )  # fmt: skip
    assert over_epochs(rows, "last")[1].to_numpy().sum() == 5000


def test_row_by_row():
    result = row_by_row(ROWS)
    assert result.columns.name == "update"
    assert result.columns.tolist() == [4, 6, 10, 14]
    np.testing.assert_equal(result.to_numpy(), [[0.5, 0.9, 0.7, 0.2], [3.0, 1.0, 2.0, NAN]])


def test_the_rule_of_a_metric():
    for metric, asked, rule in (
        ("test_accuracy", None, "last"),
        ("test_accuracy", "max", "max"),
        ("test_accuracy", "best", "max"),
        ("test_loss", "best", "min"),
        ("weight_magnitude", "best", "last"),
        ("online_accuracy", None, "mean"),
        ("online_accuracy", "max", "mean"),
        ("fresh_online_loss", "last", "mean"),
    ):
        assert rule_of(metric, asked) == rule
    with pytest.raises(ValueError, match=r"'men' is none of .*did you mean"):
        rule_of("test_loss", "men")


def test_a_run_of_several_epochs(tmp_path):
    accuracy = [[[0.1, 0.9, 0.8], [0.4, 0.3, 0.2]]]
    rows = [*rows_of("test_accuracy", accuracy), *rows_of("online_loss", [[[1.0, 2.0, 6.0], [1.0, 1.0, 4.0]]])]
    run = read_run(write_exact(tmp_path, rows))
    assert run.series("test_accuracy").to_numpy().tolist() == [[0.8, 0.2]]
    assert run.series("test_accuracy", over_epochs="max").to_numpy().tolist() == [[0.9, 0.4]]
    assert run.series("test_accuracy").to_numpy().tolist() == [[0.8, 0.2]]
    assert run.series("online_loss").to_numpy()[0] == pytest.approx([(3 + 6 + 24) / 10, (3 + 3 + 16) / 10])
    assert run.rows_per_task("test_accuracy").to_numpy().tolist() == [[3, 3]]
    best = run.changed(over_epochs="best")
    assert best.record is run.record
    assert best.series("test_accuracy").to_numpy().tolist() == [[0.9, 0.4]]
    assert run.rows("test_accuracy").loc[0].to_dict() == {3: 0.1, 6: 0.9, 10: 0.8, 13: 0.4, 16: 0.3, 20: 0.2}
    assert run.last_updates("test_accuracy").to_dict() == {0: 10, 1: 20}


def test_single_classes_are_no_layers(tmp_path):
    rows = [
        *rows_of("dead_units", [[0.5], [0.7]], "layers.0"),
        *(row for c in (10, 0, 2) for row in rows_of("test_class_accuracy", [[c / 10], [c / 20]], f"class.{c:02d}")),
    ]
    run = read_run(write_exact(tmp_path, rows, widths={"layers.0": 7, "layers.1": 5}))
    assert run.layer_metrics() == ["dead_units"]
    assert run.class_metrics() == ["test_class_accuracy"]
    assert run.layers("test_class_accuracy") == []
    assert run.by_class("test_class_accuracy").columns.tolist() == [0, 2, 10]
    assert run.by_class("test_class_accuracy").to_numpy().tolist() == [[0.0, 0.2, 1.0], [0.0, 0.1, 0.5]]
    with pytest.raises(ValueError, match="'dead_units' is recorded for no class"):
        run.by_class("dead_units")
    assert run.widths == {"layers.0": 7, "layers.1": 5}


@pytest.mark.parametrize("content", [None, "", '{"format": 1}', '{"layers": [1]}', '{"layers": {"a": {}}}', "[]"])
def test_widths_may_be_unknown(tmp_path, content):
    directory = write_exact(tmp_path, rows_of("test_loss", [[1.0]]))
    if content is None:
        (directory / "run.json").unlink()
    else:
        (directory / "run.json").write_text(content)
    assert read_run(directory).widths == {}
