"""Softmax attention against published digits, closed forms, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

import refimpl
from refimpl import attention_logsumexp, attention_weights, softmax_attention

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V, G = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2), np.cos(T)
RNG = np.random.default_rng(8180)


# variant, queries, options, O[0, 0], O[-1, -1], sum of O, L[-1]: confirmed at 40 digits.
DIGITS = [
    ("full", 8, {}, 0.077105392440, -0.163608485432, -1.486502682012, 2.238771461779),
    (
        "causal",
        8,
        {"causal": True},
        0.909297426826,
        -0.163608485432,
        -1.224597680513,
        2.238771461779,
    ),
    (
        "top left",
        3,
        {"causal": "top_left"},
        0.909297426826,
        -0.153474821899,
        -1.513813153522,
        1.132249623431,
    ),
    (
        "bottom right",
        3,
        {"causal": "bottom_right"},
        0.050366771307,
        -0.113248166282,
        -0.089371716579,
        2.339344128438,
    ),
    (
        "soft cap",
        8,
        {"softcap": 1.5},
        0.067205757037,
        -0.151325632851,
        -1.330236997819,
        2.204358873120,
    ),
    ("sink", 8, {"sink": 0.25}, 0.068889390595, -0.143912167630, -1.310182646736, 2.367044585080),
    (
        "window",
        8,
        {"causal": True, "window": (2, None)},
        0.909297426826,
        0.186980415881,
        0.462744819563,
        1.172604832150,
    ),
    (
        "log n",
        8,
        {"scale": 0.5 * np.log(8) / np.log(512)},
        0.064355979513,
        -0.139918987931,
        -1.290937271778,
        2.083352481016,
    ),
]


@pytest.mark.parametrize(
    ("n", "options", "first", "last", "total", "level"),
    [d[1:] for d in DIGITS],
    ids=[d[0] for d in DIGITS],
)
def test_published_digits(n, options, first, last, total, level):
    out = softmax_attention(Q[:n], K, V, **options)
    found = out[0, 0], out[-1, -1], out.sum(), attention_logsumexp(Q[:n], K, **options)[-1]
    np.testing.assert_allclose(found, (first, last, total, level), rtol=0, atol=1e-12)


def test_alibi_is_a_bias():
    distance = np.arange(8)[:, None] - np.arange(8)
    out = softmax_attention(Q, K, V, bias=-0.5 * distance, causal=True)
    np.testing.assert_allclose(
        (out[0, 0], out[-1, -1], out.sum()),
        (0.909297426826, -0.168547718558, -0.091324993170),
        atol=1e-12,
    )


def test_published_digits_of_gradients():
    dq, dk, dv = softmax_attention.vjp(G, Q, K, V)
    np.testing.assert_allclose(
        (dq[0, 0], dk[7, 3], dv[0, 0], np.linalg.norm(dq)),
        (-0.006679195796, -0.335981872182, 0.365770918165, 0.201932688939),
        atol=1e-12,
    )
    dq, dk, dv = softmax_attention.vjp(G, Q, K, V, causal=True)
    np.testing.assert_allclose(
        (dq[7, 3], dk[0, 0], dv[0, 0], np.linalg.norm(dk)),
        (-0.033190819594, 0.056716156084, 1.179814895222, 1.221113604243),
        atol=1e-12,
    )


def test_scipy_agrees():
    scores = Q @ K.T / 2.0
    np.testing.assert_allclose(attention_weights(Q, K), softmax(scores, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(attention_logsumexp(Q, K), logsumexp(scores, axis=-1), rtol=1e-14)


def test_rows_that_see_nothing_follow_the_policy():
    mask = np.ones((8, 8), bool)
    mask[3] = False
    zero, nan, mean = (
        softmax_attention(Q, K, V, mask=mask, empty=e) for e in ("zero", "nan", "mean")
    )
    assert not zero[3].any()
    assert np.isnan(nan[3]).all() and np.isfinite(np.delete(nan, 3, axis=0)).all()
    np.testing.assert_allclose(mean[3], V.mean(axis=0))
    assert attention_logsumexp(Q, K, mask=mask)[3] == -np.inf
    with_sink = softmax_attention(Q, K, V, mask=mask, sink=0.7, empty="nan")
    assert not with_sink[3].any()
    assert attention_logsumexp(Q, K, mask=mask, sink=0.7)[3] == 0.7


@pytest.mark.parametrize("form", ["plain", "online", "rows"])
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_masked_keys_and_values_are_inert_whatever_they_hold(form, garbage):
    mask = np.ones((8, 8), bool)
    mask[:, [2, 7]] = False
    mask[4] = False
    k, v, bias = K.copy(), V.copy(), RNG.standard_normal((8, 8))
    clean = bias.copy()
    k[[2, 7]], v[[2, 7]], bias[:, [2, 7]] = garbage, garbage, garbage
    options = {"mask": mask, "softcap": 2.0}
    np.testing.assert_array_equal(
        softmax_attention(Q, k, v, bias=bias, form=form, **options),
        softmax_attention(Q, K, V, bias=clean, form=form, **options),
    )
    dirty = softmax_attention.vjp(G, Q, k, v, bias=bias, form=form, **options)
    tidy = softmax_attention.vjp(G, Q, K, V, bias=clean, form=form, **options)
    for a, b in zip(dirty, tidy, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)


def test_a_nan_that_is_seen_is_not_hidden():
    v = V.copy()
    v[2, 1] = np.nan
    out = softmax_attention(Q, K, v, causal=True)
    assert np.isfinite(out[:2]).all() and np.isnan(out[2:, 1]).all()
    assert np.isfinite(np.delete(out, 1, axis=1)).all()


def test_softmax_off_by_one():
    weights = attention_weights(Q, K, sink=0.0)
    np.testing.assert_allclose(weights.sum(axis=-1), expit(attention_logsumexp(Q, K)))


def test_soft_cap_before_the_mask_and_the_bias():
    mask = np.tri(8, dtype=bool)
    v = np.where(np.arange(8)[:, None] == 7, 1e6, V)
    assert np.abs(softmax_attention(Q, K, v, mask=mask, softcap=1.0)[:7]).max() < 1.0


def test_a_decoding_step_is_the_last_row_of_the_prefill():
    whole = softmax_attention(Q, K, V, causal=True)
    for i in range(8):
        step = softmax_attention(Q[i : i + 1], K[: i + 1], V[: i + 1], causal="bottom_right")
        np.testing.assert_allclose(step[0], whole[i], rtol=1e-12)
        cached = softmax_attention(Q[i : i + 1], K, V, causal=True, offset=i)
        np.testing.assert_allclose(cached[0], whole[i], rtol=1e-12)


def test_causal_rows_do_not_see_the_future_in_any_bit():
    changed = K.copy()
    changed[5:] = 1e3
    a, b = (softmax_attention(Q, k, V, causal=True) for k in (K, changed))
    np.testing.assert_array_equal(a[:5], b[:5])


def test_limits_of_the_scale():
    np.testing.assert_allclose(
        softmax_attention(Q, K, V, scale=0.0), np.tile(V.mean(axis=0), (8, 1))
    )
    hard = softmax_attention(Q, K, V, scale=1e6)
    np.testing.assert_allclose(hard, V[(Q @ K.T).argmax(axis=-1)], rtol=1e-12)


def test_logits_of_ten_thousand_do_not_overflow():
    for dtype in (np.float32, np.float64):
        q, k = np.full((2, 4), 100.0, dtype), np.full((3, 4), 100.0, dtype)
        k[1] *= -1.0
        k[2] = 0.0
        np.testing.assert_array_equal(attention_weights(q, k, scale=0.25), [[1, 0, 0], [1, 0, 0]])
        np.testing.assert_array_equal(attention_logsumexp(q, k, scale=0.25), [1e4, 1e4])


def test_a_scale_that_is_negative_or_no_number_is_refused():
    for form in ("plain", "rows", "online"):
        with pytest.raises(ValueError, match="scale: expected no negative numbers, got -1"):
            softmax_attention(Q, K, V, scale=np.array([1.0, -1.0]), form=form)
        with pytest.raises(ValueError, match="scale: expected finite numbers"):
            softmax_attention(Q, K, V, scale=np.nan, form=form)


def test_per_head_scale_and_sink_broadcast_over_the_batch():
    q, k, v = (RNG.standard_normal((2, 3, 5, 4)) for _ in range(3))
    scale, sink = np.array([0.1, 0.5, 2.0]), np.array([-1.0, 0.0, 3.0])
    out = softmax_attention(q, k, v, scale=scale, sink=sink)
    for h in range(3):
        one = softmax_attention(q[:, h], k[:, h], v[:, h], scale=scale[h], sink=sink[h])
        np.testing.assert_allclose(out[:, h], one, rtol=1e-13)
    gradients = softmax_attention.vjp(np.ones_like(out), q, k, v, scale=scale, sink=sink)
    assert [x.shape for x in gradients[3:]] == [(3,), (3,)]


def test_identities_of_the_gradient():
    g = RNG.standard_normal((8, 4))
    bias = RNG.standard_normal((8, 8))
    dq, dk, dv, dbias = softmax_attention.vjp(g, Q, K, V, bias=bias)
    np.testing.assert_allclose(dbias.sum(axis=-1), 0.0, atol=1e-14)
    np.testing.assert_allclose((dq * Q).sum(), (dk * K).sum(), rtol=1e-10)
    np.testing.assert_allclose((dv * V).sum(), (g * softmax_attention(Q, K, V, bias=bias)).sum())
    level = refimpl.attention_logsumexp.vjp(np.ones(8), Q, K, bias=bias)
    np.testing.assert_allclose(level[2], attention_weights(Q, K, bias=bias), rtol=1e-13)
