"""Wrong variants of density and entropy: the bugs that public code had, and their kin."""

from __future__ import annotations

import math

from refimpl.backend import logdet_from_cholesky, namespace, solve
from refimpl.evidence.gaussian.density import density, entropy
from refimpl.evidence.gaussian.shared import LOG_2PI, logdet, off_diagonal_doubled
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients
from refimpl.gaussian.density import gaussian_entropy

# ----------------------------------------------------------------------------- log density: mutants


def _terms(x, mean, cov):
    """The constant for each coordinate, d, log det S, and the Mahalanobis distance squared."""
    gap = x - mean
    return {
        "constant": LOG_2PI,
        "d": x.shape[-1],
        "logdet": logdet(cov),
        "mahalanobis": (gap * solve(cov, gap[..., None])[..., 0]).sum(axis=-1),
    }


def _whole(constant, d, logdet, mahalanobis):
    return -0.5 * (d * constant + logdet + mahalanobis)


book = Textbook(density, _terms, _whole)
book.wrong("the constant d/2 log 2 pi is missing", d=0)
book.wrong("log 2 pi is counted once, not once for each coordinate", d=1)
book.wrong(
    "the constant is d/2 log pi instead of d/2 log 2 pi", constant=lambda t: math.log(math.pi)
)
book.wrong("the log-determinant is missing", logdet=0)
book.wrong("the log-determinant lacks its factor 1/2", logdet=lambda t: 2 * t.logdet)
book.wrong(
    "the log-determinant is that of the Cholesky factor, half of the covariance's",
    logdet=lambda t: t.logdet / 2,
)
book.wrong("the log-determinant has the wrong sign", logdet=lambda t: -t.logdet)
book.wrong("the Mahalanobis distance is not squared", mahalanobis=lambda t: t.mahalanobis**0.5)
book.wrong("the Mahalanobis distance lacks its factor 1/2", mahalanobis=lambda t: 2 * t.mahalanobis)
book.wrong(
    "the covariance is taken for a standard deviation: it is squared",
    logdet=lambda t: 2 * t.logdet,
    mahalanobis=lambda t: (solve(t.cov, (t.x - t.mean)[..., None]) ** 2).sum(axis=(-2, -1)),
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)
book.wrong(
    "the covariance is taken for a Cholesky factor (scale_tril)",
    logdet=lambda t: logdet_from_cholesky(t.cov),
    mahalanobis=lambda t: (solve(namespace(t.cov).tril(t.cov), (t.x - t.mean)[..., None]) ** 2).sum(
        axis=(-2, -1)
    ),
)
wrong(
    density,
    "the density itself is returned, not its logarithm",
    output=lambda y: namespace(y).exp(y),
)
wrong(density, "the logarithm has base 2, not e", output=lambda y: y / math.log(2))

# -------------------------------------------------------------------- log density: gradient mutants

wrong(
    density,
    "the gradient in cov counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


@wrong_gradients(density)
def gradient_of_determinant_missing(found, g, arrays, options):
    """the gradient in cov lacks the log-determinant's -S^{-1}/2"""
    (determinant,) = gaussian_entropy.vjp(g, arrays[2])
    return *found[:2], found[2] + determinant


# --------------------------------------------------------------------------------- entropy: mutants

book = Textbook(
    entropy,
    lambda cov: {"d": cov.shape[-1], "constant": 1 + LOG_2PI, "logdet": logdet(cov)},
    lambda d, constant, logdet: 0.5 * (d * constant + logdet),
)
book.wrong(
    "the d/2 is missing: the constant is d/2 log 2 pi instead of d/2 (1 + log 2 pi)",
    constant=LOG_2PI,
)
book.wrong("the constant is counted once, not once for each coordinate", d=1)
book.wrong("the constant log 2 pi is missing", constant=1)
book.wrong(
    "the log-determinant lacks its factor 1/2, or the covariance is taken for a deviation",
    logdet=lambda t: 2 * t.logdet,
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)
book.wrong(
    "the log-determinant is that of the Cholesky factor, half of the covariance's",
    logdet=lambda t: t.logdet / 2,
)
wrong(entropy, "the logarithm has base 2, not e", output=lambda y: y / math.log(2))
wrong(
    entropy,
    "the gradient counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


@entropy.mutant(gradient=True)
def entropy_gradient_not_inverted(g, cov, /):
    """the gradient has the covariance where its inverse belongs"""
    return (g[..., None, None] * cov / 2,)
