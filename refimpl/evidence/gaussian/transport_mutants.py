"""Wrong variants of transport costs: the bugs that public code had, and their neighbours."""

from __future__ import annotations

from refimpl.backend import cholesky, eigh, eigvalsh, namespace, svdvals
from refimpl.core import symmetric_part
from refimpl.evidence.gaussian.shared import (
    diagonal_of,
    identity_of,
    off_diagonal_doubled,
    power,
    trace,
    transposed,
)
from refimpl.evidence.gaussian.transport import bures, distance, factor, squared
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.gaussian.transport import wasserstein_squared

# ------------------------------------------------------------------- mutants of the covariance part


def _root(cov):
    return power(cov, 0.5)


def _sum_of_roots(values):
    xp = namespace(values)
    return xp.sqrt(xp.maximum(values, 0)).sum(axis=-1)


def _fidelity(cov_p, cov_q):
    """tr (S_p^{1/2} S_q S_p^{1/2})^{1/2}."""
    return svdvals(_root(cov_p) @ _root(cov_q)).sum(axis=-1)


def _squares(x):
    return (x * x).sum(axis=(-2, -1))


def _square(x, y):
    return ((x - y) ** 2).sum(axis=-1)


def _terms(cov_p, cov_q):
    return {
        "means": 0,
        "traces": trace(cov_p) + trace(cov_q),
        "fidelity": _fidelity(cov_p, cov_q),
    }


def _terms_of_pair(mean_p, cov_p, mean_q, cov_q):
    return _terms(cov_p, cov_q) | {"means": _square(mean_p, mean_q)}


def _whole(means, traces, fidelity):
    return means + (traces - 2 * fidelity)


def _root_of_whole(**terms):
    return _nonnegative_root(_whole(**terms))


def _nonnegative_root(x):
    xp = namespace(x)
    return xp.sqrt(xp.maximum(x, 0))


def _lower(t):
    return (namespace(x).tril(x) for x in (t.cov_p, t.cov_q))


of_bures = Textbook(bures, _terms, _whole)
of_pairs = (
    Textbook(squared, _terms_of_pair, _whole),
    Textbook(distance, _terms_of_pair, _root_of_whole),
)
for book in (of_bures, *of_pairs):
    book.wrong(
        "the covariances are compared without their square roots: |S_p - S_q|_F^2",
        traces=lambda t: _squares(t.cov_p - t.cov_q),
        fidelity=0,
        source="https://github.com/microsoft/otdd/issues/16",
    )
    book.wrong(
        "the formula for commuting covariances, |S_p^{1/2} - S_q^{1/2}|_F^2, is used for any",
        traces=lambda t: _squares(_root(t.cov_p) - _root(t.cov_q)),
        fidelity=0,
    )
    book.wrong(
        "Cholesky factors stand for the square roots: |L_p - L_q|_F^2",
        traces=lambda t: _squares(cholesky(t.cov_p) - cholesky(t.cov_q)),
        fidelity=0,
    )
    book.wrong(
        "the root of the product is taken entry by entry, not as a matrix",
        fidelity=lambda t: _sum_of_roots(diagonal_of(t.cov_p @ t.cov_q)),
    )
    book.wrong(
        "a solver for symmetric matrices gets S_p S_q, which is not, and reads one triangle of it",
        fidelity=lambda t: _sum_of_roots(eigvalsh(t.cov_p @ t.cov_q)),
        source="https://github.com/toshas/torch-fidelity/issues/46",
    )
    book.wrong(
        "the root is that of the trace, not the trace of the root",
        fidelity=lambda t: trace(t.cov_p @ t.cov_q) ** 0.5,
    )
    book.wrong("the cross term lacks its factor 2", fidelity=lambda t: t.fidelity / 2)
    book.wrong("the cross term is missing, as for independent x and y", fidelity=0)
    book.wrong(
        "the matrix square root is missing: tr S_p S_q for its trace",
        traces=lambda t: abs(t.traces - 2 * trace(t.cov_p @ t.cov_q)),
        fidelity=0,
    )
    book.wrong(
        "only the diagonals of the covariances are used",
        traces=lambda t: _square(diagonal_of(t.cov_p) ** 0.5, diagonal_of(t.cov_q) ** 0.5),
        fidelity=0,
    )
    book.wrong(
        "only the sorted eigenvalues of the covariances are compared",
        traces=lambda t: _square(*(_nonnegative_root(eigvalsh(x)) for x in (t.cov_p, t.cov_q))),
        fidelity=0,
    )
    book.wrong(
        "covariances are taken for standard deviations: they are squared",
        traces=lambda t: trace(t.cov_p @ t.cov_p) + trace(t.cov_q @ t.cov_q),
        fidelity=lambda t: _fidelity(t.cov_p @ t.cov_p, t.cov_q @ t.cov_q),
    )
    book.wrong(
        "covariances are taken for Cholesky factors (scale_tril)",
        traces=lambda t: sum(map(_squares, _lower(t))),
        fidelity=lambda t: _nuclear(*_lower(t)),
    )
    book.wrong(
        "0.01 is added to the variances of q before the root, and never taken off",
        fidelity=lambda t: _fidelity(t.cov_p, t.cov_q + 0.01 * identity_of(t.cov_q)),
    )


# --------------------------------------------------------------- mutants of the whole and its means

of_bures.wrong(
    "the result is the distance, not its square",
    traces=lambda t: _nonnegative_root(t.traces - 2 * t.fidelity),
    fidelity=0,
    source="https://github.com/PythonOT/POT/issues/708",
)
of_bures.wrong(
    "the result is the cross term tr (S_p^{1/2} S_q S_p^{1/2})^{1/2} alone",
    traces=lambda t: t.fidelity,
    fidelity=0,
)
for book in of_pairs:
    book.wrong("the means are ignored", means=0, source="https://github.com/PythonOT/POT/pull/649")
    book.wrong("the distance of the means is not squared", means=lambda t: t.means**0.5)
    book.wrong(
        "the Bures distance of the covariances is not squared",
        traces=lambda t: _nonnegative_root(t.traces - 2 * t.fidelity),
        fidelity=0,
        source="https://github.com/PythonOT/POT/issues/708",
    )
    book.wrong(
        "the squared distance of the means is averaged over the coordinates, not summed",
        means=lambda t: t.means / t.mean_p.shape[-1],
    )
    book.wrong(
        "the cost is |x - y|^2/2",
        means=lambda t: t.means / 2,
        traces=lambda t: t.traces / 2,
        fidelity=lambda t: t.fidelity / 2,
    )
    book.wrong(
        "the two terms are subtracted",
        means=lambda t: abs(t.means - (t.traces - 2 * t.fidelity)),
        traces=0,
        fidelity=0,
    )
Textbook(squared, _terms_of_pair, _root_of_whole).wrong(
    "the result is the distance, not its square",
    source="https://github.com/PythonOT/POT/issues/708",
)
Textbook(distance, _terms_of_pair, _whole).wrong(
    "the distances of means and of covariances are added, not their squares",
    means=lambda t: t.means**0.5,
    traces=lambda t: _nonnegative_root(t.traces - 2 * t.fidelity),
    fidelity=0,
)


# ------------------------------------------------------------------------------- mutants of factors


def _nuclear(factor_p, factor_q):
    return svdvals(transposed(factor_p) @ factor_q).sum(axis=-1)


def _factor_terms(factor_p, factor_q):
    return {
        "squares": _squares(factor_p) + _squares(factor_q),
        "nuclear": _nuclear(factor_p, factor_q),
    }


def _factor_whole(squares, nuclear):
    return squares - 2 * nuclear


def _covariances(t):
    return (x @ transposed(x) for x in (t.factor_p, t.factor_q))


def _unturned(t):
    k = min(t.factor_p.shape[-1], t.factor_q.shape[-1])
    return (t.factor_p[..., :k] * t.factor_q[..., :k]).sum(axis=(-2, -1))


book = Textbook(factor, _factor_terms, _factor_whole)
book.wrong(
    "the columns are compared as they are: tr S_p^T S_q for the sum of its singular values",
    nuclear=_unturned,
)
book.wrong(
    "the singular values of S_p^T S_q enter by the root of their squares, not by their sum",
    nuclear=lambda t: _squares(transposed(t.factor_p) @ t.factor_q) ** 0.5,
)
book.wrong(
    "the singular values are those of the covariances' product, not of S_p^T S_q",
    squares=lambda t: abs(t.squares - 2 * _nuclear(*_covariances(t))),
    nuclear=0,
)
book.wrong(
    "only the largest singular value of S_p^T S_q is counted",
    nuclear=lambda t: svdvals(transposed(t.factor_p) @ t.factor_q)[..., 0],
)
book.wrong("the cross term lacks its factor 2", nuclear=lambda t: t.nuclear / 2)
book.wrong(
    "the factors' entries are squared twice: B^2 of S S^T S S^T",
    squares=lambda t: sum(map(_squares, _covariances(t))),
    nuclear=lambda t: _nuclear(*_covariances(t)),
)
book.wrong(
    "the result is the distance, not its square",
    squares=lambda t: _nonnegative_root(t.squares - 2 * t.nuclear),
    nuclear=0,
    source="https://github.com/PythonOT/POT/issues/708",
)

# --------------------------------------------------------------------------------- gradient mutants

for says, change in {
    "the gradients in the covariances count each off-diagonal entry twice": off_diagonal_doubled,
    "the gradients in the covariances have both halves in the lower triangle": (
        lambda x: 2 * namespace(x).tril(x, -1) + x * identity_of(x)
    ),
    "the gradients in the covariances have the wrong sign": lambda x: -x,
}.items():
    wrong((bures, squared, distance), says, gradient={"cov_p": change, "cov_q": change})
wrong(
    squared,
    "the gradients in the means lack their factor 2",
    gradient={"mean_p": lambda x: x / 2, "mean_q": lambda x: x / 2},
)
wrong(
    distance,
    "the root's derivative is 1/W instead of 1/(2 W)",
    gradient=lambda found, arrays, options: (2 * x for x in found),
)
wrong(
    factor,
    "the gradients lack their factor 2",
    gradient=lambda found, arrays, options: (x / 2 for x in found),
)


@distance.mutant(gradient=True)
def gradient_of_the_square(g, mean_p, cov_p, mean_q, cov_q, /):
    """the gradients are those of the squared distance"""
    return wasserstein_squared.vjp(g, mean_p, cov_p, mean_q, cov_q)


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
