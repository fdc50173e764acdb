"""Feature maps: shapes, kinks, cancellation, refused input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import feature_map
from refimpl.evidence.attention.features import ALL

X = np.random.default_rng(7546).standard_normal((5, 3))


@pytest.mark.parametrize(
    ("features", "degree", "r"),
    [(f, 2, 3) for f in ALL[:6]]
    + [("one_plus_cosine", 2, 4), ("taylor_2", 2, 13), ("power", 1, 4), ("power", 3, 64)],
)
def test_number_of_features(features, degree, r):
    assert feature_map(X, features=features, degree=degree).shape == (5, r)
    g = np.ones((5, r))
    assert feature_map.vjp(g, X, features=features, degree=degree)[0].shape == X.shape


def test_power_tends_to_the_exponential():
    q, k = 0.3 * X[:, :2], 0.3 * X[::-1, :2]
    errors = []
    for degree in (2, 4, 8):
        qf, kf = (feature_map(x, features="power", degree=degree) for x in (q, k))
        errors.append(np.abs((qf * kf).sum(-1) - np.exp((q * k).sum(-1))).max())
    assert errors[0] > errors[1] > errors[2] > 0


def test_elu_keeps_its_digits_far_below_zero():
    """elu(x) + 1 as it is written is 0 in bfloat16, and off by 1e-3 in float32 (fla issue 1261)."""
    x = np.array([-15.0], dtype=np.float32)
    exact = np.exp(-15.0)
    assert abs(feature_map(x, features="elu_plus_one")[0] - exact) < 1e-7 * exact


def test_a_vector_without_direction_has_the_constant_feature_only():
    x = np.zeros((2, 3))
    np.testing.assert_array_equal(feature_map(x, features="one_plus_cosine"), [[1.0, 0, 0, 0]] * 2)
    (gradient,) = feature_map.vjp(np.ones((2, 4)), x, features="one_plus_cosine")
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_directions_of_very_short_and_long_vectors(size):
    found = feature_map(size * np.array([3.0, 4.0]), features="one_plus_cosine")
    np.testing.assert_allclose(found, [1.0, 0.6, 0.8], rtol=1e-15)


def test_gradients_at_the_kink():
    assert feature_map.vjp([1.0], [0.0], features="relu")[0] == 0.0
    assert feature_map.vjp([1.0], [0.0], features="elu_plus_one")[0] == 1.0


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([1.0], {"features": "elu"}, "features: expected one of .*elu_plus_one"),
        ([1.0], {"features": "power", "degree": 0}, "degree: expected a positive whole number"),
        ([1.0], {"features": "power", "degree": 1.5}, "degree: expected a positive whole number"),
        ([], {"features": "relu"}, "at least one feature"),
    ],
)
def test_bad_input_is_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        feature_map(x, **options)


def test_the_map_has_no_default():
    with pytest.raises(TypeError, match="needs .*features"):
        feature_map([1.0])
