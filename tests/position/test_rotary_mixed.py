"""Mixed rotation: the general solution, public frequencies, equalities, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import expm, schur

from refimpl.position.axial import axial_rotary_embedding, multimodal_rotary_embedding
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.rotary_mixed import mixed_rotary_embedding

RNG = np.random.default_rng(8397)
X = RNG.standard_normal((6, 8))


# ------------------------------------------------------------------------------ general solution


def _commuting(d=6):
    """Two skew matrices that commute and are not multiples of each other: B and B^3/9."""
    a = np.random.default_rng(9403).standard_normal((d, d))
    first = (a - a.T) / 2
    return first, np.linalg.matrix_power(first, 3) / 9


def test_commuting_exponentials_see_differences():
    first, second = _commuting()
    turns = {(x, y): expm(x * first + y * second) for x in range(4) for y in range(4)}
    np.testing.assert_allclose(turns[1, 2].T @ turns[3, 3], turns[2, 1], atol=1e-12)
    np.testing.assert_allclose(turns[2, 0].T @ turns[2, 3], turns[0, 3], atol=1e-12)


def test_exponentials_that_do_not_commute_see_more_than_differences():
    first, _ = _commuting()
    second = np.random.default_rng(1).standard_normal((6, 6))
    second = second - second.T
    turns = {(x, y): expm(x * first + y * second) for x in range(4) for y in range(4)}
    assert np.abs(turns[1, 2].T @ turns[3, 3] - turns[2, 1]).max() > 0.1


def test_commuting_exponentials_are_mixed_rotations_in_another_basis():
    first, second = _commuting()
    _, basis = schur(first)
    blocks = [basis.T @ b @ basis for b in (first, second)]
    theta = np.array([[b[2 * i + 1, 2 * i] for i in range(3)] for b in blocks])
    for x, y in ((1.0, 0.0), (0.5, -2.0), (7.0, 3.0)):
        at = np.full((2, 6), [[x], [y]])
        # Rows of the identity become columns of the rotation.
        rotation = mixed_rotary_embedding(np.eye(6), at, theta, pairing="interleaved").T
        np.testing.assert_allclose(
            basis @ rotation @ basis.T, expm(x * first + y * second), atol=1e-11
        )


# ------------------------------------------------------------------------------ public frequencies


def _pixel(pairs, max_frequency=10.0):
    return math.pi * np.linspace(1.0, max_frequency / 2, pairs)


def test_pixel_frequencies_of_rotary_embedding_torch():
    """get_axial_freqs(4, 3) of ``freqs_for="pixel"``, and apply_rotary_emb."""
    theta = _pixel(2)
    np.testing.assert_allclose(theta, [math.pi, 5 * math.pi], rtol=1e-15)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 3), indexing="ij")
    at = np.stack([rows.ravel(), columns.ravel()])
    x = RNG.standard_normal((12, 8))
    phases = np.concatenate([np.outer(axis, theta) for axis in at], axis=-1).repeat(2, axis=-1)
    rotated = np.stack([-x[:, 1::2], x[:, ::2]], axis=-1).reshape(12, 8)
    expected = x * np.cos(phases) + rotated * np.sin(phases)
    found = mixed_rotary_embedding(x, at, np.kron(np.eye(2), theta), pairing="interleaved")
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_first_frequencies_of_rope_vit():
    """init_random_2d_freqs and compute_mixed_cis, for one head, with complex numbers."""
    d, angle = 8, 0.7
    lengths = 10.0 ** -(np.arange(0, d, 4) / d)
    theta = np.stack(
        [
            np.concatenate([lengths * turn(angle), lengths * turn(math.pi / 2 + angle)])
            for turn in (np.cos, np.sin)
        ]
    )
    np.testing.assert_allclose((theta[:, :2] * theta[:, 2:]).sum(axis=0), 0.0, atol=1e-15)
    columns, rows = np.arange(6) % 3, np.arange(6) // 3
    turns = np.exp(1j * (np.outer(columns, theta[0]) + np.outer(rows, theta[1])))
    z = np.ascontiguousarray(X).view(complex) * turns
    found = mixed_rotary_embedding(X, np.stack([columns, rows]), theta, pairing="interleaved")
    np.testing.assert_allclose(found, z.view(float), atol=1e-14)


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_text_of_rope_tv_is_rotated_on_one_axis(pairing):
    """Axes take pairs in turn, theta_i = b^(-2i/d): at (n, n) it is the rotation of text."""
    theta = rotary_frequencies(10000.0, dim=8)
    turns = np.stack([theta * (np.arange(4) % 2 == axis) for axis in range(2)])
    text = np.arange(6)
    found = mixed_rotary_embedding(X, np.stack([text, text]), turns, pairing=pairing)
    np.testing.assert_array_equal(found, rotary_embedding(X, text, pairing=pairing))


# -------------------------------------------------------------------------------------- equalities


@pytest.mark.parametrize("pairing", ["half", "interleaved"])
def test_blocks_of_zeros_are_axial(pairing):
    at = np.random.default_rng(0).integers(0, 99, (2, 6))
    theta = np.kron(np.eye(2), rotary_frequencies(100.0, dim=4))
    found = mixed_rotary_embedding(X, at, theta, pairing=pairing)
    axial = axial_rotary_embedding(X, at, pairing=pairing, split="pairs", base=100.0)
    np.testing.assert_array_equal(found, axial)


def test_sections_are_multimodal():
    at = np.random.default_rng(0).integers(0, 99, (3, 6))
    theta = rotary_frequencies(10000.0, dim=8)
    owners = np.array([0, 1, 1, 2]) == np.arange(3)[:, None]
    found = mixed_rotary_embedding(X, at, theta * owners, pairing="half")
    options = {"pairing": "half", "sections": (1, 2, 1), "arrangement": "contiguous"}
    np.testing.assert_array_equal(found, multimodal_rotary_embedding(X, at, **options))


def test_one_axis_is_rotary_embedding():
    theta = np.array([1.0, 0.3])
    for options in ({"pairing": "half"}, {"pairing": "interleaved", "inverse": True}):
        found = mixed_rotary_embedding(X, np.arange(6)[None], theta[None], **options)
        one = rotary_embedding(X, np.arange(6), frequencies=theta, **options)
        np.testing.assert_array_equal(found, one)
        np.testing.assert_array_equal(found[:, 4:], X[:, 4:])


def test_diagonals_are_told_from_axes():
    """What axial rotation cannot: a frequency that sees x - y only, equal along the diagonal."""
    theta = np.array([[0.5], [-0.5]])
    at = np.array([[0, 1, 5, 2], [0, 1, 5, 3]])
    y = mixed_rotary_embedding(np.ones((4, 2)), at, theta, pairing="half")
    np.testing.assert_array_equal(y[:3], np.ones((3, 2)))
    assert np.abs(y[3] - 1).max() > 0.3


def test_heads_have_their_own_frequencies():
    theta = RNG.standard_normal((3, 2, 4))
    at = np.arange(12).reshape(2, 6)
    y = mixed_rotary_embedding(X, at, theta, pairing="half")
    assert y.shape == (3, 6, 8)
    for head in range(3):
        one = mixed_rotary_embedding(X, at, theta[head], pairing="half")
        np.testing.assert_array_equal(y[head], one)


@pytest.mark.parametrize("dtype", ["float16", "float32", "longdouble"])
def test_phases_are_those_of_float64(dtype):
    at, theta = [[1_000_000], [3]], [[1.0, 0.1], [0.7, -2.0]]
    found = mixed_rotary_embedding(np.ones((1, 4), dtype), at, theta, pairing="interleaved")
    exact = mixed_rotary_embedding(np.ones((1, 4)), at, theta, pairing="interleaved")
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(float), exact, atol=3 * np.finfo(dtype).eps + 1e-15)


def test_gradients_against_differences():
    at, theta = RNG.standard_normal((2, 6)), RNG.standard_normal((2, 3))
    g = RNG.standard_normal((6, 8))
    gradients = mixed_rotary_embedding.vjp(g, X, at, theta, pairing="half", inverse=True)
    for index, gradient in enumerate(gradients):
        step = 1e-6 * RNG.standard_normal(gradient.shape)
        values = []
        for sign in (1, -1):
            arrays = [X, at, theta]
            arrays[index] = arrays[index] + sign * step
            values.append((g * mixed_rotary_embedding(*arrays, pairing="half", inverse=True)).sum())
        assert (values[0] - values[1]) / 2 == pytest.approx((gradient * step).sum(), rel=1e-7)


# --------------------------------------------------------------------------------------- bad input


def test_bad_input():
    at, theta = np.zeros((2, 6)), np.ones((2, 4))
    with pytest.raises(ValueError, match="expected an even number from 2 to d = 8, got 10"):
        mixed_rotary_embedding(X, at, np.ones((2, 5)), pairing="half")
    with pytest.raises(ValueError, match="pairing: expected 'interleaved'"):
        mixed_rotary_embedding(X, at, theta, pairing="neox")
    with pytest.raises(ValueError, match="positions: expected finite numbers"):
        mixed_rotary_embedding(X, at + math.inf, theta, pairing="half")
    with pytest.raises(ValueError, match="frequencies: expected finite numbers"):
        mixed_rotary_embedding(X, at, theta * math.nan, pairing="half")
    with pytest.raises(ValueError, match="frequencies axis 'a': expected 3"):
        mixed_rotary_embedding(X, np.zeros((3, 6)), theta, pairing="half")
    with pytest.raises(TypeError, match="frequencies: expected integers or float64"):
        mixed_rotary_embedding(X, at, theta.astype("float32"), pairing="half")
    with pytest.raises(TypeError, match="needs .*pairing"):
        mixed_rotary_embedding(X, at, theta)
