"""Evidence for URPE, attention weights times a factor for their distance."""

from __future__ import annotations

import numpy as np

from refimpl.backend import namespace, to_host
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.laws import distance_alone_matters
from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.shared import OTHER, after_a_cache, in_order, padded
from refimpl.position.universal import universal_relative_weights

universal = Evidence(
    universal_relative_weights,
    sizes={"r": Sizes(5, 2, 5)},
    empty=("n", "m"),
    fixed={"order": "k_minus_q"},
)


# ------------------------------------------------------------------------------------- regimes


def _weights(rng, shape):
    weights = np.exp(rng.standard_normal(shape.weights))
    return weights / weights.sum(axis=-1, keepdims=True) if shape.axes["m"] else weights


@universal.regime
def weights_in_order(rng, shape):
    """Weights of a softmax, factors about one"""
    table = 1.0 + 0.3 * rng.standard_normal(shape.table)
    return Case((_weights(rng, shape), table, *in_order(shape)))


@universal.regime
def weights_after_a_cache(rng, shape):
    """Queries at the end of the keys, query minus key"""
    arrays = _weights(rng, shape), rng.standard_normal(shape.table), *after_a_cache(shape)
    return Case(arrays, {"order": "q_minus_k"})


@universal.regime(adversarial=True)
def weights_of_padded_texts(rng, shape):
    """Positions that differ along the batch, factors of either sign"""
    return Case((_weights(rng, shape), rng.standard_normal(shape.table), *padded(rng, shape)))


@universal.regime(adversarial=True)
def in_any_order(rng, shape):
    """Positions in any order, weights that are no probabilities"""
    positions = (rng.integers(0, 9, shape.axes[axis]) for axis in "nm")
    arrays = rng.standard_normal(shape.weights), rng.standard_normal(shape.table), *positions
    return Case(arrays, {"order": "q_minus_k"})


# ---------------------------------------------------------------------------------------- laws


def _factors(case):
    """The factor of each pair, (..., n, m), distance by distance."""
    _, table, queries, keys = (to_host(x) for x in case.arrays)
    distance = keys[..., None, :].astype(int) - queries[..., :, None].astype(int)
    distance = distance if case.options["order"] == "k_minus_q" else -distance
    half = table.shape[-1] // 2
    total = 0.0
    for entry in range(table.shape[-1]):
        is_here = np.clip(distance, -half, half) == entry - half
        total = total + is_here * table.astype(np.float64)[..., entry, None, None]
    return total


@universal.law
def every_weight_has_its_factor(f, case):
    """Entry by entry, summed over the distances of the table"""
    value = case.call(f)
    expected = wide(case.arrays[0]) * _factors(case)
    yield Claim(value, np.broadcast_to(expected, value.shape), np.abs(expected))


@universal.law
def ones_change_nothing(f, case):
    """With all factors one the weights are what they were"""
    weights, table, *positions = case.arrays
    value = case.with_arrays(weights, 0 * table + 1, *positions).call(f)
    yield Claim(value, namespace(weights).broadcast_to(weights, value.shape), 0.0)


universal.law(distance_alone_matters(100))


@universal.law
def upside_down_in_the_other_order(f, case):
    """A table upside down, in the other order, is the same"""
    weights, table, *positions = case.arrays
    other = case.with_options(order=OTHER[case.options["order"]])
    turned = other.with_arrays(weights, table[..., ::-1], *positions)
    yield Claim(turned.call(f), case.call(f), 0.0)


@universal.law
def linear_in_weights_and_table(f, case):
    """Twice the weights, or twice the factors, is twice the result"""
    weights, table, *positions = case.arrays
    value = wide(case.call(f))
    yield Claim(case.with_arrays(2 * weights, table, *positions).call(f), 2 * value, 0.0)
    yield Claim(case.with_arrays(weights, 2 * table, *positions).call(f), 2 * value, 0.0)


@universal.law
def factors_multiply(f, case):
    """Two tables one after another are one table of their products"""
    weights, table, *positions = case.arrays
    twice = case.with_arrays(case.call(f), table, *positions).call(f)
    once = case.with_arrays(weights, table * table, *positions).call(f)
    yield Claim(twice, once, 2.0 * np.abs(wide(once)))


# -------------------------------------------------------------------------------- closed forms


@universal.closed_form
def toeplitz_of_uniform_weights(rng, shape):
    """Uniform weights of four tokens: a quarter of the Toeplitz matrix, clipped at 1"""
    case = Case(
        (np.full((4, 4), 0.25), np.array([4.0, 8.0, -4.0]), np.arange(4), np.arange(4)),
        {"order": "k_minus_q"},
    )
    answer = [[2, -1, -1, -1], [1, 2, -1, -1], [1, 1, 2, -1], [1, 1, 1, 2]]
    return case, np.array(answer, float)


@universal.closed_form
def one_key(rng, shape):
    """One key with all weight: the factor of its distance"""
    places = np.array([0, 1, 2, 3]), np.array([1])
    case = Case((np.ones((4, 1)), np.array([1.0, 2.0, 3.0, 4.0, 5.0]), *places))
    return case.with_options(order="q_minus_k"), np.array([[2.0], [3.0], [4.0], [5.0]])


# ------------------------------------------------------------------------------------- mutants


wrong(
    universal,
    "The table is read in the other order: query minus key for key minus query, or the reverse",
    options={"order": OTHER.get},
)


@universal.mutant
def normalised_again(weights, table, queries, keys, *, order):
    """Rows are normalised again, so that they add up as before"""
    value = universal_relative_weights(weights, table, queries, keys, order=order)
    return value * weights.sum(axis=-1, keepdims=True) / value.sum(axis=-1, keepdims=True)


@universal.mutant
def added(weights, table, queries, keys, *, order):
    """Factors are added to the weights, as a bias after the softmax"""
    ones = 0 * weights + 1
    return weights + universal_relative_weights(ones, table, queries, keys, order=order)


wrong(
    universal,
    "The table goes into the logits: factors are exp(t)",
    arrays={"table": lambda x: namespace(x).exp(x)},
)
wrong(
    universal, "The entry next to the right one is taken", arrays={"key_positions": lambda x: x + 1}
)


@universal.mutant
def distance_without_sign(weights, table, queries, keys, *, order):
    """Both directions share the entries of one"""
    half = table.shape[-1] // 2
    xp = namespace(table)
    table = xp.concatenate([table[..., half + 1 :][..., ::-1], table[..., half:]], axis=-1)
    return universal_relative_weights(weights, table, queries, keys, order=order)


@universal.mutant
def zero_beyond_the_table(weights, table, queries, keys, *, order):
    """Distances beyond the table have the factor 0 instead of that of its end"""
    value = universal_relative_weights(weights, table, queries, keys, order=order)
    distance = keys[..., None, :] - queries[..., :, None]
    return value * (abs(distance) <= table.shape[-1] // 2)


@universal.mutant
def positions_ignored(weights, table, queries, keys, *, order):
    """Places in the arrays are taken for positions: wrong after a cache"""
    xp = namespace(table)
    places = (xp.arange(x.shape[-1]) for x in (queries, keys))
    value = universal_relative_weights(weights, table, *places, order=order)
    shape = universal_relative_weights(weights, table, queries, keys, order=order).shape
    return xp.broadcast_to(value, shape)


@universal.mutant(gradient=True)
def gradient_overwritten(g, weights, table, queries, keys, *, order):
    """Of all pairs at a distance the last query's alone count in the gradient of the table"""
    found = universal_relative_weights.vjp(g, weights, table, queries, keys, order=order)
    last = namespace(g).arange(g.shape[-2])[:, None] == g.shape[-2] - 1
    other = universal_relative_weights.vjp(
        (g * last).astype(g.dtype), weights, table, queries, keys, order=order
    )
    return found[0], other[1]


@universal.mutant(gradient=True)
def weights_without_factors(g, weights, table, queries, keys, *, order):
    """The gradient of the weights lacks the factors"""
    found = universal_relative_weights.vjp(g, weights, 0 * table + 1, queries, keys, order=order)
    return found[0], universal_relative_weights.vjp(g, weights, table, queries, keys, order=order)[
        1
    ]
