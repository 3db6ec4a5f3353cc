"""What a run says of where its numbers come from, and whether a repetition gives the same ones."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from lab import TINY, configuration, run

import lop_lightning
from lop_lightning.analysis.same import differences
from lop_lightning.experiment import prepare
from lop_lightning.launch.jobs import Job, changed_since, write_note
from lop_lightning.records import RunDirectory, provenance
from lop_lightning.records.provenance import code_fingerprint, code_warning, packages, sessions
from lop_lightning.records.repository import MOST_PATCH, Repository, repository

KEEPS = (*TINY, "callbacks.keep_networks.every_tasks=1")


def git(folder, *command):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    line = ["git", "-c", "user.name=a", "-c", "user.email=b@c", *command]
    return subprocess.run(line, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path):
    """A repository of one commit with a changed file, a new Python file, other new files and an ignored one."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("ignored.py\n")
    (folder / "old.py").write_text("a = 1\nb = 2\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    (folder / "old.py").write_text("a = 1\nb = 3")
    (folder / "sub").mkdir()
    (folder / "sub" / "new.py").write_text("def f():\n    return 'ü'\n")
    (folder / "sub" / "unfinished.py").write_text("x = 1")
    (folder / "sub" / "__init__.py").write_text("")
    (folder / "notes.txt").write_text("private")
    (folder / "ignored.py").write_text("secret")
    return folder


def test_the_patch_makes_the_code_from_the_commit(project, tmp_path):
    found = repository(project / "sub")
    assert Path(found.root) == project.resolve()
    assert found.commit == git(project, "rev-parse", "HEAD").strip()
    assert found.changed == " M old.py"
    assert found.untracked == ("notes.txt", "sub/__init__.py", "sub/new.py", "sub/unfinished.py")
    assert not found.cut
    assert "private" not in found.patch
    assert "secret" not in found.patch
    git(tmp_path, "clone", "-q", str(project), "clone")
    (tmp_path / "it.patch").write_text(found.patch)
    git(tmp_path / "clone", "apply", "--index", str(tmp_path / "it.patch"))
    for name in ("old.py", "sub/new.py", "sub/unfinished.py", "sub/__init__.py"):
        assert (tmp_path / "clone" / name).read_bytes() == (project / name).read_bytes()


def test_a_patch_is_cut(project):
    (project / "old.py").write_text("x = 'ü'\n" * MOST_PATCH)
    found = repository(project)
    assert found.cut
    assert MOST_PATCH - 4 < len(found.patch.encode()) <= MOST_PATCH


def test_no_repository_is_nothing(tmp_path, project):
    assert repository(tmp_path) == Repository()
    environment = project / "venv"  # a package that is installed inside somebody's project is not of that project
    environment.mkdir()
    (environment / "__init__.py").write_text("")
    assert repository(environment, "__init__.py") == Repository()
    assert repository(project, "old.py").commit


def test_nothing_that_a_repository_asks_for_is_started(project, tmp_path):
    made = tmp_path / "made"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {made}\n")
    program.chmod(0o755)
    (project / ".gitattributes").write_text("*.py diff=odd\n")
    for key in ("diff.odd.command", "diff.odd.textconv", "diff.external", "core.fsmonitor", "core.pager"):
        git(project, "config", key, str(program))
    assert repository(project).changed
    assert not made.exists()


def test_a_session_says_what_when_where_and_with_what(tmp_path, project, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lop", "some", "words"])
    monkeypatch.chdir(project)
    directory = run(TINY, tmp_path / "runs")
    (session,) = sessions(directory.path)
    assert session["command"] == ["lop", "some", "words"]
    assert session["folder"] == str(project)
    assert session["host"]
    assert session["processor"]
    assert session["cores"] >= 1
    assert session["gpus"] == [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    assert (session["threads"], session["seeds"], session["hardware"]["compile"]) == (1, [3, 1], False)
    assert session["versions"]["torch"] == version("torch")
    assert session["fingerprint"] == code_fingerprint()
    listed = (directory.path / session["packages"]).read_text().splitlines()
    assert f"numpy=={version('numpy')}" in listed
    assert len(listed) == len(packages()) > 20
    assert session["project"]["git"] == git(project, "rev-parse", "HEAD").strip()
    assert "b = 3" in (directory.path / session["project"]["patch"]).read_text()
    here = Path(lop_lightning.__file__).parents[1]
    if (here / ".git").exists():
        assert session["git"] == git(here, "rev-parse", "HEAD").strip()


def test_every_content_is_kept_once(tmp_path, monkeypatch):
    config = {"seeds": [1], "hardware": {}}
    for text in ("a", "a", "b", ""):
        monkeypatch.setattr(provenance, "repository", lambda *_, text=text: Repository("/x", "c", "", (), text))
        provenance.write_session(tmp_path, config)
    found = sessions(tmp_path)
    assert [bool(one["patch"]) for one in found] == [True, True, True, False]
    assert found[0]["patch"] == found[1]["patch"] != found[2]["patch"]
    assert len(list((tmp_path / "provenance").iterdir())) == 3
    assert (tmp_path / found[2]["patch"]).read_text() == "b"


def test_sessions_that_cannot_be_read_are_left_out(tmp_path):
    assert sessions(tmp_path) == []
    (tmp_path / "sessions.jsonl").write_text('{"a": 1}\n[1]\n{"half\n')
    assert sessions(tmp_path) == [{"a": 1}]


def test_the_fingerprint_is_of_the_code(tmp_path, monkeypatch):
    package = tmp_path / "lop_lightning"
    (package / "room").mkdir(parents=True)
    (package / "room" / "a.py").write_text("a = 1")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("a: 1")
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    before = code_fingerprint()
    assert code_fingerprint() == before
    assert code_warning(before) == ""
    (package / "room" / "a.pyc").write_text("cache")
    (tmp_path / "other.py").write_text("not ours")
    assert code_fingerprint() == before
    seen = {before}
    for change in (
        lambda: (package / "room" / "a.py").write_text("a = 2"),
        lambda: (package / "room" / "b.py").write_text(""),
        lambda: (package / "room" / "b.py").rename(package / "b.py"),
        lambda: (tmp_path / "conf" / "config.yaml").write_text("a: 2"),
    ):
        change()
        assert code_fingerprint() not in seen
        seen.add(code_fingerprint())
    line = code_warning(before)
    assert "the code has changed since this job was submitted" in line
    assert before in line
    assert "\n" not in line


# ---- once more


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return run(KEEPS, tmp_path_factory.mktemp("runs")).path


@pytest.fixture
def copy(original, tmp_path):
    """The finished run, to be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "original"))


def test_once_more_is_the_same_bit_for_bit(lop, original, tmp_path):
    code, _, errors = lop("--rerun", str(original))
    assert (code, errors) == (0, f"lop: the same, bit for bit: {original}\n")
    (again,) = (path.parent for path in tmp_path.rglob("summary.json"))
    assert again.name == original.name
    for part in ("record.csv", "networks/task-00003.pt"):
        assert (again / part).read_bytes() == (original / part).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in again.rglob("record.csv")}
    code, _, errors = lop(f"--rerun={original}")
    assert (code, errors.splitlines()[-1]) == (0, f"lop: the same, bit for bit: {original}")
    assert {path: path.stat().st_mtime_ns for path in again.rglob("record.csv")} == before


def test_without_a_word_it_goes_to_reruns(lop, original, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lop("--rerun", str(original), "callbacks.checkpoint.keep=3", runs_dir=None)[0] == 0
    assert list(tmp_path.glob(f"reruns/gmm/mlp/bp/{original.name}/summary.json"))


def test_what_differs_is_said(copy, original, lop):
    lines = (copy / "record.csv").read_text().splitlines()
    lines[4] = lines[4].rpartition(",")[0] + ",0.123"
    (copy / "record.csv").write_text("\n".join(lines) + "\n")
    (checkpoint,) = sorted((copy / "checkpoints").glob("*.ckpt"))[-1:]
    saved = torch.load(checkpoint, weights_only=True)
    saved["learner"]["state"]["params"]["layers.0.weight"][1, 0, 0] += 0.5
    torch.save(saved, checkpoint)
    (copy / "networks" / "task-00001.pt").unlink()
    found = differences(copy, original)
    assert len(found) == 3
    assert found[0].startswith(f"record.csv differs in 1 of {len(lines) - 1} rows; the first is row 4: {lines[4]} and")
    assert "checkpoint differ in 1 places, as state.params.layers.0.weight; largest difference 0.5" in found[1]
    assert found[2] == "only one of them has networks/task-00001.pt"
    code, _, errors = lop("--rerun", str(copy))
    assert code == 1
    assert errors.splitlines()[-1] == f"lop: not the same as {copy}"
    assert all(line in errors for line in found)


def test_a_sign_of_zero_and_a_missing_checkpoint_are_differences(copy, original):
    path = copy / "networks" / "task-00000.pt"
    kept = torch.load(path, weights_only=True)
    name = next(name for name, tensor in kept["tensors"].items() if (tensor == 0).any())
    kept["tensors"][name] = torch.where(kept["tensors"][name] == 0, -0.0, kept["tensors"][name])
    torch.save(kept, path)
    shutil.rmtree(copy / "checkpoints")
    found = differences(copy, original)
    assert [line.split()[0] for line in found] == ["the", "networks/task-00000.pt"]
    assert "largest difference 0" in found[1]


def test_what_has_changed_since_is_said(copy, lop):
    (session,) = sessions(copy)
    path = copy / session["packages"]
    path.write_text(path.read_text().replace(f"numpy=={version('numpy')}", "numpy==1.0"))
    other = {**session, "fingerprint": "0", "git": "abcdef0123456789", "changed": " M x", "processor": "Z80"}
    (copy / "sessions.jsonl").write_text(json.dumps(session) + "\n" + json.dumps(other) + "\n")
    code, _, errors = lop("--rerun", str(copy))
    assert code == 0  # numbers are what counts
    assert errors.splitlines()[:4] == [
        "lop: its 2 sessions did not all run the same code",
        "lop: the code differs: it was commit abcdef012345 with changes",
        f"lop: packages differ: numpy 1.0 -> {version('numpy')}",
        f"lop: processor differs: it was Z80, it is {session['processor']}",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["optimizer.lr=1"], "optimizer.lr=1 would make it another run: legal are runs_dir, hardware, logger"),
        (["seeds=3"], "would make it another run"),
        (["callbacks.continual.every_tasks=2"], "would make it another run"),
        (["hardware.compile=1,2"], "would make it another run"),
        (["hardware.speed=9"], "hardware.speed=9 is not legal"),
        (["hardware=gpus"], "hardware=gpus is not legal"),
        (["hardware.threads=0"], "hardware.threads=0 is not legal"),
    ],
)
def test_another_run_is_no_repetition(lop, original, tmp_path, settings, words):
    code, _, errors = lop("--rerun", str(original), *settings)
    assert (code, errors.count("\n")) == (2, 1)
    assert words in errors
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_repeated(lop, copy, tmp_path):
    assert "expected one argument" in lop("--rerun", runs_dir=None)[2]
    assert "config.yaml cannot be read" in lop("--rerun", str(tmp_path / "none"))[2]
    (copy / "summary.json").unlink()
    code, _, errors = lop("--rerun", str(copy))
    assert (code, errors.count("\n")) == (2, 1)
    assert "is not done, so there is nothing to compare with" in errors


def test_not_in_its_own_place(lop, tmp_path):
    directory = run(TINY, tmp_path)
    code, _, errors = lop("--rerun", str(directory.path))
    assert code == 2
    assert "cannot be repeated in its own place" in errors


def test_a_job_says_that_the_code_changed_while_it_waited(tmp_path, monkeypatch):
    directory = RunDirectory(prepare(configuration(TINY, tmp_path)).config)
    assert changed_since(directory.path) == ""
    write_note(Job(list(TINY), directory), "slurm", "7", tmp_path / "log")
    assert changed_since(directory.path) == ""
    submitted = code_fingerprint()
    monkeypatch.setattr(provenance, "code_fingerprint", lambda: "0" * 16)
    assert f"has changed since this job was submitted ({submitted}, now {'0' * 16})" in changed_since(directory.path)
