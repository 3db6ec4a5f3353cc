"""Damaged files, full disks: what is sound is gone on from, what is not is named, and nothing is lost."""

import errno
import io
import os
import pickle
import subprocess

import pytest
import torch
from lab import TINY, Cut, PowerCut, Process, checkpoints, load, outcome, rows, run

from lop_lightning.errors import RunError
from lop_lightning.records import AtomicCheckpointIO, Record, read_checkpoint


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
    before = {path: path.read_bytes() for path in cut.parent.rglob("*") if path.is_file() and path.suffix != ".jsonl"}
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


# ---- full disks


class FullDisk(io.FileIO):
    """A file on a disk with room for some more bytes; what does not fit is written in part, as a disk does it."""

    room = 0

    def write(self, content):
        if not FullDisk.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(content[: FullDisk.room])
        FullDisk.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 10, 3000])
def test_the_disk_is_full_for_the_record(lop, straight, tmp_path, monkeypatch, room):
    with monkeypatch.context() as patch:
        patch.setattr("lop_lightning.records.record.io.FileIO", FullDisk)
        patch.setattr(FullDisk, "room", room)
        code, _, errors = lop(*TINY)
    assert code == 2
    (path,) = tmp_path.rglob("record.csv")
    assert errors.startswith(f"lop: cannot write {path}: No space left on device; make room and run the same command")
    assert errors.count("\n") == 1
    assert path.read_bytes() == b"" or path.read_bytes().endswith(b"\n")
    assert outcome(run(TINY, tmp_path)) == straight


def test_rows_that_did_not_fit_are_left_out_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("lop_lightning.records.record.io.FileIO", FullDisk)
    monkeypatch.setattr(FullDisk, "room", 100)
    record = Record(tmp_path / "record.csv")
    record.write([1], (0, 0, 1), "loss", torch.tensor([0.5]))
    record.flush()
    record.write([1, 2, 3, 4], (0, 0, 2), "loss", torch.tensor([0.5] * 4))
    with pytest.raises(RunError, match="No space left"):
        record.flush()
    record.close()
    assert (tmp_path / "record.csv").read_text() == "seed,task,epoch,update,layer,metric,value\n1,0,0,1,,loss,0.5\n"


@pytest.mark.parametrize("covered", [False, True])
def test_the_disk_is_full_for_a_checkpoint(lop, straight, tmp_path, monkeypatch, covered):
    saved = 0

    def refuse(checkpoint, file, save=torch.save):
        nonlocal saved
        saved += 1
        save(checkpoint, file)
        if saved == 3:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                if covered:  # as torch's own writer does when it closes the archive
                    raise RuntimeError("[enforce fail at inline_container.cc:671]")  # noqa: B904
                raise

    with monkeypatch.context() as patch:
        patch.setattr("lop_lightning.records.checkpoint_io.torch.save", refuse)
        code, _, errors = lop(*TINY)
    assert code == 2
    assert errors.count("\n") == 1
    (directory,) = tmp_path.rglob("checkpoints")
    kept = sorted(directory.iterdir())
    assert [path.name[-7:] for path in kept] == ["06.ckpt", "12.ckpt"]
    assert "cannot write the checkpoint" in errors
    assert "No space left on device" in errors
    assert errors.endswith(f"the last good checkpoint is {kept[-1]}\n")
    assert outcome(run(TINY, tmp_path)) == straight


def test_the_disk_is_full_for_the_summary(lop, straight, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lop_lightning.records.run_directory.os.fsync", _full_when("summary.json"))
        code, _, errors = lop(*TINY)
    assert code == 2
    assert "summary.json: No space left on device; all is trained" in errors
    assert errors.count("\n") == 1
    directory = run(TINY, tmp_path)
    assert directory.done
    assert outcome(directory) == straight


def test_the_disk_is_full_from_the_beginning(lop, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lop_lightning.records.run_directory.os.fsync", _full_when("run.json"))
        code, _, errors = lop(*TINY)
    assert code == 2
    assert "No space left on device" in errors
    assert lop(*TINY)[0] == 0


def _full_when(name, fsync=os.fsync):
    def refuse(number):
        if name in os.readlink(f"/proc/self/fd/{number}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    return refuse


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    io_plugin, path = AtomicCheckpointIO(), tmp_path / "a" / "update-1.ckpt"
    io_plugin.save_checkpoint({"learner": 1}, path)
    monkeypatch.setattr("lop_lightning.records.checkpoint_io.os.fsync", _full_when("update-1.ckpt"))
    with pytest.raises(RunError, match="earlier ones are untouched"):
        io_plugin.save_checkpoint({"learner": 2}, path)
    assert load(path) == {"learner": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", folder], check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_real_full_disk(small_disk, straight, tmp_path):
    filler = small_disk / "filler"
    filler.write_bytes(bytes(90_000))
    code, text = Process([*TINY, f"runs_dir={small_disk}"], tmp_path).wait()
    assert code == 2
    assert "No space left on device" in text
    assert text.count("\n") == 1
    filler.unlink()
    directory = run((*TINY, "callbacks.checkpoint.keep=1"), small_disk)
    assert directory.record.read_bytes() == straight[0]
    assert rows(directory, "final_loss")
