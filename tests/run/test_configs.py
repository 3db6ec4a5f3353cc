"""Every YAML of conf/ composes, builds and runs; a new one is tested as soon as it is there."""

import inspect
from pkgutil import resolve_name

import pytest
import torch
from lab import configuration, rows
from omegaconf import OmegaConf

from lop_lightning import train
from lop_lightning.config import config_directory, config_groups
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare

OPTIONS = [(group, option) for group, options in config_groups().items() for option in options]
DIFFERS = {"optimizer/momentum": {"momentum"}, "hardware/gpu": {"accelerator"}}
"""Keys that a YAML sets to another value than its class, as its first line says."""

TINY = {
    "gmm": {"n": 8, "passes_per_epoch": 3, "epochs_per_task": 1, "tasks": 2},
    "slowly_changing_regression": {"task_length": 8, "tasks": 2},
    "permuted_images": {"task_length": 8, "tasks": 2, "source": "digits"},
    "continual_imagenet": {"source": "synthetic", "tasks": 2, "classes": 4, "train_images": 6, "test_images": 4,
                           "batch_size": 4, "epochs_per_task": 2},
    "incremental_cifar": {"source": "synthetic", "tasks": 2, "classes_per_task": 2, "train_images": 4,
                          "validation_images": 2, "test_images": 2, "batch_size": 4, "epochs_per_task": 2,
                          "representation_images": 6},
}  # fmt: skip
SMALLER = {
    "mlp": {"hidden": [4, 3]},
    "convnet": {"channels": [2, 3, 2], "hidden": [3]},
    "resnet18": {"widths": [2, 3], "blocks": [1, 1]},
}
IMAGES = {"convnet", "resnet18"}
"""Models that want images."""


def chosen(group, option):
    images = ("task=incremental_cifar", "task.source=synthetic") if group == "model" and option in IMAGES else ()
    return (f"{group}={option}", *images)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_it_builds(group, option, tmp_path):
    config = configuration(chosen(group, option), tmp_path)
    if group != "experiment":
        assert config[group].name == option
    config = OmegaConf.merge(config, {"seeds": 1, "hardware": {"threads": 1}})
    if option == "gpu" and not torch.cuda.is_available():
        with pytest.raises(LopError, match="no GPU was found"):
            prepare(config)
        return
    experiment = prepare(config)
    assert experiment.learner.population.size == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("group", "option"), [o for o in OPTIONS if o[1] not in ("gpu", "wandb")])
def test_it_runs(group, option, tmp_path):
    config = configuration(chosen(group, option), tmp_path)
    changes = {"task": TINY[config.task.name], "seeds": 2, "hardware": {"compile": False, "threads": 1}}
    changes["model"] = SMALLER.get(config.model.name, {})
    directory = train.run(OmegaConf.merge(config, changes))
    assert directory.done
    assert {task for task, *_ in rows(directory, "online_loss", 1)} == {0, 1}


def nodes():
    for group, option in OPTIONS:
        if group == "experiment":
            continue
        config = OmegaConf.load(config_directory() / group / f"{option}.yaml")
        for path, node in [(f"{group}/{option}", config), *((f"{group}/{option}/{k}", n) for k, n in config.items())]:
            if OmegaConf.is_dict(node) and "_target_" in node:
                yield path, OmegaConf.to_container(node)
    hardware = {"_target_": "lop_lightning.algos.Execution"}
    for option in config_groups()["hardware"]:
        loaded = OmegaConf.load(config_directory() / "hardware" / f"{option}.yaml")
        plain = {k: v for k, v in loaded.items() if k in ("compile", "lift", "unroll")}
        yield f"hardware/{option}", {**hardware, **plain}


GIVEN = {"self", "network", "optimizer", "execution", "input_shape", "output_size", "seeds", "chunk", "record",
         "directory", "run"}  # fmt: skip
"""Arguments that the program gives."""


@pytest.mark.parametrize(("path", "node"), nodes(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_number_has_one_value(path, node):
    target = resolve_name(node.pop("_target_"))
    node.pop("name", None)
    parameters = inspect.signature(target).parameters
    assert set(node) == set(parameters) - GIVEN
    for key, value in node.items():
        default = parameters[key].default
        if key in DIFFERS.get(path, ()):
            assert value != default, f"{path}: {key} differs no longer"
        elif default is not inspect.Parameter.empty:
            assert value == (list(default) if isinstance(default, tuple) else default), f"{path}: {key}"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_it_says_what_it_is(group, option):
    first = (config_directory() / group / f"{option}.yaml").read_text().splitlines()[0]
    assert first.startswith(
        "# " if group != "experiment" or not first.startswith("# @package") else "# @package _global_"
    )


def test_experiments_differ_from_the_default():
    default = configuration((), "runs")
    for option in config_groups()["experiment"]:
        assert configuration((f"experiment={option}",), "runs") != default


def test_a_callback_of_ones_own_is_built_too(tmp_path):
    config = configuration((), tmp_path)
    OmegaConf.set_struct(config, False)
    mine = {"_target_": "lightning.pytorch.callbacks.Timer", "interval": "step"}
    experiment = prepare(OmegaConf.merge(config, {"callbacks": {"mine": mine}}))
    names = [type(callback).__name__ for callback in experiment.callbacks]
    before = ["KeepNetworks", "Evaluation", "EarlyStopping", "ContinualLearning", "FreshReference"]
    assert names == [*before, "Timer", "ProgressBar", "Checkpoint"]
