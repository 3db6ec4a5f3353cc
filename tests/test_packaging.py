"""What an installed package holds: the wheel, built from a copy of the tree, installed where no checkout is near."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = (
    "algos",
    "analyse",
    "analysis",
    "callbacks",
    "config",
    "launch",
    "layers",
    "metrics",
    "networks",
    "optimizers",
    "prepare",
    "records",
    "report",
    "tasks",
    "train",
    "wandb_tools",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: building in the tree leaves folders there."""
    source, out = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("wheel")
    source.mkdir()
    for name in ("lop_lightning", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-build-isolation", "-w", str(out), str(source))
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("site")
    pip("install", "--target", str(target), str(wheel))
    return target


def pip(command, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def python(installed, code, cwd):
    """Runs ``code`` with the installed package before everything else; the checkout is not on the path."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_wheel_holds_every_configuration_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configurations = {
        f"lop_lightning/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")
    }
    assert len(configurations) > 10
    assert not configurations - names
    assert [name for name in configurations if name.startswith("lop_lightning/conf/_scales/experiment/")]
    assert "lop_lightning/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_an_installed_package_finds_its_configurations(installed, tmp_path):
    code = (
        "import json, importlib, lop_lightning\n"
        "from lop_lightning.config import composed, config_directory, config_groups\n"
        f"for name in {TOP!r}: importlib.import_module('lop_lightning.' + name)\n"
        "print(json.dumps([lop_lightning.__file__, str(config_directory()), config_groups(),"
        " composed(['task=gmm', 'algo=cbp']).algo.name, composed(['task=gmm', '+scale=smoke']).task.n]))"
    )
    package, conf, groups, algo, n = python(installed, code, tmp_path)
    assert Path(package).is_relative_to(installed)
    assert Path(conf) == installed / "lop_lightning" / "conf"
    folders = {folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()}
    assert set(groups) == folders - {"_scales", "sweep", "tune"}
    assert (algo, n) == ("cbp", 8)


def test_every_room_and_every_command_is_installed(wheel, installed):
    rooms = {path.name for path in (ROOT / "lop_lightning").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(TOP)
    for path in (ROOT / "lop_lightning").rglob("*.py"):
        assert (installed / path.relative_to(ROOT)).exists(), path
    archive = zipfile.ZipFile(wheel)
    (entries,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    scripts = {line.partition(" ")[0] for line in archive.read(entries).decode().splitlines()[1:] if line}
    assert scripts == {"lop", "lop-status", "lop-report", "lop-analyse", "lop-hebbian", "lop-prepare", "lop-timescales",
                       "lop-wandb"}  # fmt: skip
    assert {path.name for path in (installed / "bin").iterdir()} == scripts


@pytest.mark.parametrize("command", ["lop-analyse", "lop-prepare"])  # the other two run in other tests
def test_every_command_says_how_it_is_used(installed, tmp_path, command):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [installed / "bin" / command, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert command in done.stdout
    assert not list(tmp_path.iterdir())
