"""Alignment and windows, drawn as pictures."""

from __future__ import annotations

import numpy as np
import pytest

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
