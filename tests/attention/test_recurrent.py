"""Decaying states and the delta rule: published digits, chunks, long sequences, what is equal."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import (
    delta_rule,
    gated_linear_attention,
    linear_attention,
    retention,
    state_space_duality,
)

T = 4.0 * np.arange(8)[:, None] + np.arange(4)
Q, K, V = np.sin(T + 1), np.cos(0.7 * T + 0.3), np.sin(0.5 * T + 2)
UNIT = K / np.linalg.norm(K, axis=1, keepdims=True)
RNG = np.random.default_rng(2307)


@pytest.mark.parametrize("form", retention.forms)
def test_published_digits_of_retention(form):
    out, _ = retention(Q, K, V, 0.9, scale=0.5, form=form)
    found = out[0, 0], out[-1, -1], out.sum()
    np.testing.assert_allclose(found, (0.834308714016, 0.110423473092, 0.737733787837), atol=1e-12)


@pytest.mark.parametrize("form", delta_rule.forms)
@pytest.mark.parametrize(
    ("log_decay", "expected"),
    [
        (None, (0.376801365862, 0.130941194263, 0.259938996038)),
        (np.full(8, -0.1), (0.376801365862, 0.151666928833, 0.321739934247)),
    ],
)
def test_published_digits_of_the_delta_rule(form, log_decay, expected):
    out, _ = delta_rule(Q, UNIT, V, np.full(8, 0.6), log_decay=log_decay, scale=0.5, form=form)
    np.testing.assert_allclose((out[0, 0], out[-1, -1], out.sum()), expected, atol=1e-12)


LONG = [RNG.standard_normal((2, 3, 50, 4)) for _ in range(3)]
STATE = RNG.standard_normal((3, 4, 4))


@pytest.mark.parametrize("chunk", [1, 7, 25, 32, 50, 64])
@pytest.mark.parametrize("width", [1, 4])
def test_every_chunk_gives_the_same(chunk, width):
    log_decay = -RNG.exponential(1.0, (3, 50, width))
    options = {"state": STATE, "scale": np.array([[0.3], [1.0]])}
    expected = gated_linear_attention(*LONG, log_decay, form="plain", **options)
    found = gated_linear_attention(*LONG, log_decay, form="chunked", chunk=chunk, **options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 25, 32, 50, 64])
def test_every_chunk_of_the_delta_rule_gives_the_same(chunk):
    q, k, v = LONG
    k = k / np.linalg.norm(k, axis=-1, keepdims=True)
    beta, log_decay = RNG.uniform(0, 1, (2, 3, 50)), -RNG.exponential(0.5, (50,))
    for options in ({}, {"state": STATE, "log_decay": log_decay}):
        expected = delta_rule(q, k, v, beta, form="plain", **options)
        found = delta_rule(q, k, v, beta, form="chunked", chunk=chunk, **options)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("formula", [retention, gated_linear_attention])
def test_long_sequences_of_fast_decay_neither_overflow_nor_vanish(formula):
    """Ratios gamma^i gamma^-j would be inf * 0 after 300 positions."""
    q, k, v = (RNG.standard_normal((2000, 2)) for _ in range(3))
    decay = 0.05 if formula is retention else np.full((2000, 1), np.log(0.05))
    expected, _ = formula(q, k, v, decay, form="plain")
    for form in ("chunked", "parallel"):
        out, _ = formula(q, k, v, decay, form=form)
        np.testing.assert_allclose(out, expected, atol=1e-13)


def test_without_decay_it_is_unnormalised_linear_attention():
    q, k, v = (np.abs(x) for x in (Q, K, V))
    ones = np.ones((8, 1))
    above, _ = gated_linear_attention(q, k, v, np.zeros((8, 1)), scale=1.0)
    below, _ = gated_linear_attention(q, k, ones, np.zeros((8, 1)), scale=1.0)
    expected = linear_attention(q, k, v, features="identity", causal=True)
    np.testing.assert_allclose(above / below, expected, rtol=1e-13)


def test_state_space_is_gated_attention_in_other_words():
    x, b, c = (RNG.standard_normal((9, w)) for w in (3, 2, 2))
    step, rate = RNG.uniform(0.1, 1, 9), -0.7
    output, state = state_space_duality(x, step, rate, b, c, skip=2.0)
    same, _ = gated_linear_attention(c, b, step[:, None] * x, (step * rate)[:, None], scale=1.0)
    np.testing.assert_allclose(output, same + 2.0 * x, atol=1e-14)
    expected = np.zeros((2, 3))
    for i in range(9):
        expected = np.exp(step[i] * rate) * expected + step[i] * np.outer(b[i], x[i])
    np.testing.assert_allclose(state, expected, atol=1e-14)


def test_full_strength_stores_the_value_exactly():
    _, state = delta_rule(Q, UNIT, V, np.ones(8))
    np.testing.assert_allclose(UNIT[-1] @ state, V[-1], atol=1e-14)


def test_nothing_is_written_for_no_position():
    q, v = np.zeros((3, 0, 2)), np.zeros((0, 5))
    for result in (
        gated_linear_attention(q, q, v, q),
        delta_rule(q, q, v, np.zeros(0)),
        retention(q, q, v, 0.5),
    ):
        assert result[0].shape == (3, 0, 5)
        np.testing.assert_array_equal(result[1], np.zeros((3, 2, 5)))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="decay: expected positive numbers"):
        retention(Q, K, V, 0.0)
    with pytest.raises(ValueError, match="chunk: expected a positive whole number"):
        delta_rule(Q, K, V, np.ones(8), form="chunked", chunk=0)
    with pytest.raises(ValueError, match="log_decay axis 'd'"):
        gated_linear_attention(Q, K, V, np.zeros((8, 3)))
