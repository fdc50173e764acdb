"""Random features and Performer attention: exact moments, chunks, overflow, leaks."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import (
    favor_features,
    favor_moments,
    linear_attention,
    performer_attention,
    softmax_attention,
)
from refimpl.attention.projections import sample_projections
from refimpl.evidence import evidence

KINDS = favor_features.declared["kind"].values
RNG = np.random.default_rng(7921)
W = RNG.standard_normal((12, 4))
Q, K, V = (
    RNG.standard_normal((2, 1, 9, 4)),
    RNG.standard_normal((3, 7, 4)),
    RNG.standard_normal((7, 5)),
)
MASK = np.array([True, False, True, True, True, False, True])
OPTIONS = [
    {},
    {"mask": MASK, "scale": np.array([[0.2], [0.7]])},
    {"causal": "top_left"},
    {"causal": "bottom_right", "mask": MASK},
    {"causal": True, "offset": 5},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_linear_attention_over_the_features(kind, options):
    scale = options.get("scale")
    root = 4**-0.25 if scale is None else np.sqrt(scale)[..., None, None]
    qf, kf = (favor_features(root * x, W, kind=kind) for x in (Q, K))
    rest = {n: o for n, o in options.items() if n != "scale"}
    expected = linear_attention(qf, kf, V, features="identity", **rest)
    found = performer_attention(Q, K, V, W, kind=kind, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["positive", "hyperbolic", "relu"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("chunk", [1, 2, 5, 9, 64])
def test_every_chunk_gives_the_same(kind, options, chunk):
    expected = performer_attention(Q, K, V, W, kind=kind, **options)
    chunked = performer_attention(Q, K, V, W, kind=kind, form="chunked", chunk=chunk, **options)
    np.testing.assert_allclose(chunked, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("form", [n for n, f in performer_attention.forms.items() if not f.loses])
def test_nothing_overflows_and_nothing_leaks(form):
    """Vectors so long that features overflow; the last key is not noticed before its turn."""
    q, k = (30.0 * x for x in (K, K))
    options = {"kind": "positive", "causal": True, "form": form}
    out = performer_attention(q, k, V, W, **options)
    assert np.isfinite(out).all()
    k[..., -1, :] *= 5.0
    np.testing.assert_array_equal(
        performer_attention(q, k, V, W, **options)[..., :-1, :], out[..., :-1, :]
    )


def test_the_textbook_form_shows_where_its_exponentials_vanish():
    """A row is right, or NaN, never the 0 of a query that sees nothing."""
    options = {"kind": "positive", "causal": True}
    right = performer_attention(30.0 * K, 30.0 * K, V, W, **options)
    textbook = performer_attention(30.0 * K, 30.0 * K, V, W, form="textbook", **options)
    is_lost = np.isnan(textbook)
    assert is_lost.any()
    np.testing.assert_allclose(textbook[~is_lost], right[~is_lost], rtol=1e-9)


def test_eps_drowns_features_and_leaks():
    """What public code does to normal data of 64 features, measured by a constant value column."""
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 64, 64))
    projections = sample_projections(rng, 256, 64, orthogonal=False)
    of = evidence(performer_attention)
    with_eps = of.mutants["eps_of_performer_pytorch"].body
    options = {"kind": "positive"}
    weights = with_eps(q, k, np.eye(64), projections, **options)
    right = performer_attention(q, k, np.eye(64), projections, **options)
    assert np.abs(weights - 1 / 64).sum(axis=-1).mean() < 0.15
    assert np.abs(right - weights).sum(axis=-1).mean() > 0.5
    changed = np.concatenate([k[:-1], 2.0 * k[-1:]])
    causal = options | {"causal": True}
    leak = with_eps(q, changed, np.eye(64), projections, **causal)[:-1]
    assert np.abs(leak - with_eps(q, k, np.eye(64), projections, **causal)[:-1]).max() > 1e-6


def test_published_moments():
    """The specification's example, d = 8: pos, ort+, hyp, hyp+ort, trig, trig+ort for m = 8."""
    # |x|^2 + |y|^2 and x.y follow from SM = 0.944282 and |x + y|^2 = 0.611265.
    dot = np.log(0.944282)
    total = 0.611265 - 2 * dot
    # Any pair with these two numbers has the same moments.
    length = np.sqrt(total / 2)
    cosine = dot / length**2
    x = np.zeros(8)
    y = np.zeros(8)
    x[0] = length
    y[:2] = length * cosine, length * np.sqrt(1 - cosine**2)
    table = {
        ("positive", "iid"): 0.0939329,
        ("positive", "chi"): 0.0807910,
        ("hyperbolic", "iid"): 0.0214794,
        ("hyperbolic", "chi"): 0.0083376,
        ("trigonometric", "iid"): 0.0417514,
        ("trigonometric", "chi"): 0.0101666,
    }
    for (kind, projections), expected in table.items():
        mean, error = favor_moments(x, y, kind=kind, number=8, projections=projections)
        assert mean == pytest.approx(0.944282, rel=1e-12)
        assert error == pytest.approx(expected, rel=3e-5)


@pytest.mark.parametrize("kind", KINDS[:4])
@pytest.mark.parametrize("projections", ["iid", "chi", "sqrt_d"])
def test_moments_against_draws(kind, projections):
    """Both moments within six standard errors of 20000 draws."""
    if projections == "sqrt_d" and kind != "positive":
        with pytest.raises(ValueError, match="known with projections='sqrt_d'"):
            favor_moments([0.1], [0.1], kind=kind, number=2, projections=projections)
        return
    rng = np.random.default_rng(1)
    x, y = 0.4 * rng.standard_normal((2, 5))
    rows = {"orthogonal": projections != "iid"}
    rows |= {} if projections == "iid" else {"lengths": projections}
    draws = np.stack([sample_projections(rng, 8, 5, **rows) for _ in range(20_000)])
    fx, fy = (favor_features(a[None], draws, kind=kind)[..., 0, :] for a in (x, y))
    estimates = (fx * fy).sum(axis=-1)
    mean, error = favor_moments(x, y, kind=kind, number=8, projections=projections)
    right = np.exp(-((x - y) ** 2).sum() / 2) if kind == "fourier" else np.exp(x @ y)
    for sample, expected in ((estimates, mean), ((estimates - right) ** 2, error)):
        assert abs(sample.mean() - expected) < 6 * sample.std() / np.sqrt(len(sample))


def test_error_stays_under_the_bound_of_the_paper():
    """Theorem 2, m <= d: a gain of at least 2(m - 1)/(m(d + 2)) (SM - exp(-total/2))^2."""
    rng = np.random.default_rng(2)
    for d in (2, 5, 16):
        x, y = 0.5 * rng.standard_normal((2, 200, d)) / d**0.25
        for m in (2, d):
            options = {"kind": "positive", "number": m}
            mean, error = favor_moments(x, y, projections="chi", **options)
            _, independent = favor_moments(x, y, projections="iid", **options)
            total = (x * x).sum(-1) + (y * y).sum(-1)
            gain = 2 * (m - 1) / (m * (d + 2)) * (mean - np.exp(-total / 2)) ** 2
            assert (error <= independent - gain * (1 - 1e-9)).all()


def test_error_of_attention_falls_with_the_number_of_features():
    """The quotient is consistent: sixteen times as many projections, a quarter of the error."""
    rng = np.random.default_rng(3)
    q, k, v = (0.5 * rng.standard_normal((20, 8)) for _ in range(3))
    right = softmax_attention(q, k, v)
    errors = []
    for number in (64, 1024):
        found = [
            performer_attention(q, k, v, sample_projections(rng, number, 8), kind="positive")
            for _ in range(20)
        ]
        errors.append(np.sqrt(np.mean([(f - right) ** 2 for f in found])))
    assert 2.5 < errors[0] / errors[1] < 6.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cosine"}, "kind: expected one of"),
        ({"kind": "positive", "scale": -1.0}, "scale: its root"),
        ({"kind": "positive", "causal": True}, "can be aligned in two ways"),
        ({"kind": "positive", "form": "chunked", "chunk": 0}, "chunk: expected a positive"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        performer_attention(Q, K, V, W, **options)


def test_no_projection_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        favor_features(Q, np.zeros((0, 4)), kind="relu")
    for options in ({"number": 0}, {"number": 1.5}):
        with pytest.raises(ValueError, match="number: expected a positive whole number"):
            favor_moments([1.0], [1.0], kind="positive", projections="iid", **options)
