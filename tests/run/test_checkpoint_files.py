"""What is in a checkpoint, and that Lightning's own way of going on from one is ours."""

import pytest
import torch
from lab import METHODS, TINY, checkpoints, configuration, load, run

from lop_lightning.callbacks import Checkpoint, ContinualLearning, Evaluation
from lop_lightning.experiment import prepare
from lop_lightning.records import Record
from lop_lightning.trainer import stream_trainer
from lop_lightning.trees import leaves

PLAIN = (int, float, bool, str, type(None))


@pytest.mark.parametrize("method", ["bp", "shrink and perturb, every update", "cbp, by chance"])
def test_tensors_and_plain_containers_only(tmp_path, method):
    directory = run((*TINY, *METHODS[method]), tmp_path)
    saved = load(checkpoints(directory)[-1])
    assert saved["run"] == directory.identity
    assert set(saved["learner"]) == {"seeds", "state", "updates", "begun", "host"}
    inspect(saved)


def inspect(value, place=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            assert isinstance(key, PLAIN), f"{place}: {key}"
            inspect(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            inspect(inner, f"{place}[]")
    elif isinstance(value, torch.Tensor):
        own = value.numel() * value.element_size()
        assert value.untyped_storage().nbytes() == own, f"{place} is a view of something larger"
    else:
        assert type(value) in PLAIN, f"{place} is a {type(value)}"


def test_lightning_goes_on_from_it(tmp_path):
    settings = (*TINY, *METHODS["cbp, accumulating"], "callbacks.checkpoint.keep=9")
    directory = run(settings, tmp_path)
    *_, middle, _, last = checkpoints(directory)
    experiment = prepare(configuration(settings, tmp_path / "other"))
    record = Record(tmp_path / "record.csv")
    (tmp_path / "record.csv").write_bytes(directory.record.read_bytes())
    watcher = ContinualLearning(record, bins_per_task=5)
    trainer = stream_trainer(experiment.stream, [Evaluation(), watcher, Checkpoint()], "cpu")
    trainer.fit(experiment.learner, datamodule=experiment.stream, ckpt_path=middle, weights_only=True)
    assert experiment.stream.finished
    for own, saved in zip(leaves(experiment.learner.population.state), leaves(load(last)["learner"]["state"])):
        assert torch.equal(own, saved)
    assert record.text() == directory.record.read_text()


def test_the_network_of_a_seed(tmp_path):
    directory = run(TINY, tmp_path)
    experiment = prepare(configuration(TINY, tmp_path))
    trainer = stream_trainer(experiment.stream, [Evaluation(), ContinualLearning(), Checkpoint()], "cpu")
    experiment.watcher.record = Record()
    trainer.fit(
        experiment.learner, datamodule=experiment.stream, ckpt_path=checkpoints(directory)[-1], weights_only=True
    )
    saved = load(checkpoints(directory)[-1])["learner"]["state"]["params"]
    for name, parameter in experiment.learner.network(1).named_parameters():
        assert torch.equal(parameter, saved[name][1])
