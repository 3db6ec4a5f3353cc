"""The two walks of CONTRIBUTING.md are followed to the letter, in a temporary copy, and trained with."""

import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

import lop_lightning.algos
import lop_lightning.tasks
from lop_lightning import train
from lop_lightning.config import config_directory, overrides

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
FILE = re.compile(r"^`(?P<path>[\w/]+\.(?:py|yaml))`\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files of the page, put where it says, seen from this process only."""
    shutil.copytree(config_directory(), tmp_path / "conf")
    found = {match["path"]: match["text"] for match in FILE.finditer(PAGE.read_text())}
    for path, text in found.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        assert not target.exists(), f"{path} is in the tree already: choose another example"
        target.write_text(text)
    for room in (lop_lightning.algos, lop_lightning.tasks):
        folder = tmp_path / room.__name__.replace(".", "/")
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    monkeypatch.setattr(overrides, "config_directory", lambda: tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    yield found
    for path in found:
        module = path.removesuffix(".py").replace("/", ".")
        if sys.modules.pop(module, None) is not None:
            room, _, name = module.rpartition(".")
            delattr(sys.modules[room], name)


def lop(monkeypatch, *arguments):
    small = (
        "task.tasks=2",
        "seeds=2",
        "model.hidden=[8,8]",
        "hardware.compile=false",
        "callbacks.progress.enabled=false",
    )
    monkeypatch.setattr(sys, "argv", ["lop", *small, *arguments])
    train.main()


def test_the_page_holds_both_walks(files):
    assert sorted(files) == [
        "conf/algo/l2_init.yaml",
        "conf/task/label_permuted_digits.yaml",
        "lop_lightning/algos/l2_init.py",
        "lop_lightning/tasks/label_permuted_digits.py",
    ]


def test_the_walks_train(files, monkeypatch):
    lop(monkeypatch, "task=label_permuted_digits", "algo=l2_init")
    (path,) = Path("runs/label_permuted_digits/mlp/l2_init").glob("*/record.csv")
    record = pd.read_csv(path)
    assert set(record.seed) == {0, 1}
    assert set(record.task) == {0, 1}
    assert record[record.metric == "online_accuracy"].value.between(0, 1).all()


def test_a_stronger_pull_keeps_weights_closer(files, monkeypatch):
    far = {}
    for strength in (0.0, 1.0):
        lop(
            monkeypatch,
            "task=label_permuted_digits",
            "algo=l2_init",
            f"algo.strength={strength}",
            f"runs_dir=runs_{strength}",
        )
        (path,) = Path(f"runs_{strength}").rglob("record.csv")
        record = pd.read_csv(path, keep_default_na=False)
        rows = record[(record.metric == "distance_from_initialisation") & (record.layer == "") & (record.task == 1)]
        far[strength] = rows.set_index("seed").value
    assert (far[1.0] < 0.5 * far[0.0]).all()


def test_a_wrong_value_is_answered_in_one_line(files, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        lop(monkeypatch, "algo=l2_init", "algo.strength=-1")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("lop: algo.strength=-1 is not legal")
