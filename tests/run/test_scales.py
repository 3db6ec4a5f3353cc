"""``+scale=``: the same experiment in seconds or in minutes."""

import pytest
from omegaconf import OmegaConf

from lop_lightning.config import composed, config_directory, jobs, parse, plainly

NUMBERS = ("hardware.compile=false", "callbacks.progress.enabled=false")
GMM = ("task=gmm", *NUMBERS)


def files(scale, group):
    folder = config_directory() / "_scales" / group / scale
    return [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")]


def test_with_a_plus_and_without():
    assert plainly(["+scale=smoke", "-m", "+task=gmm", "task=+scale"]) == [
        "scale=smoke",
        "-m",
        "+task=gmm",
        "task=+scale",
    ]
    assert composed([*GMM, "+scale=smoke"]) == composed([*GMM, "scale=smoke"])
    assert jobs(parse(["+scale=smoke,laptop", "seeds=1"])) == [["scale=smoke", "seeds=1"], ["scale=laptop", "seeds=1"]]


def test_what_a_scale_says_and_what_is_said_beside_it():
    small, plain = composed([*GMM, "+scale=smoke"]), composed(list(GMM))
    assert (small.seeds, small.task.n, small.task.tasks, list(small.model.hidden)) == (2, 8, 2, [8, 7])
    assert small.algo == plain.algo
    assert small.optimizer == plain.optimizer
    assert composed([*GMM, "+scale=paper"]) == plain
    own = composed(["seeds=5", "task.n=12", "+scale=smoke", "model.hidden=[3]", *GMM])
    assert (own.seeds, own.task.n, list(own.model.hidden)) == (5, 12, [3])  # the person's word is the last


def test_an_experiment_in_folders():
    name = "experiment=dohare2024/permuted_mnist/bp_rate_1m"
    assert composed([name, "+scale=laptop"]).task.tasks == 1
    assert composed(["experiment=dohare2024/permuted_mnist/bp", "+scale=laptop"]).task.tasks == 200
    config = composed(["experiment=dohare2024/incremental_cifar/cbp", "+scale=smoke"])
    assert OmegaConf.to_container(config.optimizer.lr_steps) == [[1, 0.2]]
    assert config.callbacks.early_stopping.metric == "validation_accuracy"


def test_every_file_of_a_scale_is_of_something():
    """A file whose name is misspelt would be passed over in silence."""
    tasks, models, experiments = (
        {str(path.relative_to(config_directory() / group).with_suffix("")) for path in
         (config_directory() / group).rglob("*.yaml")} for group in ("task", "model", "experiment")
    )  # fmt: skip
    for scale in ("smoke", "laptop"):
        assert set(files(scale, "task")) == tasks
        assert set(files(scale, "experiment")) <= experiments
        assert set(files(scale, "model")) <= {f"{task}_{model}" for task in tasks for model in models}
        assert files(scale, "model")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("+scale=smok", "scale=smok is not legal: expected one of laptop, paper, smoke; did you mean 'smoke'?"),
        ("scale=big", "scale=big is not legal: expected one of laptop, paper, smoke"),
        ("+scale=", "is not legal: expected one of laptop, paper, smoke"),
        ("+scale", "did you mean 'scale'?"),
        ("smoke", "did you mean 'scale=smoke'?"),
        ("+algo=bp", "algo"),
    ],
)
def test_scales_that_are_none(lop, tmp_path, argument, words):
    code, out, errors = lop(argument)
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert words in errors
    assert not list(tmp_path.iterdir())


def test_shown(lop):
    code, out, _ = lop("--cfg", "job", "task=gmm", "+scale=smoke")
    assert code == 0
    shown = OmegaConf.create(out)
    assert (shown.seeds, shown.task.n) == (2, 8)
    assert shown == OmegaConf.merge(composed(["task=gmm", "scale=smoke"]), {"runs_dir": shown.runs_dir})


def test_help_names_them(lop):
    code, out, _ = lop("--help", runs_dir=None)
    assert code == 0
    assert "scale: laptop, paper, smoke\n" in out
    assert "+scale=laptop" in out
    assert "_scales" not in out
    assert "experiment/dohare2024/incremental_cifar: bp, cbp, head_reset, retrain, shrink_and_perturb\n" in out
    assert lop("-h", runs_dir=None)[1] == out


def test_swept(lop, tmp_path):
    code, _, errors = lop("-m", *GMM, "algo=bp,l2", "+scale=smoke")
    assert code == 0
    assert [line.rpartition(" runs_dir")[0] for line in errors.splitlines()] == [
        f"lop: job {number}/2: {' '.join(GMM)} algo={algo} scale=smoke" for number, algo in ((1, "bp"), (2, "l2"))
    ]
    assert len(list(tmp_path.rglob("summary.json"))) == 2
