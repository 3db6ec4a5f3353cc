import pytest
import torch

from lop_lightning.metrics import (
    activation_sparsity,
    dead_units,
    dormant_units,
    fold_positions,
    frozen_entries,
    frozen_units,
    rarely_active_units,
    saturation,
)

MEASURES = [
    dead_units,
    dormant_units,
    rarely_active_units,
    activation_sparsity,
    saturation,
    frozen_entries,
    frozen_units,
]


def test_dead_is_exactly_zero_on_every_sample():
    h = torch.tensor([[0.0, 0.0, 1e-30, -1.0], [0.0, 2.0, 0.0, 1.0]])
    assert dead_units(h).item() == 0.25


def test_dormant_compares_with_the_layer_mean():
    h = torch.tensor([[4.0, 0.1, 0.0, -0.1], [-4.0, 0.1, 0.0, 0.1]])  # mean activity 1.05
    assert dormant_units(h, tau=0.09).item() == 0.25  # 0.1 / 1.05 is 0.0952
    assert dormant_units(h, tau=0.1).item() == 0.75
    assert dormant_units(h, tau=0.0).item() == dead_units(h).item() == 0.25


def test_dormant_includes_the_threshold_itself():
    assert dormant_units(torch.tensor([[1.0, 3.0]]), tau=0.5).item() == 0.5


def test_rarely_active_is_strict():
    h = torch.zeros(1000, 3)
    h[:9, 0] = -1.0
    h[:10, 1] = 1.0
    h[:11, 2] = 1.0
    assert rarely_active_units(h).item() == pytest.approx(1 / 3)


def test_sparsity_counts_what_is_not_positive():
    assert activation_sparsity(torch.tensor([[0.0, -1.0, 2.0, 1e-30]])).item() == 0.5


def test_frozen_units_are_strict_on_both_sides():
    derivative = torch.ones(100, 3)
    derivative[:98, 0] = 0.0  # exactly 98 %
    derivative[:99, 1] = -0.049
    derivative[:, 2] = 0.05  # not below the threshold
    assert frozen_units(derivative.double()).item() == pytest.approx(1 / 3)
    assert frozen_units(derivative).item() == pytest.approx(1 / 3)
    assert frozen_entries(derivative.double()).item() == pytest.approx(197 / 300)


@pytest.mark.parametrize("samples", [7, 25, 50, 100, 1000])
def test_the_share_of_samples_is_compared_exactly(samples):
    for count in range(samples + 1):
        derivative = torch.ones(samples, 1)
        derivative[:count] = 0.0
        assert frozen_units(derivative, share=count / samples).item() == 0.0
        assert rarely_active_units(1 - derivative, share=count / samples).item() == 0.0


def test_golden_saturation_and_frozen_of_simple_lop(golden):
    for case in golden["metrics"]:
        z = torch.tensor(case["matrix"], dtype=torch.float64)
        derivative = 1 - z.tanh().square()
        assert saturation(z).item() == pytest.approx(case["sat_gt2"], abs=1e-12), case["name"]
        assert frozen_entries(derivative).item() == pytest.approx(case["frozen_entry_tanh_0_05"], abs=1e-12)
        assert frozen_units(derivative, share=0.5).item() == case["frozen_unit_tanh_0_05_0_5"], case["name"]


def test_frozen_entries_of_the_reference_derivatives(golden):
    frozen = {"relu": 4, "tanh": 2, "selu": 0, "erf": 2}  # of the seven z from -3 to 3
    for name, count in frozen.items():
        derivative = torch.tensor(golden["activation_derivative"][name], dtype=torch.float64)[:, None]
        assert frozen_entries(derivative).item() == pytest.approx(count / 7), name


def test_a_dead_layer():
    h = torch.zeros(9, 4)
    expected = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0]
    assert [measure(h).item() for measure in MEASURES] == expected


@pytest.mark.parametrize("measure", MEASURES)
def test_batched_is_looped_in_either_precision(measure, features):
    features[0, 0, :, 3] = 1e-3
    looped = torch.stack([torch.stack([measure(h) for h in row]) for row in features])
    assert looped.unique().numel() > 1 or measure is saturation or measure is frozen_units
    torch.testing.assert_close(measure(features), looped)
    assert measure(features.float()).dtype == torch.float32
    torch.testing.assert_close(measure(features.float()).double(), looped, rtol=1e-6, atol=1e-6)
    assert measure(features.half()).dtype == torch.float32


@pytest.mark.parametrize("measure", MEASURES)
def test_a_diverged_seed_is_nan_and_leaves_the_others_alone(measure, features):
    broken = features.clone()
    broken[1, 0, 5, 2] = float("inf")
    value = measure(broken)
    assert value.isnan().nonzero().tolist() == [[1, 0]]
    assert torch.equal(value[2], measure(features)[2])


def test_positions_are_folded_into_samples():
    maps = torch.arange(2 * 4 * 3 * 5 * 6).reshape(2, 4, 3, 5, 6).float()  # seeds, samples, channels, space
    folded = fold_positions(maps, batch_dims=1)
    assert folded.shape == (2, 4 * 30, 3)
    assert torch.equal(folded[1, 30:60, 2], maps[1, 1, 2].flatten())
    plain = torch.ones(2, 4, 3)
    assert torch.equal(fold_positions(plain, batch_dims=1), plain)
    with pytest.raises(ValueError, match="batch dims"):
        fold_positions(torch.ones(4, 3), batch_dims=1)


def test_a_channel_is_dead_when_dead_everywhere():
    maps = torch.zeros(4, 2, 3, 3)
    maps[2, 1, 0, 2] = 1.0
    assert dead_units(fold_positions(maps)).item() == 0.5
