"""Wrong variants of transport costs: the bugs that public code had, and their neighbours."""

from __future__ import annotations

import functools

from refimpl.backend import cholesky, eigh, eigvalsh, namespace, svdvals
from refimpl.core import symmetric_part
from refimpl.evidence.gaussian.shared import off_diagonal_doubled, trace
from refimpl.evidence.gaussian.transport import bures, distance, factor, squared
from refimpl.gaussian.transport import (
    bures_squared,
    bures_squared_factor,
    wasserstein_distance,
    wasserstein_squared,
)

# ------------------------------------------------------------------- mutants of the covariance part


def _root(cov):
    """The symmetric square root."""
    xp = namespace(cov)
    values, basis = eigh(cov)
    return (basis * xp.sqrt(xp.maximum(values, 0))[..., None, :]) @ basis.swapaxes(-1, -2)


def _fidelity(cov_p, cov_q):
    """tr (S_p^{1/2} S_q S_p^{1/2})^{1/2}."""
    return svdvals(_root(cov_p) @ _root(cov_q)).sum(axis=-1)


def _bures(cov_p, cov_q):
    return trace(cov_p) + trace(cov_q) - 2 * _fidelity(cov_p, cov_q)


def _square(x):
    return (x * x).sum(axis=-1)


def each_mutant(*, source: str = ""):
    """Register ``body(cov_p, cov_q)``, a wrong B^2, for all formulas of covariances."""

    def register(body):
        @bures.mutant(source=source)
        @functools.wraps(body)
        def of_bures(cov_p, cov_q, /):
            return body(cov_p, cov_q)

        @squared.mutant(source=source)
        @functools.wraps(body)
        def of_square(mean_p, cov_p, mean_q, cov_q, /):
            return _square(mean_p - mean_q) + body(cov_p, cov_q)

        @distance.mutant(source=source)
        @functools.wraps(body)
        def of_root(mean_p, cov_p, mean_q, cov_q, /):
            xp = namespace(mean_p)
            return xp.sqrt(xp.maximum(_square(mean_p - mean_q) + body(cov_p, cov_q), 0))

        return body

    return register


@each_mutant(source="https://github.com/microsoft/otdd/issues/16")
def roots_missing(cov_p, cov_q):
    """the covariances are compared without their square roots: |S_p - S_q|_F^2"""
    return ((cov_p - cov_q) ** 2).sum(axis=(-2, -1))


@each_mutant()
def as_if_they_commuted(cov_p, cov_q):
    """the formula for commuting covariances, |S_p^{1/2} - S_q^{1/2}|_F^2, is used for any"""
    return ((_root(cov_p) - _root(cov_q)) ** 2).sum(axis=(-2, -1))


@each_mutant()
def cholesky_for_root(cov_p, cov_q):
    """Cholesky factors stand for the square roots: |L_p - L_q|_F^2"""
    return ((cholesky(cov_p) - cholesky(cov_q)) ** 2).sum(axis=(-2, -1))


@each_mutant()
def elementwise_root(cov_p, cov_q):
    """the root of the product is taken entry by entry, not as a matrix"""
    xp = namespace(cov_p)
    products = xp.diagonal(cov_p @ cov_q, axis1=-2, axis2=-1)
    return trace(cov_p) + trace(cov_q) - 2 * xp.sqrt(xp.maximum(products, 0)).sum(axis=-1)


@each_mutant(source="https://github.com/toshas/torch-fidelity/issues/46")
def eigenvalues_of_half_the_product(cov_p, cov_q):
    """a solver for symmetric matrices gets S_p S_q, which is not, and reads one triangle of it"""
    xp = namespace(cov_p)
    values = eigvalsh(cov_p @ cov_q)
    return trace(cov_p) + trace(cov_q) - 2 * xp.sqrt(xp.maximum(values, 0)).sum(axis=-1)


@each_mutant()
def root_of_the_trace(cov_p, cov_q):
    """the root is that of the trace, not the trace of the root"""
    xp = namespace(cov_p)
    return trace(cov_p) + trace(cov_q) - 2 * xp.sqrt(trace(cov_p @ cov_q))


@each_mutant()
def two_missing(cov_p, cov_q):
    """the cross term lacks its factor 2"""
    return trace(cov_p) + trace(cov_q) - _fidelity(cov_p, cov_q)


@each_mutant()
def cross_term_missing(cov_p, cov_q):
    """the cross term is missing, as for independent x and y"""
    return trace(cov_p) + trace(cov_q)


@each_mutant()
def product_without_root(cov_p, cov_q):
    """the matrix square root is missing: tr S_p S_q for its trace"""
    return abs(trace(cov_p) + trace(cov_q) - 2 * trace(cov_p @ cov_q))


@each_mutant()
def diagonals_only(cov_p, cov_q):
    """only the diagonals of the covariances are used"""
    xp = namespace(cov_p)
    variances_p = xp.diagonal(cov_p, axis1=-2, axis2=-1)
    variances_q = xp.diagonal(cov_q, axis1=-2, axis2=-1)
    return _square(xp.sqrt(variances_p) - xp.sqrt(variances_q))


@each_mutant()
def spectra_only(cov_p, cov_q):
    """only the sorted eigenvalues of the covariances are compared"""
    xp = namespace(cov_p)
    roots = (xp.sqrt(xp.maximum(eigvalsh(cov), 0)) for cov in (cov_p, cov_q))
    return _square(next(roots) - next(roots))


@each_mutant()
def covariance_as_deviation(cov_p, cov_q):
    """covariances are taken for standard deviations: they are squared"""
    return _bures(cov_p @ cov_p, cov_q @ cov_q)


@each_mutant()
def covariance_as_cholesky_factor(cov_p, cov_q):
    """covariances are taken for Cholesky factors (scale_tril)"""
    xp = namespace(cov_p)
    low_p, low_q = xp.tril(cov_p), xp.tril(cov_q)
    squares = (low_p * low_p).sum(axis=(-2, -1)) + (low_q * low_q).sum(axis=(-2, -1))
    return squares - 2 * svdvals(low_p.swapaxes(-1, -2) @ low_q).sum(axis=-1)


@each_mutant()
def jitter(cov_p, cov_q):
    """0.01 is added to the variances of q before the root, and never taken off"""
    xp = namespace(cov_p)
    shifted = cov_q + 0.01 * xp.eye(cov_q.shape[-1], dtype=cov_q.dtype)
    return trace(cov_p) + trace(cov_q) - 2 * _fidelity(cov_p, shifted)


# --------------------------------------------------------------- mutants of the whole and its means


@bures.mutant(source="https://github.com/PythonOT/POT/issues/708")
def square_missing(cov_p, cov_q, /):
    """the result is the distance, not its square"""
    xp = namespace(cov_p)
    return xp.sqrt(xp.maximum(_bures(cov_p, cov_q), 0))


@bures.mutant
def fidelity_itself(cov_p, cov_q, /):
    """the result is the cross term tr (S_p^{1/2} S_q S_p^{1/2})^{1/2} alone"""
    return _fidelity(cov_p, cov_q)


def each_whole_mutant(*, source: str = ""):
    """Register ``body(delta, B^2)``, a wrong W^2, for the square and its root."""

    def register(body):
        @squared.mutant(source=source)
        @functools.wraps(body)
        def of_square(mean_p, cov_p, mean_q, cov_q, /):
            return body(mean_p - mean_q, _bures(cov_p, cov_q))

        @distance.mutant(source=source)
        @functools.wraps(body)
        def of_root(mean_p, cov_p, mean_q, cov_q, /):
            xp = namespace(mean_p)
            return xp.sqrt(xp.maximum(body(mean_p - mean_q, _bures(cov_p, cov_q)), 0))

        return body

    return register


@each_whole_mutant(source="https://github.com/PythonOT/POT/pull/649")
def means_missing(delta, shape):
    """the means are ignored"""
    return shape


@each_whole_mutant()
def mean_term_not_squared(delta, shape):
    """the distance of the means is not squared"""
    return namespace(delta).sqrt(_square(delta)) + shape


@each_whole_mutant(source="https://github.com/PythonOT/POT/issues/708")
def covariance_term_not_squared(delta, shape):
    """the Bures distance of the covariances is not squared"""
    xp = namespace(delta)
    return _square(delta) + xp.sqrt(xp.maximum(shape, 0))


@each_whole_mutant()
def mean_of_squares(delta, shape):
    """the squared distance of the means is averaged over the coordinates, not summed"""
    return _square(delta) / delta.shape[-1] + shape


@each_whole_mutant()
def halved(delta, shape):
    """the cost is |x - y|^2/2"""
    return (_square(delta) + shape) / 2


@each_whole_mutant()
def difference_of_terms(delta, shape):
    """the two terms are subtracted"""
    return abs(_square(delta) - shape)


@squared.mutant(source="https://github.com/PythonOT/POT/issues/708")
def root_taken(mean_p, cov_p, mean_q, cov_q, /):
    """the result is the distance, not its square"""
    xp = namespace(mean_p)
    return xp.sqrt(xp.maximum(_square(mean_p - mean_q) + _bures(cov_p, cov_q), 0))


@distance.mutant
def sum_of_distances(mean_p, cov_p, mean_q, cov_q, /):
    """the distances of means and of covariances are added, not their squares"""
    xp = namespace(mean_p)
    shape = xp.sqrt(xp.maximum(_bures(cov_p, cov_q), 0))
    return xp.sqrt(_square(mean_p - mean_q)) + shape


# ------------------------------------------------------------------------------- mutants of factors


def _squares(factor_p, factor_q):
    return (factor_p * factor_p).sum(axis=(-2, -1)) + (factor_q * factor_q).sum(axis=(-2, -1))


@factor.mutant
def columns_not_turned(factor_p, factor_q, /):
    """the columns are compared as they are: tr S_p^T S_q for the sum of its singular values"""
    k = min(factor_p.shape[-1], factor_q.shape[-1])
    product = (factor_p[..., :k] * factor_q[..., :k]).sum(axis=(-2, -1))
    return _squares(factor_p, factor_q) - 2 * product


@factor.mutant
def frobenius_norm(factor_p, factor_q, /):
    """the singular values of S_p^T S_q enter by the root of their squares, not by their sum"""
    xp = namespace(factor_p)
    product = factor_p.swapaxes(-1, -2) @ factor_q
    return _squares(factor_p, factor_q) - 2 * xp.sqrt((product * product).sum(axis=(-2, -1)))


@factor.mutant
def rows_for_columns(factor_p, factor_q, /):
    """the singular values are those of the covariances' product, not of S_p^T S_q"""
    cov_p, cov_q = factor_p @ factor_p.swapaxes(-1, -2), factor_q @ factor_q.swapaxes(-1, -2)
    return abs(_squares(factor_p, factor_q) - 2 * svdvals(cov_p @ cov_q).sum(axis=-1))


@factor.mutant
def largest_singular_value(factor_p, factor_q, /):
    """only the largest singular value of S_p^T S_q is counted"""
    largest = svdvals(factor_p.swapaxes(-1, -2) @ factor_q)[..., 0]
    return _squares(factor_p, factor_q) - 2 * largest


@factor.mutant
def factor_two_missing(factor_p, factor_q, /):
    """the cross term lacks its factor 2"""
    values = svdvals(factor_p.swapaxes(-1, -2) @ factor_q)
    return _squares(factor_p, factor_q) - values.sum(axis=-1)


@factor.mutant
def factor_as_covariance(factor_p, factor_q, /):
    """the factors' entries are squared twice: B^2 of S S^T S S^T"""
    cov_p, cov_q = factor_p @ factor_p.swapaxes(-1, -2), factor_q @ factor_q.swapaxes(-1, -2)
    return _squares(cov_p, cov_q) - 2 * svdvals(cov_p @ cov_q).sum(axis=-1)


@factor.mutant(source="https://github.com/PythonOT/POT/issues/708")
def factor_square_missing(factor_p, factor_q, /):
    """the result is the distance, not its square"""
    xp = namespace(factor_p)
    values = svdvals(factor_p.swapaxes(-1, -2) @ factor_q)
    return xp.sqrt(xp.maximum(_squares(factor_p, factor_q) - 2 * values.sum(axis=-1), 0))


# --------------------------------------------------------------------------------- gradient mutants

_FORMULAS = {bures: bures_squared, squared: wasserstein_squared, distance: wasserstein_distance}


def each_gradient_mutant(change):
    """Register ``change(g, cov_p, cov_q, dcov_p, dcov_q)``, wrong gradients in the covariances."""
    for of, record in _FORMULAS.items():

        def body(g, *arrays, record=record):
            found = list(record.vjp(g, *arrays))
            places = (0, 1) if len(arrays) == 2 else (1, 3)
            wrong = change(*(arrays[i] for i in places), *(found[i] for i in places))
            for place, value in zip(places, wrong, strict=True):
                found[place] = value
            return tuple(found)

        of.mutant(functools.wraps(change)(body), gradient=True)
    return change


@each_gradient_mutant
def gradient_off_diagonal_doubled(cov_p, cov_q, dcov_p, dcov_q):
    """the gradients in the covariances count each off-diagonal entry twice"""
    return off_diagonal_doubled(dcov_p), off_diagonal_doubled(dcov_q)


@each_gradient_mutant
def gradient_triangle(cov_p, cov_q, dcov_p, dcov_q):
    """the gradients in the covariances have both halves in the lower triangle"""
    xp = namespace(cov_p)
    return tuple(
        2 * xp.tril(d, -1) + d * xp.eye(d.shape[-1], dtype=d.dtype) for d in (dcov_p, dcov_q)
    )


@each_gradient_mutant
def gradient_sign(cov_p, cov_q, dcov_p, dcov_q):
    """the gradients in the covariances have the wrong sign"""
    return -dcov_p, -dcov_q


@bures.mutant(gradient=True)
def gradient_of_commuting(g, cov_p, cov_q, /):
    """the gradients are those of commuting covariances: I - S_q^{1/2} S_p^{-1/2}, symmetrised"""
    xp = namespace(cov_p)
    identity = xp.eye(cov_p.shape[-1], dtype=cov_p.dtype)

    def one(own, other):
        values, basis = eigh(own)
        inverse = (basis / xp.sqrt(values)[..., None, :]) @ basis.swapaxes(-1, -2)
        return g[..., None, None] * (identity - symmetric_part(_root(other) @ inverse))

    return one(cov_p, cov_q), one(cov_q, cov_p)


@squared.mutant(gradient=True)
def gradient_two_missing(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients in the means lack their factor 2"""
    dmean_p, dcov_p, dmean_q, dcov_q = wasserstein_squared.vjp(g, mean_p, cov_p, mean_q, cov_q)
    return dmean_p / 2, dcov_p, dmean_q / 2, dcov_q


@distance.mutant(gradient=True)
def gradient_of_the_square(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients are those of the squared distance"""
    return wasserstein_squared.vjp(g, mean_p, cov_p, mean_q, cov_q)


@distance.mutant(gradient=True)
def gradient_half_missing(g, mean_p, cov_p, mean_q, cov_q, /):
    """the root's derivative is 1/W instead of 1/(2 W)"""
    return tuple(2 * x for x in wasserstein_distance.vjp(g, mean_p, cov_p, mean_q, cov_q))


@factor.mutant(gradient=True)
def factor_gradient_two_missing(g, factor_p, factor_q, /):
    """the gradients lack their factor 2"""
    return tuple(x / 2 for x in bures_squared_factor.vjp(g, factor_p, factor_q))


@factor.mutant(gradient=True)
def factor_gradient_not_turned(g, factor_p, factor_q, /):
    """the gradients compare the columns as they are: 2 (S_p - S_q)"""
    xp = namespace(factor_p)

    def one(own, other):
        k = min(own.shape[-1], other.shape[-1])
        rest = xp.zeros((*other.shape[:-1], own.shape[-1] - k), dtype=own.dtype)
        return 2 * g[..., None, None] * (own - xp.concatenate([other[..., :k], rest], axis=-1))

    return one(factor_p, factor_q), one(factor_q, factor_p)


@factor.mutant(gradient=True)
def factor_gradient_without_cross_term(g, factor_p, factor_q, /):
    """the gradients lack the cross term: 2 S_p and 2 S_q"""
    return 2 * g[..., None, None] * factor_p, 2 * g[..., None, None] * factor_q
