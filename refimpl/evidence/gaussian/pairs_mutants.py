"""Mistakes that can be made with the arguments and gradients of any divergence of two Gaussians."""

from __future__ import annotations

from refimpl.backend import cholesky, namespace, solve
from refimpl.evidence import Evidence
from refimpl.evidence.gaussian.density_mutants import off_diagonal_doubled


def register_arguments(of: Evidence, *, symmetric: bool = True) -> None:
    """Covariances taken for something else, and means that are ignored."""
    f = of.formula

    @of.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
    def covariance_as_deviation(mean_p, cov_p, mean_q, cov_q, /, **options):
        """covariances are taken for standard deviations: they are squared"""
        return f(mean_p, cov_p @ cov_p, mean_q, cov_q @ cov_q, **options)

    @of.mutant
    def covariance_as_precision(mean_p, cov_p, mean_q, cov_q, /, **options):
        """covariances are taken for precisions"""
        return f(mean_p, _inverse(cov_p), mean_q, _inverse(cov_q), **options)

    @of.mutant
    def diagonals_only(mean_p, cov_p, mean_q, cov_q, /, **options):
        """only the diagonals of the covariances are used"""
        identity = namespace(cov_p).eye(cov_p.shape[-1], dtype=cov_p.dtype)
        return f(mean_p, cov_p * identity, mean_q, cov_q * identity, **options)

    @of.mutant
    def means_ignored(mean_p, cov_p, mean_q, cov_q, /, **options):
        """the means are ignored"""
        return f(mean_q, cov_p, mean_q, cov_q, **options)

    @of.mutant
    def covariances_ignored(mean_p, cov_p, mean_q, cov_q, /, **options):
        """the covariance of p stands for both"""
        return f(mean_p, cov_p, mean_q, cov_p, **options)

    @of.mutant
    def jitter(mean_p, cov_p, mean_q, cov_q, /, **options):
        """1e-3 is added to the variances of both"""
        identity = 1e-3 * namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
        return f(mean_p, cov_p + identity, mean_q, cov_q + identity, **options)

    if not symmetric:

        @of.mutant
        def swapped(mean_p, cov_p, mean_q, cov_q, /, **options):
            """p and q are swapped"""
            return f(mean_q, cov_q, mean_p, cov_p, **options)


def _inverse(cov):
    inverse = solve(cov, namespace(cov).eye(cov.shape[-1], dtype=cov.dtype))
    return (inverse + inverse.swapaxes(-1, -2)) / 2


def register_gradients(of: Evidence) -> None:
    """Signs, factors and places of the gradients in means and covariances."""
    vjp = of.formula.vjp

    @of.mutant(gradient=True)
    def gradient_sign_of_means(g, mean_p, cov_p, mean_q, cov_q, /, **options):
        """the gradients in the means have each other's sign"""
        dmean_p, dcov_p, dmean_q, *others = vjp(g, mean_p, cov_p, mean_q, cov_q, **options)
        return -dmean_p, dcov_p, -dmean_q, *others

    @of.mutant(gradient=True)
    def gradient_of_means_whitened_only_once(g, mean_p, cov_p, mean_q, cov_q, /, **options):
        """the gradients in the means have L^{-1} in place of S^{-1}, with L the factor of cov_p"""
        dmean_p, dcov_p, dmean_q, *others = vjp(g, mean_p, cov_p, mean_q, cov_q, **options)
        factor = cholesky(cov_p).swapaxes(-1, -2)
        dmean_p, dmean_q = ((factor @ x[..., None])[..., 0] for x in (dmean_p, dmean_q))
        return dmean_p, dcov_p, dmean_q, *others

    @of.mutant(gradient=True)
    def gradient_off_diagonal_doubled(g, mean_p, cov_p, mean_q, cov_q, /, **options):
        """the gradients in the covariances count each off-diagonal entry twice"""
        dmean_p, dcov_p, dmean_q, dcov_q, *others = vjp(g, mean_p, cov_p, mean_q, cov_q, **options)
        return dmean_p, off_diagonal_doubled(dcov_p), dmean_q, off_diagonal_doubled(dcov_q), *others

    @of.mutant(gradient=True)
    def gradient_half_missing(g, mean_p, cov_p, mean_q, cov_q, /, **options):
        """the gradients in the covariances lack a factor 1/2"""
        dmean_p, dcov_p, dmean_q, dcov_q, *others = vjp(g, mean_p, cov_p, mean_q, cov_q, **options)
        return dmean_p, 2 * dcov_p, dmean_q, 2 * dcov_q, *others

    @of.mutant(gradient=True)
    def gradient_swapped(g, mean_p, cov_p, mean_q, cov_q, /, **options):
        """the gradients in p and in q are exchanged"""
        dmean_p, dcov_p, dmean_q, dcov_q, *others = vjp(g, mean_p, cov_p, mean_q, cov_q, **options)
        return dmean_q, dcov_q, dmean_p, dcov_p, *others

    @of.mutant(gradient=True)
    def gradient_of_covariances_without_means(g, mean_p, cov_p, mean_q, cov_q, /, **options):
        """the gradients in the covariances lack their term with the difference of the means"""
        dmean_p, _, dmean_q, _, *others = vjp(g, mean_p, cov_p, mean_q, cov_q, **options)
        _, dcov_p, _, dcov_q, *_ = vjp(g, mean_q, cov_p, mean_q, cov_q, **options)
        return dmean_p, dcov_p, dmean_q, dcov_q, *others
