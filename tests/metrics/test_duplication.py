import pytest
import torch

from lop_lightning.metrics import cosine_duplication, feature_duplication


def test_a_cluster_counts_all_but_one(rng):
    h = torch.randn(200, 4, generator=rng)
    copies = torch.cat([h, 3.0 * h[:, :1] + 1.0, -h[:, :1], h[:, 2:3]], dim=1)
    assert feature_duplication(h).item() == 0.0
    assert feature_duplication(copies).item() == pytest.approx(3 / 7)


def test_constant_units_repeat_nothing(rng):
    h = torch.full((50, 6), 0.1)  # no float32 is a tenth: the mean of the copies is not the copy
    h[:, 0] = torch.randn(50, generator=rng)
    h[:, 4:] = 0.0
    assert feature_duplication(h).item() == 0.0
    assert feature_duplication(torch.zeros(5, 3)).item() == 0.0
    assert feature_duplication(torch.ones(1, 3)).item() == 0.0


def test_the_threshold_is_strict():
    a, b = torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, -1.0, 0.0])  # correlation 1/2
    h = torch.stack([a, b], dim=1).double()
    assert feature_duplication(h, threshold=0.5 + 1e-9).item() == 0.0
    assert feature_duplication(h, threshold=0.5 - 1e-9).item() == 0.5


def test_resemblance_need_not_be_transitive():
    t = torch.arange(4096, dtype=torch.float64) * (2 * torch.pi / 4096)
    waves = torch.stack([(t + shift).sin() for shift in (0.0, 0.3, 0.6)], dim=1)  # cos .3 = .955, cos .6 = .825
    assert feature_duplication(waves).item() == pytest.approx(2 / 3)
    assert feature_duplication(waves[:, [0, 2, 1]]).item() == pytest.approx(1 / 3)


def test_golden_duplication_of_simple_lop(golden):
    for case in golden["metrics"]:
        h = torch.tensor(case["matrix"], dtype=torch.float64)
        assert feature_duplication(h).item() == pytest.approx(case["dup_0_95"], abs=1e-6), case["name"]
        assert feature_duplication(h, 0.5).item() == pytest.approx(case["dup_0_5"], abs=1e-6), case["name"]


def test_cosine_is_signed_and_uncentred(rng):
    h = torch.randn(50, 2, generator=rng)
    assert cosine_duplication(torch.cat([h, -h], dim=1)).item() == 0.0
    assert cosine_duplication(torch.cat([h, 5 * h], dim=1)).item() == 0.5
    assert cosine_duplication(torch.ones(50, 4)).item() == 0.75
    assert cosine_duplication(torch.zeros(50, 4)).item() == 0.0
    assert cosine_duplication(h + 10.0).item() == 0.5
    assert feature_duplication(h + 10.0).item() == 0.0


@pytest.mark.parametrize("measure", [feature_duplication, cosine_duplication])
def test_batched_is_looped_at_any_scale(measure, features):
    features[2, 0, :, 6] = -features[2, 0, :, 3]
    features[1, 1, :, 6] = features[1, 1, :, 3]
    looped = torch.stack([torch.stack([measure(h) for h in row]) for row in features])
    assert looped.unique().numel() > 1
    torch.testing.assert_close(measure(features), looped)
    torch.testing.assert_close(measure(features.float()).double(), looped, rtol=1e-6, atol=0)
    torch.testing.assert_close(measure(features.float() * 2.0**-90).double(), looped, rtol=1e-6, atol=0)


@pytest.mark.parametrize("measure", [feature_duplication, cosine_duplication])
def test_a_diverged_seed_is_nan(measure, features):
    features[1, 0, 5, 2] = float("nan")
    assert measure(features).isnan().nonzero().tolist() == [[1, 0]]
