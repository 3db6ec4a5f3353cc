import math

import pytest
import torch

from lop_lightning.metrics import (
    approximate_rank,
    covariance_effective_rank,
    covariance_eigenvalues,
    effective_rank,
    numerical_rank,
    participation_ratio,
    singular_values,
    spectral_ranks,
    srank,
    stable_rank,
)

KEYS = [
    "effective_rank",
    "srank_99",
    "approximate_rank_99",
    "stable_rank",
    "numerical_rank",
    "covariance_effective_rank",
    "participation_ratio",
]


def with_spectrum(s, samples, rng):
    """A matrix [samples, len(s)] of which the singular values are s, its columns centred."""
    gaussian = torch.randn(samples, len(s), generator=rng, dtype=torch.float64)
    left = torch.linalg.qr(gaussian - gaussian.mean(0))[0]
    right = torch.linalg.qr(torch.randn(len(s), len(s), generator=rng, dtype=torch.float64))[0]
    return left @ torch.diag(torch.tensor(s, dtype=torch.float64)) @ right


def values(ranks):
    return {name: value.item() for name, value in ranks.items()}


def test_identity_uses_every_direction():
    ranks = values(spectral_ranks(torch.eye(5, dtype=torch.float64)))
    for name in ("effective_rank", "srank_99", "approximate_rank_99", "stable_rank", "numerical_rank"):
        assert ranks[name] == pytest.approx(5.0), name
    assert ranks["covariance_effective_rank"] == pytest.approx(4.0)  # centring takes one direction
    assert ranks["participation_ratio"] == pytest.approx(4.0)


def test_rank_one(rng):
    h = torch.outer(torch.randn(30, generator=rng).double(), torch.randn(6, generator=rng).double())
    for name, value in values(spectral_ranks(h)).items():
        assert value == pytest.approx(1.0, abs=1e-5), name


def test_known_spectrum(rng):
    s = [100.0, 10.0, 4.0, 1.0, 0.2]
    total, squares = sum(s), sum(x**2 for x in s)
    ranks = values(spectral_ranks(with_spectrum(s, 50, rng)))
    assert ranks["effective_rank"] == pytest.approx(math.exp(-sum(x / total * math.log(x / total) for x in s)))
    assert ranks["srank_99"] == 4  # 114 of 115.2 is 98.96 %
    assert ranks["approximate_rank_99"] == 2  # 10000 of 10117 is 98.84 %
    assert ranks["stable_rank"] == pytest.approx(squares / 100.0**2)
    assert ranks["numerical_rank"] == 5
    shares = [x**2 / squares for x in s]
    assert ranks["covariance_effective_rank"] == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))
    assert ranks["participation_ratio"] == pytest.approx(1 / sum(p**2 for p in shares))


def test_srank_takes_the_share_that_is_just_reached():
    s = torch.tensor([2.0, 1.0, 1.0])
    assert srank(s, delta=0.25).item() == 2  # 3 of 4, not strictly more
    assert srank(s, delta=0.24).item() == 3
    assert approximate_rank(torch.tensor([3.0, 1.0, 1.0]), delta=0.1).item() == 2  # 10 of 11 is 90.9 %
    assert approximate_rank(torch.tensor([3.0, 1.0, 1.0]), delta=0.09).item() == 3
    assert srank(s, delta=0.0).item() == 3


@pytest.mark.parametrize("h", [torch.zeros(8, 3), torch.full((8, 3), 0.1), torch.full((7, 3), -1e-20)])
def test_a_layer_without_variance(h):
    ranks = values(spectral_ranks(h))
    raw = 0.0 if h.eq(0).all() else 1.0
    for name in KEYS[:5]:
        assert ranks[name] == pytest.approx(raw, abs=1e-5), name
    assert ranks["covariance_effective_rank"] == 1.0
    assert ranks["participation_ratio"] == 0.0


def test_duplicated_and_dead_columns_add_no_direction(rng):
    h = torch.randn(40, 3, generator=rng, dtype=torch.float64)
    wide = torch.cat([h, h, torch.zeros(40, 2)], dim=1)
    assert spectral_ranks(wide)["numerical_rank"].item() == 3
    for name in KEYS:
        torch.testing.assert_close(spectral_ranks(wide)[name], spectral_ranks(h)[name], rtol=1e-10, atol=0)


def test_numerical_rank_sees_through_rounding(rng):
    low = torch.randn(200, 5, generator=rng) @ torch.randn(5, 50, generator=rng)
    s = singular_values(low)
    assert (s > 0).sum() == 50  # what counting non-zero values would report
    assert numerical_rank(s, low.shape).item() == 5


def test_numerical_rank_allows_for_the_larger_dimension():
    s = torch.tensor([1.0, 5e-6])  # 42 machine epsilons
    assert numerical_rank(s, (10, 2)).item() == 2
    assert numerical_rank(s, (100, 2)).item() == numerical_rank(s, (2, 100)).item() == 1


def test_golden_ranks_of_the_dohare_code(golden):
    for case in golden["ranks"]:
        if "matrix" in case:
            s = singular_values(torch.tensor(case["matrix"], dtype=torch.float64))
            torch.testing.assert_close(s, s.new_tensor(case["singular_values_float64"]), rtol=0, atol=1e-12)
        else:
            s = torch.tensor(case["singular_values"], dtype=torch.float64)
        assert effective_rank(s).item() == pytest.approx(case["numpy_effective_rank"], abs=1e-9), case["name"]
        assert srank(s).item() == case["abs_approximate_rank"], case["name"]
        assert approximate_rank(s).item() == case["approximate_rank"], case["name"]


def test_golden_covariance_effective_rank_of_simple_lop(golden):
    for case in golden["metrics"]:
        eigenvalues = covariance_eigenvalues(torch.tensor(case["matrix"], dtype=torch.float64))
        rank = covariance_effective_rank(eigenvalues).item()
        assert rank == pytest.approx(case["eff_rank_old"], abs=1e-9), case["name"]


def test_covariance_eigenvalues_are_those_of_the_covariance(features):
    h = features[1, 1] + 3.0
    expected = torch.linalg.eigvalsh(torch.cov(h.T)).flip(0)
    torch.testing.assert_close(covariance_eigenvalues(h), expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="2 samples"):
        covariance_eigenvalues(h[:1])


def test_batched_is_looped(features):
    batched = spectral_ranks(features)
    assert list(batched) == KEYS
    for i in range(3):
        for j in range(2):
            for name, value in spectral_ranks(features[i, j]).items():
                torch.testing.assert_close(batched[name][i, j], value, rtol=1e-12, atol=0)


def test_float32_agrees_with_float64(features):
    single, double = spectral_ranks(features.float()), spectral_ranks(features)
    for name in KEYS:
        assert single[name].dtype == torch.float32
        assert double[name].dtype == torch.float64
        torch.testing.assert_close(single[name].double(), double[name], rtol=1e-4, atol=0)


def test_ranks_do_not_depend_on_the_scale(features):
    ranks = spectral_ranks(features.float())
    for name, value in spectral_ranks(features.float() * 2.0**-50).items():
        torch.testing.assert_close(value, ranks[name], rtol=1e-4, atol=0)


def test_a_diverged_seed_is_nan_and_leaves_the_others_alone(features):
    broken = features.clone()
    broken[0, 0, 3, 1] = float("nan")
    broken[2, 1, 0, 0] = float("inf")
    healthy = spectral_ranks(features)
    for name, value in spectral_ranks(broken).items():
        assert value.isnan().nonzero().tolist() == [[0, 0], [2, 1]], name
        assert torch.equal(value[1], healthy[name][1]), name


def test_delta_names_the_keys():
    assert {"srank_95", "approximate_rank_95"} < spectral_ranks(torch.eye(3), delta=0.05).keys()
    with pytest.raises(ValueError, match="delta"):
        spectral_ranks(torch.eye(3), delta=1.0)


def test_rounded_eigenvalues_below_zero_count_as_zero():
    eigenvalues = torch.tensor([2.0, 2.0, -1e-3])
    assert covariance_effective_rank(eigenvalues).item() == pytest.approx(2.0)
    assert participation_ratio(eigenvalues).item() == pytest.approx(2.0)


def test_stable_rank_of_huge_values_does_not_overflow():
    assert stable_rank(torch.tensor([1e30, 1e30])).item() == 2.0


@pytest.mark.parametrize("bad", [torch.eye(3, dtype=torch.int64), torch.ones(3), torch.ones(0, 3), torch.ones(3, 0)])
def test_what_is_no_feature_matrix_is_refused(bad):
    with pytest.raises(ValueError, match="features must be"):
        singular_values(bad)
