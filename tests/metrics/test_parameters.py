import pytest
import torch

from lop_lightning.metrics import (
    distance_from_initialisation,
    gradient_norm,
    gradient_sparsity,
    relative_distance_from_initialisation,
    update_size,
    weight_magnitude,
    weight_norm,
)

ONE = [weight_magnitude, weight_norm, gradient_norm, gradient_sparsity]
TWO = [distance_from_initialisation, relative_distance_from_initialisation, update_size]


@pytest.fixture
def params(rng):
    """Three seeds of a weight matrix, a bias and a scalar."""
    shapes = {"weight": (3, 4, 5), "bias": (3, 4), "gain": (3,)}
    drawn = {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in shapes.items()}
    drawn["weight"][1, :2] = 0.0
    return drawn


@pytest.fixture
def other(params, rng):
    return {name: x + 0.1 * torch.randn(x.shape, generator=rng, dtype=x.dtype) for name, x in params.items()}


def vector(params, seed):
    return torch.cat([x[seed].flatten() for x in params.values()])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_formulas_on_the_pooled_vector(params, other, seed):
    v, w = vector(params, seed), vector(other, seed)
    expected = [
        (weight_magnitude(params, 1), v.abs().mean()),
        (weight_norm(params, 1), v.norm()),
        (gradient_norm(params, 1), v.square().sum().sqrt()),
        (gradient_sparsity(params, 1), (v == 0).double().mean()),
        (distance_from_initialisation(other, params, 1), (w - v).norm()),
        (relative_distance_from_initialisation(other, params, 1), (w - v).norm() / v.norm()),
        (update_size(params, other, 1), (w - v).norm() / v.norm()),
    ]
    for value, target in expected:
        assert value.shape == (3,)
        torch.testing.assert_close(value[seed], target, rtol=1e-12, atol=0)


@pytest.mark.parametrize("measure", ONE + TWO)
def test_batched_is_looped_in_either_precision(measure, params, other):
    dicts = (params,) if measure in ONE else (params, other)
    batched = measure(*dicts, batch_dims=1)
    for seed in range(3):
        alone = measure(*({name: x[seed] for name, x in d.items()} for d in dicts))
        assert alone.shape == ()
        torch.testing.assert_close(batched[seed], alone, rtol=1e-12, atol=0)
    single = measure(*({name: x.float() for name, x in d.items()} for d in dicts), batch_dims=1)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), batched, rtol=1e-5, atol=0)


def test_nothing_over_nothing_is_zero():
    zero, one = {"w": torch.zeros(4)}, {"w": torch.ones(4)}
    assert update_size(zero, zero).item() == 0.0
    assert update_size(one, one).item() == 0.0
    assert relative_distance_from_initialisation(one, zero).item() == float("inf")
    assert relative_distance_from_initialisation(zero, one).item() == 1.0


def test_a_diverged_update_is_nan():
    assert update_size({"w": torch.ones(4)}, {"w": torch.full((4,), float("nan"))}).isnan()


def test_errors_name_what_is_wrong(params):
    with pytest.raises(ValueError, match="empty"):
        weight_norm({})
    with pytest.raises(ValueError, match="share their first 2 dims"):
        weight_norm(params, batch_dims=2)
    with pytest.raises(ValueError, match="gain"):
        update_size(params, {name: x for name, x in params.items() if name != "gain"})
    with pytest.raises(ValueError, match="bias"):
        distance_from_initialisation(params, params | {"bias": params["bias"][:, :1]}, batch_dims=1)
