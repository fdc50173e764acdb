"""Which keys a query may see: alignment of queries with keys, bands, and masks made of patterns."""

from __future__ import annotations

from typing import NamedTuple

from refimpl.backend import namespace, scalar
from refimpl.formula import formula
from refimpl.formula.options import Count, Natural, Window

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
    return None if size is None or size < 0 else size


@formula(
    "(n),(m)->(n,m)",
    keywords={
        "query_segments": "(n)",
        "key_segments": "(m)",
        "global_queries": "(n)",
        "global_keys": "(m)",
        "blocks": "(p,r)",
    },
    kinds={
        "query_positions": "index",
        "key_positions": "index",
        "query_segments": "index",
        "key_segments": "index",
        "global_queries": "boolean",
        "global_keys": "boolean",
        "blocks": "boolean",
    },
    differentiable=False,
    reason="a mask selects",
    returns="boolean",
    source="Child et al. 2019 (arXiv:1904.10509); Beltagy et al. 2020 (arXiv:2004.05150)",
)
def attention_mask(
    query_positions,
    key_positions,
    /,
    *,
    causal: bool = False,
    prefix: Natural = 0,
    window: Window | None = None,
    dilation: Count = 1,
    chunk: Count | None = None,
    blocks=None,
    block_size: Count | None = None,
    global_queries=None,
    global_keys=None,
    query_segments=None,
    key_segments=None,
):
    r"""The boolean mask of a pattern: bands, dilation, chunks, blocks, global keys, documents.

    Formula
    -------
    With p the position of the query and j that of the key, a key is kept where all of these hold:

    * the same segment, where segments are given;
    * j <= p or j < prefix, where ``causal``;
    * a global query or a global key, or all of the pattern: p - left <= j <= p + right;
      p - j divisible by the dilation; the same chunk, floor(p/chunk) = floor(j/chunk); a block
      that is kept, ``blocks[p // block_size, j // block_size]``.

    Parameters
    ----------
    query_positions : integers (..., n); key_positions : (..., m). After a cache of c keys the first
        query has the position c.
    causal : bool.
    prefix : int. Keys before it are seen by all queries (a prefix language model).
    window : (left, right), optional, both ends and the position itself included; None or a negative
        number is unbounded.
    dilation : int >= 1.
    chunk : int, optional. Positions see their own chunk.
    blocks : boolean (..., p, r), optional, with ``block_size``. Which blocks of queries and keys
        are kept.
    global_queries : boolean (..., n); global_keys : (..., m), optional. Exempt from the pattern,
        not from causality and segments.
    query_segments : integers (..., n); key_segments : (..., m), both or none. Documents in one
        sequence.

    Returns
    -------
    boolean (..., n, m), True keeps: the ``mask`` of :func:`softmax_attention`.

    Raises
    ------
    ValueError
        Shapes that do not fit; dilation, chunk or block_size < 1; one of two arrays that belong
        together; a position outside the blocks.

    Conventions
    -----------
    Hugging Face's ``sliding_window=W`` is ``causal=True, window=(W - 1, 0)``; Longformer's
    ``attention_window=w`` is ``window=(w // 2, w // 2)``, with projections of their own for global
    queries. Keys that stay visible ("attention sinks" of StreamingLLM) are global keys. A window of
    w dilated steps is ``window=(w * dilation, ...)``. The strided pattern of the Sparse Transformer
    is the union of a window and a dilation, BigBird's that of windowed, global and random blocks:
    ``|`` of two masks.

    Breaks when
    -----------
    It holds n m booleans; :func:`softmax_attention` takes bands as options without them.

    References
    ----------
    Child et al. 2019 (arXiv:1904.10509); Beltagy et al. 2020, Longformer (arXiv:2004.05150); Zaheer
    et al. 2020, BigBird (arXiv:2007.14062); Xiao et al. 2023 (arXiv:2309.17453, sinks);
    huggingface/transformers issue 39408 (window); allenai/longformer issue 157.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.attention_mask([0, 1, 2], [0, 1, 2], causal=True, window=(1, 0)).astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 1, 1]])
    """
    for first, second, names in (
        (blocks, block_size, "blocks, block_size"),
        (query_segments, key_segments, "query_segments, key_segments"),
    ):
        if (first is None) != (second is None):
            raise ValueError(f"{names}: expected both or none")
    p, j = query_positions[..., :, None], key_positions[..., None, :]
    left, right = (None, None) if window is None else map(_extent, window)
    keep = (p - j) % dilation == 0
    keep = keep if left is None else keep & (j >= p - left)
    keep = keep if right is None else keep & (j <= p + right)
    keep = keep if chunk is None else keep & (p // chunk == j // chunk)
    if blocks is not None:
        keep = keep & _of_blocks(query_positions, key_positions, blocks, block_size)
    if global_queries is not None:
        keep = keep | global_queries[..., :, None]
    if global_keys is not None:
        keep = keep | global_keys[..., None, :]
    if causal:
        keep = keep & ((j <= p) | (j < prefix))
    if query_segments is not None:
        keep = keep & (query_segments[..., :, None] == key_segments[..., None, :])
    return keep


def _of_blocks(query_positions, key_positions, blocks, size):
    """The entry of ``blocks`` for every pair of positions."""
    xp = namespace(blocks)
    members = []
    for name, positions, count in (
        ("query_positions", query_positions, blocks.shape[-2]),
        ("key_positions", key_positions, blocks.shape[-1]),
    ):
        if not scalar(((positions >= 0) & (positions < count * size)).all()):
            raise ValueError(f"{name}: expected 0 <= position < {count * size}, the blocks' extent")
        # One column is 1 for each position: a product that picks, with any leading axes.
        members.append((positions[..., :, None] // size == xp.arange(count)).astype("float64"))
    rows, columns = members
    return rows @ blocks.astype("float64") @ columns.swapaxes(-1, -2) > 0
