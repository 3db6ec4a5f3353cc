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
DIFFERS = {"optimizer/momentum": {"momentum"}, "hardware/slurm_gpu/launcher": {"gpus"}}
"""Keys that a YAML sets to another value than its class, as its first line says."""

GLOBAL = ("experiment", "preset", "scale")
"""Groups that set keys of other groups."""
COMPANIONS = {
    **{f"model={name}": ("task=incremental_cifar", "task.source=synthetic") for name in ("convnet", "resnet18")},
    **{f"model={name}": ("task=label_reshuffled_images",) for name in ("lstm", "gru", "rnn")},
    **{f"task={name}": ("model=gru",) for name in ("language_reshuffle", "language_binary")},
    **{f"task={name}": ("model=leaky",) for name in ("parity", "dms")},
    **{f"task={name}": ("model=lstm", "model.bidirectional=false") for name in ("familiarity", "scenes")},
    "model=leaky": ("task=parity",),
    **{f"model={name}": ("task=scenes",) for name in ("memo", "nonl_ro", "dyn_ro", "stack", "hebbff", "mpn")},
    "preset=original": ("experiment=hebbian/memo_m_50",),
}
"""What goes with options that cannot be chosen alone: of images or sequences, streams of tokens, bits or movies."""


def chosen(group, option):
    return (f"{group}={option}", *COMPANIONS.get(f"{group}={option}", ()))


@pytest.mark.parametrize(("group", "option"), [one for one in OPTIONS if one[0] not in GLOBAL])
def test_it_builds(group, option, tmp_path):
    config = configuration(chosen(group, option), tmp_path)
    assert config[group].name == option
    config = OmegaConf.merge(config, {"seeds": 1, "hardware": {"threads": 1}})
    if config.hardware.accelerator == "gpu" and not torch.cuda.is_available():
        with pytest.raises(LopError, match="no GPU was found"):
            prepare(config)
        return
    experiment = prepare(config)
    assert experiment.learner.population.size == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("group", "option"), [one for one in OPTIONS if one[1] not in ("gpu", "slurm_gpu", "wandb")])
def test_it_runs_in_small(group, option, tmp_path):
    config = configuration((*chosen(group, option), *(() if group == "scale" else ("+scale=smoke",))), tmp_path)
    changes = {"hardware": {"compile": False, "threads": 1}}
    if group == "scale":  # the others are no tests of a few seconds
        assert set(config) == set(configuration((), tmp_path))
        return
    directory = train.run(OmegaConf.merge(config, changes))
    assert directory.done
    assert {task for task, *_ in rows(directory, "online_loss", 1)} == {0, 1}


@pytest.mark.parametrize("scale", ["smoke", "laptop"])
@pytest.mark.parametrize("task", config_groups()["task"])
def test_every_stream_has_its_scales(task, scale):
    assert (config_directory() / "_scales" / "task" / scale / f"{task}.yaml").exists()


def nodes():
    for group, option in OPTIONS:
        if group in GLOBAL:
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
TOLD = ("vocabulary", "ragged", "timed", "heads", "read_every")
"""What a stream tells its network."""


@pytest.mark.parametrize(("path", "node"), nodes(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_number_has_one_value(path, node):
    target = resolve_name(node.pop("_target_"))
    node.pop("name", None)
    parameters = inspect.signature(target).parameters
    given = {*GIVEN, *TOLD} if path.startswith("model/") else GIVEN
    assert set(node) == set(parameters) - given
    for key, value in node.items():
        default = parameters[key].default
        if key in DIFFERS.get(path, ()):
            assert value != default, f"{path}: {key} differs no longer"
        elif default is not inspect.Parameter.empty:
            assert value == (list(default) if isinstance(default, tuple) else default), f"{path}: {key}"


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_it_says_what_it_is(group, option):
    first = (config_directory() / group / f"{option}.yaml").read_text().splitlines()[0]
    assert first == "# @package _global_" if group in GLOBAL else first.startswith("# ")


@pytest.mark.parametrize("option", config_groups()["experiment"])
def test_an_experiment_as_published_is_not_the_default(option):
    assert configuration((f"experiment={option}",), "runs") != configuration((), "runs")


def test_a_callback_of_ones_own_is_built_too(tmp_path):
    config = configuration((), tmp_path)
    OmegaConf.set_struct(config, False)
    mine = {"_target_": "lightning.pytorch.callbacks.Timer", "interval": "step"}
    experiment = prepare(OmegaConf.merge(config, {"callbacks": {"mine": mine}}))
    names = [type(callback).__name__ for callback in experiment.callbacks]
    own = ["KeepNetworks", "Evaluation", "EarlyStopping", "ContinualLearning", "FreshReference"]
    assert names == [*own, "Curriculum", "Intervals", "Timer", "ProgressBar", "Checkpoint"]
