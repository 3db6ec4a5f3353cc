"""Sweeps, help, and the command without a word."""

import pytest
from lab import TINY
from omegaconf import OmegaConf

from lop_lightning import train
from lop_lightning.config import composed, jobs, parse
from lop_lightning.config.overrides import options_of

SHORT = [setting for setting in TINY if not setting.startswith("optimizer")]


def finished(tmp_path):
    return sorted(path.parent for path in tmp_path.rglob("summary.json"))


def test_a_sweep_runs_all_combinations(lop, tmp_path):
    code, out, errors = lop("-m", *SHORT, "algo=bp,cbp", "optimizer.lr=0.1,0.01", "task.tasks=2")
    assert code == 0
    assert errors.splitlines() == [
        f"lop: job {number}/4: {' '.join(SHORT)} algo={algo} optimizer.lr={lr} task.tasks=2 runs_dir={tmp_path}"
        for number, (algo, lr) in enumerate([(a, lr) for a in ("bp", "cbp") for lr in ("0.1", "0.01")], 1)
    ]
    directories = finished(tmp_path)
    found = {(c.algo.name, c.optimizer.lr) for c in (OmegaConf.load(d / "config.yaml") for d in directories)}
    assert found == {(algo, lr) for algo in ("bp", "cbp") for lr in (0.1, 0.01)}
    before = {path: path.stat().st_mtime_ns for d in directories for path in d.rglob("*")}
    code, again, errors = lop("--multirun", *SHORT, "algo=bp,cbp", "optimizer.lr=0.1,0.01", "task.tasks=2")
    assert (code, again) == (0, out)
    assert errors.count("lop: already done: ") == 4
    assert {path: path.stat().st_mtime_ns for d in directories for path in d.rglob("*")} == before


def test_a_job_that_fails_does_not_stop_the_others(lop, tmp_path):
    code, _, errors = lop("-m", *SHORT, "optimizer.lr=0.1,1e300,0.2")
    assert code == 2
    assert [line[:14] for line in errors.splitlines()] == [
        "lop: job 1/3: ", "lop: job 2/3: ", "lop: seed 3 di", "lop: job 3/3: ", "lop: 1 of 3 jo"
    ]  # fmt: skip
    assert len(finished(tmp_path)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["seeds=2,0"], "seeds=0"),
        (["algo=bp,cpb"], "did you mean 'cbp'?"),
        (["callbacks.continual.bins_per_task=1,-1"], "bins_per_task=-1"),
        (["model.hidden=[3],[0]"], "model.hidden=0"),
        (["algo=glob(*)"], "write them one by one, as algo=1,2,3"),
        (["optimizer.lr=interval(0,1)"], "write them one by one"),
    ],
)
def test_a_wrong_value_is_found_before_anything_is_trained(lop, tmp_path, arguments, words):
    code, _, errors = lop("-m", *TINY, *arguments)
    assert code == 2
    assert words in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_stopping_stops_the_whole_sweep(lop, tmp_path, monkeypatch):
    def stop(self, trainer, *rest):
        next(c for c in trainer.callbacks if type(c).__name__ == "Checkpoint").asked = 2

    monkeypatch.setattr("lop_lightning.callbacks.FreshReference.on_train_batch_end", stop)
    code, _, errors = lop("-m", *TINY, "algo=bp,cbp,l2")
    assert code == 130
    assert errors.count("lop: job ") == 1
    assert "lop: SIGINT: stopped in task 1/3 after 4 updates" in errors


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["a=1,2", "b=x"], [["a=1", "b=x"], ["a=2", "b=x"]]),
        (["a=range(1,4)"], [["a=1"], ["a=2"], ["a=3"]]),
        (["a=[1,2],[3]"], [["a=[1,2]"], ["a=[3]"]]),
        (["a=choice(1,2)", "~b"], [["a=1", "~b"], ["a=2", "~b"]]),
        (["a='1,2'"], [["a='1,2'"]]),
        ([], [[]]),
    ],
)
def test_jobs_of_a_line(line, expected):
    assert jobs(parse(line)) == expected


def test_help(lop):
    code, out, _ = lop("--help", runs_dir=None)
    assert code == 0
    for words in (
        "lop task=gmm algo=cbp",
        "algo: bp, cbp, curriculum, head_reset, hebbian, l2",
        "hardware: cpu, gpu",
        "lop --cfg job",
        "submitit",
    ):
        assert words in out
    assert len(out.splitlines()) <= 55  # a line a group, a folder of experiments, or all sweeps of a study
    assert "\nsweep/recurrent_lop: imagenet_binary/methods, lang_binary/lstm_methods, " in out
    named = {
        word for line in out.splitlines() if line.startswith("sweep") for word in line.partition(": ")[2].split(", ")
    }
    assert {name.partition("/")[2] or name for name in options_of("sweep")} == named  # none is left out
    for words in ("preset: original\n", "experiment/hebbian: dyn_ro_ma_100, ", "lop -m experiment=hebbian/batch"):
        assert words in out


def test_show_the_configuration(lop):
    code, out, _ = lop("--cfg", "job", "algo=cbp", "seeds=7")
    assert code == 0
    shown = OmegaConf.create(out)
    assert (shown.algo.replacement_rate, shown.seeds) == (1e-4, 7)
    assert shown == OmegaConf.merge(composed(["algo=cbp", "seeds=7"]), {"runs_dir": shown.runs_dir})


def test_without_a_word(lop, monkeypatch, tmp_path):
    # The default is 800 tasks of ten seeds: it is built here, and its first chunk is trained.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lop_lightning.callbacks.FreshReference.on_train_batch_end", _stop_at_once)
    monkeypatch.setattr("lop_lightning.experiment.build", _uncompiled)
    code, _, errors = lop(runs_dir=None)
    assert (code, errors.count("\n")) == (130, 1)
    assert "stopped in task 1/800 after 1000 updates" in errors
    (record,) = (tmp_path / "runs" / "permuted_images" / "mlp" / "bp").rglob("record.csv")
    assert record.stat().st_size > 100


def _stop_at_once(self, trainer, *rest):
    next(c for c in trainer.callbacks if type(c).__name__ == "Checkpoint").asked = 2


def _uncompiled(path, node, build=train.prepare.__globals__["build"], **given):
    return build(path, {**node, "compile": False} if path == "hardware" else node, **given)


def test_settings_of_hydra_itself_are_let_through():
    config = composed([*TINY, "hydra.sweep.dir=/tmp/somewhere", "hydra/launcher=submitit_local"])
    assert config == composed(TINY)
