"""``lop-hebbian`` on runs of networks made by hand: what it writes, what it tests no second time, what it cannot do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hebbian_networks import EXACT, LSTM, MEMO, curriculum_rows, hebbian_run, knows_the_last, memo
from lab import COMMON, run
from matplotlib.figure import Figure
from PIL import Image

from lop_lightning import hebbian
from lop_lightning.networks.hebbian import Memo

SCENES = MEMO | {"hidden_dims": [4, 3], "plastic_types": ["M", "A"], "hetero_rates": [1, 1]}
MATRICES = ("weights", "readout", "hidden_activity", "output", "logits")
PLASTIC = ("eta", "plastic_states", "effective_weights")
PLOTS = ("singular_values", "plastic_norm", "plastic_share", "decay_over_r", "eta_mean_over_r", "eta_std_over_r")
QUICK = ("--movies", "1", "--scenes", "60", "--tests", "3,1,2")


@pytest.fixture
def sketched(monkeypatch):
    """Pictures are drawn in few pixels, and those without pixels not at all."""
    draw = Figure.savefig

    def savefig(self, path, **settings):
        if path.suffix == ".png":
            draw(self, path, dpi=30, **settings)
        else:
            path.write_bytes(b"<?xml")

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture
def command(capsys, tmp_path):
    """``command(*arguments)`` -> the files that it says it wrote, and what it says besides."""

    def call(*arguments):
        capsys.readouterr()
        assert hebbian.main([*map(str, arguments), "--out", str(tmp_path / "out")]) == 0
        out, errors = capsys.readouterr()
        return [Path(path) for path in out.splitlines()], errors

    return call


@pytest.fixture
def refused(refusal, tmp_path):
    """``refused(*arguments)`` -> the one line that it says instead."""

    def call(*arguments, out=tmp_path / "out"):
        errors = refusal(hebbian.main, *arguments, "--out", out)
        assert errors.startswith("lop-hebbian")
        return errors

    return call


def scenes(tmp_path, name="movies", **settings):
    """Seed 3 has solved 1 and 2, seed 1 has solved 1 and given 2 up."""
    networks = {(3, 0): memo(0), (3, 1): memo(1), (3, 2): memo(2), (1, 0): memo(3), (1, 1): memo(4)}
    ways = {3: [(1, 1, 0), (2, 2, 0), (3, 2, 0)], 1: [(1, 1, 0), (2, 1, 0), (2, 1, 1)]}
    rows = curriculum_rows(ways, solved_after={(3, 0): 5, (3, 1): 6, (1, 0): 7})
    between = {1: [memo(5), memo(6)]}
    return hebbian_run(tmp_path / name, networks, "scenes", SCENES, rows, (3, 1), between, **settings)


def exact(tmp_path, name="exact", out_dim=1):
    """Seed 0 has solved 1 and 2 with networks that know the last item, seed 2 has solved 1 with one that never does."""
    deaf = knows_the_last(out_dim)
    with torch.no_grad():
        deaf.layers[0].eta.zero_()
    networks = {(0, 0): deaf, (0, 1): deaf, (0, 2): knows_the_last(out_dim), (2, 0): deaf, (2, 1): deaf}
    rows = curriculum_rows({0: [(1, 1, 0), (2, 2, 0)], 2: [(1, 1, 0), (2, 1, 0)]}, solved_after={(0, 0): 3})
    return hebbian_run(tmp_path / name, networks, rows=rows, seeds=(0, 2), out_dim=out_dim)


# ---- visualise


def test_visualise_draws_the_network_that_came_furthest_and_writes_its_numbers(command, sketched, tmp_path):
    written, errors = command("visualise", scenes(tmp_path), "--frames", "20")
    folder = tmp_path / "out" / "movies-seed-00001-R-00001"
    names = {f"{plot}.{kind}" for plot in (*MATRICES, *PLASTIC, *PLOTS) for kind in ("png", "svg")}
    names |= {f"{plot}.csv" for plot in (*PLOTS, "output", "over_r_all")}
    names |= {f"{name}.npz" for name in ("weights", "hidden_activity", *PLASTIC)}
    assert errors == ""
    assert {path.name for path in written} == {*names, "plastic_states.gif", "metadata.json"}
    assert len(written) == len(names) + 2
    assert {path.parent for path in written} == {folder}
    assert {path.name for path in folder.iterdir()} == {path.name for path in written} | {".lop-report"}
    for path in written:
        starts = {".png": b"\x89PNG", ".svg": b"<?xml", ".gif": b"GIF89a", ".npz": b"PK"}
        assert path.read_bytes().startswith(starts.get(path.suffix, b""))
    with Image.open(folder / "plastic_states.gif") as gif:
        assert gif.n_frames == 20
    own = memo(4)
    weights, p = np.load(folder / "weights.npz"), np.load(folder / "plastic_states.npz")
    np.testing.assert_allclose(weights["layers.1"], own.layers[1].weight.detach().numpy())
    np.testing.assert_allclose(weights["readout"], own.head.weight.detach().numpy())
    assert p["frames"].tolist() == list(range(4, 24))
    assert p["layers.0"].shape == (20, 4, 25)
    effective = np.load(folder / "effective_weights.npz")
    np.testing.assert_allclose(effective["layers.0"], weights["layers.0"] * (1 + p["layers.0"]), atol=1e-6)
    np.testing.assert_allclose(effective["layers.1"], weights["layers.1"] + p["layers.1"], atol=1e-6)
    output = pd.read_csv(folder / "output.csv")
    facts = json.loads((folder / "metadata.json").read_text())
    assert (facts["seed"], facts["R"], facts["movie"]["window"]) == (1, 1, [4, 24])
    asked = output[output["target"] < 2]
    assert facts["movie"]["accuracy"] == pytest.approx((asked["target"] == asked["called"]).mean())
    decay = pd.read_csv(folder / "decay_over_r.csv")
    assert decay["R"].tolist() == [0, 1, 2] * 2


def test_visualise_any_snapshot_without_overwriting_another(command, undrawn, tmp_path):
    directory = scenes(tmp_path)
    for arguments, name, r in (
        (("--seed", "3", "--r", "2"), "seed-00003-R-00002", 2),
        (("--seed", "3", "--r", "0"), "seed-00003-R-00000", 1),
        (("--task", "1", "--seed", "1"), "seed-00001-task-00001", 2),
    ):
        written, _ = command("visualise", directory, *arguments, "--no-gif")
        assert written[-1] == tmp_path / "out" / f"movies-{name}" / "metadata.json"
        assert json.loads(written[-1].read_text())["movie"]["R"] == r
        assert not [path for path in written if path.suffix == ".gif"]
    assert len(list((tmp_path / "out").iterdir())) == 3
    command("visualise", directory, "--no-gif", "--r", "2", "--seed", "3")  # its own files it makes anew


def test_visualise_networks_without_plastic_layers(command, undrawn, tmp_path):
    frozen = Memo((400, 25), 1, [4, 3], ["M", "A"], [1, 1], plastic=False, ragged=True, read_every=4)
    directory = hebbian_run(tmp_path / "frozen", {(0, 0): frozen}, "scenes", SCENES | {"plastic": False})
    written, _ = command("visualise", directory)
    assert {path.stem for path in written} == {*MATRICES, "singular_values", "metadata"}
    assert not [path for path in written if path.suffix == ".gif"]


# ---- generalise


def test_generalise_tests_the_greatest_r_of_each_seed(command, undrawn, tmp_path):
    written, errors = command("generalise", exact(tmp_path), *QUICK)
    names = [f"generalisation_{name}.{kind}" for name in ("accuracy", "rates") for kind in ("png", "svg", "csv")]
    assert errors == ""
    assert written == [tmp_path / "out" / name for name in [*names, "generalise_all.csv"]]
    table = pd.read_csv(written[-1]).set_index(["seed", "R", "tested"])
    assert table.index.tolist() == [(2, 1, r) for r in (1, 2, 3)] + [(0, 2, r) for r in (1, 2, 3)]
    assert table["true_positive_rate"].tolist() == [0, 0, 0, 1, 0, 0]
    assert table["false_positive_rate"].tolist() == [0] * 6
    assert table.loc[(0, 2, 1), "accuracy"] == 1
    assert set(table["scenes"]) == {60}
    numbers = pd.read_csv(tmp_path / "out" / "generalisation_rates.csv")
    hits = numbers[numbers["line"] == "true positives"]
    assert hits["mean"].tolist() == [0.5, 0, 0]
    assert hits["n"].tolist() == [2, 2, 2]


def test_generalise_every_network_or_those_that_are_asked_for(command, undrawn, tmp_path):
    directory = exact(tmp_path)

    def tested(*arguments):
        written, _ = command("generalise", directory, *QUICK, *arguments)
        table = pd.read_csv(written[-1])
        return sorted(set(table[["R", "seed"]].itertuples(index=False, name=None)))

    assert tested("--every") == [(1, 0), (1, 2), (2, 0)]
    assert tested("--r", "1,0") == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert tested("--seeds", "2") == [(1, 2)]
    lines = pd.read_csv(tmp_path / "out" / "generalisation_accuracy.csv")["line"]
    assert set(lines) == {"memo", "chance 0.667"}


def test_the_grids(command, undrawn, tmp_path):
    directory = exact(tmp_path)
    written, _ = command("generalise", directory, "--movies", "1", "--scenes", "40")
    assert set(pd.read_csv(written[-1])["tested"]) == set(range(1, 20))
    written, _ = command("generalise", directory, "--movies", "1", "--scenes", "40", "--tests", "geometric")
    table = pd.read_csv(written[-1])
    assert table.groupby("seed")["tested"].max().to_dict() == {0: 2, 2: 1}


def test_tests_are_made_once(command, undrawn, tmp_path, monkeypatch):
    directory, seen, own = exact(tmp_path), [], hebbian.generalisation

    def watched(network, stream, intervals, *rest, **settings):
        seen.append(stream.seeds[0])
        return own(network, stream, intervals, *rest, **settings)

    monkeypatch.setattr(hebbian, "generalisation", watched)
    first = command("generalise", directory, *QUICK)[0][-1].read_bytes()
    assert sorted(seen) == [0, 2]
    assert command("generalise", directory, *QUICK)[0][-1].read_bytes() == first
    assert len(seen) == 2
    kept = sorted(path.name for path in (directory / "analysis" / "generalise").rglob("seed-*.csv"))
    assert kept == ["seed-00000-R-00002.csv", "seed-00002-R-00001.csv"]
    command("generalise", directory, *QUICK, "--movies", "2")  # other settings are other numbers
    assert len(seen) == 4


def test_runs_that_solved_nothing_are_left_out_with_a_word(command, undrawn, refused, tmp_path):
    exact(tmp_path / "runs")
    nothing = hebbian_run(tmp_path / "runs" / "nothing", {(0, 0): knows_the_last()})
    written, errors = command("generalise", tmp_path / "runs", *QUICK)
    assert errors == f"left out: {nothing} has solved no R yet\n"
    assert len(pd.read_csv(written[-1])) == 6
    assert "has solved no R yet" in refused("generalise", nothing)


# ---- progress


def test_progress_of_several_runs(command, tmp_path):
    scenes(tmp_path / "runs")
    rows = curriculum_rows({0: [(1, 0, 0), (1, 0, 1)]})
    hebbian_run(tmp_path / "runs" / "gates", task="scenes", model=LSTM, rows=rows)
    other = hebbian_run(tmp_path / "runs" / "other", rows=[(0, 0, 0, 1, "", "online_loss", 1.0)])
    written, errors = command("progress", tmp_path / "runs")
    assert errors.startswith(f"left out: {other} has no curriculum over R")
    names = [*(f"progress.{kind}" for kind in ("png", "svg", "csv")), "reached.png", "reached.svg", "reached.csv"]
    assert written == [tmp_path / "out" / name for name in [*names, "progress_all.csv"]]
    table = pd.read_csv(written[-1])
    assert table["run"].unique().tolist() == ["scenes lstm", "scenes memo"]
    memo_rows = table[table["run"] == "scenes memo"]
    assert memo_rows[["seed", "R", "updates", "solved", "capped"]].to_numpy().tolist() == [
        [1, 1, 7, True, False],
        [1, 2, 20, False, True],
        [3, 1, 5, True, False],
        [3, 2, 6, True, False],
        [3, 3, 10, False, False],
    ]
    reached = pd.read_csv(tmp_path / "out" / "reached.csv").set_index(["line", "quantity"])
    assert reached["mean"].to_dict() == {
        ("scenes lstm", "solved"): 0,
        ("scenes lstm", "attempted"): 1,
        ("scenes memo", "solved"): 1.5,
        ("scenes memo", "attempted"): 2.5,
    }
    assert reached["capped"].tolist() == [1, 1, 1, 1]


def test_a_run_as_training_leaves_it(command, undrawn, tmp_path):
    settings = (
        *COMMON, "task=scenes", "task.tasks=3", "task.updates_per_task=4", "task.batch_size=3", "task.min_scenes=6",
        "task.scenes_per_r=3", "task.vec_len=6", "task.scene_time=2", "task.acc_threshold=0.3", "task.acc_num=2",
        "task.check_movies=2", "task.probe_size=2", "hardware.chunk=2", "optimizer=adam", "model=memo",
        "model.hidden_dims=[3,2]", "algo=hebbian", "callbacks.continual.bins_per_task=2",
    )  # fmt: skip
    directory = run(settings, tmp_path / "runs").path
    written, _ = command("visualise", directory, "--frames", "8")
    assert json.loads(written[-1].read_text())["identity"]
    assert len(command("generalise", directory, *QUICK)[0]) == 7
    table = pd.read_csv(command("progress", directory)[0][-1])
    assert set(table["seed"]) == {1, 3}
    assert table["solved"].any()


# ---- what it cannot do


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("visualise", "RUN", "--r", "7"), "seed 0 of RUN has not solved R=7: it solved 1 to 2, the nearest is 2"),
        (("visualise", "RUN", "--seed", "5"), "seed 5 is not in RUN: its seeds are 0, 2"),
        (("visualise", "RUN", "--task", "3"), "RUN has no networks from before task 3: train with callbacks.keep_netw"),
        (("visualise", "RUN", "--r", "1", "--task", "3"), "not allowed with argument --r"),
        (("visualise", "RUN", "--frames", "0"), "'0' is no number from 1 on"),
        (("visualise", "RUN", "--r", "x"), "'x' is no whole number from 0 on"),
        (("generalise", "RUN", "--r", "9"), "no seed has solved R=9; solved were 1 to 2, the nearest is 2"),
        (("generalise", "RUN", "--r", "1;2"), "'1;2' is no list of whole numbers"),
        (("generalise", "RUN", "--tests", "cubic"), "'cubic' is neither linear nor geometric, nor a list of R"),
        (("generalise", "RUN", "--tests", "0"), "'0' is neither linear nor geometric, nor a list of R"),
        (("generalise", "RUN", "--scenes", "10"), "intervals=[10] is not legal"),
        (("generalise", "RUN", "--movies", "-1"), "movies"),
        (("progress", "nowhere"), "nowhere: no such file or directory"),
        (("compare", "RUN"), "invalid choice: 'compare'"),
    ],
)
def test_bad_input_is_answered_in_one_line(refused, undrawn, tmp_path, arguments, said):
    directory = exact(tmp_path)
    line = refused(*(str(directory) if word == "RUN" else word for word in arguments))
    assert said.replace("RUN", str(directory)) in line


def test_several_runs_where_one_is_wanted(refused, tmp_path):
    for name in "ab":
        exact(tmp_path / "runs", name)
    assert f"2 runs are here; name one, as {tmp_path / 'runs' / 'a'}" in refused("visualise", tmp_path / "runs")


def test_files_of_others_are_not_overwritten(refused, undrawn, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "progress.png").write_text("mine")
    assert "exists and was not made by lop-report" in refused("progress", scenes(tmp_path))
    assert (tmp_path / "out" / "progress.png").read_text() == "mine"
    assert "is a file, no folder" in refused("progress", scenes(tmp_path), out=tmp_path / "out" / "progress.png")


def test_a_network_that_exploded_is_said(refused, undrawn, tmp_path):
    network = knows_the_last()
    with torch.no_grad():
        network.layers[0].eta.fill_(float("nan"))
    directory = hebbian_run(tmp_path / "run", {(0, 0): network, (0, 1): network})
    assert "gives no finite output from frame 1 on: λ or η exploded" in refused("visualise", directory)


def test_strangers_classes_are_run_only_where_one_trusts_them(refused, undrawn, tmp_path):
    model = EXACT | {"_target_": "builtins.print"}
    directory = hebbian_run(tmp_path / "run", {(0, 1): knows_the_last()}, model=model)
    for name in ("visualise", "generalise"):
        assert "is in no YAML of conf/, so it is not run; --trust allows it" in refused(name, directory)
