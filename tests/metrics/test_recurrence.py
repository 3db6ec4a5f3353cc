import math

import pytest
import torch

from lop_lightning.metrics import gates_closed, gates_open, gradient_norms_by_lag, spectral_radius


def rotation(angle, scale):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def test_spectral_radius_of_known_matrices():
    jordan = torch.tensor([[0.5, 100.0], [0.0, 0.5]], dtype=torch.float64)  # stretches much at first, then dies out
    nilpotent = torch.tensor([[0.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    diagonal = torch.diag(torch.tensor([-2.0, 1.5], dtype=torch.float64))
    for matrix, radius in ((jordan, 0.5), (nilpotent, 0.0), (diagonal, 2.0), (rotation(0.3, 1.25), 1.25)):
        assert spectral_radius(matrix[None]).item() == pytest.approx(radius, abs=1e-6)
    together = torch.stack([jordan, diagonal, rotation(1.0, 0.5)])
    assert spectral_radius(together).item() == pytest.approx(1.0)


def test_spectral_radius_does_not_depend_on_the_basis(rng):
    values = torch.tensor([0.9, -1.1, 0.2, 0.4], dtype=torch.float64)
    basis = torch.randn(3, 4, 4, generator=rng, dtype=torch.float64) + 3 * torch.eye(4)
    jacobians = basis @ torch.diag(values) @ basis.inverse()
    assert spectral_radius(jacobians).item() == pytest.approx(1.1)


def test_spectral_radius_batched_is_looped_and_nan_stays_where_it_is(rng):
    jacobians = torch.randn(3, 5, 4, 4, generator=rng, dtype=torch.float64)
    for row, radius in zip(jacobians, spectral_radius(jacobians)):
        means = [torch.linalg.eigvals(j).abs().max() for j in row]
        assert radius.item() == pytest.approx(torch.stack(means).mean().item())
    torch.testing.assert_close(torch.vmap(spectral_radius)(jacobians), spectral_radius(jacobians))
    broken = jacobians.clone()
    broken[0, 1, 2, 3], broken[2, 0, 0, 0] = float("nan"), float("inf")
    found = spectral_radius(broken)
    assert found.isnan().tolist() == [True, False, True]
    assert found[1] == spectral_radius(jacobians)[1]


@pytest.mark.parametrize("bad", [torch.eye(3), torch.zeros(2, 3, 4), torch.zeros(2, 3, 3, dtype=torch.int64)])
def test_what_is_no_jacobian_is_refused(bad):
    with pytest.raises(ValueError, match="Jacobians"):
        spectral_radius(bad)


def test_gates_closed_and_open():
    gate = torch.tensor([[0.1, 0.0999, 0.0, 0.5], [0.9, 0.9001, 1.0, 0.05]])
    assert gates_closed(gate).item() == 3 / 8  # 0.1 is not below itself
    assert gates_open(gate).item() == 2 / 8
    assert gates_closed(gate, threshold=0.6).item() == 5 / 8
    assert gates_open(gate, threshold=0.49).item() == 4 / 8


def test_gates_of_padding_do_not_count(rng):
    gate, read = torch.rand(3, 20, 4, generator=rng), torch.rand(3, 20, generator=rng) < 0.6
    for measure, holds in ((gates_closed, lambda g: g < 0.1), (gates_open, lambda g: g > 0.9)):
        found = measure(gate, read)
        for row in range(3):
            assert found[row].item() == pytest.approx(holds(gate[row][read[row]]).float().mean().item())
        torch.testing.assert_close(measure(gate, torch.ones(3, 20, dtype=torch.bool)), measure(gate))
        assert measure(gate, torch.zeros(3, 20, dtype=torch.bool)).isnan().all()


def test_gates_that_are_no_number():
    gate = torch.full((2, 3, 2), 0.5)
    gate[1, 2, 0] = float("nan")
    for measure in (gates_closed, gates_open):
        assert measure(gate).isnan().tolist() == [False, True]
        read = torch.tensor([[True] * 3, [True] * 3])
        assert measure(gate, read).isnan().tolist() == [False, True]


@pytest.mark.parametrize("measure", [gates_closed, gates_open])
@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(2, 3, dtype=torch.int64)])
def test_what_is_no_gate_is_refused(measure, bad):
    with pytest.raises(ValueError, match="gate"):
        measure(bad)


def test_gradients_by_lag_are_the_loop(rng):
    gradients = torch.randn(2, 5, 6, 3, generator=rng, dtype=torch.float64)
    lengths = torch.tensor([[6, 1, 3, 3, 5], [2, 0, 4, 1, 4]])
    found = gradient_norms_by_lag(gradients, lengths)
    for seed in range(2):
        for lag in range(6):
            there = [gradients[seed, b, n - 1 - lag].norm() for b, n in enumerate(lengths[seed].tolist()) if n > lag]
            if there:
                assert found[seed, lag].item() == pytest.approx(torch.stack(there).mean().item())
            else:
                assert found[seed, lag].isnan()
    assert found[1].isnan().tolist() == [False] * 4 + [True] * 2
    torch.testing.assert_close(torch.vmap(gradient_norms_by_lag)(gradients, lengths), found, equal_nan=True)


def test_gradients_of_padding_do_not_count():
    gradients = torch.ones(1, 4, 2)
    gradients[0, 2:] = float("nan")
    found = gradient_norms_by_lag(gradients, torch.tensor([2]))
    assert found[:2].tolist() == pytest.approx([2**0.5] * 2)
    assert found[2:].isnan().all()


def test_a_diverged_gradient_is_seen():
    gradients = torch.ones(2, 1, 3, 2)
    gradients[0, 0, 1, 0] = float("nan")
    assert gradient_norms_by_lag(gradients, torch.tensor([[3], [3]])).isnan().tolist() == [
        [False, True, False],
        [False] * 3,
    ]
