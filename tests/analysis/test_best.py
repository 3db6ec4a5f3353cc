"""The best setting of a method, by the rule: exact numbers, ties, seeds, runs that diverged or are not finished."""

import math

import pytest
from synthetic_runs import rows_of, write_exact

from lop_lightning.analysis.best import CAVEAT, best_runs, final, seed_scores
from lop_lightning.analysis.find import find_runs
from lop_lightning.analysis.runs import read_run


def write(tmp_path, lr, finals, metric="online_accuracy", algo="bp", first_seed=0, **config):
    """A run of two tasks whose seeds end with ``finals``."""
    rows = rows_of(metric, [[0.5, final] for final in finals], first_seed=first_seed)
    name = f"{algo}{lr}{first_seed}"
    return write_exact(tmp_path, rows, algo, name=name, optimizer__lr=lr, **config)


def best(tmp_path, metric="online_accuracy"):
    return best_runs(find_runs([tmp_path]), metric)


def test_the_largest_mean_of_an_accuracy_the_smallest_of_a_loss(tmp_path):
    for lr, finals in ((0.1, (0.5, 0.7)), (0.01, (0.9, 0.8)), (0.001, (0.95, 0.7))):
        write(tmp_path / "accuracy", lr, finals)
        write(tmp_path / "loss", lr, finals, "online_loss")
    (one,) = best(tmp_path / "accuracy")
    assert one.settings == {"optimizer.lr": 0.01}
    assert (one.candidates, one.diverged, one.unfinished, one.window) == (3, 0, 0, 1)
    assert one.interval.estimate == pytest.approx(0.85)
    assert one.interval.high - one.interval.low == pytest.approx(2 * 12.7062047 * 0.05)  # t of one degree of freedom
    assert "best: the largest mean over seeds of online_accuracy on the last 1 tasks" in one.rule
    (one,) = best(tmp_path / "loss", "online_loss")
    assert one.settings == {"optimizer.lr": 0.1}
    assert "the smallest mean" in one.rule


def test_ties_go_to_the_narrower_interval_then_to_the_label(tmp_path):
    write(tmp_path / "width", 0.1, (0.5, 1.0))
    write(tmp_path / "width", 0.01, (0.75, 0.75))
    assert best(tmp_path / "width")[0].settings == {"optimizer.lr": 0.01}
    for lr in (0.3, 0.2):
        write(tmp_path / "label", lr, (0.5, 0.75))
    assert best(tmp_path / "label")[0].run.label == "bp lr=0.2"


def test_only_equal_seeds_are_compared(tmp_path):
    for lr, finals in ((0.1, (0.5, 0.5)), (0.01, (0.6, 0.6))):
        write(tmp_path, lr, finals)
        write(tmp_path, lr, [1 - final for final in finals], first_seed=7)
    write(tmp_path, 0.5, (0.99,), first_seed=3)  # alone with its seeds
    found = best(tmp_path)
    assert [(one.run.seeds, one.settings["optimizer.lr"], one.candidates) for one in found] == [
        ([0, 1], 0.01, 2), ([7, 8], 0.1, 2)
    ]  # fmt: skip


def test_what_diverged_or_is_unfinished_is_not_chosen(tmp_path):
    write(tmp_path, 0.1, (0.99, math.nan))
    write(tmp_path, 0.01, (0.5, 0.5))
    write(tmp_path, 0.001, (0.4, 0.4))
    (write(tmp_path, 0.2, (0.9, 0.9)) / "summary.json").unlink()
    (one,) = best(tmp_path)
    assert one.settings == {"optimizer.lr": 0.01}
    assert (one.candidates, one.diverged, one.unfinished) == (3, 1, 1)


def test_methods_networks_and_optimisers_have_each_their_own(tmp_path):
    for lr in (0.1, 0.01):
        write(tmp_path / "a", lr, (lr, lr))
        write(tmp_path / "b", lr, (lr, lr), algo="cbp", algo__rate=1e-4)
        write(tmp_path / "c", lr, (lr, lr), optimizer__name="adam")
        write(tmp_path / "d", lr, (lr, lr), model__name="wide")
    found = best(tmp_path)
    assert [(one.run.algo, one.run.config["optimizer"]["name"], one.run.model) for one in found] == [
        ("bp", "sgd", "mlp"), ("cbp", "sgd", "mlp"), ("bp", "adam", "mlp"), ("bp", "sgd", "wide")
    ]  # fmt: skip
    assert all(one.settings == {"optimizer.lr": 0.1} for one in found)


def test_runs_that_do_not_differ_in_a_setting_are_no_choice(tmp_path):
    write(tmp_path / "a", 0.1, (0.5, 0.5))
    write(tmp_path / "b", 0.1, (0.6, 0.6))
    assert best(tmp_path) == []
    write(tmp_path / "c", 0.2, (0.55, 0.55))
    assert best(tmp_path)[0].interval.estimate == pytest.approx(0.6)


def test_losses_in_decades_have_a_geometric_mean(tmp_path):
    run = read_run(write(tmp_path, 0.1, (1e-4, 1e-8), "final_loss", task="gmm"))
    assert seed_scores(run, "final_loss").tolist() == pytest.approx([-4, -8])
    assert final(run, "final_loss").estimate == pytest.approx(1e-6)
    zero = read_run(write(tmp_path, 0.2, (0.0, math.nan), "final_loss", task="gmm"))
    assert seed_scores(zero, "final_loss").tolist()[0] < -300  # underflown, not diverged
    assert final(zero, "final_loss").n == 1
    other = read_run(write(tmp_path, 0.3, (1e-4, 1e-8), "final_loss"))
    assert final(other, "final_loss").estimate == pytest.approx(5.0005e-5)


def test_the_caveat_says_what_not_to_report():
    assert "optimistic" in CAVEAT
    assert "other seeds" in CAVEAT
