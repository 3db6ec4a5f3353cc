"""``lop-wandb``: what was not shown is sent later, by the same code; the workspace as code."""

import json

import pytest
from lab import COMMON, TINY, Cut, PowerCut, run
from test_wandb_runs import OFFLINE, of_tasks, shown
from wandb_files import sessions

from lop_lightning.wandb_tools.main import main


def sync(capsys, *arguments):
    """Exit code, output, errors."""
    capsys.readouterr()
    try:
        code = main(["sync", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


def test_later_is_as_live(tmp_path, capsys):
    live = run((*OFFLINE, "task.tasks=2"), tmp_path / "live")
    later = run((*TINY, "task.tasks=2"), tmp_path / "later")
    code, output, errors = sync(capsys, tmp_path / "later", "--mode", "offline", "--group", "mine")
    assert (code, errors) == (0, "")
    assert output == f"{later.path}: 2 tasks sent, offline, id {later.identity}\n"
    (one,) = sessions(later)
    assert (one.run.run_id, one.run.run_group) == (live.identity, "mine")
    end = ("figures/", "results")
    assert [{n: v for n, v in row.items() if not n.startswith(end)} for row in shown(later)] == [
        {n: v for n, v in row.items() if not n.startswith(end)} for row in shown(live)
    ]
    again = sync(capsys, tmp_path, "--mode", "offline")
    assert again[1].count("nothing to send, W&B has it all") == 2
    assert sum(len(one.history) for one in sessions(later)) == len(one.history)


def test_a_run_that_is_not_done_and_then_is(tmp_path, capsys):
    with pytest.raises(PowerCut):
        run(TINY, tmp_path, Cut(30))
    assert "2 tasks sent (unfinished)" in sync(capsys, tmp_path, "--mode", "offline")[1]
    directory = run(TINY, tmp_path)
    assert "1 task sent" in sync(capsys, tmp_path, "--mode", "offline")[1]
    first, second = sessions(directory)
    assert [[row["task"] for row in of_tasks(one.history)] for one in (first, second)] == [[0, 1], [2]]
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert second.history[-1]["results/_type"] == "table-file"


def test_what_is_wrong_is_one_line(tmp_path, capsys):
    assert sync(capsys, tmp_path / "nowhere")[::2] == (
        2, f"lop-wandb: {tmp_path / 'nowhere'}: no such file or directory\n"
    )  # fmt: skip
    directory = run((*TINY, "task.tasks=1"), tmp_path)
    code, output, errors = sync(capsys, directory.path)
    assert (code, output) == (2, "")
    assert errors.startswith("lop-wandb: no W&B account on this machine")
    assert errors.count("\n") == 1


def sections(text):
    bank = json.loads(text)["spec"]["section"]["panelBankConfig"]
    return {one["name"]: [panel["config"] for panel in one["panels"]] for one in bank["sections"]}


@pytest.fixture
def workspaces():
    return pytest.importorskip("wandb_workspaces", reason="lop-lightning[wandb] is not installed")


def test_the_workspace_has_its_sections(workspaces, tmp_path, capsys):
    file = tmp_path / "workspace.json"
    assert main(["dashboard", "--project", "p", "--entity", "e", "--out", str(file), "--print"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert json.loads(output.out) == json.loads(file.read_text())
    written = json.loads(file.read_text())
    assert (written["entity"], written["project"], written["displayName"]) == ("e", "p", "Loss of plasticity")
    shown = sections(file.read_text())
    assert list(shown) == ["performance", "plasticity", "layers", "system"]
    first = shown["performance"][1]
    assert first["xAxis"] == "task"
    assert first["metrics"] == [f"performance/online_accuracy{end}" for end in ("", "_low", "_high")]
    assert shown["layers"][0]["metricRegex"] == r"^layers/.+/dead_units$"


def test_the_workspace_of_runs_has_what_they_recorded(workspaces, tmp_path, capsys):
    directory = run((*TINY, "task.tasks=1", "callbacks.continual.metrics=[units]"), tmp_path)
    capsys.readouterr()
    assert main(["dashboard", str(directory.path), "--print"]) == 0
    shown = sections(capsys.readouterr().out)
    assert list(shown) == ["performance", "layers", "system"]
    recorded = {line.split(",")[5] for line in directory.record.read_text().splitlines()[1:]}
    titles = len(shown["performance"]) + len(shown["layers"])
    assert titles == len(recorded)


def test_a_panel_shows_all_lags_of_a_recurrent_network(workspaces, tmp_path, capsys):
    small = ("task.tasks=1", "task.epochs_per_task=1", "task.train_images=2", "task.test_images=2", "model.hidden=3")
    lstm = ("task=label_reshuffled_images", "model=lstm", *small, "callbacks.continual.metrics=[recurrence]")
    directory = run((*COMMON, *lstm), tmp_path)
    capsys.readouterr()
    assert main(["dashboard", str(directory.path), "--print"]) == 0
    shown = sections(capsys.readouterr().out)
    assert [panel["metricRegex"] for panel in shown["lags"]] == ["^lags/.+/state_gradient_norm$"]


def test_the_workspace_needs_an_account(workspaces, capsys):
    for arguments, message in (([], "--entity is missing"), (["--entity", "e"], "no W&B account on this machine")):
        with pytest.raises(SystemExit) as stop:
            main(["dashboard", *arguments])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
