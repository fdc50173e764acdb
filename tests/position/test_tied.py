"""Positions of RoPE-Tie and RoPE-TV: numbers of the essays, distances, rotation, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.axial import axial_rotary_embedding
from refimpl.position.rotary import rotary_embedding, rotary_frequencies
from refimpl.position.rotary_mixed import mixed_rotary_embedding
from refimpl.position.segments import multimodal_positions
from refimpl.position.tied import tied_positions

RULES = ["tie", "tie_equivalent", "tv"]


def _image(rule, *, before=3, height=2, width=4):
    """Height and width of the cells of an image, and L and K of the texts around it."""
    at = tied_positions(1, segments=(before, (1, height, width), 1), rule=rule)
    cells = at[1:, before:-1].reshape(2, height, width)
    return cells, at[1, before - 1], at[1, -1]


def test_offsets_of_the_essay():
    """L = 3, w = 4, h = 2: (b1, b2) = (6, 5), the text after at L + w h + 1."""
    cells, before, after = _image("tv")
    assert (before, after) == (3, 12)
    np.testing.assert_array_equal(cells[:, 0, 0] - 1, [6, 5])
    np.testing.assert_array_equal(cells[0, :, 0], [7, 8])
    np.testing.assert_array_equal(cells[1, 0], [6, 7, 8, 9])


def test_steps_of_rope_tie():
    """(L + a (w + 1), L + b (h + 1)), the text after at L + (w + 1)(h + 1)."""
    cells, before, after = _image("tie")
    assert after - before == 15
    for a in range(2):
        for b in range(4):
            np.testing.assert_array_equal(cells[:, a, b], [3 + 5 * (a + 1), 3 + 3 * (b + 1)])


def test_fractional_steps_of_rope_tie():
    """s = (w h + 1)/(h + 1), t = (w h + 1)/(w + 1)."""
    cells, before, after = _image("tie_equivalent", height=2, width=3)
    assert after - before == 7
    np.testing.assert_allclose(cells[:, 0, 0] - before, [7 / 3, 7 / 4], rtol=1e-15)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 4), (5, 3), (1, 7)])
def test_both_texts_are_as_far(rule, shape):
    height, width = shape
    cells, before, after = _image(rule, height=height, width=width)
    np.testing.assert_allclose(cells[:, 0, 0] - before, after - cells[:, -1, -1], atol=1e-14)
    middle = (before + after) / 2
    np.testing.assert_allclose(cells.mean(axis=(1, 2)), middle, atol=1e-14)


def test_qwen_is_not_symmetric():
    at = multimodal_positions(1, segments=(3, (1, 2, 4), 1))
    assert at[1, 3] - at[1, 2] == 1
    assert at[1, -1] - at[1, -2] == 3


def test_videos_are_symmetric_on_all_axes():
    at = tied_positions(0, segments=(2, (3, 2, 5), 2), rule="tv")
    first, last = at[:, 2], at[:, -3]
    np.testing.assert_array_equal(first - 1, at[:, -2] - last)
    np.testing.assert_array_equal(at[:, -2], 32)
    # The offsets of the essay, L + (w h t - e)/2.
    np.testing.assert_array_equal(first - 1, [1 + (30 - 3) / 2, 1 + (30 - 2) / 2, 1 + (30 - 5) / 2])


def test_images_of_one_width_have_the_steps_of_their_halves_in_tv_only():
    """The upper half of an image has the same steps across; in RoPE-Tie they change."""
    for rule, is_same in (("tv", True), ("tie", False)):
        whole, half = (_image(rule, height=h, width=4)[0] for h in (4, 2))
        assert (np.diff(whole[1, 0]) == np.diff(half[1, 0])).all() == is_same


def test_images_in_a_row():
    at = tied_positions(0, segments=(1, (1, 1, 2), (1, 2, 1), 1), rule="tv")
    np.testing.assert_array_equal(at[1], [0, 1.5, 1.5, 3, 4, 5])
    np.testing.assert_array_equal(at[2], [0, 1, 2, 3.5, 3.5, 5])


@pytest.mark.parametrize("rule", RULES)
def test_text_alone(rule):
    np.testing.assert_array_equal(
        tied_positions(0, segments=(2, 3), rule=rule), np.broadcast_to(np.arange(5.0), (3, 5))
    )
    assert tied_positions(0, segments=(), rule=rule).shape == (3, 0)
    empty = tied_positions(4.0, segments=(0, (1, 0, 5), 2), rule=rule)
    np.testing.assert_array_equal(empty, np.broadcast_to([4.0, 5.0], (3, 2)))


def test_shifting_the_whole_text_changes_no_product():
    """Positions go into rotation on two axes; text there is that of one axis for all axes alike."""
    rng = np.random.default_rng(10352)
    segments = (2, (1, 2, 3), 2)
    q, k = rng.standard_normal((2, 10, 8))
    theta = rotary_frequencies(10000.0, dim=8)
    turns = theta * (np.arange(4) % 2 == np.arange(2)[:, None])
    logits = []
    for start in (0, 1000):
        at = tied_positions(start, segments=segments, rule="tv")[1:]
        turned = [mixed_rotary_embedding(v, at, turns, pairing="half") for v in (q, k)]
        logits.append(turned[0] @ turned[1].T)
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-11)
    at = tied_positions(0, segments=(10,), rule="tv")[1:]
    plain = rotary_embedding(q, np.arange(10), pairing="half")
    np.testing.assert_array_equal(mixed_rotary_embedding(q, at, turns, pairing="half"), plain)


def test_positions_feed_axial_rotation():
    at = tied_positions(0, segments=(2, (1, 2, 2), 1), rule="tie")
    y = axial_rotary_embedding(np.ones((7, 8)), at[1:], pairing="half", split="pairs")
    assert y.shape == (7, 8)


def test_numbers_of_tokens_may_be_numpys():
    segments = (np.int64(3), (np.int64(1), 1, 2), np.int8(1))
    found = tied_positions(1, segments=segments, rule="tv")
    np.testing.assert_array_equal(found, tied_positions(1, segments=(3, (1, 1, 2), 1), rule="tv"))


def test_bad_input():
    with pytest.raises(ValueError, match="rule: expected one of .* got 'qwen'"):
        tied_positions(0, segments=(1,), rule="qwen")
    with pytest.raises(TypeError, match="needs .*rule"):
        tied_positions(0, segments=(1,))
    with pytest.raises(ValueError, match="rule 'tie' is for images, .1, H, W., got .2, 1, 1."):
        tied_positions(0, segments=((2, 1, 1),), rule="tie")
    with pytest.raises(ValueError, match="segments: expected a list of numbers of tokens"):
        tied_positions(0, segments=((2, 2),), rule="tv")
    with pytest.raises(TypeError, match="start: expected integers or float64"):
        tied_positions(np.float32(1), segments=(1,), rule="tv")
