"""Positions of padded sequences: public rules, and tokens that see the same from any side."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.rotary import rotary_embedding
from refimpl.position.tables import learned_encoding
from refimpl.position.tokens import token_positions

MASK = np.random.default_rng(0).random((6, 9)) < 0.6


def test_the_rule_of_hugging_face_where_there_are_tokens():
    expected = (np.cumsum(MASK.astype(int), axis=-1) - 1)[MASK]
    np.testing.assert_array_equal(token_positions(MASK, convention="count")[MASK], expected)


def test_the_rule_of_fairseq():
    """make_positions: (cumsum(mask) * mask) + padding_idx."""
    numbers = MASK.astype(int)
    expected = np.cumsum(numbers, axis=1) * numbers + 1
    np.testing.assert_array_equal(token_positions(MASK, convention="fairseq"), expected)


def test_padded_sequences_have_the_logits_of_unpadded_ones():
    rng = np.random.default_rng(1)
    q, k = rng.standard_normal((2, 4, 8))
    alone = token_positions(np.ones(4, bool), convention="count")
    padded = np.array([False, False, True, True, True, True])
    places = token_positions(padded, convention="count")
    encoded = [rotary_embedding(x, alone, pairing="half") for x in (q, k)]
    wide = [np.concatenate([np.full((2, 8), 7.0), x]) for x in (q, k)]
    shifted = [rotary_embedding(x, places, pairing="half")[2:] for x in wide]
    np.testing.assert_array_equal(shifted, encoded)


def test_a_table_of_roberta_is_one_of_counting_with_an_offset():
    table = np.random.default_rng(2).standard_normal((12, 3))
    by_count = learned_encoding(table, token_positions(MASK, convention="count"), offset=2)
    by_fairseq = learned_encoding(table, token_positions(MASK, convention="fairseq"))
    np.testing.assert_array_equal(by_count[MASK], by_fairseq[MASK])


def test_only_padding_and_no_tokens():
    assert token_positions(np.zeros(3, bool), convention="count").tolist() == [0, 0, 0]
    assert token_positions(np.zeros(0, bool), convention="fairseq").shape == (0,)


def test_bad_input():
    with pytest.raises(ValueError, match="convention: expected .* got 'opt'"):
        token_positions(MASK, convention="opt")
    with pytest.raises(TypeError, match="needs .*convention"):
        token_positions(MASK)
    with pytest.raises(TypeError, match="mask: expected booleans"):
        token_positions(MASK.astype(int), convention="count")
