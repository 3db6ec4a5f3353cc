"""What a person may get wrong gets one line that names it, exit code 2, and leaves nothing behind."""

from pathlib import Path

import pytest
from lab import TINY, run
from omegaconf import OmegaConf

from lop_lightning.config import composed
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare

FEW = ("task=gmm", "seeds=2", "hardware.compile=false")  # each setting is parsed three times, and that takes time
BAD = {  # arguments → what the line must say
    "algo=cbq": ["algo=cbq", "bp, cbp, curriculum, head_reset, hebbian, l2, ", "did you mean 'cbp'?"],
    "task=gmn": ["task=gmn", "did you mean 'gmm'?"],
    "experiment=nothing": ["experiment=nothing is not legal: expected one of demo/…, ", "hebbian/…, "],
    "experiment=demo/bb": [
        "expected one of demo/bp, demo/cbp, demo/l2, demo/shrink_and_perturb; did you mean 'demo/bp'?"
    ],
    "algoo=bp": ["algoo is no key", "did you mean 'algo'?"],
    "cbp": ["'cbp' is no setting", "did you mean 'algo=cbp'?"],
    "model=null": ["model=null", "lstm, memo, mlp"],
    "experiment=null": ["experiment=null"],
    "model=[mlp,linear]": ["model=['mlp', 'linear']"],
    "~optimizer": ["optimizer=null", "adamw"],
    "hardware=null": ["hardware=null"],
    "optimizer.learning_rate=1": ["optimizer.learning_rate is no key of optimizer", "lr"],
    "optimizer.lrr=1": ["optimizer.lrr is no key", "did you mean 'lr'?"],
    "callbacks.continual.bins=3": ["callbacks.continual.bins is no key of callbacks.continual"],
    "task.n.x=1": ["task.n.x is no key", "task.n has none"],
    "+task.colour=red": ["task.colour", "cannot be added"],
    "++task.n=5": ["task.n", "cannot be added"],
    "~task.n": ["task.n", "removed"],
    "task.n=many": ["task.n=many", "a whole number"],
    "task.n=2.5": ["task.n=2.5", "a whole number"],
    "task.n={a: 1}": ["task.n=", "a whole number"],
    "task.tasks=0": ["task.tasks=0", "at least 1"],
    "task.n=-4": ["task.n=-4", "at least 2"],
    "task.delta=nan": ["task.delta=nan", "a number"],
    "task.batch_size=0": ["task.batch_size=0"],
    "task.name=null": ["task.name=null"],
    "task._target_=no.such.Thing": ["task._target_=no.such.Thing", "cannot be imported"],
    "task._target_=sys.path": ["task._target_=sys.path is nothing that can be called"],
    "seeds=0": ["seeds=0", "at least 1"],
    "seeds=-3": ["seeds=-3"],
    "seeds=[1,2,1]": ["seeds=[1, 2, 1]", "1 occurs 2 times"],
    "seeds=[]": ["seeds=[]"],
    "seeds=many": ["seeds=many"],
    "seeds=null": ["seeds=null"],
    "seeds=[1,x]": ["seeds="],
    "algo=cbp algo.replacement_rate=1.5": ["algo.replacement_rate=1.5", "a number in [0, 1]"],
    "algo=cbp algo.replacement_rate=-0.1": ["algo.replacement_rate=-0.1"],
    "algo=cbp algo.accumulate=perhaps": ["algo.accumulate=perhaps", "true or false"],
    "algo=cbp algo.utility=weigth": ["algo.utility=weigth", "did you mean 'weight'?"],
    "optimizer=adam optimizer.betas=0.9": ["optimizer.betas=0.9", "a list"],
    "optimizer.lr=-1": ["optimizer.lr=-1"],
    "optimizer.lr=fast": ["optimizer.lr=fast", "a number"],
    "model.hidden=5": ["model.hidden=5", "a list"],
    "model.hidden=[5,0]": ["model.hidden=0", "at least 1"],
    "model.activation=rellu": ["model.activation=rellu", "did you mean 'relu'?"],
    "hardware.chunk=0": ["hardware.chunk=0"],
    "hardware.unroll=x": ["hardware.unroll=x"],
    "hardware.lift=both": ["hardware.lift=both", "auto, vmap, loop"],
    "hardware.threads=0": ["hardware.threads=0"],
    "hardware.accelerator=tpu": ["hardware.accelerator=tpu", "cpu, gpu, auto"],
    "callbacks.continual.bins_per_task=0": ["callbacks.continual.bins_per_task=0"],
    "callbacks.continual.measure_at=[middle]": ["callbacks.continual.measure_at=middle", "start, end"],
    "callbacks.continual.metrics=[rank]": ["callbacks.continual.metrics=rank", "did you mean 'ranks'?"],
    "callbacks.continual.nonfinite=ignore": ["callbacks.continual.nonfinite=ignore"],
    "callbacks.fresh.count=0": ["callbacks.fresh.count=0"],
    "callbacks.fresh=null": ["callbacks.fresh=null"],
    "callbacks.checkpoint.keep=0": ["callbacks.checkpoint.keep=0"],
    "callbacks.checkpoint.every_seconds=-1": ["callbacks.checkpoint.every_seconds=-1"],
    "logger=wandb logger.mode=sometimes": ["logger.mode=sometimes", "online, offline, disabled"],
    "runs_dir=null": ["runs_dir=null", "text"],
    "algo=bp,cbp": ["algo", "--multirun"],
    "task.n=${oops}": ["oops"],
    "runs_dir=${nowhere}": ["nowhere"],
    "seeds=[1": ["cannot read 'seeds=[1'"],
}


@pytest.mark.parametrize("arguments", BAD)
def test_one_line_says_what_is_wrong(lop, tmp_path, arguments):
    own = [arguments] if "{" in arguments else arguments.split()
    last = [] if arguments.startswith("runs_dir") else [f"runs_dir={tmp_path}/runs"]
    code, out, errors = lop(*FEW, *last, *own, runs_dir=None)
    assert (code, out) == (2, ""), errors
    assert errors.startswith("lop: ")
    assert errors.count("\n") == 1
    for words in BAD[arguments]:
        assert words in errors
    assert not (tmp_path / "runs").exists()


INVENTED = {
    "takes other inputs": (
        "class Odd(MLP):\n    def trace(self, inputs):\n        return super().trace(inputs[:, 1:])\n",
        ["model: this network does not fit the stream (inputs [4] and 1 outputs)"],
    ),
    "gives other outputs": (
        "class Odd(MLP):\n"
        "    def __init__(self, input_shape, output_size):\n        super().__init__(input_shape, 3)\n",
        ["model: its output has shape [3], the stream wants 1"],
    ),
}


@pytest.mark.parametrize("name", INVENTED)
def test_a_network_that_does_not_fit(tmp_path, monkeypatch, name):
    source, words = INVENTED[name]
    module = f"odd_{list(INVENTED).index(name)}"
    (tmp_path / f"{module}.py").write_text(f"from lop_lightning.networks import MLP\n\n\n{source}")
    monkeypatch.syspath_prepend(tmp_path)
    plain = OmegaConf.to_container(composed([s for s in TINY if not s.startswith("model")]))
    plain["model"] = {"name": "odd", "_target_": f"{module}.Odd"}  # as a YAML of one's own would
    with pytest.raises(LopError) as error:
        prepare(OmegaConf.create(plain))
    for line in words:
        assert line in str(error.value)


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none"])
def test_runs_cannot_be_written(lop, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    folder = place if place.startswith("/") else tmp_path / place
    code, _, errors = lop(*TINY, runs_dir=folder)
    assert code == 2
    assert errors.startswith(f"lop: cannot write {folder}")
    assert errors.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_runs_that_one_may_not_read(lop, monkeypatch, tmp_path):
    directory = run(TINY, tmp_path)

    def refuse(self, iterdir=Path.iterdir):
        if self == directory.path:
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    code, _, errors = lop(*TINY)
    assert (code, errors) == (2, f"lop: cannot read {directory.path}: Permission denied\n")


def test_another_version(lop, tmp_path):
    directory = run(TINY, tmp_path)
    marker = directory.path / "run.json"
    for text, words in (
        ('{"format": 99}', "another version (layout 99, this is 2)"),
        ("{", "is no run directory"),
        ("[]", "is no run directory"),
    ):
        marker.write_text(text)
        before = {path: path.read_bytes() for path in directory.path.rglob("*") if path.is_file()}
        code, _, errors = lop(*TINY)
        assert code == 2
        assert words in errors
        assert "move it away" in errors
        assert {path: path.read_bytes() for path in directory.path.rglob("*") if path.is_file()} == before


def test_a_run_that_was_killed_before_it_could_say_what_it_is(tmp_path):
    directory = run(TINY, tmp_path)
    for path in sorted(directory.path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (directory.path / ".lock").write_text("")
    (directory.path / "run.json.part").write_text("{")
    assert run(TINY, tmp_path).done


@pytest.mark.parametrize("content", [b"", b"not an idx file", bytes([0, 0, 8, 3, 0, 0, 0, 1])])
def test_damaged_mnist(lop, tmp_path, content):
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (folder / name).write_bytes(content)
    code, _, errors = lop("task=permuted_images", "task.source=mnist", f"task.data_dir={tmp_path}/data", "seeds=1")
    assert code == 2
    assert f"{folder}/train-images-idx3-ubyte is damaged" in errors
    assert "task.source=digits, which needs no download" in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))
    assert (folder / "train-labels-idx1-ubyte").read_bytes() == content
