"""Damaged files, full disks: what is sound is gone on from, what is not is named, and nothing is lost."""

import os
import pickle

import pytest
import torch
from lab import TINY, Cut, PowerCut, checkpoints, load, outcome, run

from lop_lightning.errors import RunError
from lop_lightning.records import read_checkpoint


@pytest.fixture
def cut(tmp_path):
    """A run that was cut short after two checkpoints, at updates 6 and 12."""
    with pytest.raises(PowerCut):
        run(TINY, tmp_path, Cut(16))
    (directory,) = tmp_path.rglob("checkpoints")
    assert [path.name for path in sorted(directory.iterdir())] == [f"update-{n:012d}.ckpt" for n in (6, 12)]
    return directory


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return outcome(run(TINY, tmp_path_factory.mktemp("straight")))


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harmed",)


DAMAGES = {
    "cut in half": half,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("checkpoint"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"learner": 1, "run": 2})),
    "a harmful pickle": lambda path: path.write_bytes(pickle.dumps(Harmful())),
    "a harmful torch file": lambda path: torch.save({"learner": Harmful()}, path),
    "another torch file": lambda path: torch.save({"state_dict": {"weight": torch.zeros(3)}}, path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_checkpoint_is_damaged(lop, cut, straight, damage, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    older, newest = sorted(cut.iterdir())
    DAMAGES[damage](newest)
    code, _, errors = lop(*TINY)
    assert code == 0
    complaint, going, *rest = errors.splitlines()
    assert complaint.startswith(f"lop: {newest} is ")
    assert complaint.endswith(f"; using {older} instead")
    assert (going, rest) == (f"lop: going on from {older}", [])
    (directory,) = tmp_path.rglob("record.csv")
    assert directory.read_bytes() == straight[0]
    assert not (tmp_path / "harmed").exists()


def test_a_changed_byte_is_noticed(cut):
    newest = sorted(cut.iterdir())[-1]
    weight, content = load(newest)["learner"]["state"]["params"]["layers.0.weight"], bytearray(newest.read_bytes())
    content[content.index(weight.numpy().tobytes()) + 5] ^= 1
    newest.write_bytes(content)
    with pytest.raises(RunError, match="is damaged"):
        read_checkpoint(newest)


def test_every_checkpoint_is_damaged(lop, cut):
    for path in cut.iterdir():
        half(path)
    told = {"sessions.jsonl", "failure.json"}
    before = {path: path.read_bytes() for path in cut.parent.rglob("*") if path.is_file() and path.name not in told}
    code, _, errors = lop(*TINY)
    assert code == 2
    assert errors.count("\n") == 1
    assert all(f"{path} is damaged" in errors for path in cut.iterdir())
    assert errors.endswith(f"no sound checkpoint is left: move {cut.parent} away to start anew\n")
    assert {path: path.read_bytes() for path in before} == before


def test_a_checkpoint_of_another_run(lop, cut, straight, tmp_path):
    other = run((*TINY, "optimizer.lr=0.02"), tmp_path / "other")
    foreign = cut / "update-000000000099.ckpt"
    foreign.write_bytes(checkpoints(other)[-1].read_bytes())
    code, _, errors = lop(*TINY)
    assert code == 0
    assert f"{foreign} belongs to another run ({other.identity}); using {sorted(cut.iterdir())[0]}" not in errors
    assert f"{foreign} belongs to another run ({other.identity}); using " in errors
    assert (cut.parent / "record.csv").read_bytes() == straight[0]
    assert foreign.exists()


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_damaged_later_checkpoint_does_not_push_out_the_sound_ones(cut, keep):
    half(later := (sorted(cut.iterdir())[-1]).rename(cut / "update-000000000099.ckpt"))
    settings = (*TINY, f"callbacks.checkpoint.keep={keep}")
    with pytest.raises(PowerCut):
        run(settings, cut.parents[4], Cut(20))
    sound = [path for path in sorted(cut.iterdir()) if path != later]
    assert [load(path)["learner"]["updates"] for path in sound] == [6, 12, 18][-keep:]
    assert later.exists()


def test_the_record_is_shorter_than_the_checkpoint_says(lop, cut):
    record = cut.parent / "record.csv"
    record.write_bytes(record.read_bytes()[:100])
    code, _, errors = lop(*TINY)
    assert code == 2
    going, lost = errors.splitlines()
    assert going.startswith("lop: going on from ")
    assert lost.startswith(f"lop: {record} has 100 bytes, the checkpoint was made when it had")
    assert "rows are lost; put the file back, or move " in lost
    assert len(record.read_bytes()) == 100
    assert len(list(cut.iterdir())) == 2


def test_a_record_without_a_checkpoint_is_begun_anew(cut, straight, tmp_path):
    for path in cut.iterdir():
        path.unlink()
    assert outcome(run(TINY, tmp_path)) == straight
