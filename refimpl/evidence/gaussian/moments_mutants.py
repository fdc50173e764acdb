"""Wrong variants of moments: terms forgotten, factors off, matrices not made symmetric."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.core import matvec, outer, symmetric_part
from refimpl.evidence.gaussian.moments import FORMS, covariance_form, cumulant, mean_form, second
from refimpl.evidence.gaussian.shared import (
    diagonal_matrix,
    off_diagonal_doubled,
    trace,
    transposed,
)
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients
from refimpl.gaussian.moments import gaussian_quadratic_cumulant


def _form(matrix, x):
    return (matvec(matrix, x) * x).sum(axis=-1)


# ------------------------------------------------------------------------------ second moment


@second.mutant
def mean_product_alone(mean, cov, /):
    """the covariance is forgotten: the product of the mean is returned"""
    return outer(mean, mean) + 0 * cov


@second.mutant
def mean_subtracted(mean, cov, /):
    """the product of the mean is subtracted instead of added"""
    return cov - outer(mean, mean)


@second.mutant
def squared_mean_on_the_diagonal(mean, cov, /):
    """the squared mean enters the diagonal only"""
    return cov + diagonal_matrix(mean * mean)


@second.mutant
def squared_norm_on_the_diagonal(mean, cov, /):
    """|mean|^2 is added to the diagonal: an inner product instead of an outer one"""
    return cov + diagonal_matrix(0 * mean + (mean * mean).sum(axis=-1, keepdims=True))


@wrong_gradients(second)
def gradient_takes_g_for_symmetric(found, g, arrays, options):
    """the gradient in the mean is 2 G mean, which takes G for symmetric"""
    return 2 * matvec(g, arrays[0]), found[1]


@wrong_gradients(second)
def gradient_not_symmetric(found, g, arrays, options):
    """the gradient in cov is not made symmetric"""
    return found[0], g


# ----------------------------------------------------------------------- mean of a quadratic form


@mean_form.mutant
def trace_missing(matrix, mean, cov, /):
    """tr(A S) is missing: the form at the mean"""
    return _form(matrix, mean)


@mean_form.mutant
def product_of_traces(matrix, mean, cov, /):
    """the trace of the product is taken for the product of the traces"""
    return trace(matrix) * trace(cov) + _form(matrix, mean)


@mean_form.mutant
def trace_halved(matrix, mean, cov, /):
    """the trace has a factor 1/2, as in a second-order expansion"""
    return (matrix * cov).sum(axis=(-2, -1)) / 2 + _form(matrix, mean)


@mean_form.mutant
def lower_triangle_of_the_matrix(matrix, mean, cov, /):
    """A is taken for symmetric, and only its lower triangle is read"""
    xp = namespace(matrix)
    lower = xp.tril(matrix)
    full = lower + transposed(xp.tril(matrix, -1))
    return (full * cov).sum(axis=(-2, -1)) + _form(full, mean)


# -------------------------------------------------------------------- covariance of quadratic forms


def _covariance_terms(left, right, mean, cov):
    """tr(A S B S), mean^T A S B mean, and their factors, for the symmetric parts."""
    left, right = symmetric_part(left), symmetric_part(right)
    product = left @ cov @ right
    return {"trace": trace(product @ cov), "two": 2, "square": _form(product, mean), "four": 4}


def _covariance(trace, two, square, four):
    return two * trace + four * square


book = Textbook(covariance_form, _covariance_terms, _covariance)
book.wrong("the trace lacks its factor 2", two=1)
book.wrong("the term with the mean has the factor 2 instead of 4", four=2)
book.wrong(
    "tr(A S) tr(B S) stands for tr(A S B S)",
    trace=lambda t: trace(symmetric_part(t.left) @ t.cov) * trace(symmetric_part(t.right) @ t.cov),
)


@covariance_form.mutant
def matrices_not_symmetric(left, right, mean, cov, /):
    """A and B are not made symmetric: tr(A S B S) is wrong for others"""
    product = left @ cov @ right
    return 2 * trace(product @ cov) + 4 * _form(product, mean)


@covariance_form.mutant
def mean_product(left, right, mean, cov, /):
    """the mean of the product is returned: the product of the means is not subtracted"""
    first, second = (trace(x @ cov) + _form(x, mean) for x in (left, right))
    return covariance_form.formula(left, right, mean, cov) + first * second


# ------------------------------------------------------------------- cumulants of quadratic forms


def _cumulant(matrix, mean, cov, order, weight=None):
    """tr((A S)^s) + weight mean^T (A S)^{s-1} A mean, without the constant."""
    product = matrix
    for _ in range(order - 1):
        product = product @ cov @ matrix
    weight = order if weight is None else weight
    return (product * transposed(cov)).sum(axis=(-2, -1)) + weight * _form(product, mean)


@cumulant.mutant
def matrix_not_symmetric(matrix, mean, cov, /, *, order):
    """A is not made symmetric: its powers are wrong for others"""
    constant = 2 ** (order - 1) * math.factorial(order - 1)
    return constant * _cumulant(matrix, mean, cov, order)


@cumulant.mutant
def factorial_of_the_order(matrix, mean, cov, /, *, order):
    """the constant has s! instead of (s - 1)!"""
    return order * gaussian_quadratic_cumulant(matrix, mean, cov, order=order)


@cumulant.mutant
def factorial_missing(matrix, mean, cov, /, *, order):
    """the constant lacks (s - 1)!"""
    found = gaussian_quadratic_cumulant(matrix, mean, cov, order=order)
    return found / math.factorial(order - 1)


@cumulant.mutant
def mean_counted_once(matrix, mean, cov, /, *, order):
    """the term with the mean lacks its factor s"""
    constant = 2 ** (order - 1) * math.factorial(order - 1)
    return constant * _cumulant(symmetric_part(matrix), mean, cov, order, weight=1)


@cumulant.mutant
def central_moment(matrix, mean, cov, /, *, order):
    """the fourth central moment is returned: three times the squared variance too much"""
    found = gaussian_quadratic_cumulant(matrix, mean, cov, order=order)
    if order != 4:
        return found
    return found + 3 * gaussian_quadratic_cumulant(matrix, mean, cov, order=2) ** 2


# ------------------------------------------------------------------- gradients of quadratic forms


wrong(FORMS, "the gradient in the mean lacks its factor 2", gradient={"mean": lambda x: x / 2})
wrong(
    FORMS,
    "the gradient in cov counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)
for of in FORMS:

    @wrong_gradients(of)
    def gradient_in_the_matrix_without_the_mean(found, g, arrays, options, f=of.formula):
        """the gradient in the matrix lacks the term with the mean"""
        *matrices, mean, cov = arrays
        return f.vjp(g, *matrices, 0 * mean, cov, **options)[0], *found[1:]

    @wrong_gradients(of)
    def gradient_in_cov_with_the_matrix_as_it_is(found, g, arrays, options):
        """the gradient in cov keeps the antisymmetric part of A"""
        skew = (arrays[0] - transposed(arrays[0])) / 2
        return *found[:-1], found[-1] + g[..., None, None] * skew
