import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from lop_lightning.analysis.timescales.dimension import (
    Covariance,
    dimension,
    dimensionality,
    explained,
    principal_variances,
)
from lop_lightning.errors import ConfigError


def test_pieces_give_the_covariance_of_the_whole_series():
    draw = np.random.default_rng(0)
    x = 30 + draw.normal(size=(2, 500, 4)) @ draw.normal(size=(4, 4))
    pieces = Covariance()
    for piece in np.split(x, [1, 1, 17, 400], 1):
        pieces.add(torch.from_numpy(piece))
    for trial in range(2):
        np.testing.assert_allclose(pieces.result()[trial], np.cov(x[trial].T), rtol=1e-10, atol=1e-12)


def test_shares_of_variance_are_scikit_learns():
    draw = np.random.default_rng(1)
    x = draw.normal(size=(3, 400, 6)) * [5, 3, 2, 1, 0.5, 0.1] @ draw.normal(size=(6, 6))
    pieces = Covariance()
    pieces.add(torch.from_numpy(x))
    shares = explained(principal_variances(pieces.result()))
    for trial in range(3):
        expected = PCA().fit(x[trial]).explained_variance_ratio_
        np.testing.assert_allclose(shares[trial], expected, rtol=1e-9, atol=1e-12)
        index = np.argmax(np.cumsum(expected) > 0.9)  # as the published code has it
        assert dimension(shares[trial], reference_compat=True) == index
        assert dimension(shares[trial]) == index + 1


def test_dimension_of_a_known_covariance():
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]
    covariance = rotation @ np.diag([6.0, 2.0, 1.5, 0.5]) @ rotation.T
    np.testing.assert_allclose(principal_variances(covariance), [6, 2, 1.5, 0.5])
    for threshold, expected in ((0.5, 1), (0.59, 1), (0.61, 2), (0.79, 2), (0.9, 3), (0.96, 4), (0.9999, 4)):
        assert dimension([6.0, 2.0, 1.5, 0.5], threshold) == expected


def test_one_component_is_one_dimension_and_more_than_the_threshold_is_asked():
    assert dimension([3.0]) == 1
    assert dimension([3.0], reference_compat=True) == 0
    assert dimension([3.0, 1.0], 0.75) == 2
    assert dimension([0.1] * 10, 0.999) == 10


def test_trials_and_their_spread():
    covariance = np.stack([np.diag([1.0, 1.0, 0.0]), np.eye(3), np.zeros((3, 3)), np.full((3, 3), np.nan)])
    found = dimensionality(covariance)
    np.testing.assert_array_equal(found.trials, [2, 3, np.nan, np.nan])
    assert (found.mean, found.std, found.threshold) == (2.5, 0.5, 0.9)
    assert dimensionality(covariance, reference_compat=True).mean == 1.5
    assert np.isnan(dimensionality(covariance[2:]).mean)


def test_what_is_not_legal():
    for threshold in (0, 1, 90):
        with pytest.raises(ConfigError, match=rf"threshold={threshold} is not legal: expected a number in \(0, 1\)"):
            dimension([1.0, 2.0], threshold)
    with pytest.raises(ValueError, match="at least 2 steps, got 0"):
        Covariance().result()
    with pytest.raises(ValueError, match=r"got \[3, 4\]"):
        Covariance().add(torch.zeros(3, 4))
