"""Wrong variants of the pseudo-inverse, its iteration and Nystrom's completion."""

from __future__ import annotations

import numpy as np

from refimpl.attention.pseudoinverse import (
    iterated_inverse,
    pseudo_inverse,
)
from refimpl.evidence.attention.pseudoinverse import completion, exact, iterated, swapped
from refimpl.evidence.mistakes import wrong


def _default_divisor(matrix):
    sizes = np.abs(matrix)
    return sizes.sum(axis=-2).max(axis=-1) * sizes.sum(axis=-1).max(axis=-1)


def _divided(choose):
    """Options with the divisor that ``choose`` takes from the matrix, unless one is given."""
    return lambda options, arrays: (
        options if options.get("divisor") is not None else options | {"divisor": choose(*arrays)}
    )


@exact.mutant
def transpose(matrix, /, *, rcond=None):
    """it is the transpose, as for orthogonal matrices"""
    return swapped(matrix)


@exact.mutant
def singular_values_not_inverted(matrix, /, *, rcond=None):
    """the singular values are not inverted"""
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    return swapped((u * s[..., None, :]) @ vh)


@exact.mutant
def regularised(matrix, /, *, rcond=None):
    """(A^T A + 1e-2 I)^{-1} A^T: the inverse is regularised"""
    identity = 1e-2 * np.eye(matrix.shape[-1])
    return np.linalg.solve(swapped(matrix) @ matrix + identity, swapped(matrix))


@exact.mutant(gradient=True)
def gradient_of_an_inverse(g, matrix, /, *, rcond=None):
    """the gradient is that of the inverse of a square matrix, -Z^T g Z^T"""
    z = swapped(pseudo_inverse(matrix, rcond=rcond))
    return (-z @ g @ z,)


wrong(
    iterated,
    "the divisor is the largest over the batch and the heads",
    options=_divided(lambda matrix: _default_divisor(matrix).max()),
    source="https://github.com/mlpen/Nystromformer/issues/3",
)
wrong(
    iterated,
    "the divisor is the largest column sum alone, which is right only for a softmax",
    options=_divided(lambda matrix: np.abs(matrix).sum(axis=-2).max(axis=-1)),
    source="https://github.com/mlpen/Nystromformer/issues/6",
)
wrong(
    iterated,
    "the divisor is the largest column sum of the whole batch, with the signs of its entries",
    options=_divided(lambda matrix: matrix.sum(axis=-2).max()),
    source="https://github.com/mlpen/Nystromformer/issues/6",
)
wrong(iterated, "a divisor that is given is ignored", options={"divisor": None})
wrong(
    iterated,
    "there is one step less",
    options=lambda options, _: options | {"steps": max(options.get("steps", 6) - 1, 0)},
)
wrong(iterated, "the steps are those of Newton and Schulz", options={"iteration": "newton_schulz"})


@iterated.mutant
def start_not_transposed(matrix, /, **options):
    """the start is A/c instead of A^T/c"""
    c = options.get("divisor")
    c = _default_divisor(matrix) if c is None else np.asarray(c)
    z, identity = matrix / c[..., None, None], np.eye(matrix.shape[-1])
    for _ in range(options.get("steps", 6)):
        x = matrix @ z
        z = z @ (13 * identity - x @ (15 * identity - x @ (7 * identity - x))) / 4
    return z


@iterated.mutant
def converged(matrix, /, **options):
    """it is the exact inverse"""
    return np.linalg.pinv(matrix)


@iterated.mutant(gradient=True)
def gradient_with_constant_divisor(g, matrix, /, *, divisor=None, **options):
    """the divisor is taken for a constant"""
    given = _default_divisor(matrix) if divisor is None else divisor
    found = iterated_inverse.vjp(g, matrix, divisor=np.asarray(given), **options)
    return found[:1] if divisor is None else found


@iterated.mutant(gradient=True)
def gradient_of_the_limit(g, matrix, /, *, divisor=None, **options):
    """the gradient is that of the exact inverse"""
    z = swapped(np.linalg.pinv(matrix))
    dmatrix = -z @ g @ z
    return (dmatrix,) if divisor is None else (dmatrix, 0.0 * np.asarray(divisor))


@completion.mutant
def corner_left_out(corner, columns, rows, /, *, rcond=None):
    """the corner is left out: C B"""
    return rows @ columns


@completion.mutant
def jitter(corner, columns, rows, /, *, rcond=None):
    """1e-2 is added to the diagonal of the corner"""
    return rows @ np.linalg.solve(corner + 1e-2 * np.eye(corner.shape[-1]), columns)
