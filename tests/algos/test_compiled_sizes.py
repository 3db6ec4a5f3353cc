"""A stream of batches in more sizes than the compiler keeps variants for is told what to do."""

import pytest
import torch
from bench import data, make, train

from lop_lightning.algos import Backprop, Execution, lift
from lop_lightning.errors import RunError


@pytest.fixture
def most(monkeypatch):
    """The limit lowered, and a compiler that is quick."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **kw: real(f, fullgraph=True, dynamic=False, backend="eager"))
    return lambda count: monkeypatch.setattr(lift, "MOST_COMPILED", count)


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_one_size_too_many(most, how):
    most(2)
    learner, plain = (make(Backprop, (0, 1), execution=Execution(on, how, 1)) for on in (True, False))
    for batch in (3, 4, 3, 4):
        for one in (learner, plain):
            train(one, *data(2, 2, batch))
    before = [p.clone() for p in learner.population.params.values()]
    line = "hardware.compile=true is not legal here: .* too many sizes .2 forms .*; use hardware.compile=false"
    for _ in range(2):  # asked again it says the same
        with pytest.raises(RunError, match=line) as refusal:
            train(learner, *data(2, 2, 5))
        assert "\n" not in str(refusal.value)
    assert all(torch.equal(p, q) for p, q in zip(before, learner.population.params.values()))
    train(plain, *data(2, 2, 5))
