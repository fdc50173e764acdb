"""Alignment and windows, drawn as pictures."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import attention_mask, softmax_attention
from refimpl.attention.masks import Band, band


def picture(n, m, **options) -> list[str]:
    keep = band(n, m, **options).keep(np, range(n), range(m))
    return ["".join("x" if seen else "." for seen in row) for row in keep]


@pytest.mark.parametrize(
    ("n", "m", "options", "expected"),
    [
        (2, 5, {"causal": "top_left"}, ["x....", "xx..."]),
        (2, 5, {"causal": "bottom_right"}, ["xxxx.", "xxxxx"]),
        (5, 2, {"causal": "bottom_right"}, ["..", "..", "..", "x.", "xx"]),
        (3, 3, {"causal": True}, ["x..", "xx.", "xxx"]),
        (2, 5, {"causal": True, "offset": 2}, ["xxx..", "xxxx."]),
        (4, 6, {"window": (2, 1), "offset": 0}, ["xx....", "xxx...", "xxxx..", ".xxxx."]),
        (4, 4, {"window": (1, 0)}, ["x...", "xx..", ".xx.", "..xx"]),
        (4, 4, {"window": (0, 0)}, ["x...", ".x..", "..x.", "...x"]),
        (3, 3, {"window": (None, 0)}, ["x..", "xx.", "xxx"]),
        (3, 3, {"window": (-1, 1)}, ["xx.", "xxx", "xxx"]),
        (4, 4, {"causal": True, "window": (1, 3)}, ["x...", "xx..", ".xx.", "..xx"]),
        (3, 2, {}, ["xx", "xx", "xx"]),
    ],
)
def test_pictures(n, m, options, expected):
    assert picture(n, m, **options) == expected


def test_a_window_keeps_left_plus_itself():
    keep = band(64, 64, causal=True, window=(7, 0)).keep(np, range(64), range(64))
    assert keep.sum(axis=1).max() == 8


@pytest.mark.parametrize("left", [None, 0, 2])
@pytest.mark.parametrize("right", [None, 0, 3])
@pytest.mark.parametrize("offset", [-4, 0, 5])
def test_columns_cover_exactly_what_a_block_of_rows_sees(left, right, offset):
    strip = Band(offset, left, right)
    for start in range(0, 9, 3):
        rows = range(start, start + 3)
        seen = np.flatnonzero(strip.keep(np, rows, range(7)).any(axis=0))
        columns = strip.columns(rows, 7)
        assert set(seen) <= set(columns)
        if len(seen):
            assert (columns.start, columns.stop) == (seen[0], seen[-1] + 1)


def test_alignment_is_asked_for_where_it_matters():
    with pytest.raises(ValueError, match="2 queries and 5 keys can be aligned in two ways"):
        band(2, 5, causal=True)
    assert band(2, 5) == Band(0, None, None)


# ------------------------------------------------------------------------------------ patterns


def drawn(n, m, **options) -> list[str]:
    keep = attention_mask(np.arange(n), np.arange(m), **options)
    return ["".join("x" if seen else "." for seen in row) for row in keep]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"causal": True, "window": (1, 0)}, ["x....", "xx...", ".xx..", "..xx.", "...xx"]),
        ({"window": (2, 2), "dilation": 2}, ["x.x..", ".x.x.", "x.x.x", ".x.x.", "..x.x"]),
        ({"causal": True, "prefix": 2}, ["xx...", "xx...", "xxx..", "xxxx.", "xxxxx"]),
        ({"causal": True, "chunk": 2}, ["x....", "xx...", "..x..", "..xx.", "....x"]),
        (
            {"causal": True, "window": (0, 0), "global_keys": np.arange(5) < 1},
            ["x....", "xx...", "x.x..", "x..x.", "x...x"],
        ),
        (
            {"query_segments": [0, 0, 1, 1, 1], "key_segments": [0, 0, 1, 1, 2]},
            ["xx...", "xx...", "..xx.", "..xx.", "..xx."],
        ),
        (
            {
                "blocks": [[True, False, True], [False, True, False], [True, True, True]],
                "block_size": 2,
            },
            ["xx..x", "xx..x", "..xx.", "..xx.", "xxxxx"],
        ),
    ],
)
def test_patterns(options, expected):
    assert drawn(5, 5, **options) == expected


def test_positions_after_a_cache():
    keep = attention_mask([3, 4], np.arange(5), causal=True, window=(2, 0))
    np.testing.assert_array_equal(keep, [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]])


def test_documents_are_attention_on_their_own():
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 7, 4))
    segments = np.array([0, 0, 0, 1, 1, 2, 2])
    mask = attention_mask(
        np.arange(7), np.arange(7), causal=True, query_segments=segments, key_segments=segments
    )
    out = softmax_attention(q, k, v, mask=mask)
    for part in (slice(0, 3), slice(3, 5), slice(5, 7)):
        alone = softmax_attention(q[part], k[part], v[part], causal=True)
        np.testing.assert_allclose(out[part], alone, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dilation": 0}, "dilation: expected a positive whole number"),
        ({"chunk": -1}, "chunk: expected a positive whole number"),
        ({"block_size": 2}, "blocks, block_size: expected both or none"),
        ({"query_segments": [0, 0, 0]}, "query_segments, key_segments: expected both or none"),
        ({"blocks": [[True]], "block_size": 2}, "query_positions: expected 0 <= position < 2"),
    ],
)
def test_bad_patterns_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attention_mask([0, 1, 2], [0, 1], **options)


def test_positions_are_integers():
    with pytest.raises(TypeError, match="query_positions: expected integers, got float64"):
        attention_mask([0.0], [0])
