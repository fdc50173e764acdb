"""Linear attention: published digits, equal forms for every chunk, streams, what must not leak."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from refimpl import feature_map, linear_attention, streamed_linear_attention

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)
ROOT_HALF = 0.5**0.5
ELU = {"features": "elu_plus_one"}

DIGITS = [
    ("elu + 1", 1.0, ELU, 0.078345207895, -0.139058763792, -0.836046436326),
    ("causal", 1.0, ELU | {"causal": True}, 0.909297426826, -0.139058763792, 0.450733739165),
    (
        "1 + cos",
        1.0,
        {"features": "one_plus_cosine"},
        0.084072554135,
        -0.170989857326,
        -1.269315966963,
    ),
    (
        "Taylor",
        ROOT_HALF,
        {"features": "taylor_2"},
        0.067081359964,
        -0.149505376041,
        -1.350529523484,
    ),
]


@pytest.mark.parametrize("form", linear_attention.forms)
@pytest.mark.parametrize(
    ("factor", "options", "first", "last", "total"),
    [d[1:] for d in DIGITS],
    ids=[d[0] for d in DIGITS],
)
def test_published_digits(factor, options, first, last, total, form):
    out = linear_attention(factor * Q, factor * K, V, form=form, **options)
    np.testing.assert_allclose(
        (out[0, 0], out[-1, -1], out.sum()), (first, last, total), atol=1e-12
    )


RNG = np.random.default_rng(7546)
BIG_Q, BIG_K, BIG_V = (RNG.standard_normal(s) for s in ((2, 1, 13, 4), (3, 11, 4), (2, 3, 11, 5)))
MASK = RNG.random(11) < 0.7
OPTIONS = [
    ELU,
    ELU | {"mask": MASK, "eps": np.array([[0.5], [0.1]])},
    ELU | {"causal": "top_left"},
    ELU | {"causal": "bottom_right", "mask": MASK},
    {"features": "relu", "causal": True, "offset": 3},
    {"features": "relu", "causal": True, "offset": -4, "eps": 0.25},
    {"features": "taylor_2", "causal": True, "offset": 40},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 13, 64])
def test_every_chunk_gives_the_same(options, chunk):
    arrays = BIG_Q, BIG_K, BIG_V
    chunked = {"form": "chunked", "chunk": chunk}
    expected = linear_attention(*arrays, **options)
    np.testing.assert_allclose(
        linear_attention(*arrays, **chunked, **options), expected, rtol=1e-12, atol=1e-13
    )
    g = RNG.standard_normal(expected.shape)
    for a, b in zip(
        linear_attention.vjp(g, *arrays, **chunked, **options),
        linear_attention.vjp(g, *arrays, **options),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 5], list(range(1, 8))])
def test_a_stream_may_be_cut_anywhere(cuts):
    whole = linear_attention(Q, K, V, causal=True, **ELU)
    sums = {"state": None, "normaliser": None}
    outputs = []
    for start, stop in zip([0, *cuts], [*cuts, 8], strict=True):
        part = (x[start:stop] for x in (Q, K, V))
        output, *found = streamed_linear_attention(*part, **ELU, **sums)
        sums = dict(zip(sums, found, strict=True))
        outputs.append(output)
    np.testing.assert_allclose(np.concatenate(outputs), whole, atol=1e-14)
    kf = feature_map(K, **ELU)
    np.testing.assert_allclose(sums["state"], kf.T @ V, rtol=1e-13)
    np.testing.assert_allclose(sums["normaliser"], kf.sum(axis=0), rtol=1e-14)


@pytest.mark.parametrize("form", linear_attention.forms)
def test_masked_and_future_positions_are_inert_even_where_they_are_nan(form):
    k, v = K.copy(), V.copy()
    k[5:] = v[5:] = np.nan
    out = linear_attention(Q, k, v, mask=np.arange(8) < 5, form=form, **ELU)
    np.testing.assert_allclose(out, linear_attention(Q, K[:5], V[:5], **ELU), rtol=1e-14)
    gradients = linear_attention.vjp(np.ones((8, 4)), Q, k, v, mask=np.arange(8) < 5, **ELU)
    for gradient in gradients:
        assert np.isfinite(gradient).all()
    v = np.where(np.arange(8)[:, None] == 7, np.nan, V)
    causal = linear_attention(Q, K, v, causal=True, form=form, **ELU)
    assert np.isfinite(causal[:7]).all() and np.isnan(causal[7]).all()


@pytest.mark.parametrize("form", linear_attention.forms)
def test_a_query_without_similar_key_follows_the_policy(form):
    q, k, v = [[-1.0], [1.0]], [[2.0], [3.0]], [[1.0], [6.0]]
    relu = {"features": "relu", "form": form}
    np.testing.assert_allclose(linear_attention(q, k, v, **relu), [[0.0], [4.0]])
    out = linear_attention(q, k, v, empty="nan", **relu)
    assert np.isnan(out[0, 0]) and out[1, 0] == 4.0
    for gradient in linear_attention.vjp([[1.0], [0.0]], q, k, v, features="relu"):
        np.testing.assert_array_equal(gradient, 0.0)


def test_eps_shrinks_rows():
    ones = np.ones((8, 1))
    den = (feature_map(Q, **ELU) @ feature_map(K, **ELU).T).sum(axis=-1)
    out = linear_attention(Q, K, ones, eps=0.5, **ELU)[:, 0]
    np.testing.assert_allclose(out, den / (den + 0.5), rtol=1e-14)


def test_memory_of_the_chunked_form_does_not_grow_with_pairs():
    """4096 positions: pairs would take 134 MB, the arrays take a quarter of one."""
    q, k, v = (RNG.standard_normal((4096, 8)) for _ in range(3))
    tracemalloc.start()
    linear_attention.vjp(np.ones((4096, 8)), q, k, v, causal=True, **ELU)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": "relu", "empty": "mean"}, "empty: expected 'zero' or 'nan'"),
        (
            {"features": "relu", "form": "chunked", "chunk": 0},
            "chunk: expected a positive whole number",
        ),
        ({"features": "relu", "causal": True, "offset": None}, "can be aligned in two ways"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        linear_attention(Q[:3], K, V, **options)


def test_a_float_mask_is_refused_with_a_hint():
    with pytest.raises(TypeError, match="mask: expected booleans, got float64"):
        linear_attention(Q, K, V, mask=np.ones(8), **ELU)
