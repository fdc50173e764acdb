"""Wrong variants of Gromov-Wasserstein costs of Gaussians."""

from __future__ import annotations

import functools

from refimpl.backend import eigvalsh, namespace
from refimpl.evidence.gaussian.gromov import distances, products
from refimpl.evidence.gaussian.shared import off_diagonal_doubled, trace
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.gromov import (
    inner_product_gromov_wasserstein_squared,
)


def _spectrum(cov, width):
    """Eigenvalues in descending order, and zeros."""
    xp = namespace(cov)
    values = xp.maximum(xp.flip(eigvalsh(cov), -1), 0)
    missing = (*values.shape[:-1], width - values.shape[-1])
    return xp.concatenate([values, xp.zeros(missing, dtype=values.dtype)], axis=-1)


def _spectra(cov_p, cov_q):
    width = max(cov_p.shape[-1], cov_q.shape[-1])
    return _spectrum(cov_p, width), _spectrum(cov_q, width)


def _distances(a, b, *, of_traces=4.0, of_values=8.0):
    traces = (a - b).sum(axis=-1)
    return of_traces * traces * traces + of_values * ((a - b) ** 2).sum(axis=-1)


def each_mutant(body):
    """Register ``body(a, b)``, changed spectra, for both formulas."""

    @distances.mutant
    @functools.wraps(body)
    def of_distances(cov_p, cov_q, /):
        return _distances(*body(*_spectra(cov_p, cov_q)))

    @products.mutant
    @functools.wraps(body)
    def of_products(cov_p, cov_q, /):
        a, b = body(*_spectra(cov_p, cov_q))
        return ((a - b) ** 2).sum(axis=-1)

    return body


@each_mutant
def opposite_orders(a, b):
    """the eigenvalues of q are in ascending order"""
    return a, namespace(b).flip(b, -1)


@each_mutant
def deviations_for_eigenvalues(a, b):
    """the roots of the eigenvalues are compared"""
    xp = namespace(a)
    return xp.sqrt(a), xp.sqrt(b)


@each_mutant
def eigenvalues_squared(a, b):
    """the eigenvalues are squared: covariances are taken for standard deviations"""
    return a * a, b * b


@each_mutant
def largest_only(a, b):
    """only the largest eigenvalues are compared"""
    return a[..., :1], b[..., :1]


@distances.mutant
def trace_term_missing(cov_p, cov_q, /):
    """the term of the traces is missing"""
    return _distances(*_spectra(cov_p, cov_q), of_traces=0.0)


@distances.mutant
def trace_term_doubled(cov_p, cov_q, /):
    """the term of the traces has the factor 8"""
    return _distances(*_spectra(cov_p, cov_q), of_traces=8.0)


@distances.mutant
def spectral_term_halved(cov_p, cov_q, /):
    """the term of the eigenvalues has the factor 4"""
    return _distances(*_spectra(cov_p, cov_q), of_values=4.0)


@distances.mutant
def inner_products(cov_p, cov_q, /):
    """inner products are compared, not distances"""
    a, b = _spectra(cov_p, cov_q)
    return ((a - b) ** 2).sum(axis=-1)


@distances.mutant
def tail_missing(cov_p, cov_q, /):
    """eigenvalues that only one of the covariances has are left out of the second term"""
    a, b = _spectra(cov_p, cov_q)
    k = min(cov_p.shape[-1], cov_q.shape[-1])
    traces = trace(cov_p) - trace(cov_q)
    return 4 * traces * traces + 8 * ((a - b)[..., :k] ** 2).sum(axis=-1)


@products.mutant
def distances_compared(cov_p, cov_q, /):
    """distances are compared, not inner products"""
    return _distances(*_spectra(cov_p, cov_q))


@products.mutant
def product_tail_missing(cov_p, cov_q, /):
    """eigenvalues that only one of the covariances has are left out"""
    a, b = _spectra(cov_p, cov_q)
    k = min(cov_p.shape[-1], cov_q.shape[-1])
    return ((a - b)[..., :k] ** 2).sum(axis=-1)


# --------------------------------------------------------------------------------- gradient mutants


BOTH = (distances, products)
wrong(
    BOTH,
    "the gradients count each off-diagonal entry twice",
    name="gradient_off_diagonal_doubled",
    gradient={"cov_p": off_diagonal_doubled, "cov_q": off_diagonal_doubled},
)
wrong(
    BOTH,
    "the gradients lack the factor 2 of the square",
    name="gradient_halved",
    gradient=lambda gradients, arrays, options: [g / 2 for g in gradients],
)


@distances.mutant(gradient=True)
def gradient_without_traces(g, cov_p, cov_q, /):
    """the gradients lack the term of the traces"""
    of_products = inner_product_gromov_wasserstein_squared.vjp(g, cov_p, cov_q)
    return tuple(8 * x for x in of_products)


@products.mutant(gradient=True)
def gradient_of_the_difference(g, cov_p, cov_q, /):
    """the gradient in cov_p is 2 g S_p, without the covariance of q"""
    _, dcov_q = inner_product_gromov_wasserstein_squared.vjp(g, cov_p, cov_q)
    return 2 * g[..., None, None] * cov_p, dcov_q
