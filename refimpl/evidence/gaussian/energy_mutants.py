"""Wrong variants of energy distances: terms miscounted, spreads confused, gradients halved."""

from __future__ import annotations

import math

from refimpl.backend import erf, namespace
from refimpl.evidence.gaussian import pairs_mutants
from refimpl.evidence.gaussian.energy import SIMPLE, general, numbers, spheres

# ------------------------------------------------------------- what goes wrong with all of them


def _register(of):
    f = of.formula

    @of.mutant
    def root(mean_p, spread_p, mean_q, spread_q, /):
        """the root is returned, as SciPy does"""
        found = f(mean_p, spread_p, mean_q, spread_q)
        return namespace(found).sqrt(found)

    @of.mutant
    def halved(mean_p, spread_p, mean_q, spread_q, /):
        """half of it is returned, the squared L2 distance of distribution functions (Cramer)"""
        return f(mean_p, spread_p, mean_q, spread_q) / 2

    @of.mutant
    def squared_differences(mean_p, spread_p, mean_q, spread_q, /):
        """distances are squared: what is left is twice the squared difference of the means"""
        squares = (mean_p - mean_q) ** 2
        found = f(mean_p, spread_p, mean_q, spread_q)
        squares = squares.sum(axis=-1) if squares.ndim > found.ndim else squares
        return 2 * squares + 0 * found

    @of.mutant
    def one_draw_for_two(mean_p, spread_p, mean_q, spread_q, /):
        """E|X - X'| is taken for E|X - E X|: one draw instead of the difference of two"""
        between = _between(f, mean_p, spread_p, mean_q, spread_q)
        return 2 * between - _within(f, mean_p, spread_p / 2) - _within(f, mean_q, spread_q / 2)

    @of.mutant
    def cross_term_once(mean_p, spread_p, mean_q, spread_q, /):
        """E|X - Y| is counted once instead of twice"""
        between = _between(f, mean_p, spread_p, mean_q, spread_q)
        return between - _within(f, mean_p, spread_p) - _within(f, mean_q, spread_q)

    @of.mutant
    def mean_distance(mean_p, spread_p, mean_q, spread_q, /):
        """E|X - Y| alone is returned"""
        return _between(f, mean_p, spread_p, mean_q, spread_q)


def _within(f, mean, spread):
    """E|X - X'|, which is D(X, its mean) (1 + 1/sqrt 2): D = 2 E|X| - sqrt(2) E|X| there."""
    return f(mean, spread, mean, 0 * spread) * (1 + math.sqrt(2) / 2) * math.sqrt(2)


def _between(f, mean_p, spread_p, mean_q, spread_q):
    """E|X - Y| from the distance itself."""
    found = f(mean_p, spread_p, mean_q, spread_q)
    return (found + _within(f, mean_p, spread_p) + _within(f, mean_q, spread_q)) / 2


for of in (*SIMPLE, general):
    _register(of)
pairs_mutants.register_arguments(general)
pairs_mutants.register_gradients(general)


def _register_simple(of):
    f = of.formula

    @of.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
    def variances_as_deviations(mean_p, variance_p, mean_q, variance_q, /):
        """variances are taken for deviations: they are squared"""
        return f(mean_p, variance_p**2, mean_q, variance_q**2)

    @of.mutant
    def deviations_add(mean_p, variance_p, mean_q, variance_q, /):
        """the deviation of X - Y is taken for the sum of the deviations"""
        xp = namespace(mean_p)
        total = (xp.sqrt(variance_p) + xp.sqrt(variance_q)) ** 2
        between = _between(f, mean_p, total / 2, mean_q, total / 2)
        return 2 * between - _within(f, mean_p, variance_p) - _within(f, mean_q, variance_q)

    @of.mutant
    def means_ignored(mean_p, variance_p, mean_q, variance_q, /):
        """the means are ignored"""
        return f(mean_p, variance_p, mean_p + 0 * mean_q, variance_q)

    @of.mutant
    def variances_ignored(mean_p, variance_p, mean_q, variance_q, /):
        """the variance of p stands for both"""
        return f(mean_p, variance_p, mean_q, variance_p + 0 * variance_q)

    @of.mutant(gradient=True)
    def gradient_sign_of_means(g, mean_p, variance_p, mean_q, variance_q, /):
        """the gradients in the means have each other's sign"""
        dmean_p, dp, dmean_q, dq = f.vjp(g, mean_p, variance_p, mean_q, variance_q)
        return -dmean_p, dp, -dmean_q, dq

    @of.mutant(gradient=True)
    def gradient_of_means_halved(g, mean_p, variance_p, mean_q, variance_q, /):
        """the gradients in the means lack the factor 2 of E|X - Y|"""
        dmean_p, dp, dmean_q, dq = f.vjp(g, mean_p, variance_p, mean_q, variance_q)
        return dmean_p / 2, dp, dmean_q / 2, dq

    @of.mutant(gradient=True)
    def gradient_in_deviations(g, mean_p, variance_p, mean_q, variance_q, /):
        """the gradients in the variances are those in deviations"""
        xp = namespace(mean_p)
        dmean_p, dp, dmean_q, dq = f.vjp(g, mean_p, variance_p, mean_q, variance_q)
        return dmean_p, 2 * xp.sqrt(variance_p) * dp, dmean_q, 2 * xp.sqrt(variance_q) * dq

    @of.mutant(gradient=True)
    def gradient_swapped(g, mean_p, variance_p, mean_q, variance_q, /):
        """the gradients in p and in q are exchanged"""
        dmean_p, dp, dmean_q, dq = f.vjp(g, mean_p, variance_p, mean_q, variance_q)
        return dmean_q, dq, dmean_p, dp


for of in SIMPLE:
    _register_simple(of)


# ---------------------------------------------------------------- what goes wrong with each form


@numbers.mutant
def erf_without_root_two(mean_p, variance_p, mean_q, variance_q, /):
    """the error function has the argument mu/s instead of mu/(s sqrt 2)"""
    found = numbers.formula(mean_p, variance_p, mean_q, variance_q)
    xp = namespace(mean_p)
    delta, s = mean_p - mean_q, xp.sqrt(variance_p + variance_q)
    return found + 2 * delta * (erf(delta / s) - erf(delta / (s * math.sqrt(2))))


@spheres.mutant
def dimension_ignored(mean_p, variance_p, mean_q, variance_q, /):
    """the mean of |z| is that of one coordinate times sqrt d"""
    xp, d = namespace(mean_p), mean_p.shape[-1]
    gap = mean_p - mean_q
    size = xp.sqrt((gap * gap).sum(axis=-1) / d)
    return math.sqrt(d) * numbers.formula(size, variance_p, 0 * size, variance_q)


@general.mutant
def isotropic(mean_p, cov_p, mean_q, cov_q, /):
    """the covariances are taken for their mean variance times I"""
    xp, d = namespace(mean_p), mean_p.shape[-1]
    first, second = (xp.trace(cov, axis1=-2, axis2=-1) / d for cov in (cov_p, cov_q))
    return spheres.formula(mean_p, first, mean_q, second)


@general.mutant
def root_of_the_mean_square(mean_p, cov_p, mean_q, cov_q, /):
    """E|z| is taken for the root of E|z|^2"""
    xp = namespace(mean_p)
    gap = mean_p - mean_q
    first, second = (xp.trace(cov, axis1=-2, axis2=-1) for cov in (cov_p, cov_q))
    between = xp.sqrt((gap * gap).sum(axis=-1) + first + second)
    return 2 * between - xp.sqrt(2 * first) - xp.sqrt(2 * second)


@general.mutant
def sum_over_coordinates(mean_p, cov_p, mean_q, cov_q, /):
    """the distances of the coordinates are added: |z| is taken for the sum of |z_i|"""
    xp = namespace(mean_p)
    first, second = (xp.diagonal(cov, axis1=-2, axis2=-1) for cov in (cov_p, cov_q))
    return numbers.formula(mean_p, first, mean_q, second).sum(axis=-1)
