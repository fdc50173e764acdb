"""TUPE: a sum of embeddings less its mixed terms, the first token, gradients, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.buckets import t5_bias, t5_buckets
from refimpl.position.untied import untied_logits


def _weights(n=6, d=4):
    rng = np.random.default_rng(2006)
    return rng.standard_normal((2, n, d)), rng.standard_normal((4, d, d))


def test_shared_projections_are_a_sum_of_embeddings_less_the_mixed_terms():
    (x, p), (w_q, w_k, *_) = _weights()
    found = untied_logits(x @ w_q, x @ w_k, p @ w_q, p @ w_k, scale=1.0)
    tied = ((x + p) @ w_q) @ ((x + p) @ w_k).T
    mixed = (x @ w_q) @ (p @ w_k).T + (p @ w_q) @ (x @ w_k).T
    np.testing.assert_allclose(found, tied - mixed, rtol=0, atol=1e-13)


def test_without_contents_it_does_not_see_the_order_of_tokens():
    (x, p), (w_q, w_k, u_q, u_k) = _weights()
    order = np.random.default_rng(0).permutation(6)
    whole = untied_logits(x @ w_q, x @ w_k, p @ u_q, p @ u_k)
    moved = untied_logits(x[order] @ w_q, x[order] @ w_k, p[order] @ u_q, p[order] @ u_k)
    np.testing.assert_allclose(moved, whole[order][:, order], rtol=0, atol=1e-14)


def test_first_token():
    (x, p), (w_q, w_k, u_q, u_k) = _weights()
    arrays = 0 * x @ w_q, x @ w_k, p @ u_q, p @ u_k
    found = untied_logits(*arrays, bias=np.ones((6, 6)), from_first=2.0, to_first=3.0)
    assert (found[0] == 2.0).all()
    assert (found[1:, 0] == 3.0).all()
    expected = (p @ u_q) @ (p @ u_k).T / np.sqrt(8) + 1
    np.testing.assert_allclose(found[1:, 1:], expected[1:, 1:], rtol=1e-14)


def test_the_released_code_has_a_row_of_positions_more():
    """guolinke/TUPE: products of the first two rows with themselves are the two numbers."""
    n, d, buckets = 6, 4, 8
    (x, _), (w_q, w_k, u_q, u_k) = _weights(n, d)
    rng = np.random.default_rng(0)
    p, table = rng.standard_normal((n + 1, d)), rng.standard_normal((buckets + 1, 1))
    q, k = x @ w_q, x @ w_k
    positions = (p @ u_q) @ (p @ u_k).T / np.sqrt(2 * d)
    moved = positions[1:, 1:].copy()
    moved[:, 0] = positions[1, 1]
    moved[0, :] = positions[0, 0]
    at = np.arange(n)
    bucket = t5_buckets(at, at, bidirectional=True, buckets=buckets, max_distance=16)
    assert buckets // 2 not in bucket
    bucket[:, 0] = buckets
    bucket[0, :] = buckets // 2
    released = q @ k.T / np.sqrt(2 * d) + moved + table[bucket, 0]
    bias = t5_bias(table[:buckets], at, at, bidirectional=True, max_distance=16)[0]
    found = untied_logits(
        *(q, k, p[1:] @ u_q, p[1:] @ u_k),
        bias=bias,
        from_first=positions[0, 0] + table[buckets // 2, 0],
        to_first=positions[1, 1] + table[buckets, 0],
    )
    np.testing.assert_allclose(found, released, rtol=0, atol=1e-13)


def test_gradients_of_the_numbers_count_their_entries():
    one = np.ones((3, 2))
    numbers = {"from_first": np.array(1.0), "to_first": np.array(1.0)}
    *_, dfrom, dto = untied_logits.vjp(np.ones((3, 3)), one, one, one, one, **numbers)
    assert (dfrom, dto) == (3.0, 2.0)


def test_bad_input():
    one = np.ones((2, 2))
    with pytest.raises(ValueError, match="from_first, to_first: expected both or none"):
        untied_logits(one, one, one, one, from_first=1.0)
    with pytest.raises(ValueError, match="position_keys axis"):
        untied_logits(one, one, one, np.ones((3, 2)))
