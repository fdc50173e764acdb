"""Efficient attention: published digits, its weights, the two causal versions, what is inert."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from refimpl import causal_efficient_attention, efficient_attention, linear_attention

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)
VERSIONS = ("channel", "kernel")


def test_published_digits():
    out = efficient_attention(Q, K, V)
    np.testing.assert_allclose(
        (out[0, 0], out[-1, -1], out.sum()),
        (0.077544681266, -0.136006623612, -0.490676012082),
        atol=1e-12,
    )


def test_weights_are_positive_have_rank_d_and_rows_that_sum_to_one():
    weights = efficient_attention(Q, K, np.eye(8))
    np.testing.assert_allclose(weights, softmax(Q, axis=1) @ softmax(K, axis=0).T, rtol=1e-14)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-14)
    assert np.linalg.matrix_rank(weights) == 4


def test_it_is_neither_of_the_kernels_that_it_is_taken_for():
    """The essay has called it linear attention with psi = exp, and with psi = softmax over d."""
    q, k, v = np.random.default_rng(7546).standard_normal((3, 6, 4))
    right = efficient_attention(q, k, v)
    exponential = linear_attention(q, k, v, features="exponential")
    q, k = softmax(q, axis=1), softmax(k, axis=1)
    over_features = linear_attention(q, k, v, features="identity")
    assert np.abs(right - exponential).max() > 0.05
    assert np.abs(right - over_features).max() > 0.05


def test_channel_version_ends_where_the_full_one_is():
    for n in range(1, 9):
        out = causal_efficient_attention(Q[:n], K[:n], V[:n], version="channel")
        full = efficient_attention(Q[:n], K[:n], V[:n])
        np.testing.assert_allclose(out[-1], full[-1], atol=1e-14)


def test_kernel_version_is_linear_attention_with_exponential_features():
    expected = linear_attention(Q, K, V, features="exponential", causal=True)
    out = causal_efficient_attention(Q, K, V, version="kernel")
    np.testing.assert_allclose(out, expected, atol=1e-14)


def test_the_versions_differ():
    channel, kernel = (causal_efficient_attention(Q, K, V, version=v) for v in VERSIONS)
    np.testing.assert_array_equal(channel[0], kernel[0])
    assert np.abs(channel - kernel)[1:].max() > 0.01


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("height", [0.0, 700.0])
def test_recurrent_form(version, height):
    """Keys that rise by hundreds: sums without a running maximum overflow."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 30, 3)) for _ in range(3))
    k = k + height * np.linspace(-1, 1, 30)[:, None]
    mask = rng.random((2, 30)) < 0.7
    for options in ({}, {"mask": mask}):
        plain = causal_efficient_attention(q, k, v, version=version, form="plain", **options)
        other = causal_efficient_attention(q, k, v, version=version, form="recurrent", **options)
        assert np.isfinite(plain).all()
        np.testing.assert_allclose(other, plain, atol=1e-13)


@pytest.mark.parametrize("version", VERSIONS)
def test_later_positions_are_inert_even_where_they_are_nan(version):
    k, v = K.copy(), V.copy()
    k[6:] = v[6:] = np.nan
    expected = causal_efficient_attention(Q[:6], K[:6], V[:6], version=version)
    for form in causal_efficient_attention.forms:
        out = causal_efficient_attention(Q, k, v, version=version, form=form)
        np.testing.assert_allclose(out[:6], expected, atol=1e-14)
    g = np.where(np.arange(8)[:, None] < 6, 1.0, 0.0) * np.ones((8, 4))
    masked = causal_efficient_attention.vjp(g, Q, k, v, version=version, mask=np.arange(8) < 6)
    for gradient in masked:
        assert np.isfinite(gradient).all()


def test_masked_keys_are_inert_and_a_head_without_keys_is_zero():
    mask = np.array([True, False] * 4)
    k, v = K.copy(), V.copy()
    k[1::2] = v[1::2] = np.nan
    np.testing.assert_allclose(
        efficient_attention(Q, k, v, mask=mask),
        efficient_attention(Q, K[::2], V[::2]),
        atol=1e-14,
    )
    np.testing.assert_array_equal(efficient_attention(Q, K, V, mask=np.zeros(8, bool)), 0.0)
    for gradient in efficient_attention.vjp(np.ones((8, 4)), Q, k, v, mask=mask):
        assert np.isfinite(gradient).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one feature"):
        efficient_attention(np.zeros((2, 0)), np.zeros((3, 0)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="version: expected 'channel' or 'kernel'"):
        causal_efficient_attention(Q, K, V, version="both")
    with pytest.raises(ValueError, match="k axis 'n': expected 3"):
        causal_efficient_attention(Q[:3], K, V, version="channel")
    with pytest.raises(TypeError, match="needs .*version"):
        causal_efficient_attention(Q, K, V)
