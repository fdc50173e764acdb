"""Distances from keys to queries, of either sign."""

from __future__ import annotations

from refimpl.backend import astype, namespace, result_type
from refimpl.core import require_finite


def whole_distances(query_positions, key_positions):
    """i - j (..., n, m) as int64, whatever type whole positions have: unsigned ones do not wrap."""
    query = astype(query_positions, "int64")[..., :, None]
    return query - astype(key_positions, "int64")[..., None, :]


def signed_distances(query_positions, key_positions, *weights):
    """i - j (..., n, m) in at least float64; of whole positions it is exact however far they are.

    ValueError, naming the argument, where a position is not finite.
    """
    for name, positions in (("query_positions", query_positions), ("key_positions", key_positions)):
        require_finite(name, positions)
    types = (w.dtype for w in weights)
    dtype = namespace(query_positions).result_type(
        *types, result_type(query_positions, key_positions)
    )
    if query_positions.dtype.kind in "iu" and key_positions.dtype.kind in "iu":
        return astype(whole_distances(query_positions, key_positions), dtype)
    query = astype(query_positions, dtype)[..., :, None]
    return query - astype(key_positions, dtype)[..., None, :]
