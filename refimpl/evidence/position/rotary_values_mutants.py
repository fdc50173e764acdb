"""Wrong variants of rotation of values."""

from __future__ import annotations

from refimpl.evidence.mistakes import wrong
from refimpl.evidence.position.rotary_values import mixture
from refimpl.evidence.position.shared import OTHER
from refimpl.position.rotary import rotary_embedding
from refimpl.position.rotary_values import value_rotary_mixture


@mixture.mutant
def not_rotated_back(weights, values, rows, columns, **options):
    """Outputs are not rotated back: they see absolute positions"""
    return weights @ rotary_embedding(values, columns, **options)


@mixture.mutant
def values_not_rotated(weights, values, rows, columns, **options):
    """Only outputs are rotated back, values are not rotated"""
    return rotary_embedding(weights @ values, rows, inverse=True, **options)


@mixture.mutant
def rotated_on(weights, values, rows, columns, **options):
    """Outputs are rotated forward, by the sum of the positions"""
    return rotary_embedding(weights @ rotary_embedding(values, columns, **options), rows, **options)


wrong(
    mixture,
    "Values are rotated by the distance from key to query",
    arrays={"rows": lambda x: -x, "columns": lambda x: -x},
)


@mixture.mutant
def no_rotation(weights, values, rows, columns, **options):
    """Nothing is rotated: the plain product"""
    return weights @ values


wrong(
    mixture,
    "It pairs features in the other way: half for interleaved, or interleaved for half",
    options={"pairing": OTHER.get},
    source="https://github.com/huggingface/transformers/issues/25199",
)


@mixture.mutant(gradient=True)
def gradient_of_the_product(g, weights, values, rows, columns, **options):
    """The backward pass forgets the rotations"""
    rest = value_rotary_mixture.vjp(g, weights, values, rows, columns, **options)[2:]
    return g @ values.swapaxes(-1, -2), weights.swapaxes(-1, -2) @ g, *rest


@mixture.mutant(gradient=True)
def gradient_rotated_the_other_way(g, weights, values, rows, columns, **options):
    """The backward pass rotates by the reversed distance"""
    return value_rotary_mixture.vjp(g, weights, values, -rows, -columns, **options)
