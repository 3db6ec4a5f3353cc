import itertools

import numpy as np
import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.randomness import generator
from lop_lightning.tasks.gmm import GaussianMixtures, draw_mixture


def reference(args, **more):
    names = {"relabel_p": "relabel"}
    return GaussianMixtures(
        **{names.get(name, name): value for name, value in args.items()}, reference_rng=True, **more
    )


def test_reference_stream_bit_for_bit(golden, sha256):
    cases = golden("gmm")["generator"]
    assert len(cases) == 36
    for case in cases:
        inputs, targets = reference(case["args"]).task(case["seed"], case["task"]).train
        assert sha256(inputs) == case["X_sha256"]
        assert sha256(targets) == case["y_sha256"]
        assert targets.sum() == case["y_sum"]


def test_reference_tasks_in_any_order(golden, sha256):
    cases = [case for case in golden("gmm")["generator"] if case["case"] == "defaults"]
    for order in itertools.permutations(cases[:3]):
        stream = reference(cases[0]["args"])
        for case in (*order, *cases[3:], *order):
            assert sha256(stream.task(case["seed"], case["task"]).train[0]) == case["X_sha256"]


def test_newest_form_with_validation_points(golden):
    case = golden("gmm")["generator_newest_train_val"]
    task = reference(case["args"]).task(case["seed"], 0)
    held_out = task.evaluation["validation"]
    assert task.train[0].tolist() == case["X"]
    assert task.train[1][:, 0].tolist() == case["y"]
    assert held_out[0].tolist() == case["X_val"]
    assert held_out[1][:, 0].tolist() == case["y_val"]


def test_own_generator_is_pinned(sha256):
    assert sha256(GaussianMixtures().task(3, 7).train[0]) == PINNED


def test_geometry():
    x, y = draw_mixture(generator(0, "test"), 20_001, 3, 2, delta=5.0, spread=0.0, sigma=0.1)
    assert y.sum() == 10_001
    means = np.stack([x[y[:, 0] == c].mean(0) for c in (0, 1)])
    assert np.linalg.norm(means[1, :2] - means[0, :2]) == pytest.approx(10.0, abs=0.01)  # 2·delta
    assert x[y[:, 0] == 0].std(0) == pytest.approx([0.1] * 3, rel=0.05)


def test_relabelled_fraction():
    clean = GaussianMixtures(n=4000).task(0, 0).train[1]
    assert clean.sum() == 2000
    x, y = draw_mixture(generator(0, "test"), 20_000, 2, 1, delta=9.0, spread=0.0, sigma=0.1, relabel=0.2)
    side = x @ (x[y[:, 0] == 1].mean(0) - x[y[:, 0] == 0].mean(0))
    right = (side > np.median(side)) == (y[:, 0] == 1)
    assert right.mean() == pytest.approx(0.8, abs=0.02)


def test_no_validation_points_by_default():
    assert GaussianMixtures().task(0, 0).evaluation == {}
    odd = GaussianMixtures(n=7).task(0, 0).train
    assert odd[0].shape == (7, 4)
    assert odd[1].sum() == 4


def test_full_batch_takes_no_memory():
    (chunk,) = GaussianMixtures(seeds=2).task_chunks(0)
    assert chunk.inputs.shape == (40, 2, 96, 4)
    assert chunk.inputs.stride(0) == 0
    assert chunk.inputs.dtype == torch.float64


@pytest.mark.parametrize(
    ("key", "value"),
    [("n", 1), ("n_val", -1), ("d", 1), ("k", 0), ("delta", -0.1), ("spread", -1), ("sigma", "wide"), ("relabel", 1.1),
     ("relabel", -0.1), ("reference_rng", "yes"), ("sigma", float("inf"))],
)  # fmt: skip
def test_wrong_settings_name_their_key(key, value):
    with pytest.raises(ConfigError, match=f"^{key}="):
        GaussianMixtures(**{key: value})


PINNED = "84bafe7d74e103386dc8579d2dcfa829194f3a17500630b91f29bf19749db28d"
