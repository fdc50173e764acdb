"""What every encoding of relative positions obeys: shifts, caches, Toeplitz matrices.

Each scheme is a function from queries, keys and their positions to logits, so that the same
properties can be asked of all. A scheme that is not relative must fail them, or they see nothing.
"""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.absolute import sinusoidal_encoding
from refimpl.position.axial import axial_rotary_embedding, multimodal_rotary_embedding
from refimpl.position.bias import alibi_bias, kerple_bias
from refimpl.position.buckets import t5_bias
from refimpl.position.continuous import continuous_position_bias
from refimpl.position.relative import disentangled_logits, relative_attention_logits
from refimpl.position.rerope import rerope_logits
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.rotary_mixed import mixed_rotary_embedding
from refimpl.position.sandwich import sandwich_bias
from refimpl.position.scaling import linear_scaled_frequencies, ntk_frequencies
from refimpl.position.scaling_by_parts import llama3_frequencies, yarn_frequencies
from refimpl.position.transformer_xl import transformer_xl_logits
from refimpl.position.xpos import xpos_embedding

D, N = 16, 12
RNG = np.random.default_rng(8130)
TABLE = RNG.standard_normal((41, D))
OTHER_TABLE = RNG.standard_normal((41, D))
VECTORS = RNG.standard_normal((2, D))
BUCKETS = RNG.standard_normal((32, 1))
MATRIX = RNG.standard_normal((D, D))
PLANE = RNG.standard_normal((2, D // 2))
NETWORK = tuple(RNG.standard_normal(shape) for shape in ((1, 8), 8, (8, 1), 1))
THETA = rotary_frequencies(10000.0, dim=D)


def _by_rotation(rotate):
    return lambda q, k, i, j: rotate(q, i) @ rotate(k, j).T


def _with_frequencies(theta, attention_factor=1.0):
    return _by_rotation(
        lambda x, at: rotary_embedding(
            x, at, pairing="half", frequencies=theta, attention_factor=attention_factor
        )
    )


def _plus(bias):
    return lambda q, k, i, j: q @ k.T + bias(i, j)[0]


def _xpos(q, k, i, j):
    options = {"pairing": "half", "centre": 7.0}
    q_at = xpos_embedding(q, i, role="query", **options)
    return q_at @ xpos_embedding(k, j, role="key", **options).T


SCHEMES = {
    "rotary, half": _by_rotation(lambda x, at: rotary_embedding(x, at, pairing="half")),
    "rotary, interleaved": _by_rotation(
        lambda x, at: rotary_embedding(x, at, pairing="interleaved")
    ),
    "rotary, partial": _by_rotation(
        lambda x, at: rotary_embedding(x, at, pairing="half", rotary_dim=8)
    ),
    "interpolation": _with_frequencies(linear_scaled_frequencies(THETA, factor=4.0)),
    "NTK": _with_frequencies(ntk_frequencies(THETA, factor=4.0)),
    "YaRN": _with_frequencies(
        *yarn_frequencies(
            THETA, factor=4.0, base=10000.0, trained_length=2048, ramp="index", truncate=True
        )
    ),
    "Llama 3": _with_frequencies(llama3_frequencies(THETA, factor=8.0, trained_length=8192)),
    "xPos": _xpos,
    "axial": _by_rotation(
        lambda x, at: axial_rotary_embedding(
            x, np.stack([at, 3 * at]), pairing="half", split="features"
        )
    ),
    "M-RoPE": _by_rotation(
        lambda x, at: multimodal_rotary_embedding(
            x,
            np.stack([at, at + 2, 2 * at]),
            pairing="half",
            sections=(4, 2, 2),
            arrangement="contiguous",
        )
    ),
    "RoPE-Mixed": _by_rotation(
        lambda x, at: mixed_rotary_embedding(
            x, np.stack([at, 2 * at]), PLANE, pairing="interleaved"
        )
    ),
    "ReRoPE": lambda q, k, i, j: rerope_logits(q, k, i, j, pairing="half", window=4.0),
    "leaky ReRoPE": lambda q, k, i, j: rerope_logits(
        q, k, i, j, pairing="half", window=4.0, leak=8.0
    ),
    "Shaw": lambda q, k, i, j: relative_attention_logits(q, k, TABLE, i, j, order="k_minus_q"),
    "DeBERTa, code": lambda q, k, i, j: disentangled_logits(
        q, k, OTHER_TABLE[:40], TABLE[:40], i, j, p2c_index="code"
    ),
    "DeBERTa, paper": lambda q, k, i, j: disentangled_logits(
        q, k, OTHER_TABLE[:40], TABLE[:40], i, j, p2c_index="paper"
    ),
    "Transformer-XL": lambda q, k, i, j: transformer_xl_logits(
        q, k, *VECTORS, TABLE, i, j, lowest=-20
    ),
    "T5": _plus(lambda i, j: t5_bias(BUCKETS, i, j, bidirectional=True)),
    "T5, causal": _plus(lambda i, j: t5_bias(BUCKETS, i, j, bidirectional=False)),
    "ALiBi": _plus(lambda i, j: alibi_bias([0.5], i, j, sides="symmetric")),
    "KERPLE": _plus(lambda i, j: kerple_bias([2.0], [0.5], i, j, kernel="log")),
    "Sandwich": _plus(lambda i, j: sandwich_bias(THETA, i, j, heads=1, centred=False)),
    "Swin V2": _plus(
        lambda i, j: continuous_position_bias(
            *NETWORK, i[None, :], j[None, :], distance="log8", limit=16.0
        )
    ),
}

each = pytest.mark.parametrize("logits", SCHEMES.values(), ids=SCHEMES)


def _tokens(seed=0):
    return np.random.default_rng(seed).standard_normal((2, N, D))


def _differ(left, right):
    return np.abs(left - right).max() > 0.1


@each
@pytest.mark.parametrize("shift", [1, 1000, 100_000])
def test_positions_that_all_move_change_nothing(logits, shift):
    q, k = _tokens()
    at = np.arange(N)
    here, there = logits(q, k, at, at), logits(q, k, at + shift, at + shift)
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)


@each
def test_a_decoding_step_is_a_row_of_the_prefill(logits):
    q, k = _tokens()
    at = np.arange(N)
    prefill = logits(q, k, at, at)
    for i in range(N):
        step = logits(q[i : i + 1], k[: i + 1], at[i : i + 1], at[: i + 1])
        np.testing.assert_allclose(step[0], prefill[i, : i + 1], rtol=1e-12, atol=1e-12)


@each
def test_equal_tokens_have_a_toeplitz_matrix(logits):
    """It sees positions, and of them the difference only."""
    (q, *_), (k, *_) = _tokens()
    at = np.arange(N)
    table = logits(np.tile(q, (N, 1)), np.tile(k, (N, 1)), at, at)
    np.testing.assert_allclose(table[1:, 1:], table[:-1, :-1], rtol=1e-12, atol=1e-12)
    assert _differ(table[:, 0], table[:1, 0])


@each
def test_tokens_and_positions_may_come_in_any_order(logits):
    q, k = _tokens()
    at, order = np.arange(N), np.random.default_rng(1).permutation(N)
    expected = logits(q, k, at, at)[order][:, order]
    found = logits(q[order], k[order], at[order], at[order])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------- what is not relative fails all of it


def _rotated_before_projecting(q, k, i, j):
    """fairseq's RotaryPositionMultiHeadedAttention, at 3d262bb."""
    rotate = SCHEMES["rotary, half"]
    identity = np.eye(D)
    q_at, k_at = (rotate(x, identity, at, np.zeros(D)) for x, at in ((q, i), (k, j)))
    return q_at @ MATRIX @ k_at.T


def _added(q, k, i, j):
    """Sinusoids added to the tokens, between projections that are not the identity."""
    options = {"dim": D, "order": "sin_first", "layout": "interleaved", "frequencies": "paper"}
    q_at, k_at = (x + sinusoidal_encoding(at, **options) for x, at in ((q, i), (k, j)))
    return q_at @ MATRIX @ k_at.T


@pytest.mark.parametrize("logits", [_rotated_before_projecting, _added])
def test_rotating_before_a_projection_or_adding_is_not_relative(logits):
    """https://github.com/facebookresearch/blt/issues/71 asks whether it would be the same."""
    q, k = _tokens()
    at = np.arange(N)
    assert _differ(logits(q, k, at, at), logits(q, k, at + 4, at + 4))


def test_positions_along_the_heads_are_not_relative():
    """https://github.com/facebookresearch/xformers/issues/841: (length, heads, d) for a batch."""
    q, k = np.random.default_rng(2).standard_normal((2, N, 3, D))

    def logits(shift):
        q_at, k_at = (rotary_embedding(x, np.arange(3) + shift, pairing="half") for x in (q, k))
        return np.einsum("ihd,jhd->hij", q_at, k_at)

    np.testing.assert_allclose(logits(5), logits(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(logits(0), np.einsum("ihd,jhd->hij", q, k), rtol=1e-12, atol=1e-12)


def test_queries_of_a_cache_that_count_from_zero_are_not_the_prefill():
    """The last row of the prefill is lost by every scheme that is given the wrong position."""
    q, k = _tokens()
    at = np.arange(N)
    for name, logits in SCHEMES.items():
        step = logits(q[-1:], k, np.arange(1), at)
        assert _differ(step, logits(q, k, at, at)[-1:]), name
