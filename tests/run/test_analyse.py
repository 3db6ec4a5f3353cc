"""``lop-analyse``: the same numbers from the networks that a run kept, and what cannot be analysed."""

import pytest
from growing import CIFAR, SEEDS, lines
from lab import COMMON, Cut, PowerCut, rows, run

from lop_lightning.analyse import main as analyse


def test_analysis_of_what_was_kept(done, capsys):
    directory, _ = done
    assert analyse([str(directory.path.parent)]) == 0
    target = directory.path / "analysis.csv"
    assert capsys.readouterr().out == f"{target}\n"
    found, record = lines(target), lines(directory.record)
    assert target.read_text().splitlines()[0] == directory.record.read_text().splitlines()[0]
    others = [line for line in found if line[5].startswith(("next_", "previous_"))]
    assert others == [line for line in record if line[5].startswith(("next_", "previous_"))]
    assert len(others) == 2 * 3 * (1 + 2)
    for task in (1, 2):  # what is left of one task is there before the next
        own = [(line[0], *line[4:]) for line in found if line[5] == "weight_magnitude" and line[1] == str(task)]
        end = [line for line in record if line[5:6] == ["weight_magnitude"] and line[1] == str(task - 1)]
        assert own == [(line[0], *line[4:]) for line in end if not line[4]]
    last = [line for line in found if line[5].startswith(("test_", "validation_"))]
    assert {tuple(line[1:4]) for line in last} == {("2", "0", "18")}
    classes = [line[4:] for line in record if "class" in line[4]]
    assert [line[4:] for line in last if line[4]] == classes
    for seed in SEEDS:
        shares = [v for t, *_, v in rows(directory, "validation_accuracy", seed) if t == 1]
        best = shares.index(max(shares))
        for metric in ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy"):
            (own,) = (float(line[6]) for line in last if line[5] == metric and line[0] == str(seed))
            assert own == [v for t, *_, v in rows(directory, metric, seed) if t == 1][best]
    before = target.read_text()
    assert analyse([str(directory.path)]) == 0
    assert target.read_text() == before
    assert not list(directory.path.glob("*.part"))


def test_analysis_of_a_run_that_was_killed(done, tmp_path, capsys):
    with pytest.raises(PowerCut):
        run(CIFAR, tmp_path, Cut(9))
    (networks,) = tmp_path.rglob("networks")
    assert analyse([str(tmp_path)]) == 0
    assert analyse([str(done[0].path)]) == 0
    whole = [line for line in lines(done[0].path / "analysis.csv") if line[1] in "01"]
    assert lines(networks.parent / "analysis.csv") == whole


def test_on_a_machine_that_is_another(done, tmp_path, capsys):
    """Trained on a GPU, with more threads, compiled, and shown to a logger: none of that is needed here."""
    directory, _ = done
    path = directory.path / "config.yaml"
    text = path.read_text()
    try:
        changed = text.replace("threads: 1\n", "threads: 4096\n").replace("accelerator: cpu\n", "accelerator: gpu\n")
        changed = changed.replace("compile: false", "compile: true").replace(
            "logger:\n  name: none", "logger:\n  name: csv\n  _target_: lop_lightning.records.csv_logger\n  colour: red"
        )
        assert len(changed.splitlines()) == len(text.splitlines()) + 2
        path.write_text(changed)
        assert analyse([str(directory.path)]) == 0
    finally:
        path.write_text(text)


@pytest.fixture
def refused(refusal):
    """``refused(*arguments)`` -> the one line that it says instead."""

    def call(*arguments):
        errors = refusal(analyse, *arguments)
        assert errors.startswith("lop-analyse: ")
        return errors

    return call


def test_analysis_of_what_cannot_be(done, tmp_path, refused):
    directory, _ = done
    assert "no such file or directory" in refused(tmp_path / "none")
    assert "no run here" in refused(tmp_path)
    assert "required: RUNS" in refused()
    small = ("task=gmm", "task.tasks=1", "task.n=4", "task.n_val=4", "task.passes_per_epoch=1", "model.hidden=[2]")
    bare = run((*COMMON, *small, "task.epochs_per_task=1"), tmp_path)
    line = refused(bare.path)
    assert f"{bare.path} has no networks from before task 0: train with callbacks.keep_networks.every_tasks=1" in line
    kept = directory.path / "networks" / "task-00001.pt"
    content = kept.read_bytes()
    (directory.path / "analysis.csv").unlink(missing_ok=True)
    try:
        kept.write_bytes(content[:-40])
        assert f"{kept} is damaged" in refused(directory.path)
    finally:
        kept.write_bytes(content)
    assert not list(directory.path.glob("analysis*"))


def test_analysis_that_cannot_be_written(done, refused):
    directory, _ = done
    (directory.path / "analysis.csv").unlink(missing_ok=True)
    for name in ("analysis.csv.part", "analysis.csv"):
        (directory.path / name).mkdir()
        assert f"{directory.path}/analysis.csv" in refused(directory.path)
        (directory.path / name).rmdir()
        assert not list(directory.path.glob("analysis*"))
