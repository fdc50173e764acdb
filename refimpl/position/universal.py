"""URPE: attention weights multiplied by a factor for their distance, and not normalised again."""

from __future__ import annotations

from typing import Literal

from refimpl.core import gather_rows, scatter_rows
from refimpl.formula import formula
from refimpl.position.relative import row_of_distance


@formula(
    "(n,m),(r),(n),(m)->(n,m)",
    source="Luo et al. 2022 (URPE, arXiv:2205.13401), section 4",
    kinds={"query_positions": "index", "key_positions": "index"},
)
def universal_relative_weights(
    weights, table, query_positions, key_positions, /, *, order: Literal["k_minus_q", "q_minus_k"]
):
    r"""Attention weights times a learned factor for the distance: a Toeplitz matrix C (URPE).

    Formula
    -------
    .. math:: W_{ij} = A_{ij}\, C_{ij}, \qquad C_{ij} = t_{c(i,j)}, \qquad
        c(i, j) = \operatorname{clip}(j - i, -K, K) + K

    for ``order="k_minus_q"``, and i - j in place of j - i for ``"q_minus_k"``.

    Parameters
    ----------
    weights : (..., n, m) A, those of a softmax, whatever biases it had.
    table : (..., r) t with r = 2K + 1 entries, from distance -K to K; of each head in a leading
        axis. All ones at the start of training.
    query_positions : integers (..., n) i; key_positions : (..., m) j. After a cache of c keys the
        first query has the position c.
    order : "k_minus_q" or "q_minus_k". Which distance the table ascends in.

    Returns
    -------
    (..., n, m): weights of the values, of either sign; rows do not add up to one.

    Raises
    ------
    ValueError
        An even number of entries; an unknown order; shapes that do not fit.
    TypeError
        No order; positions that are no integers.

    Conventions
    -----------
    The released code has key minus query; either one entry for each distance, so that nothing is
    clipped, or logarithmic buckets as in :func:`t5_buckets`, which are other tables. The softmax
    keeps its own relative bias beside it.

    Breaks when
    -----------
    Never: one product for each pair. Attention that sees one key only still sees its position: it
    returns t times the value, where a bias of the logits would return the value itself.

    References
    ----------
    Luo et al. 2022 (arXiv:2205.13401); lsj2408/URPE.

    Examples
    --------
    >>> import refimpl
    >>> half, table = [[0.5, 0.5], [0.5, 0.5]], [3.0, 1.0, -1.0]
    >>> refimpl.universal_relative_weights(half, table, [0, 1], [0, 1], order="k_minus_q")
    array([[ 0.5, -0.5],
           [ 1.5,  0.5]])
    """
    index = _flat_index(table, query_positions, key_positions, order)
    return weights * _factors(table, index, weights.shape[-2:])


@universal_relative_weights.defvjp
def universal_relative_weights_vjp(g, weights, table, query_positions, key_positions, /, *, order):
    """dA = g C; each entry of the table gets the products of all pairs at its distance."""
    index = _flat_index(table, query_positions, key_positions, order)
    products = g * weights
    by_pair = products.reshape(*products.shape[:-2], index.shape[-1], 1)
    dtable = scatter_rows(by_pair, index, table.shape[-1])[..., 0]
    return g * _factors(table, index, weights.shape[-2:]), dtable


def _flat_index(table, query_positions, key_positions, order):
    """The entry of the table for each pair, (..., n m)."""
    index = row_of_distance(table[..., None], query_positions, key_positions, order)
    return index.reshape(*index.shape[:-2], index.shape[-2] * index.shape[-1])


def _factors(table, index, shape):
    """C, (..., n, m)."""
    entries = gather_rows(table[..., None], index)[..., 0]
    return entries.reshape(*entries.shape[:-1], *shape)
