import json
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def golden():
    return json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def features(rng):
    """ReLU features of 3 x 2 networks, with a dead unit in one of them and a unit that repeats another in each."""
    h = torch.randn(3, 2, 40, 7, generator=rng, dtype=torch.float64).relu()
    h[0, 1, :, 2] = 0.0
    h[..., 5] = 2.0 * h[..., 1]
    return h
