"""Disks that are full, at every place where something is written: one line, and nothing is lost."""

import errno
import io
import os
import subprocess
from pathlib import Path

import pytest
import torch
from lab import TINY, Process, load, outcome, rows, run

from lop_lightning.errors import RunError
from lop_lightning.records import AtomicCheckpointIO, Record


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return outcome(run(TINY, tmp_path_factory.mktemp("straight")))


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
        patch.setattr("lop_lightning.records.files.os.fsync", _full_when("summary.json"))
        code, _, errors = lop(*TINY)
    assert code == 2
    assert "summary.json: No space left on device; all is trained" in errors
    assert errors.count("\n") == 1
    directory = run(TINY, tmp_path)
    assert directory.done
    assert outcome(directory) == straight


def test_the_disk_is_full_from_the_beginning(lop, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lop_lightning.records.files.os.fsync", _full_when("run.json"))
        code, _, errors = lop(*TINY)
    assert code == 2
    assert "No space left on device" in errors
    assert lop(*TINY)[0] == 0


def _full_when(name, fsync=os.fsync):
    def refuse(number):
        if name in str(Path(f"/proc/self/fd/{number}").readlink()):
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
