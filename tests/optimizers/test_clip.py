"""Clipping the gradient of all parameters together: as PyTorch does it, one network at a time."""

import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.optimizers import SGD, Adam, AdamW, Muon


def grads(scale):
    generator = torch.Generator().manual_seed(1)
    shapes = {"w": (3, 4), "b": (3,)}
    return {n: scale * torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}


@pytest.mark.parametrize("scale", [0.01, 10.0])
def test_it_is_pytorchs(scale):
    own = grads(scale)
    theirs = [torch.zeros_like(g).requires_grad_() for g in own.values()]
    for parameter, g in zip(theirs, own.values()):
        parameter.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(theirs, 2.0)
    clipped = SGD(clip=2.0).clipped(own)
    for parameter, g in zip(theirs, clipped.values()):
        torch.testing.assert_close(g, parameter.grad, rtol=1e-14, atol=0)
    assert (norm > 2) == (scale == 10.0)


def test_each_network_is_clipped_by_itself():
    stacked = {name: torch.stack([g, 1e-3 * g]) for name, g in grads(10.0).items()}
    together = torch.vmap(SGD(clip=2.0).clipped)(stacked)
    torch.testing.assert_close(together["w"][0], SGD(clip=2.0).clipped(grads(10.0))["w"])
    torch.testing.assert_close(together["w"][1], stacked["w"][1])


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, Muon])
def test_every_optimiser_can(kind):
    assert kind().clip is None
    assert kind(clip=0.5).clipped(grads(10.0))["b"].norm() < 0.5
    with pytest.raises(ConfigError, match="clip"):
        kind(clip=0.0)
