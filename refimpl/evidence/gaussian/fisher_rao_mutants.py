"""Wrong variants of Fisher-Rao distances in closed form."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.evidence.gaussian.fisher_rao import diagonal, same_covariance, univariate
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.evidence.mistakes import Textbook, wrong
from refimpl.gaussian.fisher_rao import fisher_rao_diagonal, fisher_rao_same_covariance

# --------------------------------------------------------------------- one and several coordinates


def _terms(mean_p, var_p, mean_q, var_q):
    """The terms of Q = (square/2 + change)/scale, and the function that makes its root an angle."""
    xp = namespace(mean_p)
    sigma_p, sigma_q = xp.sqrt(var_p), xp.sqrt(var_q)
    change, scale = (sigma_p - sigma_q) ** 2, 4 * sigma_p * sigma_q
    return {
        "square": (mean_p - mean_q) ** 2,
        "change": change,
        "scale": scale,
        "angle": xp.arcsinh,
    }


def _length(square, change, scale, angle):
    return 2 * math.sqrt(2) * angle(namespace(square).sqrt((square / 2 + change) / scale))


def _norm(**terms):
    return (_length(**terms) ** 2).sum(axis=-1) ** 0.5


for book in (Textbook(univariate, _terms, _length), Textbook(diagonal, _terms, _norm)):
    book.wrong("the square of the means' difference is not halved", square=lambda t: 2 * t.square)
    book.wrong(
        "the deviations are added, not subtracted: arcosh in place of arsinh",
        change=lambda t: t.change + t.scale,
    )
    book.wrong(
        "the straight line's length in the metric half way, without the curvature",
        scale=lambda t: t.change + t.scale,
        angle=lambda t: lambda root: root,
    )
BOTH = (univariate, diagonal)
wrong(
    BOTH,
    "the hyperbolic plane's own distance, without the factor sqrt(2)",
    output=lambda y: y / math.sqrt(2),
)
wrong(BOTH, "the square of the distance", output=lambda y: y**2)
wrong(
    BOTH,
    "variances are taken for standard deviations",
    arrays={"var_p": lambda x: x**2, "var_q": lambda x: x**2},
    source="https://github.com/judelo/gmmot/issues/1",
)
wrong(BOTH, "the means are ignored", arrays={"mean_p": "mean_q"})
wrong(
    BOTH,
    "the gradients in the means have each other's sign",
    gradient={"mean_p": lambda x: -x, "mean_q": lambda x: -x},
)
wrong(
    BOTH,
    "the gradients are those in the standard deviations",
    gradient=lambda found, arrays, options: (
        *(found[0], 2 * arrays[1] ** 0.5 * found[1]),
        *(found[2], 2 * arrays[3] ** 0.5 * found[3]),
    ),
)
wrong(
    BOTH,
    "the gradients in p and in q are exchanged",
    gradient=lambda found, arrays, options: (*found[2:], *found[:2]),
)


def _without_means(found, arrays, options):
    dmean_p, dvar_p, dmean_q, dvar_q = found
    mean_p, var_p, mean_q, var_q = arrays
    lost = dmean_p * (mean_p - mean_q) / 4
    return dmean_p, dvar_p + lost / var_p, dmean_q, dvar_q + lost / var_q


wrong(
    BOTH, "the gradients in the variances lack their term with the means", gradient=_without_means
)


@diagonal.mutant
def distances_added(mean_p, var_p, mean_q, var_q, /):
    """the distances of the coordinates are added, not their squares"""
    return fisher_rao_diagonal(*(x[..., None] for x in (mean_p, var_p, mean_q, var_q))).sum(axis=-1)


@diagonal.mutant
def one_hyperbolic_plane(mean_p, var_p, mean_q, var_q, /):
    """the coordinates share one plane: arsinh of the root of the sum of all Q"""
    xp = namespace(mean_p)
    sigma_p, sigma_q = xp.sqrt(var_p), xp.sqrt(var_q)
    q = ((mean_p - mean_q) ** 2 / 2 + (sigma_p - sigma_q) ** 2) / (4 * sigma_p * sigma_q)
    return 2 * math.sqrt(2) * xp.arcsinh(xp.sqrt(q.sum(axis=-1)))


@diagonal.mutant
def averaged_over_dimensions(mean_p, var_p, mean_q, var_q, /):
    """the squares are averaged over the coordinates, not added"""
    return fisher_rao_diagonal(mean_p, var_p, mean_q, var_q) / math.sqrt(mean_p.shape[-1])


# -------------------------------------------------------------------------------- one covariance


@same_covariance.mutant
def mahalanobis_distance(mean_p, mean_q, cov, /):
    """Mahalanobis' distance, along the straight line of this covariance"""
    xp = namespace(mean_p)
    value = fisher_rao_same_covariance(mean_p, mean_q, cov)
    return 2 * math.sqrt(2) * xp.sinh(value / (2 * math.sqrt(2)))


wrong(
    same_covariance,
    "the hyperbolic plane's own distance, without the factor sqrt(2)",
    output=lambda y: y / math.sqrt(2),
)
wrong(
    same_covariance,
    "arcosh(1 + r^2/2) in place of arcosh(1 + r^2/4)",
    arrays={"mean_p": lambda x: math.sqrt(2) * x, "mean_q": lambda x: math.sqrt(2) * x},
)
wrong(
    same_covariance,
    "the covariance is taken for a standard deviation: it is squared",
    arrays={"cov": lambda x: x @ x},
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)
wrong(
    same_covariance,
    "the gradient in the covariance counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


@same_covariance.mutant(gradient=True)
def gradient_of_mahalanobis_distance(g, mean_p, mean_q, cov, /):
    """the gradients are those of Mahalanobis' distance, without the curvature"""
    value = fisher_rao_same_covariance(mean_p, mean_q, cov)
    scale = namespace(mean_p).cosh(value / (2 * math.sqrt(2)))
    return fisher_rao_same_covariance.vjp(g * scale, mean_p, mean_q, cov)
