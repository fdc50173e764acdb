"""Wrong variants of relative attention: the bugs that public code had, and their neighbours."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.relative import deberta, keys, values
from refimpl.evidence.position.shared import OTHER, by_place
from refimpl.position.relative import (
    disentangled_logits,
    relative_attention_logits,
    relative_attention_values,
)

# ------------------------------------------------------------------------------------------- Shaw


def _without_ends(table):
    rows = [table[..., 1:2, :], table[..., 1:-1, :], table[..., -2:-1, :]]
    return namespace(table).concatenate(rows, axis=-2)


both = keys, values
wrong(
    both,
    "The sign of the distance is wrong: query minus key for key minus query, or the reverse",
    options={"order": OTHER.get},
)
wrong(
    both,
    "Distances are clipped to K - 1: the first and the last row are never used",
    arrays={"table": _without_ends},
)
wrong(both, "Queries after a cache count from 0", arrays={"query_positions": by_place})
wrong(
    both,
    "Keys count by their place in memory, padding included",
    arrays={"key_positions": by_place},
)
wrong(both, "The vectors of distances are missing", arrays={"table": lambda x: 0 * x})

for _of, _formula in ((keys, relative_attention_logits), (values, relative_attention_values)):

    @_of.mutant
    def rows_one_too_far(first, second, table, q, k, *, order, f=_formula, **options):
        """The row of a distance is the next one"""
        step = 1 if order == "q_minus_k" else -1
        return f(first, second, table, q + step, k, order=order, **options)


@keys.mutant
def table_is_not_scaled(q, k, table, *positions, scale=None, **options):
    """The scale multiplies the products of queries and keys only"""
    whole = relative_attention_logits(q, k, table, *positions, scale=1.0, **options)
    plain = q @ k.swapaxes(-1, -2)
    tau = q.shape[-1] ** -0.5 if scale is None else scale
    tau = tau[..., None, None] if getattr(tau, "ndim", 0) else tau
    return whole - plain + tau * plain


@keys.mutant
def not_scaled(*arrays, scale=None, **options):
    """The scale is missing"""
    return relative_attention_logits(*arrays, scale=1.0, **options)


@keys.mutant
def vector_added_to_the_query(q, k, table, *positions, **options):
    """The vector of the distance is added to the query: keys multiply it"""
    moved = relative_attention_logits(k, 0 * q, table, *positions[::-1], **_reversed(options))
    plain = relative_attention_logits(q, k, 0 * table, *positions, **options)
    return plain + moved.swapaxes(-1, -2)


def _reversed(options):
    return options | {"order": OTHER[options["order"]]}


@keys.mutant(gradient=True)
def query_gradient_without_the_table(g, q, k, table, *positions, **options):
    """The gradient of the queries lacks the vectors of distances"""
    found = relative_attention_logits.vjp(g, q, k, table, *positions, **options)
    plain = relative_attention_logits.vjp(g, q, k, 0 * table, *positions, **options)
    return (plain[0], *found[1:])


wrong(
    keys, "The gradient of the table is upside down", gradient={"table": lambda x: x[..., ::-1, :]}
)


@values.mutant
def weights_not_applied_to_the_table(weights, v, table, *positions, **options):
    """The vectors of distances are averaged without the weights"""
    m = max(v.shape[-2], 1)
    plain = relative_attention_values(weights, v, 0 * table, *positions, **options)
    return plain + relative_attention_values(
        0 * weights + 1 / m, 0 * v, table, *positions, **options
    )


@values.mutant(gradient=True)
def weight_gradient_without_the_table(g, weights, v, table, *positions, **options):
    """The gradient of the weights lacks the vectors of distances"""
    found = relative_attention_values.vjp(g, weights, v, table, *positions, **options)
    plain = relative_attention_values.vjp(g, weights, v, 0 * table, *positions, **options)
    return (plain[0], *found[1:])


wrong(
    values,
    "The gradient of the table is upside down",
    gradient={"table": lambda x: x[..., ::-1, :]},
)


# ----------------------------------------------------------------------------------------- DeBERTa


@deberta.mutant(source="https://github.com/microsoft/DeBERTa/issues/162")
def the_other_index(*arrays, p2c_index, **options):
    """Position-to-content has delta(j, i) for delta(i, j), or the reverse"""
    return disentangled_logits(*arrays, p2c_index=OTHER[p2c_index], **options)


@deberta.mutant(source="https://github.com/nntrainer/nntrainer/issues/3982")
def both_indices_turned(q, k, a, b, i, j, **options):
    """Both indices have the wrong sign of the distance"""
    return disentangled_logits(q, k, a, b, -i, -j, **options)


@deberta.mutant
def scaled_by_one_term(q, *rest, scale=None, **options):
    """The scale is 1/sqrt(d), without the 3"""
    tau = q.shape[-1] ** -0.5 if scale is None else scale
    return disentangled_logits(q, *rest, scale=tau, **options)


@deberta.mutant
def scaled_by_two_terms(q, *rest, scale=None, **options):
    """The scale is 1/sqrt(2 d): terms of position only are counted"""
    tau = (2 * q.shape[-1]) ** -0.5 if scale is None else scale
    return disentangled_logits(q, *rest, scale=tau, **options)


wrong(
    deberta,
    "Queries after a cache count from 0: fewer queries than keys go wrong",
    name="queries_of_a_cache_from_zero",
    arrays={"query_positions": by_place},
)


@deberta.mutant(gradient=True)
def key_gradient_without_position(g, q, k, a, b, *rest, **options):
    """The gradient of the keys lacks the third term"""
    found = disentangled_logits.vjp(g, q, k, a, b, *rest, **options)
    plain = disentangled_logits.vjp(g, q, k, 0 * a, b, *rest, **options)
    return (found[0], plain[1], *found[2:])
