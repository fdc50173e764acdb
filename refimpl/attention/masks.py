"""Which keys a query may see: alignment of queries with keys, causal and windowed bands."""

from __future__ import annotations

from typing import NamedTuple

PLAIN_LIMIT = 2**20
"""Number of query-key pairs (over the whole batch) up to which plain forms are taken."""

_ALIGNMENTS = ("top_left", "bottom_right")


def is_large(bound) -> bool:
    """Whether a call has so many pairs of queries and keys that chunks are better."""
    size = bound.axes["n"] * bound.axes["m"]
    for extent in bound.batch:
        size *= extent
    return size > PLAIN_LIMIT


class Band(NamedTuple):
    """Query i sits at key position i + offset, sees ``left`` keys before it and ``right`` after it.

    None is unbounded; both ends are inclusive and the key at the position itself is always seen.
    """

    offset: int
    left: int | None
    right: int | None

    def keep(self, xp, rows: range, columns: range):
        """Booleans (len(rows), len(columns)): True where the query of the row sees the key."""
        position = xp.arange(rows.start, rows.stop)[:, None] + self.offset
        key = xp.arange(columns.start, columns.stop)[None, :]
        keep = xp.ones((len(rows), len(columns)), dtype=bool)
        if self.left is not None:
            keep = keep & (key >= position - self.left)
        if self.right is not None:
            keep = keep & (key <= position + self.right)
        return keep

    def columns(self, rows: range, m: int) -> range:
        """The keys that any of these queries sees."""
        first = 0 if self.left is None else rows.start + self.offset - self.left
        last = m if self.right is None else rows.stop + self.offset + self.right
        return range(min(max(first, 0), m), max(min(last, m), min(max(first, 0), m)))


def band(
    n: int,
    m: int,
    causal: str | bool | None = None,
    window: tuple[int | None, int | None] | None = None,
    offset: int | None = None,
) -> Band:
    """The band that ``causal``, ``window`` and ``offset`` describe; see :func:`softmax_attention`.

    ValueError where the field disagrees on what is meant: n and m differ and nothing aligns them.
    """
    if causal not in (None, False, True, *_ALIGNMENTS):
        raise ValueError(
            f"causal: expected None, True, 'top_left' or 'bottom_right', got {causal!r}"
        )
    if offset is not None and causal in _ALIGNMENTS:
        raise ValueError(
            f"causal={causal!r} already says the offset; give causal=True with offset={offset}"
        )
    left, right = (None, None) if window is None else map(_extent, window)
    if causal:
        right = 0 if right is None else min(right, 0)
    if causal == "bottom_right":
        offset = m - n
    elif causal == "top_left" or n == m and offset is None:
        offset = 0
    elif offset is None and (causal or window is not None):
        raise ValueError(
            f"{n} queries and {m} keys can be aligned in two ways: causal='top_left' (torch, JAX), "
            "'bottom_right' (flash-attention, MLX), or offset, the key position of the first query"
        )
    return Band(offset or 0, left, right)


def _extent(size: int | None) -> int | None:
    """Negative means unbounded, as in flash-attention and ONNX."""
    return None if size is None or size < 0 else int(size)
