"""Which kept network is meant, what is known of it, and what is said where there is none."""

import pytest
import torch
from hebbian_networks import EXACT, curriculum_rows, hebbian_run, knows_the_last, memo

from lop_lightning.analysis.hebbian.labels import shortly_labelled
from lop_lightning.analysis.hebbian.snapshots import chosen_networks, load_snapshot, snapshots
from lop_lightning.analysis.hebbian.trajectories import by_r, trajectories
from lop_lightning.analysis.runs import read_run
from lop_lightning.errors import LopError
from lop_lightning.tasks.repeats import RepeatStream

SCENES = {"name": "memo", "_target_": "lop_lightning.networks.Memo", "hidden_dims": [4, 3]}


def marked(number):
    network = knows_the_last()
    with torch.no_grad():
        network.head.bias.fill_(number)
    return network


@pytest.fixture
def solved(tmp_path):
    """Seed 2 has solved 1 and 2, seed 5 has solved 1 to 3, seed 1 nothing; biases of readouts say which is which."""
    there = {(1, 0): 10, (2, 0): 20, (2, 1): 21, (2, 2): 22, (5, 0): 50, (5, 1): 51, (5, 2): 52, (5, 3): 53}
    rows = curriculum_rows({seed: [(1, 0, 0), (2, 1, 0), (2, 2, 0)] for seed in (1, 2, 5)})
    between = {1: [marked(100 + seed) for seed in (5, 1, 2)], 9: [marked(900 + seed) for seed in (5, 1, 2)]}
    networks = {place: marked(number) for place, number in there.items()}
    return read_run(hebbian_run(tmp_path / "run", networks, rows=rows, seeds=(5, 1, 2), between=between, start_r=4))


def number(snapshot):
    return int(snapshot.network.head.bias)


def test_by_default_it_is_the_greatest_of_the_first_seed_that_solved_anything(solved):
    one = load_snapshot(solved)
    assert (number(one), one.seed, one.r, one.task, one.updates, one.run) == (22, 2, 2, None, 200, "abc")
    assert one.name == "seed-00002-R-00002"
    assert (number(load_snapshot(solved, seed=5)), number(load_snapshot(solved, seed=1))) == (53, 10)
    assert isinstance(one.stream, RepeatStream)
    assert not one.network.training
    assert one.kinds == {"layers.0": "A"}


def test_before_training_it_is_shown_the_first_interval(solved):
    one = load_snapshot(solved, r=0, seed=5)
    assert (number(one), one.r, one.shown_r) == (50, 0, 4)
    assert load_snapshot(solved, r=3, seed=5).shown_r == 3


def test_where_nothing_is_solved_it_is_the_first_seed_before_training(tmp_path):
    run = read_run(hebbian_run(tmp_path, {(4, 0): marked(40), (3, 0): marked(30)}, seeds=(4, 3)))
    assert number(load_snapshot(run)) == 30


def test_between_periods_r_is_what_was_trained_then(solved):
    one = load_snapshot(solved, seed=2, task=1)
    assert (number(one), one.r, one.updates, one.name) == (102, 2, 25, "seed-00002-task-00001")
    assert number(load_snapshot(solved, task=1)) == 105  # the first one kept
    late = load_snapshot(solved, seed=1, task=9)
    assert (number(late), late.r) == (901, 2)  # after the last that is in the record


def test_between_periods_of_a_run_without_a_record_r_is_the_first(tmp_path):
    run = read_run(hebbian_run(tmp_path, between={0: [marked(1)]}, start_r=3))
    assert load_snapshot(run, task=0).r == 3


def test_chosen_networks(solved):
    assert chosen_networks(solved) == [(2, 2), (3, 5)]
    assert chosen_networks(solved, every=True) == [(1, 2), (1, 5), (2, 2), (2, 5), (3, 5)]
    assert chosen_networks(solved, seeds=[5]) == [(3, 5)]
    assert chosen_networks(solved, [2, 0], every=True) == [(2, 2), (2, 5), (0, 2), (0, 5)]
    assert chosen_networks(solved, [3]) == [(3, 5)]


@pytest.mark.parametrize(
    ("rs", "seeds", "said"),
    [
        ([7], None, "no seed has solved R=7; solved were 1 to 3, the nearest is 3"),
        (None, [1], "seed 1 has solved nothing; seeds that have are 2, 5"),
    ],
)
def test_networks_that_are_not_there(solved, rs, seeds, said):
    with pytest.raises(LopError, match=said):
        chosen_networks(solved, rs, seeds)


def test_a_snapshot_that_is_not_there(solved):
    with pytest.raises(LopError, match=r"seed 2 of .* has not solved R=3: it solved 1 to 2, the nearest is 2"):
        load_snapshot(solved, r=3, seed=2)
    with pytest.raises(LopError, match="has no networks from before task 4: kept were 1, 9"):
        load_snapshot(solved, task=4)
    with pytest.raises(LopError, match=r"seed 3 is not in .*: its seeds are 5, 1, 2"):
        load_snapshot(solved, task=1, seed=3)


def test_runs_of_another_kind(tmp_path):
    unsolved = read_run(hebbian_run(tmp_path / "a", {(3, 0): marked(0)}, seeds=(3,)))
    with pytest.raises(LopError, match="has solved no R yet"):
        chosen_networks(unsolved)
    leaky = {"name": "leaky", "_target_": "lop_lightning.networks.LeakyNetwork", "hidden": 3}
    other = read_run(hebbian_run(tmp_path / "b", task="parity", model=leaky))
    for look in (chosen_networks, load_snapshot):
        with pytest.raises(LopError, match="no networks that solved an R: only runs of task=familiarity and task=scen"):
            look(other)


def test_a_class_of_ones_own_is_not_run(tmp_path):
    run = read_run(hebbian_run(tmp_path, {(0, 1): marked(0)}, model=EXACT | {"_target_": "os.system"}))
    with pytest.raises(LopError, match=r"os\.system is in no YAML"):
        load_snapshot(run)


def test_what_training_made_of_decay_and_rates(tmp_path):
    networks = {}
    for seed, r, raw in ((1, 0, 1.0), (1, 2, 2.0), (3, 0, 1.0), (3, 1, -1.0), (3, 2, 0.0)):
        network = networks[seed, r] = memo(seed, decay_init=raw)
        with torch.no_grad():
            network.layers[1].eta.copy_(torch.tensor([[1.0, 3.0, 1.0, 3.0]] * 3) * (r + 1))
    run = read_run(hebbian_run(tmp_path, networks, "scenes", SCENES, seeds=(1, 3)))
    assert [one.name for one in snapshots(run)] == [f"seed-0000{seed}-R-0000{r}" for seed, r in networks]
    table = trajectories(run)
    decays = by_r(table, "decay", "layers.1")
    sigmoid = {-1.0: 0.2689414213699951, 0.0: 0.5, 1.0: 0.7310585786300049, 2.0: 0.8807970779778823}
    assert decays.columns.tolist() == [0, 1, 2]
    assert decays.loc[3].tolist() == pytest.approx([sigmoid[1.0], sigmoid[-1.0], sigmoid[0.0]])
    assert decays.loc[1].dropna().tolist() == pytest.approx([sigmoid[1.0], sigmoid[2.0]])
    assert by_r(table, "eta_mean", "layers.1").loc[3].tolist() == pytest.approx([2, 4, 6])
    assert by_r(table, "eta_std", "layers.1").loc[3].tolist() == pytest.approx([1, 2, 3])
    assert set(table.loc[table["R"] == 2, "updates"]) == {200}


def named(tmp_path, *configs):
    """Labels of runs with these (task, model settings, algo)."""
    runs = []
    for place, (task, model, algo) in enumerate(configs):
        run = read_run(hebbian_run(tmp_path / str(place), task=task, model=model))
        runs.append(run.changed(config=run.config | {"algo": {"name": algo}}))
    return [run.label for run in shortly_labelled(runs)]


def test_labels_say_the_network_and_what_differs(tmp_path):
    wide, added = EXACT | {"hidden_dims": [50, 50]}, EXACT | {"plastic_types": ["M", "A"]}
    lstm = {"name": "lstm", "hidden": 3}
    one, two = named(tmp_path / "a", ("scenes", wide, "hebbian"), ("scenes", added, "hebbian"))
    assert (one, two) == ("memo 50+50 A", "memo 2 MA")
    several = named(tmp_path / "b", ("scenes", EXACT, "hebbian"), ("familiarity", EXACT, "cbp"), ("scenes", lstm, "bp"))
    assert several == ["scenes memo", "familiarity memo cbp", "scenes lstm"]
    assert named(tmp_path / "c", ("scenes", lstm, "bp")) == ["lstm"]


def test_labels_leave_out_what_goes_without_saying(tmp_path):
    wide = EXACT | {"hidden_dims": [50, 50], "hetero_rates": [1, 1], "plastic": True}
    frozen = EXACT | {"hidden_dims": [5], "hetero_rates": [1], "plastic": False}
    assert named(tmp_path / "a", ("scenes", wide, "hebbian"), ("scenes", frozen, "hebbian")) == [
        "memo 50+50", "memo 5 frozen",
    ]  # fmt: skip
    alike = [wide, wide | {"hetero_rates": [1]}]  # told apart by this alone
    assert named(tmp_path / "b", *(("scenes", one, "hebbian") for one in alike)) == [
        "memo hetero_rates=[1, 1]", "memo hetero_rates=[1]",
    ]  # fmt: skip
