"""The published Gaussian-mixture system, replayed from its seed: data, initial weights, every loss, every metric."""

from functools import partial

import pytest
import torch
from bench import EAGER

from lop_lightning.algos import Backprop
from lop_lightning.algos.task_ends import dry_update
from lop_lightning.metrics import (
    covariance_effective_rank,
    covariance_eigenvalues,
    feature_duplication,
    gradient_norm,
    saturation,
)
from lop_lightning.networks import MLP
from lop_lightning.optimizers import SGD
from lop_lightning.tasks.gmm import GaussianMixtures


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("name", ["small", "default_seed7"])
def test_every_task_of_the_published_run(golden, name, pieces):
    file = golden("gaussian_mixture_training")[name]
    settings = {"relabel" if key == "relabel_p" else key: value for key, value in file["task_args"].items()}
    stream = GaussianMixtures(
        tasks=len(file["tasks"]), seeds=[file["seed"]], reference_rng=True, **settings,
        passes_per_epoch=file["steps"], chunk=-(-file["steps"] // pieces),
    )  # fmt: skip
    network = partial(MLP, hidden=[file["h"]] * file["L"], activation="tanh", initialisation="xavier_normal")
    learner = Backprop(network, SGD(file["lr"]), EAGER)
    learner.prepare(stream.spec, stream.seeds)
    hidden = [f"layers.{index}" for index in range(file["L"])]
    for index, task in enumerate(file["tasks"]):
        chunks = list(stream.task_chunks(index))
        assert len(chunks) == pieces
        grads, _ = dry_update(learner, learner.population, chunks[0])
        own = {key: g for key, g in grads.items() if key.rsplit(".", 1)[0] in hidden}
        assert gradient_norm(own, batch_dims=1).item() == pytest.approx(task["grad_norm"], abs=1e-9)
        losses = torch.cat([learner.train_chunk(learner.population, chunk) for chunk in chunks])[:, 0, 0]
        assert len(losses) == file["steps"]
        assert losses[:10].tolist() == pytest.approx(task["losses_first10"], abs=1e-9)
        assert losses[-1].item() == pytest.approx(task["final_CE"], abs=1e-9)
        assert losses.min().item() == pytest.approx(task["min_CE"], abs=1e-9)
        inputs, targets = stream.stacked_probe(index)
        trace = learner.trace(learner.population, inputs)
        assert learner.loss(trace.output[0], targets[0]).item() == pytest.approx(task["post_update_CE"], abs=1e-9)
        for number, layer in enumerate(hidden):
            z, h = trace.preactivations[layer], trace.activations[layer]
            assert saturation(z).item() == pytest.approx(task["sat_per_layer"][number], abs=1e-12)
            rank = covariance_effective_rank(covariance_eigenvalues(z))
            assert rank.item() == pytest.approx(task["eff_rank"][number], abs=1e-8)
            assert feature_duplication(h).item() == pytest.approx(task["dup"][number], abs=1e-6)
