"""Runs under a curriculum over R: seeds go on by themselves, what they went through is on disk, cuts change nothing."""

import signal
from itertools import pairwise
from types import SimpleNamespace

import lightning as L
import pandas as pd
import pytest
import torch
from lab import COMMON, Process, configuration, interrupted, outcome, run, until

from lop_lightning.analysis.networks import kept_solved, load_network, read_config, solved_networks
from lop_lightning.analysis.runs import read_run
from lop_lightning.analysis.timescales.steps import solved_line
from lop_lightning.callbacks.intervals import checked
from lop_lightning.config import build
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare
from lop_lightning.records import latest_checkpoint
from lop_lightning.records.checkpoint_io import read_checkpoint, read_tensors

# A threshold that chance often passes, so that tiny networks advance, seeds at different times.
TINY = (
    *COMMON, "task.tasks=6", "task.updates_per_task=5", "task.batch_size=3", "task.min_scenes=6", "task.scenes_per_r=3",
    "task.vec_len=6", "task.acc_threshold=0.6", "task.acc_num=4", "task.check_movies=3", "task.probe_size=2",
    "hardware.chunk=2", "model.hidden=4", "model.bidirectional=false", "optimizer=adam", "optimizer.lr=0.01",
    "callbacks.continual.bins_per_task=2", "callbacks.checkpoint.every_updates=3",
)  # fmt: skip
RUNS = {
    "scenes": ("task=scenes", "task.scene_time=2", "model=lstm", "algo=bp"),
    "shrink and perturb": ("task=familiarity", "task.streak_unit=step", "task.acc_num=2", "task.step_r=1.5",
                           "model=gru", "algo=shrink_and_perturb", "algo.when=task_end", "algo.noise_std=0.01"),
    "cbp, two outputs": ("task=familiarity", "task.out_dim=2", "task.other_intervals=[3]", "model=lstm", "algo=cbp",
                         "algo.replacement_rate=0.1", "algo.maturity_threshold=3"),
    "given up": ("task=scenes", "task.scene_time=2", "task.max_updates_per_r=7", "task.on_cap=advance", "model=rnn",
                 "algo=l2"),
}  # fmt: skip
ROWS = ["trained_r", "solved_r", "streak", "capped", "check_accuracy", "true_positive_rate", "false_positive_rate"]


class Watch(L.Callback):
    """Remembers the accuracy of every movie that was trained on."""

    def __init__(self):
        self.measured = []

    def on_train_batch_end(self, trainer, learner, outputs, *rest):
        self.measured.append(outputs["measures"][..., 2:].clone())


def table(directory):
    """Seed × task: what the curriculum has written."""
    rows = pd.read_csv(directory.record)
    rows = rows[rows["layer"].isna() & rows["metric"].isin([*ROWS, "solved_after"])]
    return rows.pivot_table(index=["seed", "task"], columns="metric", values="value")


def way(directory, seed):
    """(R, greatest R solved afterwards) of each period."""
    return [tuple(row) for row in table(directory).loc[seed][["trained_r", "solved_r"]].astype(int).to_numpy().tolist()]


@pytest.mark.parametrize("name", RUNS)
def test_cut_and_continued_is_uninterrupted(name, tmp_path):
    settings = (*TINY, *RUNS[name])
    straight = run(settings, tmp_path / "straight")
    cut = interrupted(settings, tmp_path / "cut", (1, 9, 16))  # all within a period
    assert outcome(cut) == outcome(straight)
    kept = sorted(path.name for path in straight.networks.rglob("*.pt"))
    assert len(kept) > 2, "nobody has solved anything, so that nothing was tested"
    assert sorted(path.name for path in cut.networks.rglob("*.pt")) == kept
    for own in straight.networks.rglob("*.pt"):
        twin = cut.networks / own.relative_to(straight.networks)
        one, other = (read_tensors(path, "tensors") for path in (own, twin))
        assert {k: v for k, v in one.items() if k != "tensors"} == {k: v for k, v in other.items() if k != "tensors"}
        assert all(torch.equal(one["tensors"][key], other["tensors"][key]) for key in one["tensors"])


def test_the_record_the_checkpoint_and_the_networks_tell_the_same_history(tmp_path):
    directory = run((*TINY, *RUNS["scenes"]), tmp_path)
    config = read_config(directory.path, False, "")
    stream = build("task", config["task"], seeds=config["seeds"])
    path, _ = latest_checkpoint(directory.checkpoints, directory.identity)
    stream.load_state_dict(read_checkpoint(path)[type(stream).__qualname__])
    found = table(directory)
    for seed, history in zip(stream.seeds, stream.history):
        own = found.loc[seed]
        assert sorted(own["trained_r"]) == own["trained_r"].tolist()
        left = own[own["solved_r"] == own["trained_r"]]
        assert left.index.tolist() == [h["task"] for h in history]
        assert left["trained_r"].tolist() == [h["r"] for h in history]
        assert left["solved_after"].tolist() == [h["solved_after"] for h in history]
        assert (left["streak"] == 4).all()
        assert own["solved_after"].notna().sum() == len(history) > 0
        assert solved_networks(directory.path, "R").get(seed) == [h["r"] for h in history]
        for h in history:
            content = kept_solved(directory.path, seed, h["r"], "R")
            assert (content["low"], content["high"], content["task"]) == (h["r"], h["r"], h["task"])
            assert content["updates"] == h["updates"] == 5 * (h["task"] + 1)
    assert found[["check_accuracy", "true_positive_rate", "false_positive_rate"]].stack().between(0, 1).all()


def test_what_counts_are_the_movies_of_training(tmp_path):
    """The curriculum is done over again, from the accuracies of an uninterrupted run."""
    watch = Watch()
    directory = run((*TINY, *RUNS["scenes"]), tmp_path, watch)
    accuracies = torch.cat(watch.measured).unflatten(0, (6, 5))  # [period, update, seed, movie]
    for row, seed in enumerate((3, 1)):
        r, solved, streak, expected = 1, 0, 0, []
        for period in accuracies[:, :, row].flatten(1).tolist():
            trained = r
            for movie in period:
                streak = streak + 1 if movie > 0.59999 else 0
                if streak == 4:
                    r, solved, streak = r + 1, r, 0
                    break
            expected.append((trained, solved))
        assert way(directory, seed) == expected


def test_checks_are_of_fresh_movies_of_the_r_that_was_trained(tmp_path):
    settings = (*TINY, "task=familiarity", "task.out_dim=2", "task.other_intervals=[3]", "model=lstm", "task.tasks=1",
                "task.check_movies=20", "task.repeat_prob=0.9", "seeds=[3]")  # fmt: skip
    directory = run(settings, tmp_path)
    config = read_config(directory.path, False, "")
    stream = build("task", config["task"], seeds=[3])
    experiment = prepare(configuration(settings, tmp_path))
    learner = experiment.learner
    saved = read_checkpoint(latest_checkpoint(directory.checkpoints, directory.identity)[0])
    learner.on_load_checkpoint(saved)
    ((x, y),) = stream.checks(0)
    with torch.no_grad():
        answers = learner.network(3)(x[0])[0].unflatten(1, (-1, 2)).argmax(2)
    row = table(directory).loc[3, 0]
    assert x.shape[1] == 20
    assert row["check_accuracy"] == pytest.approx((answers == y[0]).double().mean().item())
    assert row["true_positive_rate"] == pytest.approx(answers[y[0] == 1].double().mean().item())
    assert row["false_positive_rate"] == pytest.approx(answers[y[0] == 0].double().mean().item())


def test_what_a_check_counts():
    """Two seeds, two movies of three scenes; the second seed's have but two."""
    targets = torch.tensor([[[0, 1, 1], [0, 0, 1]], [[0, 1, -1], [0, 0, -1]]])
    logits = torch.tensor([[[-1.0, 0.0, -2.0], [-1.0, 3.0, 1.0]], [[5.0, 2.0, 0.0], [-1.0, -1.0, 0.0]]])
    two = torch.stack([-logits, torch.where(logits == 0, 0.1, logits)], -1).flatten(2)  # a tie is "familiar" with one
    for outputs, out_dim in ((logits, 1), (two, 2)):
        learner = SimpleNamespace(population="networks", outputs=lambda population, inputs, own=outputs: own)
        stream = SimpleNamespace(out_dim=out_dim, checks=lambda task: [(None, targets)])
        found = checked(learner, stream, 0)
        assert found["check_accuracy"].tolist() == [4 / 6, 3 / 4]
        assert found["true_positive_rate"].tolist() == [2 / 3, 1.0]
        assert found["false_positive_rate"].tolist() == [1 / 3, 1 / 3]
    stream = SimpleNamespace(out_dim=1, checks=lambda task: [(None, targets.clamp(max=0))])
    rates = checked(SimpleNamespace(population="networks", outputs=lambda *_: logits), stream, 0)
    assert rates["true_positive_rate"].isnan().all()  # nothing is familiar


def test_seeds_go_on_by_themselves_and_as_if_alone(tmp_path):
    both = run((*TINY, *RUNS["scenes"]), tmp_path / "both")
    assert way(both, 3) != way(both, 1), "both have gone the same way, so that nothing was tested"
    for seed in (3, 1):
        alone = run((*TINY, *RUNS["scenes"], f"seeds=[{seed}]"), tmp_path / "alone")
        assert way(alone, seed) == way(both, seed)


@pytest.mark.parametrize("how", ["task.acc_threshold=0.35", "task.max_updates_per_r=7"])
def test_only_those_that_go_on_end_a_task(tmp_path, how):
    """Shrinking by half when a task ends shows how often it has."""
    settings = (*TINY, *RUNS["given up"], "task.acc_threshold=1.0", "task.max_updates_per_r=1000", how,
                "algo=shrink_and_perturb", "algo.when=task_end", "algo.shrink=0.5", "algo.noise_std=0",
                "optimizer=sgd", "optimizer.lr=1e-12")  # fmt: skip
    directory = run(settings, tmp_path)
    saved = read_checkpoint(latest_checkpoint(directory.checkpoints, directory.identity)[0])
    ended = [level["r"] - 1 for level in saved["Scenes"]["levels"]]
    assert ended == [3, 3] if how.startswith("task.max") else ended[0] != ended[1]
    for row, seed in enumerate((3, 1)):
        first = kept_solved(directory.path, seed, 0, "R")["tensors"]
        for name, now in saved["learner"]["state"]["params"].items():
            torch.testing.assert_close(now[row], first[name] * 0.5 ** ended[row], atol=1e-6, rtol=1e-5)


def test_it_ends_when_all_seeds_have_solved_the_largest_r(tmp_path):
    settings = (*TINY, *RUNS["scenes"], "task.largest_r=2", "task.tasks=500", "task.acc_threshold=0.5")
    directory = run(settings, tmp_path)
    for seed in (3, 1):
        assert way(directory, seed)[-1][1] == 2
    assert len(way(directory, 3)) < 500
    assert directory.done
    assert solved_line(read_run(directory.path)).startswith("solved   R = 2.0 [2.0, 2.0], n = 2 (seed by seed 2, 2); R")
    assert run(settings, tmp_path).path == directory.path


def test_an_r_not_solved_in_time_is_recorded_and_ends_the_seed(tmp_path, capsys):
    settings = (*TINY, *RUNS["scenes"], "task.acc_threshold=1.0", "task.acc_num=100", "task.max_updates_per_r=8",
                "task.tasks=50")  # fmt: skip
    directory = run(settings, tmp_path)
    found = table(directory)
    for seed in (3, 1):
        assert found.loc[seed]["capped"].tolist() == [0, 1]
        assert found.loc[seed]["solved_r"].tolist() == [0, 0]
        assert solved_networks(directory.path, "R") == {}
    assert "; 2 of 2 did not solve an R within task.max_updates_per_r; R rises" in capsys.readouterr().out
    goes_on = run((*settings[:-1], "task.tasks=5", "task.on_cap=advance"), tmp_path)
    own = table(goes_on).loc[3]
    assert own["trained_r"].tolist() == [1, 1, 2, 2, 3]
    assert own["capped"].tolist() == [0, 1, 0, 1, 0]
    assert own["solved_r"].tolist() == [0] * 5


def test_networks_are_kept_and_loaded_by_r(tmp_path):
    directory = run((*TINY, *RUNS["scenes"]), tmp_path)
    solved = solved_networks(directory.path, "R")[3]
    for r in (0, *solved):
        network = load_network(directory.path, R=r, seed=3)
        kept = kept_solved(directory.path, 3, r, "R")
        assert kept["run"] == directory.identity
        assert all(torch.equal(own, kept["tensors"][name]) for name, own in network.state_dict().items())
        assert (directory.networks / "solved" / f"seed-00003-R-{r:05d}.pt").exists()
    for one, other in pairwise((0, *solved)):
        assert not torch.equal(load_network(directory.path, R=one, seed=3).head.weight,
                               load_network(directory.path, R=other, seed=3).head.weight)  # fmt: skip
    with pytest.raises(LopError, match=rf"seed 3 of .* has not solved R=99: it solved .*, the nearest is {solved[-1]}"):
        load_network(directory.path, R=99, seed=3)
    with pytest.raises(LopError, match=r"has no networks that solved an N: only runs of task=parity and task=dms"):
        load_network(directory.path, N=1, seed=3)
    with pytest.raises(LopError, match="or the N \\(or R\\) after which"):
        load_network(directory.path, N=1, R=1, seed=3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LopError, match=r"solved an R: only runs of task=familiarity and task=scenes keep them"):
        load_network(tmp_path / "empty", R=1, seed=3)


def test_killed_and_begun_again(tmp_path):
    quick = ("task.tasks=60", "task.acc_num=20", "task.scenes=8", "callbacks.continual.metrics=[weights]")
    settings = (*TINY, *RUNS["cbp, two outputs"], *quick)
    straight = run(settings, tmp_path / "straight")
    process = Process([*settings, f"runs_dir={tmp_path / 'killed'}"], tmp_path)
    until(lambda: list((tmp_path / "killed").rglob("*.ckpt")), process)
    process.send(signal.SIGKILL)
    code, text = process.wait()
    assert code == -signal.SIGKILL, text
    assert outcome(run(settings, tmp_path / "killed")) == outcome(straight)
