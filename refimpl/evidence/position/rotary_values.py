"""Evidence for rotation of values."""

from __future__ import annotations

import numpy as np

from refimpl.backend import astype
from refimpl.evidence import Case, Claim, Evidence, Sizes, wide
from refimpl.evidence.position.shared import row_norms
from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_values import value_rotary_mixture

mixture = Evidence(
    value_rotary_mixture,
    sizes={"n": Sizes(1, 1, 8), "m": Sizes(1, 1, 8), "v": Sizes(2, 2, 12)},
    empty=("n", "m"),
    options={"base": (100.0,)},
    fixed={"pairing": "half"},
)


# ------------------------------------------------------------------------------------- regimes


@mixture.regime
def softmax_weights(rng, shape):
    """Positive weights of sum one, consecutive positions"""
    weights = np.exp(rng.standard_normal(shape.weights))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    at = (np.arange(shape.axes["n"]), np.arange(shape.axes["m"]))
    return Case((weights, rng.standard_normal(shape.values), *at))


@mixture.regime(advisory=True)
def between_positions(rng, shape):
    """Positions that are no whole numbers, which have a gradient"""
    at = (rng.uniform(-9.0, 9.0, shape.axes["n"]), rng.uniform(-9.0, 9.0, shape.axes["m"]))
    return Case((rng.standard_normal(shape.weights), rng.standard_normal(shape.values), *at))


@mixture.regime(adversarial=True)
def any_weights_and_positions(rng, shape):
    """Weights of both signs, positions up to 500 that differ along the batch"""
    at = (rng.integers(0, 500, shape.rows), rng.integers(0, 500, shape.columns))
    weights = rng.standard_normal(shape.weights)
    return Case((weights, rng.standard_normal(shape.values), *at), {"pairing": "interleaved"})


# ---------------------------------------------------------------------------------------- laws


def _mixture_size(case):
    weights, values, rows, columns = map(wide, case.arrays)
    farthest = 1.0 + np.abs(rows).max(initial=0.0) + np.abs(columns).max(initial=0.0)
    return farthest * (np.abs(weights) @ np.broadcast_to(row_norms(values), values.shape))


@mixture.law
def values_are_rotated_by_distances(f, case):
    """Outputs are sums of values rotated by the distance from query to key"""
    weights, values, rows, columns = map(wide, case.arrays)
    options = {"pairing": case.options["pairing"], "base": case.options.get("base", 10000.0)}
    found = wide(case.call(f))
    for i in range(found.shape[-2]):
        turned = rotary_embedding(values, columns - rows[..., i : i + 1], **options)
        expected = (weights[..., i, :, None] * turned).sum(axis=-2)
        yield Claim(found[..., i, :], expected, _mixture_size(case)[..., i, :])


@mixture.law
def at_one_place_it_is_a_product(f, case):
    """Where all positions are equal it is the matrix product"""
    weights, values, rows, columns = case.arrays
    same = case.with_arrays(weights, values, 0 * rows + 5, 0 * columns + 5)
    expected = wide(weights) @ wide(values)
    yield Claim(same.call(f), expected, 10.0 * _mixture_size(same))


@mixture.law
def linear_in_the_weights(f, case):
    """Twice the weights are twice the output"""
    weights, *rest = case.arrays
    twice = case.with_arrays(astype(2 * weights, weights.dtype), *rest)
    yield Claim(twice.call(f), 2.0 * wide(case.call(f)), 2.0 * _mixture_size(case))


# -------------------------------------------------------------------------------- closed forms


@mixture.closed_form
def one_value(rng, shape):
    """One value of weight one turns by the distance: (cos 2, sin 2) from 3 to 1"""
    case = Case(
        (np.ones((1, 1)), np.array([[1.0, 0.0]]), np.array([1]), np.array([3])),
        {"pairing": "half"},
    )
    return case, np.array([[np.cos(2.0), np.sin(2.0)]])


@mixture.closed_form
def every_token_reads_itself(rng, shape):
    """The identity as weights gives the values, wherever they are"""
    values = rng.standard_normal((*shape.batch, 4, 6))
    at = np.array([3, 100, 7, 0])
    return Case((np.eye(4), values, at, at), {"pairing": "interleaved"}), values
