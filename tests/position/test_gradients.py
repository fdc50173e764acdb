"""Gradients as they are derived by hand: each a sum over pairs, written out as loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.axial import axial_rotary_embedding, multimodal_rotary_embedding
from refimpl.position.bias import alibi_bias, kerple_bias
from refimpl.position.contextual import contextual_bias
from refimpl.position.multiplicative import complex_order_encoding, multiplicative_encoding
from refimpl.position.relative import (
    disentangled_logits,
    relative_attention_logits,
    relative_attention_values,
)
from refimpl.position.rerope import rerope_logits
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.scaling import proportional_frequencies
from refimpl.position.scaling_by_parts import yarn_frequencies
from refimpl.position.tables import hierarchical_encoding, learned_encoding
from refimpl.position.transformer_xl import transformer_xl_logits
from refimpl.position.xpos import xpos_embedding

N, M, D = 5, 7, 4
QUERIES, KEYS = np.arange(2, 2 + N), np.arange(M)
PAIRS = [(a, b) for a in range(N) for b in range(M)]
SCALE = 1 / math.sqrt(D)


def _rng():
    return np.random.default_rng(8130)


def _through_softmax(logits, of_weights):
    """The gradient of the logits from that of the weights: its rows add up to nothing."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    ds = weights * (of_weights - (weights * of_weights).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(ds.sum(axis=-1), 0.0, atol=1e-14)
    return weights, ds


def _same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


# ---------------------------------------------------------------------------------------- relative


def test_keys_and_values_by_distance():
    """Shaw: dP_k[r] = scale sum ds_ij q_i and dP_v[r] = sum a_ij do_i over the pairs of row r."""
    rng = _rng()
    q, k, v = (rng.standard_normal((n, D)) for n in (N, M, M))
    of_keys, of_values = rng.standard_normal((2, 5, D))
    g = rng.standard_normal((N, D))
    row = {(a, b): min(max(KEYS[b] - QUERIES[a], -2), 2) + 2 for a, b in PAIRS}
    logits = relative_attention_logits(q, k, of_keys, QUERIES, KEYS, order="k_minus_q")
    of_weights = np.array(
        [[g[a] @ (v[b] + of_values[row[a, b]]) for b in range(M)] for a in range(N)]
    )
    weights, ds = _through_softmax(logits, of_weights)
    dweights, dv, dvalue_table = relative_attention_values.vjp(
        g, weights, v, of_values, QUERIES, KEYS, order="k_minus_q"
    )
    dq, dk, dkey_table = relative_attention_logits.vjp(
        ds, q, k, of_keys, QUERIES, KEYS, order="k_minus_q"
    )
    expected = {
        name: np.zeros(x.shape)
        for name, x in {"q": q, "k": k, "v": v, "keys": of_keys, "values": of_values}.items()
    }
    for a, b in PAIRS:
        r = row[a, b]
        expected["keys"][r] += SCALE * ds[a, b] * q[a]
        expected["values"][r] += weights[a, b] * g[a]
        expected["q"][a] += SCALE * ds[a, b] * (k[b] + of_keys[r])
        expected["k"][b] += SCALE * ds[a, b] * q[a]
        expected["v"][b] += weights[a, b] * g[a]
    for found, name in (
        (dkey_table, "keys"),
        (dvalue_table, "values"),
        (dq, "q"),
        (dk, "k"),
        (dv, "v"),
    ):
        _same(found, expected[name])
    _same(dweights, of_weights)
    _same(dkey_table.sum(axis=0), 0.0)


def test_biases_and_distances_of_transformer_xl():
    """du = scale sum ds k_j, dv = scale sum ds r_t, dr_t = scale sum ds (q_i + v) at i - j = t."""
    rng = _rng()
    q, k, rows = (rng.standard_normal((n, D)) for n in (N, M, 11))
    u, v = rng.standard_normal((2, D))
    arrays = q, k, u, v, rows, QUERIES, KEYS
    logits = transformer_xl_logits(*arrays, lowest=-4)
    _, ds = _through_softmax(logits, rng.standard_normal((N, M)))
    dq, dk, du, dv, drows = transformer_xl_logits.vjp(ds, *arrays, lowest=-4)
    expected = [np.zeros(x.shape) for x in (q, k, u, v, rows)]
    for a, b in PAIRS:
        t = QUERIES[a] - KEYS[b] + 4
        expected[0][a] += SCALE * ds[a, b] * (k[b] + rows[t])
        expected[1][b] += SCALE * ds[a, b] * (q[a] + u)
        expected[2] += SCALE * ds[a, b] * k[b]
        expected[3] += SCALE * ds[a, b] * rows[t]
        expected[4][t] += SCALE * ds[a, b] * (q[a] + v)
    for found, wanted in zip((dq, dk, du, dv, drows), expected, strict=True):
        _same(found, wanted)
    _same(drows.sum(axis=0), 0.0)


@pytest.mark.parametrize("p2c_index", ["paper", "code"])
def test_the_one_table_of_deberta(p2c_index):
    """Each use adds to its row by its own index, and both projections lead back to one table."""
    rng = _rng()
    q, k = (rng.standard_normal((n, D)) for n in (N, M))
    table, (w_q, w_k) = rng.standard_normal((6, D)), rng.standard_normal((2, D, D))
    scale = 1 / math.sqrt(3 * D)

    def logits(table):
        return disentangled_logits(
            q, k, table @ w_q, table @ w_k, QUERIES, KEYS, p2c_index=p2c_index
        )

    of_weights = rng.standard_normal((N, M))
    _, ds = _through_softmax(logits(table), of_weights)
    dq, dk, dqueries, dkeys = disentangled_logits.vjp(
        ds, q, k, table @ w_q, table @ w_k, QUERIES, KEYS, p2c_index=p2c_index
    )
    by_keys, by_queries = np.zeros((2, 6, D))
    for a, b in PAIRS:
        forward, backward = (min(max(s * (QUERIES[a] - KEYS[b]) + 3, 0), 5) for s in (1, -1))
        by_keys[forward] += scale * ds[a, b] * q[a]
        by_queries[backward if p2c_index == "paper" else forward] += scale * ds[a, b] * k[b]
    _same(dkeys, by_keys)
    _same(dqueries, by_queries)
    tied, direction = dkeys @ w_k.T + dqueries @ w_q.T, 1e-6 * rng.standard_normal(table.shape)

    def loss(table):
        e = np.exp(logits(table))
        return (of_weights * e / e.sum(axis=-1, keepdims=True)).sum()

    difference = (loss(table + direction) - loss(table - direction)) / 2
    assert (tied * direction).sum() == pytest.approx(difference, rel=1e-6)


# ------------------------------------------------------------------------------------------ biases


def test_slopes_and_kernels_are_weighted_distances():
    """ALiBi: dm = -sum t ds. KERPLE: sums of -log(1 + s t), -r t/(1 + s t), -t^s, -r t^s log t."""
    rng = _rng()
    g = rng.standard_normal((2, N, M))
    ds = np.stack([_through_softmax(x, y)[1] for x, y in zip(g, g[::-1], strict=True)])
    m, r, s = rng.uniform(0.1, 1.5, (3, 2))
    t = np.abs(QUERIES[:, None] - KEYS)
    assert (t == 0).any()

    def total(slopes):
        return (ds * slopes).sum(axis=(-2, -1))

    _same(alibi_bias.vjp(ds, m, QUERIES, KEYS, sides="symmetric")[0], total(-t))
    r_, s_ = r[:, None, None], s[:, None, None]
    by_log = total(-np.log1p(s_ * t)), total(-r_ * t / (1 + s_ * t))
    log_t = np.log(np.where(t > 0, t, 1))
    by_power = total(-(t**s_)), total(-r_ * t**s_ * log_t)
    for kernel, expected in (("log", by_log), ("power", by_power)):
        found = kerple_bias.vjp(ds, r, s, QUERIES, KEYS, kernel=kernel)
        for one, wanted in zip(found, expected, strict=True):
            _same(one, wanted)


def test_gates_move_the_positions_of_all_keys_before():
    """CoPE: dp_ij = g q.(e_ceil - e_floor), 0 where clipped; ds_ik = gate' sum of dp_ij, j <= k."""
    rng = _rng()
    q, logits, table = (rng.standard_normal(s) for s in ((N, D), (N, M), (4, D)))
    mask = KEYS <= QUERIES[:, None]
    g = rng.standard_normal((N, M))
    gates = mask / (1 + np.exp(-logits))
    dq, dlogits, dtable = np.zeros(q.shape), np.zeros(logits.shape), np.zeros(table.shape)
    is_clipped = False
    for a, b in PAIRS:
        p = gates[a, b:].sum()
        is_clipped |= p > 3
        floor = min(int(p), 3)
        ceil, w = min(floor + 1, 3), min(p, 3.0) - floor
        dtable[floor] += (1 - w) * g[a, b] * q[a]
        dtable[ceil] += w * g[a, b] * q[a]
        dq[a] += g[a, b] * ((1 - w) * table[floor] + w * table[ceil])
        dp = g[a, b] * q[a] @ (table[ceil] - table[floor]) if p < 3 else 0.0
        for k in range(b, M):
            dlogits[a, k] += gates[a, k] * (1 - gates[a, k]) * dp
    assert is_clipped
    found = contextual_bias.vjp(g, q, logits, table, mask=mask)
    for one, wanted in zip(found, (dq, dlogits, dtable), strict=True):
        _same(one, wanted)


# ---------------------------------------------------------------------------------------- absolute


def test_quotients_and_remainders_lead_back_to_the_table():
    """du_r has a of the tokens of quotient r and 1 - a of remainder r; p_0 is in every u."""
    rng, a = _rng(), 0.3
    table, at = rng.standard_normal((3, D)), np.array([0, 2, 3, 5, 8, 8, 7])
    g = rng.standard_normal((7, D))
    du = np.zeros((3, D))
    for k, row in zip(at, g, strict=True):
        du[k // 3] += a * row
        du[k % 3] += (1 - a) * row
    expected = du / (1 - a)
    expected[0] -= a / (1 - a) * du.sum(axis=0)
    _same(hierarchical_encoding.vjp(g, table, at, alpha=a)[0], expected)


def test_rows_waves_and_factors():
    rng = _rng()
    g, at = rng.standard_normal((6, D)), np.array([1, 3, 3, 0, 1, 3])
    rows = np.zeros((5, D))
    np.add.at(rows, at + 1, g)
    _same(learned_encoding.vjp(g, np.zeros((5, D)), at, offset=1)[0], rows)
    theta, k = rotary_frequencies(10000.0, dim=D), at + 0.25
    waves = sinusoidal_encoding(
        k, dim=D, order="sin_first", layout="interleaved", frequencies="paper"
    )
    expected = (theta * (g[:, ::2] * waves[:, 1::2] - g[:, 1::2] * waves[:, ::2])).sum(axis=-1)
    _same(
        sinusoidal_encoding.vjp(
            g, k, dim=D, order="sin_first", layout="interleaved", frequencies="paper"
        )[0],
        expected,
    )
    batch, x, p = rng.standard_normal((3, 6, D)), rng.standard_normal((3, 6, D)), waves
    dx, dp = multiplicative_encoding.vjp(batch, x, p, parametrisation="factor")
    _same(dx, batch * p)
    _same(dp, (batch * x).sum(axis=0))


def test_complex_cotangents_turn_back():
    """With G = dL/dRe + i dL/dIm and e = exp(-i phi): dr = Re(G e), dphi = r Im(G e)."""
    rng = _rng()
    r, omega, theta, *g = rng.standard_normal((5, 6, D))
    k = np.array([0, 1, 2, 30, 5, 7])
    turned = (g[0] + 1j * g[1]) * np.exp(-1j * (omega * k[:, None] + theta))
    found = complex_order_encoding.vjp(tuple(g), r, omega, theta, k)
    dphi = r * turned.imag
    for one, wanted in zip(found, (turned.real, k[:, None] * dphi, dphi), strict=True):
        _same(one, wanted)


# ---------------------------------------------------------------------------------------- rotation


def test_rotations_have_torques():
    """dx = f R_-m g; dtheta_i = sum m <g_i, Y_i>, dm = sum theta <g, Y>, Y a quarter turn of y."""
    rng = _rng()
    x, g, m = *rng.standard_normal((2, N, D)), np.array([0.0, 2, -3, 7, 1.5])
    theta = np.array([1.0, 0.3])
    options = {"pairing": "interleaved", "frequencies": theta, "attention_factor": 1.25}
    y = rotary_embedding(x, m, **options)
    dx, dm, dtheta = rotary_embedding.vjp(g, x, m, **options)
    _same(dx, rotary_embedding(g, -m, **options))
    torque = g[:, 1::2] * y[:, ::2] - g[:, ::2] * y[:, 1::2]
    _same(dm, (theta * torque).sum(axis=-1))
    _same(dtheta, (m[:, None] * torque).sum(axis=0))


def test_xpos_turns_back_and_grows_as_before():
    rng = _rng()
    x, g, n = *rng.standard_normal((2, N, D)), np.arange(N) * 100.0
    options = {"pairing": "half", "role": "key", "centre": 50.0}
    zeta = (np.array([0, 2, 0, 2]) / D + 0.4) / 1.4
    back = rotary_embedding(g, -n, pairing="half")
    expected = zeta ** (-(n[:, None] - 50.0) / 512) * back
    _same(xpos_embedding.vjp(g, x, n, **options)[0], expected)


THETA = rotary_frequencies(10000.0, dim=8)
YARN, ATTENTION = yarn_frequencies(THETA, factor=4.0, trained_length=64, ramp="turns")
HALF = {"pairing": "half"}
ROTATIONS = {
    "YaRN": (rotary_embedding, HALF | {"frequencies": YARN, "attention_factor": float(ATTENTION)}),
    "proportional": (
        rotary_embedding,
        HALF | {"frequencies": proportional_frequencies(THETA, fraction=0.5)},
    ),
    "axial": (axial_rotary_embedding, HALF | {"split": "features"}),
    "M-RoPE": (
        multimodal_rotary_embedding,
        HALF | {"sections": (2, 1, 1), "arrangement": "interleaved"},
    ),
}


@pytest.mark.parametrize(("rotate", "options"), ROTATIONS.values(), ids=ROTATIONS)
def test_rotations_by_fixed_angles_have_their_transposes(rotate, options):
    rng = _rng()
    x, g = rng.standard_normal((2, N, 8))
    axes = {axial_rotary_embedding: (2,), multimodal_rotary_embedding: (3,)}.get(rotate, ())
    at = rng.integers(0, 1000, (*axes, N))
    dx = rotate.vjp(g, x, at, **options)[0]
    assert (g * rotate(x, at, **options)).sum() == pytest.approx((dx * x).sum(), rel=1e-12)
    _same(dx, rotate(g, -at, **options))


@pytest.mark.parametrize("leak", [None, 8.0])
def test_bounded_logits_are_linear_in_either_argument(leak):
    rng = _rng()
    q, k, g = (rng.standard_normal(s) for s in ((N, 8), (M, 8), (N, M)))
    options = HALF | {"window": 3, "leak": leak}
    dq, dk = rerope_logits.vjp(g, q, k, QUERIES, KEYS, **options)
    value = (g * rerope_logits(q, k, QUERIES, KEYS, **options)).sum()
    assert (dq * q).sum() == pytest.approx(value, rel=1e-12)
    assert (dk * k).sum() == pytest.approx(value, rel=1e-12)
    other = rng.standard_normal(q.shape)
    value = (g * rerope_logits(other, k, QUERIES, KEYS, **options)).sum()
    assert (dq * other).sum() == pytest.approx(value, rel=1e-12)
