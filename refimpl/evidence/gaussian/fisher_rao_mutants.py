"""Wrong variants of Fisher-Rao distances in closed form."""

from __future__ import annotations

import math

from refimpl.backend import namespace
from refimpl.evidence.gaussian.density_mutants import off_diagonal_doubled
from refimpl.evidence.gaussian.fisher_rao import diagonal, same_covariance, univariate
from refimpl.gaussian.fisher_rao import fisher_rao_diagonal, fisher_rao_same_covariance

# --------------------------------------------------------------------- one and several coordinates


def _register(of, norm):
    """Mistakes with the distances of the coordinates, of which ``norm`` makes one number."""
    f = of.formula

    def with_q(mean_p, var_p, mean_q, var_q, change):
        """The distance with a changed Q, from delta^2, sigma_p and sigma_q."""
        xp = namespace(mean_p)
        q = change((mean_p - mean_q) ** 2, xp.sqrt(var_p), xp.sqrt(var_q))
        return norm(2 * math.sqrt(2) * xp.arcsinh(xp.sqrt(q)))

    @of.mutant
    def hyperbolic_metric(mean_p, var_p, mean_q, var_q, /):
        """the hyperbolic plane's own distance, without the factor sqrt(2)"""
        return f(mean_p, var_p, mean_q, var_q) / math.sqrt(2)

    @of.mutant
    def squared(mean_p, var_p, mean_q, var_q, /):
        """the square of the distance"""
        return f(mean_p, var_p, mean_q, var_q) ** 2

    @of.mutant(source="https://github.com/judelo/gmmot/issues/1")
    def variances_as_deviations(mean_p, var_p, mean_q, var_q, /):
        """variances are taken for standard deviations"""
        return f(mean_p, var_p**2, mean_q, var_q**2)

    @of.mutant
    def means_not_halved(mean_p, var_p, mean_q, var_q, /):
        """the square of the means' difference is not halved"""

        def change(square, sigma_p, sigma_q):
            return (square + (sigma_p - sigma_q) ** 2) / (4 * sigma_p * sigma_q)

        return with_q(mean_p, var_p, mean_q, var_q, change)

    @of.mutant
    def deviations_added(mean_p, var_p, mean_q, var_q, /):
        """the deviations are added, not subtracted: arcosh in place of arsinh"""

        def change(square, sigma_p, sigma_q):
            return (square / 2 + (sigma_p + sigma_q) ** 2) / (4 * sigma_p * sigma_q)

        return with_q(mean_p, var_p, mean_q, var_q, change)

    @of.mutant
    def means_ignored(mean_p, var_p, mean_q, var_q, /):
        """the means are ignored"""
        return f(mean_q, var_p, mean_q, var_q)

    @of.mutant
    def flat_distance(mean_p, var_p, mean_q, var_q, /):
        """the straight line's length in the metric half way, without the curvature"""

        def change(square, sigma_p, sigma_q):
            q = (square / 2 + (sigma_p - sigma_q) ** 2) / (sigma_p + sigma_q) ** 2
            return namespace(q).sinh(namespace(q).sqrt(q)) ** 2

        return with_q(mean_p, var_p, mean_q, var_q, change)

    @of.mutant(gradient=True)
    def gradient_sign_of_means(g, mean_p, var_p, mean_q, var_q, /):
        """the gradients in the means have each other's sign"""
        dmean_p, dvar_p, dmean_q, dvar_q = f.vjp(g, mean_p, var_p, mean_q, var_q)
        return -dmean_p, dvar_p, -dmean_q, dvar_q

    @of.mutant(gradient=True)
    def gradient_in_deviations(g, mean_p, var_p, mean_q, var_q, /):
        """the gradients are those in the standard deviations"""
        xp = namespace(mean_p)
        dmean_p, dvar_p, dmean_q, dvar_q = f.vjp(g, mean_p, var_p, mean_q, var_q)
        return dmean_p, 2 * xp.sqrt(var_p) * dvar_p, dmean_q, 2 * xp.sqrt(var_q) * dvar_q

    @of.mutant(gradient=True)
    def gradient_swapped(g, mean_p, var_p, mean_q, var_q, /):
        """the gradients in p and in q are exchanged"""
        dmean_p, dvar_p, dmean_q, dvar_q = f.vjp(g, mean_p, var_p, mean_q, var_q)
        return dmean_q, dvar_q, dmean_p, dvar_p

    @of.mutant(gradient=True)
    def gradient_without_means(g, mean_p, var_p, mean_q, var_q, /):
        """the gradients in the variances lack their term with the means"""
        xp = namespace(mean_p)
        dmean_p, dvar_p, dmean_q, dvar_q = f.vjp(g, mean_p, var_p, mean_q, var_q)
        lost = dmean_p * (mean_p - mean_q) / 4
        return dmean_p, dvar_p + lost / var_p, dmean_q, dvar_q + lost / var_q + 0 * xp.sqrt(var_q)


_register(univariate, lambda x: x)
_register(diagonal, lambda x: namespace(x).sqrt((x * x).sum(axis=-1)))


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


@same_covariance.mutant
def own_metric_of_the_plane(mean_p, mean_q, cov, /):
    """the hyperbolic plane's own distance, without the factor sqrt(2)"""
    return fisher_rao_same_covariance(mean_p, mean_q, cov) / math.sqrt(2)


@same_covariance.mutant
def square_not_divided_by_four(mean_p, mean_q, cov, /):
    """arcosh(1 + r^2/2) in place of arcosh(1 + r^2/4)"""
    return fisher_rao_same_covariance(math.sqrt(2) * mean_p, math.sqrt(2) * mean_q, cov)


@same_covariance.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def covariance_as_deviation(mean_p, mean_q, cov, /):
    """the covariance is taken for a standard deviation: it is squared"""
    return fisher_rao_same_covariance(mean_p, mean_q, cov @ cov)


@same_covariance.mutant(gradient=True)
def gradient_of_mahalanobis_distance(g, mean_p, mean_q, cov, /):
    """the gradients are those of Mahalanobis' distance, without the curvature"""
    value = fisher_rao_same_covariance(mean_p, mean_q, cov)
    scale = namespace(mean_p).cosh(value / (2 * math.sqrt(2)))
    return fisher_rao_same_covariance.vjp(g * scale, mean_p, mean_q, cov)


@same_covariance.mutant(gradient=True)
def gradient_off_diagonal_doubled(g, mean_p, mean_q, cov, /):
    """the gradient in the covariance counts each off-diagonal entry twice"""
    dmean_p, dmean_q, dcov = fisher_rao_same_covariance.vjp(g, mean_p, mean_q, cov)
    return dmean_p, dmean_q, off_diagonal_doubled(dcov)
