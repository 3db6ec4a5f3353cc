"""Runs of plastic networks: cuts change nothing, any method runs inside, λ and η are recorded, trouble has a line."""

import pandas as pd
import pytest
import torch
from lab import COMMON, interrupted, outcome, run
from test_interval_runs import table

from lop_lightning.analysis.networks import kept_solved, load_network, solved_networks
from lop_lightning.errors import LopError

TINY = (
    *COMMON, "task=scenes", "task.scene_time=2", "task.tasks=6", "task.updates_per_task=5", "task.batch_size=3",
    "task.min_scenes=6", "task.scenes_per_r=3", "task.vec_len=6", "task.acc_threshold=0.6", "task.acc_num=4",
    "task.check_movies=3", "task.probe_size=2", "hardware.chunk=2", "optimizer=adam", "optimizer.lr=0.01",
    "callbacks.checkpoint.every_updates=3", "callbacks.continual.metrics=[units,ranks,weights]",
)  # fmt: skip
LAYERS = ("model.hidden_dims=[4,3]", "model.plastic_types=[M,A]")
RUNS = {
    "memo": ("model=memo", *LAYERS, "model.hetero_rates=[1,0.5]", "algo=hebbian", "optimizer.clip=1"),
    "cbp": ("model=memo", *LAYERS, "model.hetero_rates=[1,1]", "algo=cbp", "algo.replacement_rate=0.1",
            "algo.maturity_threshold=3"),
    "l2, truncated": ("model=stack", *LAYERS, "model.hetero_rates=[0,1]", "algo=l2", "model.truncation=4"),
    "shrink and perturb": ("model=dyn_ro", *LAYERS, "model.hetero_rates=[1,1]", "algo=shrink_and_perturb",
                           "algo.when=task_end", "algo.noise_std=0.01"),
    "hebbff": ("model=hebbff", "model.hidden=4", "algo=hebbian", "optimizer.lr=0.1"),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_cut_and_continued_is_uninterrupted(name, tmp_path):
    settings = (*TINY, *RUNS[name])
    straight = run(settings, tmp_path / "straight")
    assert outcome(interrupted(settings, tmp_path / "cut", (1, 9, 16))) == outcome(straight)
    assert solved_networks(straight.path, "R"), "nobody has solved anything, so that nothing was tested"


def test_lambda_and_eta_are_recorded(tmp_path):
    directory = run((*TINY, *RUNS["memo"], "callbacks.keep_networks.every_tasks=1"), tmp_path)
    found = pd.read_csv(directory.record)
    for layer in ("layers.0", "layers.1"):
        for task in range(6):
            network = load_network(directory.path, task=task + 1, seed=1)
            constants = network.constants()
            for metric in ("decay", "eta_mean", "eta_std", "eta_norm"):
                row = found[
                    (found.seed == 1) & (found.task == task) & (found.layer == layer) & (found.metric == metric)
                ]
                assert row["value"].tolist() == pytest.approx([constants[metric, layer].item()], rel=1e-6)
    assert not found[(found.metric == "decay") & (found.layer == "layers.0")]["value"].duplicated().all()


def test_a_bound_of_lambda_holds_throughout(tmp_path):
    """With such steps it is pushed against its bounds at once."""
    directory = run((*TINY, *RUNS["hebbff"], "callbacks.keep_networks.every_tasks=1", "model.decay_init=0.9"), tmp_path)
    seen = [load_network(directory.path, task=task, seed=3).layers[0].decay.item() for task in range(1, 7)]
    assert all(1e-3 <= decay <= 1 for decay in seen)
    assert 1.0 in seen or pytest.approx(1e-3) in seen


def test_a_loss_that_is_no_number_names_what_to_change(tmp_path):
    unstable = ("model=mpn", "model.hidden_dims=[6]", "model.activation=relu", "optimizer.lr=1e9", "algo=hebbian")
    with pytest.raises(LopError, match=r"λ or η of a plastic layer may be unstable: lower model.decay_max, or opti"):
        run((*TINY, *unstable), tmp_path)


def test_seeds_at_different_r_are_as_if_alone(tmp_path):
    both = run((*TINY, *RUNS["memo"]), tmp_path / "both")
    ways = [table(both).loc[seed]["trained_r"].tolist() for seed in (3, 1)]
    assert ways[0] != ways[1], "both have gone the same way, so that nothing was tested"
    for seed, way in zip((3, 1), ways):
        alone = run((*TINY, *RUNS["memo"], f"seeds=[{seed}]"), tmp_path / "alone")
        assert table(alone).loc[seed]["trained_r"].tolist() == way
        for r in solved_networks(both.path, "R").get(seed, []):
            one, other = (kept_solved(d.path, seed, r, "R")["tensors"] for d in (both, alone))
            for key in one:
                torch.testing.assert_close(one[key], other[key], atol=1e-5, rtol=1e-4)
