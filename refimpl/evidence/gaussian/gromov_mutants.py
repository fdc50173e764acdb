"""Wrong variants of Gromov-Wasserstein costs of Gaussians."""

from __future__ import annotations

from refimpl.backend import eigvalsh, namespace
from refimpl.evidence.gaussian.gromov import distances, products
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.gaussian.gromov import (
    inner_product_gromov_wasserstein_squared,
)


def _spectrum(cov, width):
    """Eigenvalues in descending order, and zeros."""
    xp = namespace(cov)
    values = xp.maximum(xp.flip(eigvalsh(cov), -1), 0)
    missing = (*values.shape[:-1], width - values.shape[-1])
    return xp.concatenate([values, xp.zeros(missing, dtype=values.dtype)], axis=-1)


def _terms(cov_p, cov_q):
    """Both spectra, the number of eigenvalues that count, and the factors of both terms."""
    width = max(cov_p.shape[-1], cov_q.shape[-1])
    return {
        "a": _spectrum(cov_p, width),
        "b": _spectrum(cov_q, width),
        "count": width,
        "of_traces": 4,
        "of_values": 8,
    }


def _products(a, b, count, of_traces, of_values):
    return ((a - b)[..., :count] ** 2).sum(axis=-1)


def _distances(a, b, count, of_traces, of_values):
    traces = (a - b).sum(axis=-1)
    return of_traces * traces * traces + of_values * ((a - b)[..., :count] ** 2).sum(axis=-1)


def _shared(t):
    """How many eigenvalues both have."""
    return min(t.cov_p.shape[-1], t.cov_q.shape[-1])


of_distances, of_products = (
    Textbook(distances, _terms, _distances),
    Textbook(products, _terms, _products),
)
for book in (of_distances, of_products):
    book.wrong(
        "the eigenvalues of q are in ascending order", b=lambda t: namespace(t.b).flip(t.b, -1)
    )
    book.wrong(
        "the roots of the eigenvalues are compared", a=lambda t: t.a**0.5, b=lambda t: t.b**0.5
    )
    book.wrong(
        "the eigenvalues are squared: covariances are taken for standard deviations",
        a=lambda t: t.a**2,
        b=lambda t: t.b**2,
    )
    book.wrong(
        "only the largest eigenvalues are compared",
        a=lambda t: t.a[..., :1],
        b=lambda t: t.b[..., :1],
    )
of_distances.wrong("the term of the traces is missing", of_traces=0)
of_distances.wrong("the term of the traces has the factor 8", of_traces=8)
of_distances.wrong("the term of the eigenvalues has the factor 4", of_values=4)
of_distances.wrong("inner products are compared, not distances", of_traces=0, of_values=1)
of_distances.wrong(
    "eigenvalues that only one of the covariances has are left out of the second term",
    count=_shared,
)
of_products.wrong("eigenvalues that only one of the covariances has are left out", count=_shared)


@products.mutant
def distances_compared(cov_p, cov_q, /):
    """distances are compared, not inner products"""
    return distances.formula(cov_p, cov_q)


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
