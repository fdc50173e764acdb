"""Wrong variants of moments: terms forgotten, factors off, matrices not made symmetric."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.evidence.gaussian.density_mutants import off_diagonal_doubled
from refimpl.evidence.gaussian.moments import (
    FORMS,
    covariance_form,
    cumulant,
    mean_form,
    second,
)
from refimpl.evidence.gaussian.parametrisation_mutants import diagonal_matrix, transposed
from refimpl.gaussian.moments import gaussian_quadratic_cumulant, gaussian_second_moment


def _outer(x, y):
    return x[..., :, None] * y[..., None, :]


def _trace(matrix):
    return namespace(matrix).trace(matrix, axis1=-2, axis2=-1)


def _form(matrix, x):
    return ((matrix @ x[..., None])[..., 0] * x).sum(axis=-1)


# ------------------------------------------------------------------------------ second moment


@second.mutant
def mean_product_alone(mean, cov, /):
    """the covariance is forgotten: the product of the mean is returned"""
    return _outer(mean, mean) + 0 * cov


@second.mutant
def mean_subtracted(mean, cov, /):
    """the product of the mean is subtracted instead of added"""
    return cov - _outer(mean, mean)


@second.mutant
def squared_mean_on_the_diagonal(mean, cov, /):
    """the squared mean enters the diagonal only"""
    return cov + diagonal_matrix(mean * mean)


@second.mutant
def squared_norm_on_the_diagonal(mean, cov, /):
    """|mean|^2 is added to the diagonal: an inner product instead of an outer one"""
    return cov + diagonal_matrix(0 * mean + (mean * mean).sum(axis=-1, keepdims=True))


@second.mutant(gradient=True)
def gradient_takes_g_for_symmetric(g, mean, cov, /):
    """the gradient in the mean is 2 G mean, which takes G for symmetric"""
    return 2 * (g @ mean[..., None])[..., 0], gaussian_second_moment.vjp(g, mean, cov)[1]


@second.mutant(gradient=True)
def gradient_not_symmetric(g, mean, cov, /):
    """the gradient in cov is not made symmetric"""
    return gaussian_second_moment.vjp(g, mean, cov)[0], g


# ----------------------------------------------------------------------- mean of a quadratic form


@mean_form.mutant
def trace_missing(matrix, mean, cov, /):
    """tr(A S) is missing: the form at the mean"""
    return _form(matrix, mean)


@mean_form.mutant
def product_of_traces(matrix, mean, cov, /):
    """the trace of the product is taken for the product of the traces"""
    return _trace(matrix) * _trace(cov) + _form(matrix, mean)


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


def _covariance(left, right, mean, cov, trace=2, linear=4):
    product = left @ cov @ right
    return trace * _trace(product @ cov) + linear * (
        (product @ mean[..., None])[..., 0] * mean
    ).sum(axis=-1)


def _halves(left, right):
    return (left + transposed(left)) / 2, (right + transposed(right)) / 2


@covariance_form.mutant
def matrices_not_symmetric(left, right, mean, cov, /):
    """A and B are not made symmetric: tr(A S B S) is wrong for others"""
    return _covariance(left, right, mean, cov)


@covariance_form.mutant
def factor_two_missing(left, right, mean, cov, /):
    """the trace lacks its factor 2"""
    return _covariance(*_halves(left, right), mean, cov, trace=1)


@covariance_form.mutant
def factor_four_is_two(left, right, mean, cov, /):
    """the term with the mean has the factor 2 instead of 4"""
    return _covariance(*_halves(left, right), mean, cov, linear=2)


@covariance_form.mutant
def mean_product(left, right, mean, cov, /):
    """the mean of the product is returned: the product of the means is not subtracted"""
    left, right = _halves(left, right)
    first, second = (_trace(a @ cov) + _form(a, mean) for a in (left, right))
    return _covariance(left, right, mean, cov) + first * second


@covariance_form.mutant
def product_of_the_traces(left, right, mean, cov, /):
    """tr(A S) tr(B S) stands for tr(A S B S)"""
    left, right = _halves(left, right)
    extra = _trace(left @ cov) * _trace(right @ cov) - _trace(left @ cov @ right @ cov)
    return _covariance(left, right, mean, cov) + 2 * extra


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
    half = (matrix + transposed(matrix)) / 2
    constant = 2 ** (order - 1) * math.factorial(order - 1)
    return constant * _cumulant(half, mean, cov, order, weight=1)


@cumulant.mutant
def central_moment(matrix, mean, cov, /, *, order):
    """the fourth central moment is returned: three times the squared variance too much"""
    found = gaussian_quadratic_cumulant(matrix, mean, cov, order=order)
    if order != 4:
        return found
    return found + 3 * gaussian_quadratic_cumulant(matrix, mean, cov, order=2) ** 2


# ------------------------------------------------------------------- gradients of quadratic forms


def _register(of):
    """Wrong gradients, written once for every formula of a quadratic form."""

    @of.mutant(gradient=True)
    def gradient_in_the_mean_halved(g, *arrays, **options):
        """the gradient in the mean lacks its factor 2"""
        *dmatrices, dmean, dcov = of.formula.vjp(g, *arrays, **options)
        return *dmatrices, dmean / 2, dcov

    @of.mutant(gradient=True)
    def gradient_in_cov_off_diagonal_doubled(g, *arrays, **options):
        """the gradient in cov counts each off-diagonal entry twice"""
        *others, dcov = of.formula.vjp(g, *arrays, **options)
        return *others, off_diagonal_doubled(dcov)

    @of.mutant(gradient=True)
    def gradient_in_the_matrix_without_the_mean(g, *arrays, **options):
        """the gradient in the matrix lacks the term with the mean"""
        *matrices, mean, cov = arrays
        dmatrix, *_ = of.formula.vjp(g, *matrices, 0 * mean, cov, **options)
        return dmatrix, *of.formula.vjp(g, *arrays, **options)[1:]

    @of.mutant(gradient=True)
    def gradient_in_cov_with_the_matrix_as_it_is(g, *arrays, **options):
        """the gradient in cov keeps the antisymmetric part of A"""
        *others, dcov = of.formula.vjp(g, *arrays, **options)
        skew = (arrays[0] - transposed(arrays[0])) / 2
        return *others, dcov + g[..., None, None] * skew


for of in FORMS:
    _register(of)
