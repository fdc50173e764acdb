"""What the essays say beside formulas: other ways to be relative, weights, longer contexts."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
import scipy.linalg

from refimpl.attention.linear import linear_attention
from refimpl.position.longrope import longrope_frequencies
from refimpl.position.relative import relative_attention_logits
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.scaling import (
    dynamic_ntk_frequencies,
    linear_scaled_frequencies,
    ntk_frequencies,
    radix_frequencies,
)
from refimpl.position.scaling_by_parts import (
    llama3_frequencies,
    yarn_frequencies,
)


def _rng():
    return np.random.default_rng(8397)


# --------------------------------------------------------------------------------- rotary embedding


def test_every_orthogonal_matrix_has_relative_powers_and_they_are_rotary():
    """R_n = exp(n B) for a skew B (8397, 9403): in the basis of B's planes it is the block form."""
    rng = _rng()
    b = rng.standard_normal((6, 6))
    b -= b.T
    q, k = rng.standard_normal((2, 6))
    logits = [(scipy.linalg.expm(m * b) @ q) @ (scipy.linalg.expm((m + 3) * b) @ k) for m in (0, 5)]
    assert logits[1] == pytest.approx(logits[0], rel=1e-12)
    planes, basis = scipy.linalg.schur(b, output="real")
    theta = planes[np.arange(1, 6, 2), np.arange(0, 6, 2)]
    for n in (1, 7):
        rotated = rotary_embedding(
            (basis.T @ q)[None], [n], pairing="interleaved", frequencies=theta
        )
        np.testing.assert_allclose(basis @ rotated[0], scipy.linalg.expm(n * b) @ q, atol=1e-12)


def test_weights_of_meta_become_those_of_hugging_face():
    """view(heads, d/2, 2, width).transpose(1, 2) of W_q and W_k; of keys by their own heads."""
    rng, (heads, groups, d, width, n) = _rng(), (4, 2, 8, 16, 5)
    x, at = rng.standard_normal((n, width)), np.arange(n)

    def permuted(w, count):
        return w.reshape(count, d // 2, 2, width).swapaxes(1, 2).reshape(count * d, width)

    def logits(w_q, w_k, pairing):
        q, k = (
            rotary_embedding((x @ w.T).reshape(n, -1, d).swapaxes(0, 1), at, pairing=pairing)
            for w in (w_q, w_k)
        )
        return q @ np.repeat(k, heads // groups, axis=0).swapaxes(-1, -2)

    w_q, w_k = rng.standard_normal((heads * d, width)), rng.standard_normal((groups * d, width))
    meta = logits(w_q, w_k, "interleaved")
    hugging_face = logits(permuted(w_q, heads), permuted(w_k, groups), "half")
    np.testing.assert_allclose(hugging_face, meta, rtol=0, atol=1e-12)
    assert np.abs(logits(w_q, w_k, "half") - meta).max() > 1.0


@pytest.mark.parametrize(
    ("dtype", "until", "distinct"),
    [("bfloat16", 4096, 769), ("bfloat16", 8192, 897), ("float16", 8192, 4097)],
)
def test_positions_that_half_precision_tells_apart(dtype, until, distinct):
    """Of 0, 1, ..., so that they are refused."""
    half = np.arange(until).astype(getattr(ml_dtypes, dtype, dtype))
    assert len(np.unique(half.astype(float))) == distinct
    whole = {"bfloat16": 256, "float16": 2048}[dtype]
    assert (half[: whole + 1].astype(int) == np.arange(whole + 1)).all()
    assert int(half[whole + 1]) != whole + 1


def test_linear_attention_with_one_plus_the_cosine_stays_a_mean():
    """8265: 1 + (R_i q).(R_j k) of unit vectors is not negative, so weights are those of a mean."""
    rng = _rng()
    q, k = rng.standard_normal((2, 9, 8))
    unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (q, k)]
    turned = [rotary_embedding(x, np.arange(9), pairing="half") for x in (q, k)]
    weights = linear_attention(*turned, np.eye(9), features="one_plus_cosine")
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-13)
    assert weights.min() >= 0
    similarity = 1 + np.einsum(
        "id,jd->ij", *(rotary_embedding(x, np.arange(9), pairing="half") for x in unit)
    )
    expected = similarity / similarity.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, atol=1e-14)


def test_pixel_frequencies_are_given_ones():
    """rotary-embedding-torch "pixel": pi linspace(1, f/2, d/2) at places from -1 to 1."""
    x, places = _rng().standard_normal((7, 8)), np.linspace(-1.0, 1.0, 7)
    theta = math.pi * np.linspace(1.0, 10.0 / 2, 4)
    found = rotary_embedding(x, places, pairing="interleaved", frequencies=theta)
    z = (x[:, ::2] + 1j * x[:, 1::2]) * np.exp(1j * places[:, None] * theta)
    np.testing.assert_allclose(found[:, ::2] + 1j * found[:, 1::2], z, atol=1e-13)


# ---------------------------------------------------------------------------------- longer contexts

THETA = rotary_frequencies(10000.0, dim=64)
LISTS = {"short_factors": np.ones(32), "long_factors": np.linspace(1.0, 8.0, 32)}
SCALINGS = {
    "interpolation": lambda s: linear_scaled_frequencies(THETA, factor=s),
    "NTK": lambda s: ntk_frequencies(THETA, factor=s),
    "dynamic NTK": lambda s: dynamic_ntk_frequencies(
        THETA, factor=s, length=64 * s, trained_length=64
    ),
    "old radix": lambda s: radix_frequencies(THETA, factor=s, kind="old"),
    "fixed radix": lambda s: radix_frequencies(THETA, factor=s, kind="fixed"),
    "mixed radix": lambda s: radix_frequencies(THETA, factor=s, kind="mixed", exponent=0.625),
    "YaRN, turns": lambda s: yarn_frequencies(THETA, factor=s, trained_length=64, ramp="turns")[0],
    "YaRN, index": lambda s: yarn_frequencies(
        THETA, factor=s, trained_length=2048, ramp="index", base=10000.0
    )[0],
    "Llama 3": lambda s: llama3_frequencies(THETA, factor=s, trained_length=64),
    "LongRoPE": lambda s: longrope_frequencies(
        THETA, **LISTS, factor=s, length=64 * s, trained_length=64
    )[0],
}


@pytest.mark.parametrize("scale", SCALINGS.values(), ids=SCALINGS)
def test_factor_one_changes_nothing(scale):
    np.testing.assert_allclose(scale(1.0), THETA, rtol=3e-16)


@pytest.mark.parametrize("name", SCALINGS)
def test_scaled_frequencies_fall_and_lie_between_the_plain_and_the_divided_ones(name):
    """Dynamic NTK divides by up to its own stretch, which exceeds the factor."""
    s = 8.0
    scaled, most = SCALINGS[name](s), s
    if name == "dynamic NTK":
        most = s * s - (s - 1)
    assert (np.diff(scaled) < 0).all()
    assert (scaled <= THETA * (1 + 1e-15)).all()
    assert (scaled >= THETA / most * (1 - 1e-15)).all()


# ----------------------------------------------------------------------------- relative tables


def test_a_range_that_is_not_symmetric_repeats_rows():
    """The survey clips i - j to p_min, ..., p_max: rows beyond the nearer end are the end's."""
    rng = _rng()
    q, k = rng.standard_normal((2, 9, 4))
    table, at = rng.standard_normal((5, 4)), np.arange(9)
    repeated = table[np.clip(np.arange(-3, 4), -1, 3) + 1]
    found = relative_attention_logits(q, k, repeated, at, at, order="q_minus_k", scale=1.0)
    rows = np.clip(at[:, None] - at, -1, 3) + 1
    expected = np.einsum("id,ijd->ij", q, k[None] + table[rows])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
