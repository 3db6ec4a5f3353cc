"""Tuning: a seeded search on seeds of its own, resumed by repeating it, and the best on the seeds of the report."""

import inspect
import json
import math

import pandas as pd
import pytest
import yaml
from lab import TINY, PowerCut

from lop_lightning import train
from lop_lightning.analysis.runs import read_run
from lop_lightning.config import build, composed, config_directory
from lop_lightning.config.overrides import options_of
from lop_lightning.errors import ConfigError, LopError
from lop_lightning.search import Search
from lop_lightning.tune import search_of

SHORT = [setting for setting in TINY if not setting.startswith(("optimizer", "task.tasks"))] + ["task.tasks=2"]
FEW = ["+tune=step_size", "tune.trials=3", "tune.seeds=[7,8]"]
LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}


def tried(search, goodness):
    return list(search.run(lambda number, values: goodness(values)))


def test_proposals_are_a_function_of_the_seed_and_of_what_came_before():
    def near(values):
        return -abs(math.log10(values["lr"]) + 2)  # best at 0.01

    first, again = (tried(Search(LR, trials=25), near) for _ in range(2))
    assert first == again
    assert tried(Search(LR, trials=25, sampler_seed=1), near) != first
    assert tried(Search(LR, trials=25), lambda values: -near(values))[-5:] != first[-5:]
    assert tried(Search(LR, trials=12), near) == first[:12]
    best = max(first, key=lambda trial: trial.goodness)
    assert 0.008 < best.values["lr"] < 0.0125
    assert all(trial.values["lr"] == float(f"{trial.values['lr']:.4g}") for trial in first)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_diverged_is_never_the_best_and_the_search_goes_on(sampler):
    trials = tried(Search(LR, trials=15, sampler=sampler), lambda v: float("nan") if v["lr"] > 0.01 else v["lr"])
    assert {trial.goodness for trial in trials if trial.values["lr"] > 0.01} == {-math.inf}
    assert max(trials, key=lambda trial: trial.goodness).values["lr"] <= 0.01


def test_values_stay_in_their_place():
    space = {
        "whole": {"low": 2, "high": 9, "whole": True}, "log": {"low": 1, "high": 512, "log": True, "whole": True},
        "plain": {"low": -0.123456, "high": 0.123456}, "word": {"choices": ["a", None, [1, [2]]]},
    }  # fmt: skip
    values = [trial.values for trial in tried(Search(space, trials=60, sampler="random"), lambda values: 0.0)]
    assert {v["whole"] for v in values} == set(range(2, 10))
    assert {type(v["log"]) for v in values} == {int}
    assert sum(v["log"] < 23 for v in values) > 15  # half of a logarithm, a twentieth of the numbers
    assert all(-0.123456 <= v["plain"] <= 0.123456 for v in values)
    assert {str(v["word"]) for v in values} == {"a", "None", "[1, [2]]"}
    assert Search(space).corners() == [
        {"whole": 2, "log": 1, "plain": -0.123456, "word": "a"},
        {"whole": 9, "log": 512, "plain": 0.123456, "word": [1, [2]]},
    ]


@pytest.mark.parametrize("name", options_of("tune"))
def test_every_search_builds_and_its_numbers_are_the_defaults(name):
    node = yaml.safe_load((config_directory() / "tune" / f"{name}.yaml").read_text())
    search = build("tune", node)
    defaults = {k: p.default for k, p in inspect.signature(Search).parameters.items() if k != "space"}
    assert node["name"] == name
    assert {key: node[key] for key in defaults} == {**defaults, "seeds": list(defaults["seeds"])}
    algo = name if name != "step_size" else "bp"
    config = composed([f"algo={algo}"])
    for key in search.space:
        section, leaf = key.split(".")
        assert leaf in config[section]


def test_a_whole_tuning(lop, tmp_path):
    code, out, errors = lop("-m", *SHORT, *FEW, "algo=bp,l2", "seeds=3")
    assert code == 0
    assert errors.count("lop: trial ") == 6
    assert "on the last 1 tasks over seeds 7, 8; ties: the earlier. Its value on those seeds is optimistic" in errors
    folders = sorted((tmp_path / "tuning").iterdir())
    assert len(folders) == 2
    for folder in folders:
        trials, best = pd.read_csv(folder / "trials.csv"), json.loads((folder / "best.json").read_text())
        assert len(trials) == 3
        goodness = []
        for _, row in trials.iterrows():
            run = read_run(row.run)
            assert run.config["optimizer"]["lr"] == row["optimizer.lr"]
            assert run.seeds == [7, 8]
            goodness.append(run.series("online_accuracy").to_numpy()[:, -1].mean())
        assert trials.goodness.tolist() == pytest.approx(goodness)
        assert best["best"] == {"optimizer.lr": trials["optimizer.lr"][trials.goodness.idxmax()]}
        assert best["search"]["estimate"] == pytest.approx(max(goodness))
        report = read_run(best["run"])
        assert (report.seeds, report.config["optimizer"]["lr"]) == ([0, 1, 2], best["best"]["optimizer.lr"])
        assert best["report"]["estimate"] == pytest.approx(report.series("online_accuracy").to_numpy()[:, -1].mean())
        assert best["report"]["n"] == 3
    assert "bp mlp sgd" in out
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.csv")}
    assert len(before) == 8
    code, again, _ = lop("-m", *SHORT, *FEW, "algo=bp,l2", "seeds=3")
    assert code == 0
    assert again in out  # the table alone: nothing is trained again
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("record.csv")} == before


def test_an_interrupted_search_goes_on_where_it_was(lop, tmp_path, monkeypatch):
    lop("-m", *SHORT, *FEW, "seeds=1", runs_dir=tmp_path / "whole")
    calls, real = [], train.run

    def cut(config):
        calls.append(config)
        if len(calls) == 3:
            raise PowerCut
        return real(config)

    monkeypatch.setattr(train, "run", cut)
    with pytest.raises(PowerCut):
        lop("-m", *SHORT, *FEW, "seeds=1", runs_dir=tmp_path / "cut")
    code, *_ = lop("-m", *SHORT, *FEW, "seeds=1", runs_dir=tmp_path / "cut")
    assert (code, len(calls)) == (0, 5)  # of three trials and a last run, the two that were missing
    results = []
    for place in ("whole", "cut"):
        (folder,) = (tmp_path / place / "tuning").iterdir()
        results.append((folder / "trials.csv").read_text().replace(f"{tmp_path}/{place}", ""))
    assert results[0] == results[1]


def test_a_diverging_trial_is_no_end(lop, tmp_path):
    extreme = "tune.space={optimizer.lr: {choices: [0.05, 1.0e+300]}}"
    code, _, errors = lop("-m", *SHORT, *FEW, "seeds=1", extreme)
    assert code == 0, errors
    assert "diverged" in errors
    (folder,) = (tmp_path / "tuning").iterdir()
    trials = pd.read_csv(folder / "trials.csv")
    assert set(trials["optimizer.lr"]) == {0.05, 1e300}
    assert set(trials.goodness[trials["optimizer.lr"] == 1e300]) == {-math.inf}
    assert json.loads((folder / "best.json").read_text())["best"] == {"optimizer.lr": 0.05}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["+tune=step_sise"], "did you mean 'step_size'?"),
        (["+tune=step_size", "+tune=cbp"], "one search at a time"),
        (["+tune=step_size", "tune.trials=0"], "tune.trials=0 is not legal"),
        (["+tune=step_size", "tune.trails=3"], "did you mean 'trials'?"),
        (["+tune=step_size", "tune.trials=3,4"], "tune.trials is not legal: one value"),
        (["+tune=step_size", "tune.sampler=grid"], "tune.sampler=grid is not legal"),
        (["+tune=step_size", "tune.metric=acuracy"], "tune.metric=acuracy is not legal"),
        (["+tune=step_size", "tune.seeds=[1,2,3]"], "tune.seeds=[1, 2, 3] is not legal: expected other seeds"),
        (["+tune=cbp"], "algo.replacement_rate is no key of this configuration"),
        (["+tune=step_size", "tune.space={optimizer.lr: {low: -1, high: 1}}"], "lr=-1"),
        (["+tune=step_size", "task.n=0"], "task.n=0"),
        (["+tune=step_size", "hardware=local"], "hardware=local does not go with +tune"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_trained(lop, tmp_path, arguments, words):
    code, out, errors = lop("-m", *SHORT, *arguments)
    assert (code, out, errors.count("\n")) == (2, "", 1), errors
    assert words in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "place",
    [
        3, {}, {"low": 1}, {"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, {"choices": []},
        {"low": 1, "high": 2, "step": 1}, {"low": 1.5, "high": 3, "whole": True}, {"choices": [1], "low": 1},
    ],
)  # fmt: skip
def test_a_place_to_search_is_checked(place):
    with pytest.raises(ConfigError, match=r"space\.lr"):
        Search({"lr": place})


def test_without_a_search_there_is_none():
    with pytest.raises(LopError, match="one search at a time"):
        search_of(["algo=bp"])
