"""Runs under a curriculum: seeds go on by themselves, what they went through is on disk, and cuts change nothing."""

import signal
from itertools import pairwise

import pandas as pd
import pytest
import torch
from lab import COMMON, Process, interrupted, outcome, run, until

from lop_lightning.analyse import main as analyse
from lop_lightning.analysis.networks import load_network, read_config
from lop_lightning.config import build
from lop_lightning.records import latest_checkpoint
from lop_lightning.records.checkpoint_io import read_checkpoint, read_tensors

# A threshold that chance often passes, so that tiny networks advance, seeds at different times.
TINY = (
    *COMMON, "task.tasks=6", "task.updates_per_task=5", "task.batch_size=6", "task.check_batches=2",
    "task.probe_size=7",
    "task.threshold=0.55", "hardware.chunk=2", "model.hidden=4", "optimizer.clip=2.0",
    "callbacks.continual.bins_per_task=2", "callbacks.checkpoint.every_updates=3",
)  # fmt: skip
NESTEROV = ("optimizer=sgd", "optimizer.momentum=0.1", "optimizer.nesterov=true")
RUNS = {
    "cumulative": ("task=parity", "model=leaky", "algo=bp", *NESTEROV),
    "single, shrink and perturb": ("task=dms", "model=leaky", "model.dynamics=mod", "task.curriculum=single",
                                   "algo=shrink_and_perturb", "algo.when=task_end", "algo.noise_std=0.01"),
    "sliding, cbp": ("task=dms", "model=leaky", "task.curriculum=sliding", "task.init_heads=3", "task.forget_heads=2",
                     "algo=cbp", "algo.replacement_rate=0.1", "algo.maturity_threshold=3"),
    "adaptive, adam": ("task=parity", "model=leaky", "task.curriculum=adaptive", "optimizer=adam", "algo=l2"),
    "gru": ("task=parity", "model=gru", "algo=bp", "task.values=plus_minus", "task.threshold=0.5"),
    "continuous": ("task=parity", "model=leaky", "model.dynamics=continuous", "task.repeats=[3,1]", "algo=bp"),
}  # fmt: skip


def table(directory):
    return pd.read_csv(directory.record)


def levels(directory):
    """Seed -> (task, lowest, highest, solved afterwards) of each period."""
    rows = table(directory)
    wide = rows[rows["layer"].isna()].pivot_table(index=["seed", "task"], columns="metric", values="value")
    wide = wide[["lowest_n", "highest_n", "solved_n"]].astype(int)
    return {seed: [(task, *row) for (_, task), row in zip(own.index, own.to_numpy().tolist())]
            for seed, own in wide.groupby(level=0)}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_cut_and_continued_is_uninterrupted(name, tmp_path):
    settings = (*TINY, *RUNS[name])
    straight = run(settings, tmp_path / "straight")
    cut = interrupted(settings, tmp_path / "cut", (1, 9, 16))
    assert outcome(cut) == outcome(straight)
    kept = sorted(path.name for path in straight.networks.rglob("*.pt"))
    assert len(kept) > 2, "nobody has solved anything, so that nothing was tested"
    assert sorted(path.name for path in cut.networks.rglob("*.pt")) == kept
    for own in straight.networks.rglob("*.pt"):
        twin = cut.networks / own.relative_to(straight.networks)
        one, other = (read_tensors(path, "tensors") for path in (own, twin))
        assert {k: v for k, v in one.items() if k != "tensors"} == {k: v for k, v in other.items() if k != "tensors"}
        assert all(torch.equal(one["tensors"][key], other["tensors"][key]) for key in one["tensors"])


def test_the_record_and_the_checkpoint_tell_the_same_history(tmp_path):
    directory = run((*TINY, *RUNS["cumulative"]), tmp_path)
    config = read_config(directory.path, False, "")
    stream = build("task", config["task"], seeds=config["seeds"])
    path, _ = latest_checkpoint(directory.checkpoints, directory.identity)
    stream.load_state_dict(read_checkpoint(path)[type(stream).__qualname__])
    for seed, history in zip(stream.seeds, stream.history):
        rows = levels(directory)[seed]
        left = [(t, low, high, solved) for (t, low, high, solved), after in pairwise(rows) if after[2] != high]
        assert [(h["task"], h["low"], h["high"], h["solved"]) for h in history][: len(left)] == left
        solved = {h["high"]: h["updates"] for h in history}
        for file in (directory.networks / "solved").glob(f"seed-{seed:05d}-N-*.pt"):
            content = read_tensors(file, "seed", "low", "high", "first_n", "heads", "tensors", "updates")
            assert content["high"] == 0 or content["updates"] == solved[content["high"]]


def test_seeds_go_on_by_themselves_and_as_if_alone(tmp_path):
    both = run((*TINY, *RUNS["cumulative"]), tmp_path / "both")
    found = levels(both)
    assert found[3] != found[1], "both have gone the same way, so that nothing was tested"
    alone = run((*TINY, *RUNS["cumulative"], "seeds=[1]"), tmp_path / "alone")
    assert levels(alone)[1] == found[1]
    rows = table(both)
    heads = rows[rows["metric"] == "head_accuracy"]
    for seed, own in found.items():
        for task, low, high, _ in own:
            there = heads[(heads["seed"] == seed) & (heads["task"] == task)]["layer"].tolist()
            assert there == [f"N.{n:03d}" for n in range(low, high + 1)]


def test_a_curriculum_ends_when_all_seeds_have_solved_the_largest_n(tmp_path):
    settings = (*TINY, *RUNS["cumulative"], "task.largest_n=3", "task.tasks=500")
    directory = run(settings, tmp_path)
    rows = levels(directory)
    assert all(own[-1][3] == 3 for own in rows.values())
    assert len(rows[3]) < 500
    assert directory.done
    assert run(settings, tmp_path).path == directory.path


def test_killed_and_begun_again(tmp_path):
    settings = (*TINY, *RUNS["sliding, cbp"], "task.tasks=60")
    straight = run(settings, tmp_path / "straight")
    process = Process([*settings, f"runs_dir={tmp_path / 'killed'}"], tmp_path)
    until(lambda: list((tmp_path / "killed").rglob("*.ckpt")), process)
    process.send(signal.SIGKILL)
    code, text = process.wait()
    assert code == -signal.SIGKILL, text
    assert outcome(run(settings, tmp_path / "killed")) == outcome(straight)


def test_networks_with_ever_more_heads_are_kept_and_analysed(tmp_path, capsys):
    kept = ("callbacks.keep_networks.every_tasks=1", "callbacks.fresh.mode=paired", "callbacks.fresh.count=2")
    directory = run((*TINY, *RUNS["cumulative"], *kept), tmp_path)
    assert analyse([str(directory.path)]) == 0
    rows = [load_network(directory.path, task, 3).head.weight.shape[0] for task in range(7)]
    assert rows == sorted(rows)
    assert rows[0] < rows[-1]
    measured = pd.read_csv(directory.path / "analysis.csv")
    assert sorted(set(measured["task"])) == list(range(7))
