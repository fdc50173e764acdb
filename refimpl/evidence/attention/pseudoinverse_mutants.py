"""Wrong variants of the pseudo-inverse, its iteration and Nystrom's completion."""

from __future__ import annotations

import numpy as np

from refimpl.attention.pseudoinverse import (
    iterated_inverse,
    pseudo_inverse,
)
from refimpl.evidence.attention.pseudoinverse import completion, exact, iterated, swapped


def _default_divisor(matrix):
    sizes = np.abs(matrix)
    return sizes.sum(axis=-2).max(axis=-1) * sizes.sum(axis=-1).max(axis=-1)


def _iterated(body):
    """Register a mutant that calls the formula with changed arguments."""

    def mutant(matrix, /, **options):
        return body(matrix, options)

    mutant.__name__, mutant.__doc__ = body.__name__, body.__doc__
    return mutant


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


@iterated.mutant(source="https://github.com/mlpen/Nystromformer/issues/3")
@_iterated
def divisor_of_the_batch(matrix, options):
    """the divisor is the largest over the batch and the heads"""
    if options.get("divisor") is not None:
        return iterated_inverse(matrix, **options)
    return iterated_inverse(matrix, **options | {"divisor": _default_divisor(matrix).max()})


@iterated.mutant(source="https://github.com/mlpen/Nystromformer/issues/6")
@_iterated
def divisor_of_column_sums(matrix, options):
    """the divisor is the largest column sum alone, which is right only for a softmax"""
    if options.get("divisor") is not None:
        return iterated_inverse(matrix, **options)
    return iterated_inverse(
        matrix, **options | {"divisor": np.abs(matrix).sum(axis=-2).max(axis=-1)}
    )


@iterated.mutant(source="https://github.com/mlpen/Nystromformer/issues/6")
@_iterated
def divisor_of_signed_sums(matrix, options):
    """the divisor is the largest column sum of the whole batch, with the signs of its entries"""
    if options.get("divisor") is not None:
        return iterated_inverse(matrix, **options)
    with np.errstate(all="ignore"):
        return iterated_inverse(matrix, **options | {"divisor": matrix.sum(axis=-2).max()})


@iterated.mutant
@_iterated
def divisor_ignored(matrix, options):
    """a divisor that is given is ignored"""
    return iterated_inverse(matrix, **options | {"divisor": None})


@iterated.mutant
@_iterated
def one_step_less(matrix, options):
    """there is one step less"""
    return iterated_inverse(matrix, **options | {"steps": max(options.get("steps", 6) - 1, 0)})


@iterated.mutant
@_iterated
def start_not_transposed(matrix, options):
    """the start is A/c instead of A^T/c"""
    c = options.get("divisor")
    c = _default_divisor(matrix) if c is None else np.asarray(c)
    z, identity = matrix / c[..., None, None], np.eye(matrix.shape[-1])
    for _ in range(options.get("steps", 6)):
        x = matrix @ z
        z = z @ (13 * identity - x @ (15 * identity - x @ (7 * identity - x))) / 4
    return z


@iterated.mutant
@_iterated
def newton_instead(matrix, options):
    """the steps are those of Newton and Schulz"""
    return iterated_inverse(matrix, **options | {"iteration": "newton_schulz"})


@iterated.mutant
@_iterated
def converged(matrix, options):
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
