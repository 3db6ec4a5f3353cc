"""Real runs with ``logger=wandb``, offline; what W&B wrote down is read back."""

import json
import math

import lightning as L
import pytest
import torch
from lab import TINY, Cut, PowerCut, checkpoints, configuration, outcome, rows, run
from omegaconf import OmegaConf
from PIL import Image
from wandb_files import session, sessions

from lop_lightning import train
from lop_lightning.callbacks.evaluation import watcher_of
from lop_lightning.config import composed
from lop_lightning.launch.sweep import grouped
from lop_lightning.records.wandb_run import WandbRun
from lop_lightning.wandb_tools.logger import WandbMirror
from lop_lightning.wandb_tools.main import main

OFFLINE = (*TINY, "logger=wandb", "logger.mode=offline", "logger.at_end=[results]")
ONLINE = (*TINY, "logger=wandb", "logger.timeout=1", "logger.at_end=[]")
ENDS = ("loss_of_plasticity/", "results")


def shown(directory):
    """The rows of all sessions, W&B's own columns but the step left out."""
    own = ("_runtime", "_timestamp")
    history = [row for one in sessions(directory) for row in one.history]
    return [{name: value for name, value in row.items() if name not in own} for row in history]


def of_tasks(history):
    """The rows of whole tasks: neither within a task nor at the end."""
    return [row for row in history if "performance/post_loss" in row]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was not disturbed; W&B's session ends in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lop_lightning.wandb_tools.logger.EVERY_SECONDS", 0.02)
        return run((*OFFLINE, "logger.tags=[mine]", "logger.group=sweep 1"), tmp_path_factory.mktemp("whole"))


def test_the_run_is_the_directory(whole):
    (one,) = sessions(whole)
    assert (one.run.run_id, one.run.project, one.run.run_group) == (whole.identity, "lop-lightning", "sweep 1")
    assert (one.run.job_type, list(one.run.tags), one.exit_code) == ("bp", ["mine"], 0)
    assert one.config["seeds"] == [3, 1]
    assert one.config["optimizer"]["lr"] == 0.01
    assert one.config["layers"] == json.loads((whole.path / "run.json").read_text())["layers"]
    for name in ("performance/*", "plasticity/*", "layers/*", "seeds/*"):
        assert one.axes[name] == "task"
    assert one.axes["updates/*"] == "update"
    assert {"task", "update"} <= set(one.axes)


def test_the_values_are_the_record_s(whole):
    history = shown(whole)
    tasks = of_tasks(history)
    assert [(row["task"], row["update"]) for row in tasks] == [(0, 12), (1, 24), (2, 36)]
    for seed in (3, 1):
        for metric in ("post_loss", "weight_norm", "gradient_norm"):
            there = [row[f"seeds/{metric}/{seed}"] for row in tasks]
            assert there == [value for *_, value in rows(whole, metric, seed)]
        for task, row in enumerate(tasks):  # bins of 3, 2, 3, 2 and 2 updates
            bins = [value for t, *_, value in rows(whole, "online_loss", seed) if t == task]
            mean = sum(n * value for n, value in zip((3, 2, 3, 2, 2), bins)) / 12
            assert row[f"seeds/online_loss/{seed}"] == pytest.approx(mean, rel=1e-12)
    for row in tasks:
        a, b = (row[f"seeds/post_loss/{seed}"] for seed in (3, 1))
        assert row["performance/post_loss"] == pytest.approx((a + b) / 2)
        assert row["performance/post_loss_high"] - row["performance/post_loss"] == pytest.approx(
            12.706204736 * abs(a - b) / 2
        )  # t of one degree of freedom
        units = [v for t, *_, v in rows(whole, "dead_units", layer="layers.1") if t == row["task"]]
        assert row["layers/layers.1/dead_units"] == pytest.approx(sum(units) / 2)
    within = [row for row in history if "updates/online_loss" in row]
    assert [row["update"] for row in within] == [t + u for t in (0, 12, 24) for u in (3, 5, 8, 10, 12)]
    assert not any("grad" in name and "gradient_norm" not in name for row in history for name in row)


def test_at_the_end_come_the_results(whole):
    (one,) = sessions(whole)
    last = one.history[-1]
    made = json.loads(whole.summary.read_text())["results"]
    assert (last["results/_type"], last["results/nrows"]) == ("table-file", len(made))
    (table,) = whole.path.glob("wandb/offline-run-*/files/media/table/*.json")
    table = json.loads(table.read_text())
    place = table["columns"].index("difference")
    assert [line[place] for line in table["data"]] == pytest.approx([line["difference"] for line in made])
    for line in made:
        assert one.summary[f"loss_of_plasticity/{line['metric']}"] == pytest.approx(line["difference"])


def test_nothing_comes_twice_after_an_interruption(whole, tmp_path):
    settings = (*OFFLINE, "callbacks.checkpoint.every_updates=17")
    for after, checkpoint, sent in ((8, None, None), (26, 18, 12), (34, 18, 12)):
        with pytest.raises(PowerCut):
            run(settings, tmp_path, Cut(after))
        (folder,) = [path.parent for path in tmp_path.rglob("config.yaml")]
        saved = [int(path.stem.removeprefix("update-")) for path in folder.glob("checkpoints/*.ckpt")]
        memory = folder / "wandb" / "mirrored.json"
        assert max(saved, default=None) == checkpoint
        assert (json.loads(memory.read_text())["rows"] if memory.exists() else None) == sent
    directory = run(settings, tmp_path)
    parts = sessions(directory)
    assert len(parts) == 4
    assert {one.run.run_id for one in parts} == {directory.identity}
    assert [one.exit_code for one in parts] == [1, 1, 1, 0]
    assert sum(bool(one.history) for one in parts) > 1
    history = shown(directory)
    assert [row["_step"] for row in history] == list(range(len(history)))
    for axis in ("task", "update"):
        values = [row[axis] for row in history]
        assert values == sorted(values)
    undisturbed = shown(whole)
    assert _without_ends(history) == _without_ends(undisturbed)


def _without_ends(history):
    return [{name: value for name, value in row.items() if not name.startswith(ENDS)} for row in history]


def test_two_jobs_of_a_sweep_are_two_runs(tmp_path):
    settings = [*OFFLINE, "task.tasks=2", "hardware.threads=1", f"runs_dir={tmp_path}"]
    train.sweep([[*settings, f"optimizer.lr={lr}"] for lr in (0.01, 0.02)])
    found = sorted(path.parent for path in tmp_path.rglob("record.csv"))
    assert len(found) == 2
    ids, groups = [], set()
    for path in found:
        (file,) = path.glob("wandb/offline-run-*/*.wandb")
        one = session(file)
        ids.append(one.run.run_id)
        groups.add(one.run.run_group)
        assert one.exit_code == 0
        assert [row["task"] for row in of_tasks(one.history)] == [0, 1]
    assert ids == [path.name for path in found]
    (group,) = groups
    assert group.startswith("sweep-")


def test_a_group_that_was_chosen_stays():
    lines = [["logger=wandb", "logger.group=mine", f"seeds={n}"] for n in (1, 2)]
    configs = [composed(line) for line in lines]
    assert grouped(lines, configs) == (lines, configs)
    free = [["logger=wandb", f"seeds={n}"] for n in (1, 2)]
    named, settled = grouped(free, [composed(line) for line in free])
    assert {line[-1] for line in named} == {f"logger.group={config.logger.group}" for config in settled}
    assert grouped(free[:1], [composed(free[0])]) == (free[:1], [composed(free[0])])


def test_it_is_quiet_and_stays_in_its_place(tmp_path, machine, monkeypatch, capfd):
    monkeypatch.chdir(machine)
    directory = run((*OFFLINE[:-1], "logger.at_end=[figures]"), tmp_path / "runs")
    _, errors = capfd.readouterr()
    assert errors == ""
    (one,) = sessions(directory)
    (artifact,) = one.artifacts
    assert artifact.name == f"figures-{directory.identity}"
    names = {content.path for content in artifact.manifest.contents}
    assert {"online_accuracy.png", "dead_units_by_layer.png"} <= names
    assert {path.relative_to(machine).parts[:2] for path in machine.rglob("*")} <= {
        (".cache",),
        (".cache", "matplotlib"),
    }
    assert {path.name for path in tmp_path.iterdir()} == {"home", "runs"}


def test_figures_of_a_report_are_taken_as_they_are(tmp_path):
    directory = run((*TINY, "task.tasks=2"), tmp_path)
    (directory.path / "figures").mkdir()
    Image.new("RGB", (3, 2)).save(directory.path / "figures" / "mine.png")
    assert main(["sync", str(directory.path), "--mode", "offline"]) == 0
    (one,) = sessions(directory)
    assert (one.history[-1]["figures/mine/width"], one.history[-1]["figures/mine/height"]) == (3, 2)
    assert [content.path for a in one.artifacts if a.type == "figures" for content in a.manifest.contents] == [
        "mine.png"
    ]


class Mine(L.Callback):
    """Writes a row when a task has ended, after all that the house writes."""

    def on_train_batch_end(self, trainer, learner, outputs, batch, batch_idx):
        if batch.ends_task:
            values = torch.tensor([2.0, 4.0])
            watcher_of(trainer).write((batch.begin.task, 1, learner.population.updates), [("mine", "", values)])


def test_what_a_callback_of_ones_own_measures_is_shown(tmp_path, monkeypatch):
    there, before = [], WandbMirror.follow

    def follow(self, task):
        there.append((self.directory / "record.csv").read_text().count(",mine,"))
        before(self, task)

    monkeypatch.setattr(WandbMirror, "follow", follow)
    config = configuration((*OFFLINE, "task.tasks=2", "callbacks.checkpoint.every_updates=null"), tmp_path)
    OmegaConf.set_struct(config, False)
    mine = {"_target_": f"{__name__.rpartition('.')[2]}.Mine"}
    directory = train.run(OmegaConf.merge(config, {"callbacks": {"mine": mine}}))
    assert there == [2, 4]  # of two seeds, before the task is said to be in the record
    assert [row["plasticity/mine"] for row in of_tasks(shown(directory))] == [3, 3]


def test_disabled_does_nothing(tmp_path):
    directory = run((*OFFLINE, "logger.mode=disabled"), tmp_path)
    assert directory.done
    assert not (directory.path / "wandb").exists()


def test_what_breaks_in_w_and_b_is_one_line_and_training_goes_on(tmp_path, monkeypatch, capsys):
    def fail(self, rows):
        raise ValueError("the service\nis gone")

    monkeypatch.setattr(WandbRun, "log", fail)
    directory = run(OFFLINE, tmp_path)
    assert directory.done
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert errors.startswith("lop: W&B: the service is gone; ")
    assert str(directory.path) in errors


def test_without_an_account_it_says_so_before_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lop", *TINY, "logger=wandb", f"runs_dir={tmp_path}"])
    with pytest.raises(SystemExit) as stop:
        train.main()
    errors = capsys.readouterr().err
    assert stop.value.code == 2
    assert errors.startswith("lop: logger: no W&B account on this machine")
    assert "logger.mode=offline" in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_diverged_run_is_shown_as_failed(tmp_path):
    with pytest.raises(PowerCut):
        run(OFFLINE, tmp_path, Cut(14))
    (path,) = [path.parent for path in tmp_path.rglob("record.csv")]
    (file,) = path.glob("wandb/offline-run-*/*.wandb")
    one = session(file)
    assert one.exit_code == 1
    assert all(math.isfinite(row["performance/post_loss"]) for row in of_tasks(one.history))
    assert [row["task"] for row in of_tasks(one.history)] == [0]


def test_a_logger_does_not_change_the_run(whole, tmp_path):
    assert outcome(run(TINY, tmp_path)) == outcome(whole)
    assert checkpoints(whole)
