"""``lop-timescales`` on tiny runs: what it writes, what it keeps and computes no second time, what it cannot do."""

import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pandas as pd
import pytest
import yaml
from lab import COMMON, run

from lop_lightning import timescales
from lop_lightning.analysis.timescales.depth import DURATIONS
from lop_lightning.analysis.timescales.studies import STUDIES
from lop_lightning.records.checkpoint_io import read_tensors

# A threshold that chance often passes, so that both seeds solve N = 2, 3 and 4.
TINY = (
    *COMMON, "task=parity", "task.tasks=30", "task.largest_n=4", "task.updates_per_task=5", "task.batch_size=6",
    "task.check_batches=2", "task.probe_size=7", "task.threshold=0.55", "hardware.chunk=5", "model.hidden=4",
    "optimizer.clip=2.0", "callbacks.continual.bins_per_task=2", "algo=curriculum",
)  # fmt: skip
SHORT = (*TINY, "task.tasks=8", "task.largest_n=2", "task.threshold=0.5")
RUNS = {
    "leaky": (*TINY, "model=leaky"),
    "continuous": (*SHORT, "model=leaky", "model.dynamics=continuous", "task.repeats=[3,1]"),
    "gru": (*SHORT, "model=gru", "model.bidirectional=false"),
    "fresh 2": (*TINY, "model=leaky", "task.curriculum=none"),
    "fresh 3": (*TINY, "model=leaky", "task.curriculum=none", "task.start_n=3"),
    "never": (*SHORT, "model=leaky", "task.tasks=2", "task.threshold=1"),
}
SEEDS = (1, 3)
QUICK = {
    "tau": (), "network": ("--trials=2", "--steps=300"), "dimension": ("--trials=2", "--steps=300"),
    "ablate": ("--count=2", "--repeats=2"), "perturb": ("--repeats=2",), "retrain": ("--span=1", "--periods=2"),
    "accuracy": ("--batches=2",), "duration": (),
}  # fmt: skip
PLOTS = {
    "tau": ["tau_mean", "tau_std", "tau_stuck"],
    "network": [f"tau_net_{name}" for name in
                ("mean", "std", "median", "excluded", "double", "agreement", "population")],
    "dimension": ["dimension"], "ablate": [], "perturb": ["perturbation_normalized_rnn"], "retrain": ["retraining"],
    "accuracy": ["accuracy"], "duration": ["duration"],
}  # fmt: skip
"""Figures that are written as numbers too; in this order, with the others after them."""
DRAWN = {"tau": ["tau_distribution"], "network": ["tau_net_distribution"], "ablate": ["ablation"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Makes a run when it is first asked for."""
    folder, there = tmp_path_factory.mktemp("runs"), {}

    def get(name):
        if name not in there:
            there[name] = run(RUNS[name], folder / name.replace(" ", "-")).path
        return there[name]

    return get


@pytest.fixture
def leaky(made, tmp_path):
    """A copy of the run, of which no analysis has been made."""
    return copytree(made("leaky"), tmp_path / "leaky", ignore=ignore_patterns("analysis"))


@pytest.fixture
def command(capsys, tmp_path):
    """``command(*arguments)`` -> the files that it says it wrote."""

    def call(*arguments):
        capsys.readouterr()
        assert timescales.main([*map(str, arguments), "--out", str(tmp_path / "out")]) == 0
        out, errors = capsys.readouterr()
        assert errors == ""
        return [Path(line) for line in out.splitlines()]

    return call


@pytest.fixture
def refused(refusal, tmp_path):
    """``refused(*arguments)`` -> the one line that it says instead."""

    def call(*arguments, out=tmp_path / "out"):
        errors = refusal(timescales.main, *arguments, "--out", out)
        assert errors.startswith("lop-timescales")
        return errors

    return call


@pytest.fixture
def counted(monkeypatch):
    """``counted(study, stop)`` lists the networks that are computed; the one with number ``stop`` fails."""

    originals = dict(STUDIES)

    def watch(name, stop=None):
        seen, own = [], originals[name].measure

        def measure(solved, *rest):
            if len(seen) == stop:
                raise KeyboardInterrupt
            seen.append((solved.seed, solved.high))
            return own(solved, *rest)

        monkeypatch.setitem(STUDIES, name, replace(STUDIES[name], measure=measure))
        return seen

    return watch


def kept(directory, seed, n):
    path = directory / "networks" / "solved" / f"seed-{seed:05d}-N-{n:05d}.pt"
    return read_tensors(path, "seed", "high", "updates", "tensors")


def everything(paths):
    return {path.name: path.read_bytes() for path in paths}


def on_disk(directory):
    """Results that are kept: path -> (content, time of the last change)."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (directory / "analysis").rglob("seed-*.csv")}


def every_network(ns=(2, 3, 4)):
    return [(seed, n) for n in ns for seed in SEEDS]


# ---- what is written


@pytest.mark.parametrize("name", [name for name in QUICK if name != "duration"])
def test_every_analysis_writes_its_figures_and_numbers(made, command, tmp_path, name):
    directory = made("leaky")
    written = command(name, directory, *QUICK[name])
    names = [f"{plot}.{kind}" for plot in PLOTS[name] for kind in ("png", "svg", "csv")]
    names += [f"{plot}.{kind}" for plot in DRAWN.get(name, []) for kind in ("png", "svg")]
    assert written == [tmp_path / "out" / file for file in [*names, f"{name}_all.csv"]]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, f"{name}_all.csv", ".lop-report"}
    for path in written:
        assert path.read_bytes().startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".csv": b""}[path.suffix])
    for plot in PLOTS[name]:
        numbers = pd.read_csv(tmp_path / "out" / f"{plot}.csv")
        assert numbers.columns[[0, *range(2, 7)]].tolist() == ["line", "mean", "low", "high", "n", "kind"]
        assert set(numbers["line"]) == {"curriculum"}
        assert (numbers["kind"] == "t").all()
        both = numbers[numbers["n"] == 2]
        assert len(both)
        assert ((both["low"] <= both["mean"]) & (both["mean"] <= both["high"])).all()
    table = pd.read_csv(written[-1])
    assert table.columns[:2].tolist() == ["seed", "N"]
    assert set(table["run"]) == {"curriculum"}
    seen = list(table[["seed", "N"]].drop_duplicates().itertuples(index=False, name=None))
    assert seen == (every_network() if name in ("tau", "network", "dimension") else every_network([4]))


def test_time_constants_are_those_of_the_kept_networks(made, command, undrawn, tmp_path):
    directory = made("leaky")
    command("tau", directory)
    table = pd.read_csv(tmp_path / "out" / "tau_all.csv")
    assert len(table) == 6 * 4
    for (seed, n), own in table.groupby(["seed", "N"]):
        np.testing.assert_allclose(own["tau"], kept(directory, seed, n)["tensors"]["tau"].numpy(), rtol=1e-9)
        assert own["unit"].tolist() == [0, 1, 2, 3]
    numbers = pd.read_csv(tmp_path / "out" / "tau_mean.csv").set_index("N")
    stuck = pd.read_csv(tmp_path / "out" / "tau_stuck.csv").set_index("N")["mean"]
    for n in (2, 3, 4):
        taus = [kept(directory, seed, n)["tensors"]["tau"].double().numpy() for seed in SEEDS]
        a, b = (own.mean() for own in taus)
        assert numbers["mean"][n] == pytest.approx((a + b) / 2)
        # Student's t with one degree of freedom, times s / √2 = |a - b| / 2
        assert numbers["high"][n] - numbers["mean"][n] == pytest.approx(12.7062047364 * abs(a - b) / 2)
        assert stuck[n] == pytest.approx(np.mean([(own < 1).mean() for own in taus]))


def test_chosen_networks_of_several_runs(made, command, undrawn, tmp_path):
    command("tau", made("leaky"), made("leaky").parents[2], "--n", "4,2,4", "--seeds", "3")
    table = pd.read_csv(tmp_path / "out" / "tau_all.csv")
    assert table[["seed", "N", "unit"]].to_numpy().tolist() == [[3, n, unit] for n in (4, 2) for unit in range(4)]


def test_durations_of_bits_in_continuous_time(made, command, undrawn, tmp_path):
    command("duration", made("continuous"))
    table = pd.read_csv(tmp_path / "out" / "duration_all.csv")
    assert sorted(set(table["k"])) == sorted(DURATIONS)
    assert table["trained"].all()
    assert set(table["asked"]) == {2}
    numbers = pd.read_csv(tmp_path / "out" / "duration.csv")
    assert numbers.columns.tolist() == ["line", "steps_k_of_a_bit", "mean", "low", "high", "n", "kind"]
    assert numbers["steps_k_of_a_bit"].tolist() == list(DURATIONS)
    np.testing.assert_allclose(numbers["mean"], table.groupby("k")["accuracy"].mean())
    assert (numbers["n"] == table["seed"].nunique()).all()


def test_networks_with_gates_have_time_constants_of_their_activity(made, command, undrawn, tmp_path):
    command("dimension", made("gru"), *QUICK["dimension"])
    units = pd.read_csv(tmp_path / "out" / "dimension_all.csv")
    per_network = units[units["kind"] == "unit"].groupby(["seed", "N"]).size()
    assert (per_network == 4).all()
    trials = units[units["kind"] == "trial"]
    assert (trials.groupby(["seed", "N"]).size() == 2).all()
    assert trials["dimension"].between(1, 4).all()


def first_solved(directory, n):
    """Seed -> updates of the check that solved N, where there was one."""
    rows = pd.read_csv(directory / "record.csv")
    rows = rows[(rows["metric"] == "solved_n") & (rows["value"] >= n)]
    return rows.groupby("seed")["update"].min().to_dict()


def test_steps_with_fresh_networks_beside_the_curriculum(made, command, undrawn, tmp_path):
    written = command("steps", made("leaky"), made("fresh 2"), made("fresh 3"))
    assert [path.name for path in written] == [
        "steps_to_solve.png", "steps_to_solve.svg", "steps_to_solve.csv", "steps_to_solve_all.csv"
    ]  # fmt: skip
    table = pd.read_csv(written[-1])
    assert list(dict.fromkeys(table["run"])) == ["parity, cumulative", "fresh, parity, N alone"]
    solved = table[table["solved"]].set_index(["run", "seed", "N"]).sort_index()
    for seed in SEEDS:
        ends = [first_solved(made("leaky"), n)[seed] for n in (2, 3, 4)]
        assert solved.loc[("parity, cumulative", seed), "total"].tolist() == ends
        assert solved.loc[("parity, cumulative", seed), "updates"].tolist() == np.diff([0, *ends]).tolist()
        assert [kept(made("leaky"), seed, n)["updates"] for n in (2, 3, 4)] == ends
    for n in (2, 3):
        ends = first_solved(made(f"fresh {n}"), n)
        assert ends, "no fresh network has solved anything, so that nothing was tested"
        for seed, end in ends.items():
            assert solved.loc[("fresh, parity, N alone", seed, n), "updates"] == end
    numbers = pd.read_csv(tmp_path / "out" / "steps_to_solve.csv")
    assert numbers.groupby(["line", "N"])["n"].sum().to_dict() == {
        **{("parity, cumulative", n): 2 for n in (2, 3, 4)},
        **{("fresh, parity, N alone", n): len(first_solved(made(f"fresh {n}"), n)) for n in (2, 3)},
    }


# ---- what is kept


def test_results_are_kept_and_nothing_is_computed_twice(leaky, command, counted):
    seen = counted("accuracy")
    first = everything(command("accuracy", leaky, "--batches=1", "--n=2,3"))
    assert seen == every_network([2, 3])
    before = on_disk(leaky)
    assert len(before) == 4
    again = everything(command("accuracy", leaky, "--batches=1", "--n=2,3"))
    assert seen == every_network([2, 3])
    assert on_disk(leaky) == before
    assert again == first  # the numbers are the same whether computed or read, and so are the figures
    command("accuracy", leaky, "--batches=1", "--n=2,4")
    assert seen == every_network([2, 3, 4])


def test_an_interrupted_analysis_goes_on_where_it_was(leaky, command, counted, undrawn, tmp_path):
    seen = counted("tau", stop=4)
    with pytest.raises(KeyboardInterrupt):
        command("tau", leaky)
    assert seen == every_network()[:4]
    before = on_disk(leaky)
    assert len(before) == 4
    assert not (tmp_path / "out").exists()
    assert not list(leaky.rglob("*.part"))
    seen = counted("tau")
    written = everything(command("tau", leaky))
    assert seen == every_network()[4:]
    assert on_disk(leaky).items() >= before.items()
    for path in on_disk(leaky):
        path.unlink()
    assert everything(command("tau", leaky)) == written


def test_a_network_that_was_trained_anew_is_looked_at_anew(leaky, command, counted, undrawn):
    command("tau", leaky)
    before = on_disk(leaky)
    (stale,) = (path for path in before if path.name == "seed-00003-N-00003.csv")
    header, rest = stale.read_text().split("\n", 1)
    assert header == f"# after {kept(leaky, 3, 3)['updates']} updates"
    stale.write_text(f"# after 1 updates\n{rest.replace('.', '9.')}")
    seen = counted("tau")
    command("tau", leaky)
    assert seen == [(3, 3)]
    assert {path: content for path, (content, _) in on_disk(leaky).items()} == {
        path: content for path, (content, _) in before.items()
    }


def test_other_options_have_results_of_their_own(leaky, command, counted, undrawn):
    seen = counted("ablate")
    for options in (("--count=1",), ("--count=2",), ("--count=1", "--mode=readout"), ("--count=1",)):
        command("ablate", leaky, "--repeats=1", *options)
    assert seen == every_network([4]) * 3
    assert len({path.parent for path in on_disk(leaky)}) == 3


def test_one_simulation_serves_two_analyses(leaky, command, counted, undrawn):
    assert STUDIES["network"].options == STUDIES["dimension"].options
    command("network", leaky, "--n=2", *QUICK["network"])
    seen = counted("dimension")
    command("dimension", leaky, "--n=2", *QUICK["dimension"])
    assert seen == []
    command("dimension", leaky, "--n=2", "--trials=1", "--steps=300")
    assert seen == every_network([2])


# ---- what cannot be done


@pytest.mark.parametrize("name", ["tau_std.png", "tau_stuck.csv", "tau_all.csv", "tau_distribution.svg"])
def test_what_the_user_made_is_not_overwritten(made, refused, undrawn, tmp_path, name):
    out = tmp_path / "mine"
    out.mkdir()
    (out / name).write_text("mine")
    assert f"{out / name}: exists and was not made by lop-report" in refused("tau", made("leaky"), out=out)
    assert (out / name).read_text() == "mine"


def test_a_folder_that_cannot_be_written(made, leaky, refused, undrawn, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is a file, no folder" in refused("accuracy", made("leaky"), "--batches=1", out=tmp_path / "file")
    (leaky / "analysis").write_text("mine")
    assert f"cannot write {leaky}/analysis/tau/" in refused("tau", leaky)
    assert (leaky / "analysis").read_text() == (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("leaky", ["tau", "--n=9"], "no seed has solved N=9; solved were 2 to 4, the nearest is 4"),
        ("leaky", ["accuracy", "--n=2,1"], "no seed has solved N=1; solved were 2 to 4, the nearest is 2"),
        ("leaky", ["tau", "--seeds=2"], "seed 2 has solved nothing; seeds that have are 1, 3"),
        ("leaky", ["tau", "--n=two"], "argument --n: 'two' is no list of whole numbers, as 5,10,30"),
        ("leaky", ["tau", "--n=2,"], "argument --n: '2,' is no list of whole numbers"),
        ("leaky", ["network", "--trials=0"], "argument --trials: '0' is no number from 1 on"),
        ("leaky", ["network", "--steps=1e3"], "argument --steps: '1e3' is no number from 1 on"),
        ("leaky", ["retrain", "--periods=-1"], "argument --periods: '-1' is no number from 1 on"),
        (
            "leaky",
            ["network", "--trials=1", "--steps=5"],
            "steps=5 is not legal: expected a whole number of at least 32",
        ),
        ("leaky", ["ablate", "--mode=unti"], "did you mean 'unit'"),
        ("leaky", ["perturb", "--kind=additive"], "did you mean 'additive_tau'"),
        ("leaky", ["tau", "--trials=3"], "unrecognized arguments: --trials=3"),
        ("leaky", ["steps", "--n=3"], "unrecognized arguments: --n=3"),
        ("leaky", ["taus"], "invalid choice: 'taus'"),
        ("leaky", ["duration"], "a bit has a duration in continuous time only"),
        ("gru", ["tau"], "a GRU has no time constants: only networks of model=leaky have"),
        ("gru", ["ablate"], "a GRU has no time constants: only networks of model=leaky have"),
        ("gru", ["perturb"], "a GRU has no time constants: only networks of model=leaky have"),
        ("never", ["tau"], "has solved nothing: an analysis needs a run of task=parity or task=dms that has"),
        ("never", ["network"], "has solved nothing: an analysis needs a run of task=parity or task=dms that has"),
    ],
)
def test_what_cannot_be_analysed_is_one_line(made, refused, tmp_path, name, arguments, message):
    assert message in refused(arguments[0], made(name), *arguments[1:])
    assert not (tmp_path / "out").exists()


def test_no_runs(refused, tmp_path):
    assert "no such file or directory" in refused("tau", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    for name in ("tau", "steps"):
        assert "no run here" in refused(name, tmp_path / "empty")
    assert "required: RUNS" in refused("tau")


def test_a_damaged_network(leaky, refused):
    path = leaky / "networks" / "solved" / "seed-00003-N-00003.pt"
    path.write_bytes(path.read_bytes()[:-40])
    assert f"{path} is damaged" in refused("tau", leaky)
    assert len(on_disk(leaky)) == 3  # those before it are kept


OWN = """
from lop_lightning.optimizers import SGD


class Own(SGD):
    used = False

    def clipped(self, grads):
        Own.used = True
        return super().clipped(grads)
"""


def test_classes_of_ones_own_are_run_only_if_trusted(leaky, refused, command, tmp_path, monkeypatch, undrawn):
    (tmp_path / "own_optimizer_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    path = leaky / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["optimizer"]["_target_"] = "own_optimizer_of_a_test.Own"
    path.write_text(yaml.safe_dump(config))
    line = refused("retrain", leaky, *QUICK["retrain"])
    assert "own_optimizer_of_a_test.Own is in no YAML of conf/, so it is not run; --trust allows it" in line
    assert "own_optimizer_of_a_test" not in sys.modules
    command("retrain", leaky, "--trust", *QUICK["retrain"])
    assert sys.modules.pop("own_optimizer_of_a_test").Own.used


def test_a_perturbed_network_is_trained_on(made, command, refused, undrawn):
    leaky, how = made("leaky"), ("--perturbed=normalized_rnn", "--epsilon=3")
    table = pd.read_csv(command("retrain", leaky, *QUICK["retrain"])[-1])
    other = pd.read_csv(command("retrain", leaky, *QUICK["retrain"], *how)[-1])
    keys = ["seed", "N", "asked", "period", "updates"]
    pd.testing.assert_frame_equal(table[keys], other[keys])
    assert (table["accuracy"] != other["accuracy"]).any()
    assert "did you mean 'normalized_tau'" in refused("retrain", leaky, "--perturbed=normalized_taus")
