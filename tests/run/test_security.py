"""A stranger's run directory is read, drawn, analysed and repeated without running anything that it brings along."""

import ast
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from lab import TINY, configuration, run
from omegaconf import OmegaConf

import lop_lightning
from lop_lightning import analyse
from lop_lightning.analysis.networks import load_network, read_config
from lop_lightning.analysis.same import differences
from lop_lightning.config import config_directory
from lop_lightning.config.trust import check_trusted, named_targets
from lop_lightning.errors import ConfigError, LopError
from lop_lightning.experiment import prepare
from lop_lightning.records import read_checkpoint
from lop_lightning.report import main as report

KEEPS = (*TINY, "callbacks.keep_networks.every_tasks=1")


class Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return run(KEEPS, tmp_path_factory.mktemp("runs")).path


@pytest.fixture
def stranger(sound, tmp_path):
    """A finished run, to be tampered with."""
    return Path(shutil.copytree(sound, tmp_path / "stranger" / sound.name))


@pytest.fixture
def hit(tmp_path):
    """The file that an attack would make."""
    return tmp_path / "hit"


def change(run_directory, edit):
    path = run_directory / "config.yaml"
    config = yaml.safe_load(path.read_text())
    edit(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def bombed(path, hit):
    """Torch files with a bomb: a bare pickle, torch's own archive, and an archive with its pickle replaced."""
    bare = pickle.dumps({"learner": Bomb(hit), "run": "x", "tensors": Bomb(hit), "seeds": [1], "task": 0})
    yield bare
    torch.save({"learner": {"state": Bomb(hit)}, "run": "x", "tensors": Bomb(hit), "seeds": [1], "task": 0}, path)
    yield path.read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bare)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
    yield path.read_bytes()


def tools(run_directory, lop):
    """Every tool that reads a run, and what it says."""
    yield from (lambda: load_network(run_directory, 0, 3), lambda: differences(run_directory, run_directory))
    yield lambda: report.main([str(run_directory), "--metrics=online_loss"])
    yield lambda: analyse.main([str(run_directory)])
    yield lambda: lop("--rerun", str(run_directory))


def use_all(run_directory, lop, capsys):
    """Every tool that reads a run; errors must be the user's kind. How many refused, and what was said."""
    said, refused = "", 0
    for tool in tools(run_directory, lop):
        try:
            result = tool()
            if isinstance(result, tuple):
                said += result[2]
                refused += result[0] == 2
        except LopError as error:
            said += f"{error}\n"
            refused += 1
        except SystemExit as stop:
            refused += stop.code == 2
        said += capsys.readouterr().err
    return refused, said


def test_the_tools_work_on_a_sound_run(stranger, lop, capsys):
    assert use_all(stranger, lop, capsys)[0] == 0


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_checkpoint_or_a_network_that_is_a_program(stranger, lop, capsys, hit):
    path = max((stranger / "checkpoints").glob("*.ckpt"))
    for content in bombed(path, hit):
        for file in (path, *(stranger / "networks").glob("*.pt")):
            file.write_bytes(content)
        with pytest.raises(LopError, match="damaged or no checkpoint"):
            read_checkpoint(path)
        refused, said = use_all(stranger, lop, capsys)
        assert refused == 4, said  # the report reads neither
        assert not hit.exists()
    pickle.loads(pickle.dumps(Bomb(hit)))  # the attack is one
    assert hit.exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['touch {}']", "!!python/name:os.system"])
def test_a_configuration_with_python_tags(stranger, lop, capsys, hit, tag):
    path = stranger / "config.yaml"
    path.write_text(path.read_text() + f"\nextra: {tag.format(hit)}\n")
    refused, said = use_all(stranger, lop, capsys)
    assert refused == 4, said  # all but the comparison of files
    assert "could not determine a constructor" in said
    assert not hit.exists()


TARGETS = {  # what a configuration may try: place, target, arguments
    "another module's function": ("model", "os.system", {"command": "touch {}"}),
    "a program": ("callbacks.mine", "subprocess.getoutput", {"cmd": "touch {}"}),
    "through a module of ours": (
        "callbacks.mine", "lop_lightning.records.repository.subprocess.getoutput", {"cmd": "touch {}"},
    ),
    "a function of ours that writes": ("algo", "lop_lightning.report.table.write_csv", {"rows": [], "path": "{}"}),
    "a callback of its own": ("callbacks.mine", "lop_lightning.callbacks.KeepNetworks", {"directory": "{}"}),
    "a class of ours in another place": ("task", "lop_lightning.callbacks.Checkpoint", {"directory": "{}"}),
    "no text at all": ("model", ["os.system"], {}),
    "inside an argument": ("model.hidden", "os.system", {"command": "touch {}"}),
    "a launcher": ("hardware.launcher", "os.system", {"command": "touch {}"}),
}  # fmt: skip


@pytest.mark.parametrize("attack", TARGETS)
def test_a_target_that_no_configuration_of_ours_names(stranger, lop, capsys, hit, attack):
    place, target, arguments = TARGETS[attack]
    texts = {key: value.format(hit) if isinstance(value, str) else value for key, value in arguments.items()}
    *parents, last = place.split(".")

    def edit(config):
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = {"name": "mlp", "_target_": target, **texts}

    change(stranger, edit)
    refused, said = use_all(stranger, lop, capsys)
    assert refused == 3, said  # a network, an analysis, a repetition; to draw its record builds nothing
    assert said.count(f"{place}._target_={target} is in no YAML of conf/, so it is not run") == 3
    assert not hit.exists()


def test_a_module_beside_the_run_is_not_imported(stranger, lop, capsys, hit, monkeypatch):
    (stranger / "evil.py").write_text(f"open({str(hit)!r}, 'w')\n\nclass Net:\n    pass\n")
    change(stranger, lambda config: config["model"].update(_target_="evil.Net"))
    monkeypatch.chdir(stranger)
    monkeypatch.syspath_prepend(stranger)
    assert use_all(stranger, lop, capsys)[0] == 3
    assert not hit.exists()
    with pytest.raises(LopError, match="model"):
        load_network(stranger, 0, 3, trust=True)
    assert hit.exists()


def test_the_environment_is_not_read(stranger, lop, capsys, monkeypatch):
    monkeypatch.setenv("SECRET", "123456")
    change(stranger, lambda config: config["algo"].update(name="${oc.env:SECRET}"))
    refused, said = use_all(stranger, lop, capsys)
    assert refused == 3
    assert "algo.name=${oc.env:SECRET} is not resolved" in said
    assert "123456" not in said


def test_data_are_not_fetched_into_a_folder_that_a_stranger_makes_up(stranger, hit, tmp_path):
    for task, own in (("permuted_images", "data"), ("continual_imagenet", "data/imagenet32/classes")):
        node = yaml.safe_load((config_directory() / "task" / f"{task}.yaml").read_text())
        for data_dir, trust, expected in (
            (str(hit), False, own),
            (str(hit), True, str(hit)),
            (str(tmp_path), False, str(tmp_path)),  # there are data to be read, perhaps
        ):
            change(stranger, lambda config: config.update(task={**node, "data_dir": data_dir}))  # noqa: B023
            assert read_config(stranger, trust, "")["task"]["data_dir"] == expected


def test_with_trust_a_class_of_ones_own_is_built(stranger, tmp_path, monkeypatch, capsys, lop):
    (tmp_path / "mine_to_trust.py").write_text(
        "from lop_lightning.networks import MLP\n\n\nclass Net(MLP):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    change(stranger, lambda config: config["model"].update(_target_="mine_to_trust.Net"))
    with pytest.raises(LopError, match="trust=True allows it"):
        load_network(stranger, 0, 3)
    assert type(load_network(stranger, 0, 3, trust=True)).__name__ == "Net"
    with pytest.raises(SystemExit):
        analyse.main([str(stranger)])
    assert "lop-analyse --trust runs it" in capsys.readouterr().err
    assert analyse.main([str(stranger), "--trust"]) == 0
    code, _, errors = lop("--rerun", str(stranger))
    assert code == 2
    assert "lop --rerun ... --trust runs it" in errors
    assert lop("--rerun", str(stranger), "--trust")[0] == 0


def test_every_target_of_ours_is_known(sound):
    assert len(named_targets()) > 20
    check_trusted(yaml.safe_load((sound / "config.yaml").read_text()), "config.yaml", "")
    for path, target in named_targets():
        assert target.startswith("lop_lightning."), path


@pytest.mark.parametrize("name", ["../../up", "..", ".", ".hidden", "/etc", "a/b", "a\\b", "a\nb", "a\x1b[2J"])
@pytest.mark.parametrize("group", ["task", "model", "algo"])
def test_a_name_is_one_folder(tmp_path, group, name):
    config = OmegaConf.merge(configuration(TINY, tmp_path / "runs"), {group: {"name": name}})
    with pytest.raises(ConfigError, match=rf"{group}\.name="):
        prepare(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("link", ["figures", "figures/.lop-report", "figures/online_loss.svg"])
def test_a_report_writes_through_no_link(stranger, tmp_path, capsys, link):
    precious = tmp_path / "precious"
    path = stranger / link
    if link == "figures":
        precious.mkdir()
    else:
        precious.write_text("mine")
        path.parent.mkdir()
        if not link.endswith(".lop-report"):
            (stranger / "figures" / ".lop-report").write_text("online_loss.svg\nonline_loss.png\n")
    path.symlink_to(precious)
    with pytest.raises(SystemExit):
        report.main([str(stranger), "--metrics=online_loss"])
    assert "is a link, so it is not written to" in capsys.readouterr().err
    assert not list(precious.iterdir()) if link == "figures" else precious.read_text() == "mine"


def test_a_link_in_place_of_the_analysis(stranger, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in ("analysis.csv", "analysis.csv.part"):
        (stranger / name).symlink_to(precious)
    assert analyse.main([str(stranger)]) == 0
    assert precious.read_text() == "mine"
    assert not (stranger / "analysis.csv").is_symlink()


def test_a_list_of_packages_elsewhere_is_not_read(stranger, lop, tmp_path):
    (tmp_path / "secret").write_text("numpy==secret\n")
    line = json.loads((stranger / "sessions.jsonl").read_text())
    (stranger / "sessions.jsonl").write_text(json.dumps({**line, "packages": str(tmp_path / "secret")}) + "\n")
    assert "secret" not in lop("--rerun", str(stranger))[2]


# ---- the library's own text

FILES = sorted(Path(lop_lightning.__file__).parent.rglob("*.py"))
FORBIDDEN = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "yaml.load_all", "os.system", "os.popen", "eval", "exec", "compile", "marshal.loads", "marshal.load", "shelve.open",
    "joblib.load", "pd.read_pickle", "pandas.read_pickle",
}  # fmt: skip
SAFE = {"tasks/safe_pickle.py"}
"""Where pickles are read, by an unpickler that knows a list of names: tests/tasks/test_safe_pickle.py."""


def calls(path):
    """(line, dotted name, keywords) of every call in a file, and of every class's bases."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        elif isinstance(node, ast.ClassDef):
            yield from ((node.lineno, ast.unparse(base), {}) for base in node.bases)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FILES[0].parent)))
def test_nothing_reads_what_it_could_run(path):
    name = str(path.relative_to(Path(lop_lightning.__file__).parent))
    for line, call, keywords in calls(path):
        where = f"{name}:{line}: {call}"
        assert call not in FORBIDDEN or name in SAFE, where
        assert keywords.get("shell", "False") == "False", where
        assert keywords.get("allow_pickle", "False") == "False", where
        if call == "torch.load":
            assert keywords.get("weights_only") == "True", where
        if call.endswith(".fit"):
            assert "ckpt_path" not in keywords or keywords.get("weights_only") == "True", where
