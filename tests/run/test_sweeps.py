"""Ready sweeps: what they stand for, with what they go, and that a sweep again runs only what is missing."""

import shutil

import pytest
from lab import TINY
from omegaconf import OmegaConf

from lop_lightning.config import composed, config_directory, expanded, jobs, parse
from lop_lightning.config.overrides import options_of
from lop_lightning.errors import LopError

SHORT = [setting for setting in TINY if not setting.startswith(("optimizer", "task.tasks"))] + ["task.tasks=2"]
PUBLISHED = {  # sweep of conf/sweep/dohare2024 -> an experiment it is for, the key, the published values
    "permuted_mnist/step_sizes": ("permuted_mnist/bp", "optimizer.lr", [0.01, 0.003, 0.001]),
    "permuted_mnist/step_sizes_adam": ("permuted_mnist/adam", "optimizer.lr", [1e-4, 3e-5, 5e-5]),
    "permuted_mnist/weight_decays": ("permuted_mnist/l2", "algo.weight_decay", [1e-3, 1e-4, 1e-5]),
    "permuted_mnist/noises": ("permuted_mnist/shrink_and_perturb", "algo.noise_std", [1e-4, 1e-5, 1e-6]),
    "permuted_mnist/replacement_rates": ("permuted_mnist/cbp", "algo.replacement_rate", [1e-4, 1e-5, 1e-6]),
    "permuted_mnist/widths": (None, "model.hidden", [[w] * 3 for w in (100, 1000, 2000, 10000)]),
    "permuted_mnist/rates": (None, "task.task_length", [10_000, 100_000, 1_000_000]),
    "permuted_mnist/methods": (None, "algo.name", ["bp", "bp", "l2", "shrink_and_perturb", "cbp"]),
    "slowly_changing_regression/step_sizes": (
        "slowly_changing_regression/adam/bp_tanh", "optimizer.lr", [0.01, 0.003, 0.001],
    ),
    "slowly_changing_regression/step_sizes_linear": (
        "slowly_changing_regression/flip_one/linear", "optimizer.lr", [0.03, 0.01, 0.003, 0.001, 0.0003],
    ),
    "slowly_changing_regression/weight_decays": (
        "slowly_changing_regression/sgd/l2_elu", "algo.weight_decay", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    ),
    "slowly_changing_regression/weight_decays_to_1": (
        "slowly_changing_regression/adam/l2_relu", "algo.weight_decay", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1],
    ),
    "slowly_changing_regression/noises": (
        "slowly_changing_regression/sgd/shrink_and_perturb_relu", "algo.noise_std",
        [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    ),
    "slowly_changing_regression/replacement_rates": (
        "slowly_changing_regression/cbp", "algo.replacement_rate", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2],
    ),
    "slowly_changing_regression/activations": (
        "slowly_changing_regression/sgd/bp_relu", "model.activation",
        ["elu", "leaky_relu", "relu", "sigmoid", "swish", "tanh"],
    ),
    "continual_imagenet/step_sizes": ("continual_imagenet/bp", "optimizer.lr", [0.01, 0.001, 0.0001]),
    "continual_imagenet/methods": (None, "algo.name", ["bp", "bp", "l2", "shrink_and_perturb", "cbp", "cbp"]),
    "incremental_cifar/methods": (
        None, "algo.name", ["bp", "head_reset", "shrink_and_perturb", "cbp", "retrain"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("sweep", PUBLISHED)
def test_a_published_grid(sweep):
    experiment, key, values = PUBLISHED[sweep]
    chosen = [f"experiment=dohare2024/{experiment}"] if experiment else []
    lines = jobs(parse(expanded([*chosen, f"+sweep=dohare2024/{sweep}"])))
    configs = [composed(line) for line in (lines if experiment is None else [lines[0], lines[-1]])]
    assert [setting.rpartition("=")[0] for setting in lines[0][len(chosen) :]] == [key if experiment else "experiment"]
    assert len(lines) == len(values)
    found = [OmegaConf.select(config, key) for config in configs]
    assert found == (values if experiment is None else [values[0], values[-1]])


def test_every_ready_sweep_is_tested_and_says_what_it_is():
    elsewhere = ("recurrent_lop/", "timescales/", "hebbian/")  # test_recurrent_sweeps.py, test_*_experiments.py
    ours = {name for name in options_of("sweep") if not name.startswith(elsewhere)}
    assert ours == {"step_sizes", "methods", *(f"dohare2024/{name}" for name in PUBLISHED)}
    for group in ("sweep", "tune"):
        for name in options_of(group):
            assert (config_directory() / group / f"{name}.yaml").read_text().startswith("# ")


def test_it_stands_for_its_lists_and_goes_with_other_settings():
    line = expanded(["algo=bp,cbp", "+sweep=step_sizes", "hydra.sweep.dir=x"])
    assert line == ["algo=bp,cbp", "optimizer.lr=0.01,0.003,0.001", "hydra.sweep.dir=x"]
    assert len(jobs(parse(line))) == 6
    assert expanded(["sweep=step_sizes"]) == expanded(["+sweep=step_sizes"])


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("[[5, 5], [6]]", [[5, 5], [6]]),
        ("[true, null]", [True, None]),
        ("[1.0e-5, 3, relu]", [1e-5, 3, "relu"]),
    ],
)
def test_values_of_all_kinds_come_out_as_they_are(tmp_path, monkeypatch, written, values):
    conf = tmp_path / "conf"
    shutil.copytree(config_directory(), conf)
    (conf / "sweep" / "mine.yaml").write_text(f"# Mine.\nmodel.hidden: {written}\n")
    monkeypatch.setattr("lop_lightning.config.overrides.config_directory", lambda: conf)
    (override,) = parse(expanded(["+sweep=mine"]))
    assert [parse(line)[0].value() for line in jobs([override])] == values


def test_a_sweep_again_runs_only_what_is_missing(lop, tmp_path):
    assert lop("-m", *SHORT, "+sweep=step_sizes")[0] == 0
    done = sorted(path.parent for path in tmp_path.rglob("summary.json"))
    assert len(done) == 3
    shutil.rmtree(done[1])
    before = [(done[i] / "record.csv").stat().st_mtime_ns for i in (0, 2)]
    code, _, errors = lop("-m", *SHORT, "+sweep=step_sizes")
    assert (code, errors.count("lop: already done: "), errors.count("lop: job ")) == (0, 2, 3)
    assert [(done[i] / "record.csv").stat().st_mtime_ns for i in (0, 2)] == before
    assert (done[1] / "summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "+sweep=step_size"], ["sweep=step_size is not legal", "did you mean 'step_sizes'?"]),
        (["+sweep=step_sizes"], ["'+sweep=step_sizes' stands for several runs: write lop -m +sweep=step_sizes"]),
        (["-m", "+sweep=step_sizes", "optimizer.lr=1"], ["optimizer.lr=1 is not legal here", "sweep=step_sizes"]),
        (["-m", "+sweep=step_sizes", "+sweep=dohare2024/permuted_mnist/step_sizes"], ["gives optimizer.lr"]),
        (["-m", "+sweep=dohare2024/permuted_mnist/noises"], ["algo.noise_std", "no key"]),
    ],
)
def test_what_is_wrong_is_one_line(lop, tmp_path, arguments, words):
    code, out, errors = lop(*arguments)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert all(word in errors for word in words), errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["optimizer.lr: 0.1", "optimizer.lr: []", "- 1", ""])
def test_a_file_that_is_no_sweep(tmp_path, monkeypatch, text):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "bad.yaml").write_text(text)
    monkeypatch.setattr("lop_lightning.config.overrides.config_directory", lambda: tmp_path)
    with pytest.raises(LopError, match=r"conf/sweep/bad\.yaml"):
        expanded(["+sweep=bad"])
