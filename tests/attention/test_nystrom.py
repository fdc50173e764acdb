"""Nystrom attention: published digits, its exact cases, landmarks, masks, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import nystrom_attention, segment_means, softmax_attention
from refimpl.attention.nystrom import _segments

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)
SEGMENTS = segment_means.declared["segments"].values
RNG = np.random.default_rng(8180)
EXACT = {"inverse": "exact"}

DIGITS = {
    (2, "exact"): (0.074272161005, -0.174696885245, -1.285360487346),
    (2, "iterated"): (0.065762588366, -0.145912343771, -1.285155167239),
    (4, "exact"): (0.125702483542, -0.272081391168, -1.478813202723),
    (4, "iterated"): (0.075485446333, -0.138273164078, -1.273602863128),
    (8, "exact"): (0.077105392440, -0.163608485432, -1.486502682012),
    (8, "iterated"): (0.069842147021, -0.161896288799, -1.486522526204),
    (4, "none"): (0.062668633130, -0.130775759798, -1.271297330399),
}


@pytest.mark.parametrize(("landmarks", "inverse"), DIGITS)
def test_published_digits(landmarks, inverse):
    out = nystrom_attention(Q, K, V, landmarks=landmarks, inverse=inverse)
    expected = DIGITS[landmarks, inverse]
    np.testing.assert_allclose((out[0, 0], out[-1, -1], out.sum()), expected, atol=1e-11)


# -------------------------------------------------------------------------------- exact cases


def test_landmarks_at_all_positions_are_exact_with_the_exact_inverse():
    np.testing.assert_allclose(
        nystrom_attention(Q, K, V, landmarks=8, **EXACT), softmax_attention(Q, K, V), atol=1e-12
    )


@pytest.mark.parametrize("sizes", [[3, 3, 3], [3, 3, 4]])
def test_sequences_that_are_constant_in_every_segment_are_exact(sizes):
    q, k = (np.repeat(2.0 * RNG.standard_normal((3, 4)), sizes, axis=0) for _ in range(2))
    v = RNG.standard_normal((sum(sizes), 2))
    out = nystrom_attention(q, k, v, landmarks=3, **EXACT)
    np.testing.assert_allclose(out, softmax_attention(q, k, v), atol=1e-10)


@pytest.mark.parametrize("inverse", ["iterated", "exact", "none"])
def test_one_landmark_is_the_attention_of_the_mean_query(inverse):
    expected = softmax_attention(Q.mean(axis=0, keepdims=True), K, V)
    out = nystrom_attention(Q, K, V, landmarks=1, inverse=inverse)
    np.testing.assert_allclose(out, np.broadcast_to(expected, out.shape), atol=1e-14)


def test_rows_sum_to_one_with_an_inverse_and_weights_may_be_negative():
    weights = nystrom_attention(Q, K, np.eye(8), landmarks=3, **EXACT)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-11)
    assert (weights < 0).any()
    weights = nystrom_attention(Q, K, np.eye(8), landmarks=3, inverse="none")
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-14)
    assert (weights > 0).all()
    assert np.linalg.matrix_rank(weights) == 3


def test_more_landmarks_need_not_be_closer():
    """Normal data, 64 positions of 8 features: the exact inverse is worse than six steps."""
    q, k = RNG.standard_normal((2, 64, 8))
    right = softmax_attention(q, k, np.eye(64))

    def error(landmarks, inverse):
        found = nystrom_attention(q, k, np.eye(64), landmarks=landmarks, inverse=inverse)
        return np.linalg.norm(found - right) / np.linalg.norm(right)

    assert error(32, "exact") > error(8, "exact") > error(8, "iterated")
    assert error(64, "exact") < 1e-8


def test_permuting_whole_segments_permutes_the_output():
    order = np.concatenate([np.arange(4, 8), np.arange(4)])
    out = nystrom_attention(Q, K, V, landmarks=2)
    turned = nystrom_attention(Q[order], K[order], V[order], landmarks=2)
    np.testing.assert_allclose(turned, out[order], atol=1e-13)


@pytest.mark.parametrize("segments", SEGMENTS)
def test_a_shift_of_all_keys_matters_only_where_segments_are_padded(segments):
    q, k, v = (x[:7] for x in (Q, K, V))
    options = {"landmarks": 3, "segments": segments}
    change = nystrom_attention(q, k + 1.0, v, **options) - nystrom_attention(q, k, v, **options)
    assert (np.abs(change).max() > 1e-3) == segments.endswith("padded")


def test_heads_do_not_see_each_other():
    """A divisor over the batch, as in the first public code, would mix them."""
    q = np.stack([Q, 5.0 * Q])
    together = nystrom_attention(q, K, V, landmarks=4)
    alone = [nystrom_attention(x, K, V, landmarks=4) for x in q]
    np.testing.assert_allclose(together, alone, atol=1e-14)


# ------------------------------------------------------------------------------------ segments


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ("uneven", [2, 3, 3, 3]),
        ("array_split", [3, 3, 3, 2]),
        ("overlapping", [3, 4, 4, 3]),
        ("zero_padded", [3, 3, 3, 3]),
        ("front_padded", [3, 3, 3, 3]),
    ],
)
def test_sizes_of_eleven_positions_in_four_segments(segments, expected):
    assert _segments(11, 4, segments)[2] == expected


@pytest.mark.parametrize("segments", SEGMENTS)
def test_segments_are_the_same_where_they_divide(segments):
    x = RNG.standard_normal((12, 2))
    expected = x.reshape(4, 3, 2).mean(axis=1)
    np.testing.assert_allclose(
        segment_means(x, landmarks=4, segments=segments), expected, atol=1e-15
    )


def test_padding_is_at_the_end_or_at_the_start():
    x = np.ones((5, 1))
    tail = segment_means(x, landmarks=3, segments="zero_padded")[:, 0]
    front = segment_means(x, landmarks=3, segments="front_padded")[:, 0]
    np.testing.assert_array_equal(tail, [1.0, 1.0, 0.5])
    np.testing.assert_array_equal(front, [0.5, 1.0, 1.0])


# --------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("inverse", ["iterated", "exact", "none"])
def test_masked_positions_are_inert(inverse):
    """Whole segments of padding, of NaN, after three segments: as if they were not there."""
    keep = np.arange(8) < 6
    q, k, v = Q.copy(), K.copy(), V.copy()
    q[6:] = k[6:] = v[6:] = np.nan
    options = {"landmarks": 4, "inverse": inverse, "mask": keep, "query_mask": keep}
    out = nystrom_attention(q, k, v, **options)
    expected = nystrom_attention(Q[:6], K[:6], V[:6], landmarks=3, inverse=inverse)
    np.testing.assert_allclose(out[:6], expected, atol=1e-10)
    np.testing.assert_array_equal(out[6:], 0.0)
    for gradient in nystrom_attention.vjp(np.ones((8, 4)), q, k, v, **options):
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[6:], 0.0)


def test_a_head_without_keys_is_zero():
    out = nystrom_attention(Q, K, V, landmarks=2, mask=np.zeros(8, bool))
    np.testing.assert_array_equal(out, 0.0)


# --------------------------------------------------------------------------------- convolution


def test_convolution_is_a_correlation_with_zeros_outside():
    kernel = np.array([1.0, 10.0, 100.0])
    plain = nystrom_attention(Q, K, V, landmarks=2)
    skip = nystrom_attention(Q, K, V, landmarks=2, convolution=kernel) - plain
    np.testing.assert_allclose(skip[3], V[2] + 10 * V[3] + 100 * V[4], atol=1e-12)
    np.testing.assert_allclose(skip[0], 10 * V[0] + 100 * V[1], atol=1e-12)
    np.testing.assert_allclose(skip[7], V[6] + 10 * V[7], atol=1e-12)
    wide = nystrom_attention(Q, K, V, landmarks=2, convolution=np.ones(33)) - plain
    np.testing.assert_allclose(wide, np.broadcast_to(V.sum(axis=0), wide.shape), atol=1e-12)


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"landmarks": 9}, "landmarks: expected at most as many as positions, 8, got 9"),
        ({"landmarks": 0}, "landmarks: expected a positive whole number"),
        ({"landmarks": 2, "segments": "even"}, "segments: expected one of"),
        ({"landmarks": 2, "inverse": "newton"}, "inverse: expected one of 'iterated'"),
        ({"landmarks": 2, "convolution": np.ones(4)}, "an odd number of taps, got 4"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        nystrom_attention(Q, K, V, **options)


def test_a_convolution_needs_as_many_queries_as_keys():
    with pytest.raises(ValueError, match="as many queries as keys"):
        nystrom_attention(Q[:6], K, V, landmarks=2, convolution=np.ones(3))


def test_there_is_no_causal_form():
    with pytest.raises(TypeError, match="no option 'causal'"):
        nystrom_attention(Q, K, V, landmarks=2, causal=True)
