import pickle

import pytest
import torch

from lop_lightning import metrics
from lop_lightning.metrics import covariance_eigenvalues, singular_values

FEATURE_METRICS = [
    (metrics.EffectiveRank, {}, lambda h: metrics.effective_rank(singular_values(h))),
    (metrics.SRank, {}, lambda h: metrics.srank(singular_values(h))),
    (metrics.SRank, {"delta": 0.3}, lambda h: metrics.srank(singular_values(h), 0.3)),
    (metrics.ApproximateRank, {"delta": 0.2}, lambda h: metrics.approximate_rank(singular_values(h), 0.2)),
    (metrics.StableRank, {}, lambda h: metrics.stable_rank(singular_values(h))),
    (metrics.CovarianceEffectiveRank, {}, lambda h: metrics.covariance_effective_rank(covariance_eigenvalues(h))),
    (metrics.ParticipationRatio, {}, lambda h: metrics.participation_ratio(covariance_eigenvalues(h))),
    (metrics.DeadUnits, {}, metrics.dead_units),
    (metrics.DormantUnits, {"tau": 0.9}, lambda h: metrics.dormant_units(h, 0.9)),
    (metrics.ActivationSparsity, {}, metrics.activation_sparsity),
    (metrics.Saturation, {"threshold": 0.5}, lambda h: metrics.saturation(h, 0.5)),
    (metrics.FrozenUnits, {"threshold": 0.5, "share": 0.6}, lambda h: metrics.frozen_units(h, 0.5, 0.6)),
    (metrics.FeatureDuplication, {"threshold": 0.2}, lambda h: metrics.feature_duplication(h, 0.2)),
]


@pytest.mark.parametrize(("metric_class", "settings", "function"), FEATURE_METRICS)
def test_features_in_pieces_are_features_at_once(metric_class, settings, function, features):
    metric = metric_class(**settings)
    for piece in features.split([10, 7, 23], dim=-2):
        metric.update(piece)
    torch.testing.assert_close(metric.compute(), function(features))

    metric.reset()
    metric.update(features[0, 1])  # the shape may change: nothing of the former samples is left
    torch.testing.assert_close(metric.compute(), function(features[0, 1]))


def test_settings_matter(features):
    narrow, wide = metrics.SRank(delta=0.3), metrics.SRank()
    narrow.update(features)
    wide.update(features)
    assert (narrow.compute() < wide.compute()).all()


def test_forward_gives_the_batch_and_keeps_the_whole(features):
    metric = metrics.DeadUnits()
    first, second = features.split([1, 39], dim=-2)
    torch.testing.assert_close(metric(first), metrics.dead_units(first))
    metric(second)
    torch.testing.assert_close(metric.compute(), metrics.dead_units(features))


@pytest.mark.parametrize(
    ("metric_class", "function", "pair"),
    [
        (metrics.WeightMagnitude, metrics.weight_magnitude, False),
        (metrics.GradientNorm, metrics.gradient_norm, False),
        (metrics.DistanceFromInitialisation, metrics.distance_from_initialisation, True),
        (metrics.UpdateSize, metrics.update_size, True),
    ],
)
def test_parameters_are_averaged_over_updates(metric_class, function, pair, rng):
    draws = [{"w": torch.randn(3, 4, generator=rng), "b": torch.randn(3, generator=rng)} for _ in range(3)]
    calls = [(x, draws[0]) if pair else (x,) for x in draws]
    metric = metric_class(batch_dims=1)
    for call in calls:
        metric.update(*call)
    torch.testing.assert_close(metric.compute(), torch.stack([function(*c, batch_dims=1) for c in calls]).mean(0))

    metric.reset()
    metric.update(*calls[1])
    torch.testing.assert_close(metric.compute(), function(*calls[1], batch_dims=1))


def test_an_unknown_setting_is_refused():
    for wrong in ({"detla": 0.1}, {"s": torch.ones(3)}):
        with pytest.raises(ValueError, match="Unexpected keyword"):
            metrics.SRank(**wrong)


def test_a_metric_survives_pickling(features):
    metric = metrics.DormantUnits(tau=0.9)
    metric.update(features)
    torch.testing.assert_close(pickle.loads(pickle.dumps(metric)).compute(), metric.compute())
