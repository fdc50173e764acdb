"""Wrong variants of energy distances: terms miscounted, spreads confused, gradients halved."""

from __future__ import annotations

import functools
import math

from refimpl.backend import erf, namespace
from refimpl.evidence.gaussian import pairs_mutants
from refimpl.evidence.gaussian.energy import SIMPLE, general, numbers, spheres
from refimpl.evidence.gaussian.shared import diagonal_of, trace
from refimpl.evidence.mistakes import Textbook, wrong

# ------------------------------------------------------------- what goes wrong with all of them


def _within(f, mean, spread):
    """E|X - X'|, which is D(X, its mean) (1 + 1/sqrt 2): D = 2 E|X| - sqrt(2) E|X| there."""
    return f(mean, spread, mean, 0 * spread) * (1 + math.sqrt(2) / 2) * math.sqrt(2)


def _terms(f, mean_p, spread_p, mean_q, spread_q):
    """E|X - Y|, from the distance itself, E|X - X'| and E|Y - Y'|."""
    within_p, within_q = _within(f, mean_p, spread_p), _within(f, mean_q, spread_q)
    between = (f(mean_p, spread_p, mean_q, spread_q) + within_p + within_q) / 2
    return {"between": between, "within_p": within_p, "within_q": within_q}


def _whole(between, within_p, within_q):
    return 2 * between - within_p - within_q


def _square_of_means(t):
    squares = (t.mean_p - t.mean_q) ** 2
    return squares.sum(axis=-1) if squares.ndim > t.between.ndim else squares


def _of_added_deviations(t):
    xp = namespace(t.mean_p)
    total = (xp.sqrt(t.variance_p) + xp.sqrt(t.variance_q)) ** 2
    f = numbers.formula if t.mean_p.ndim == t.between.ndim else spheres.formula
    return _terms(f, t.mean_p, total / 2, t.mean_q, total / 2)["between"]


wrong((*SIMPLE, general), "the root is returned, as SciPy does", output=lambda y: y**0.5)
wrong(
    (*SIMPLE, general),
    "half of it is returned, the squared L2 distance of distribution functions (Cramer)",
    output=lambda y: y / 2,
)
for of in (*SIMPLE, general):
    book = Textbook(of, functools.partial(_terms, of.formula), _whole)
    book.wrong(
        "distances are squared: what is left is twice the squared difference of the means",
        between=_square_of_means,
        within_p=0,
        within_q=0,
    )
    book.wrong(
        "E|X - X'| is taken for E|X - E X|: one draw instead of the difference of two",
        within_p=lambda t: t.within_p / math.sqrt(2),
        within_q=lambda t: t.within_q / math.sqrt(2),
    )
    book.wrong(
        "E|X - Y| is counted once instead of twice",
        between=lambda t: t.between / 2,
    )
    book.wrong(
        "E|X - Y| alone is returned", between=lambda t: t.between / 2, within_p=0, within_q=0
    )
    if of in SIMPLE:
        book.wrong(
            "the deviation of X - Y is taken for the sum of the deviations",
            between=_of_added_deviations,
        )
pairs_mutants.register_arguments(general)
pairs_mutants.register_gradients(general)

wrong(
    SIMPLE,
    "variances are taken for deviations: they are squared",
    arrays={"variance_p": lambda x: x**2, "variance_q": lambda x: x**2},
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)
wrong(SIMPLE, "the means are ignored", arrays={"mean_q": "mean_p"})
wrong(SIMPLE, "the variance of p stands for both", arrays={"variance_q": "variance_p"})
wrong(
    SIMPLE,
    "the gradients in the means have each other's sign",
    gradient={"mean_p": lambda x: -x, "mean_q": lambda x: -x},
)
wrong(
    SIMPLE,
    "the gradients in the means lack the factor 2 of E|X - Y|",
    gradient={"mean_p": lambda x: x / 2, "mean_q": lambda x: x / 2},
)
wrong(
    SIMPLE,
    "the gradients in the variances are those in deviations",
    gradient=lambda found, arrays, options: (
        *(found[0], 2 * arrays[1] ** 0.5 * found[1]),
        *(found[2], 2 * arrays[3] ** 0.5 * found[3]),
    ),
)
wrong(
    SIMPLE,
    "the gradients in p and in q are exchanged",
    gradient=lambda found, arrays, options: (*found[2:], *found[:2]),
)

# ---------------------------------------------------------------- what goes wrong with each form


@numbers.mutant
def erf_without_root_two(mean_p, variance_p, mean_q, variance_q, /):
    """the error function has the argument mu/s instead of mu/(s sqrt 2)"""
    found = numbers.formula(mean_p, variance_p, mean_q, variance_q)
    delta, s = mean_p - mean_q, namespace(mean_p).sqrt(variance_p + variance_q)
    return found + 2 * delta * (erf(delta / s) - erf(delta / (s * math.sqrt(2))))


@spheres.mutant
def dimension_ignored(mean_p, variance_p, mean_q, variance_q, /):
    """the mean of |z| is that of one coordinate times sqrt d"""
    xp, d = namespace(mean_p), mean_p.shape[-1]
    size = xp.sqrt(((mean_p - mean_q) ** 2).sum(axis=-1) / d)
    return math.sqrt(d) * numbers.formula(size, variance_p, 0 * size, variance_q)


@general.mutant
def isotropic(mean_p, cov_p, mean_q, cov_q, /):
    """the covariances are taken for their mean variance times I"""
    d = mean_p.shape[-1]
    return spheres.formula(mean_p, trace(cov_p) / d, mean_q, trace(cov_q) / d)


@general.mutant
def root_of_the_mean_square(mean_p, cov_p, mean_q, cov_q, /):
    """E|z| is taken for the root of E|z|^2"""
    xp = namespace(mean_p)
    between = xp.sqrt(((mean_p - mean_q) ** 2).sum(axis=-1) + trace(cov_p) + trace(cov_q))
    return 2 * between - xp.sqrt(2 * trace(cov_p)) - xp.sqrt(2 * trace(cov_q))


@general.mutant
def sum_over_coordinates(mean_p, cov_p, mean_q, cov_q, /):
    """the distances of the coordinates are added: |z| is taken for the sum of |z_i|"""
    of_each = numbers.formula(mean_p, diagonal_of(cov_p), mean_q, diagonal_of(cov_q))
    return of_each.sum(axis=-1)
