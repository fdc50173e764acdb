"""Positions of texts, images and videos: long videos, batches, empty segments, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.position.axial import multimodal_rotary_embedding
from refimpl.position.segments import multimodal_positions


def test_text_after_a_video_is_after_all_its_frames():
    """Six frames of 4 x 4 patches, merged by two, from 2 on: 8, 9, 10, where 4, 5, 6 overlap."""
    at = multimodal_positions(2, segments=((6, 2, 2), 3))
    np.testing.assert_array_equal(at[:, -3:], np.broadcast_to([8, 9, 10], (3, 3)))
    assert at[:, -3:].min() > at[:, :-3].max()


def test_positions_feed_the_rotation():
    at = multimodal_positions(0, segments=(2, (1, 2, 2), 1))
    options = {"pairing": "half", "sections": (24, 20, 20), "arrangement": "interleaved"}
    y = multimodal_rotary_embedding(np.ones((7, 128)), at, **options)
    assert y.shape == (7, 128)


def test_empty_segments():
    assert multimodal_positions(0, segments=()).shape == (3, 0)
    at = multimodal_positions(4.0, segments=(0, (1, 0, 5), 2))
    np.testing.assert_array_equal(at, np.broadcast_to([4.0, 5.0], (3, 2)))


def test_positions_of_a_batch_of_starts():
    at = multimodal_positions([0.0, 10.0], segments=(1, (1, 1, 2)))
    np.testing.assert_array_equal(at[1], at[0] + 10)


@pytest.mark.parametrize("segment", [-1, (2, 2), (1, -1, 2), (1, 1, 1, 1)])
def test_wrong_segments(segment):
    with pytest.raises(ValueError, match="segments: expected a list of numbers of tokens"):
        multimodal_positions(0, segments=(segment,))
