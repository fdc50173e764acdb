"""Wrong variants of the divergence of Gaussians given by variances or by Cholesky factors."""

from __future__ import annotations

import math

from refimpl.backend import namespace, solve
from refimpl.evidence.gaussian.parametrised import diagonal, inverse, log_variance, triangular
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrised import (
    gaussian_kl_cholesky,
    gaussian_kl_diagonal,
    gaussian_kl_log_variance,
    gaussian_kl_precision,
)

# ------------------------------------------------------------------- variances and their logarithms


def _register(of, variances):
    """Mistakes that are made with either; ``variances`` makes them of what is given."""

    def terms(mean_p, scale_p, mean_q, scale_q):
        """delta^2/v_q, and t = v_p/v_q."""
        var_p, var_q = variances(scale_p), variances(scale_q)
        return (mean_p - mean_q) ** 2 / var_q, var_p / var_q

    def kl(squares, ratio, logarithm):
        return 0.5 * (squares + ratio - 1 - logarithm).sum(axis=-1)

    @of.mutant(source="https://github.com/tensorforce/tensorforce/issues/107")
    def swapped(mean_p, scale_p, mean_q, scale_q, /):
        """p and q are swapped: KL(q || p)"""
        return of.formula(mean_q, scale_q, mean_p, scale_p)

    @of.mutant
    def half_missing(mean_p, scale_p, mean_q, scale_q, /):
        """the factor 1/2 is missing"""
        return 2 * of.formula(mean_p, scale_p, mean_q, scale_q)

    @of.mutant
    def averaged_over_dimensions(mean_p, scale_p, mean_q, scale_q, /):
        """the terms are averaged over the coordinates, not added"""
        return of.formula(mean_p, scale_p, mean_q, scale_q) / mean_p.shape[-1]

    @of.mutant
    def mean_term_missing(mean_p, scale_p, mean_q, scale_q, /):
        """the means are ignored"""
        return of.formula(mean_q, scale_p, mean_q, scale_q)

    @of.mutant
    def mean_term_with_variance_of_p(mean_p, scale_p, mean_q, scale_q, /):
        """the difference of the means is divided by the variance of p"""
        squares, _ = terms(mean_p, scale_q, mean_q, scale_p)
        _, ratio = terms(mean_p, scale_p, mean_q, scale_q)
        return kl(squares, ratio, namespace(ratio).log(ratio))

    @of.mutant
    def mean_term_not_squared(mean_p, scale_p, mean_q, scale_q, /):
        """the difference of the means is not squared"""
        squares, ratio = terms(mean_p, scale_p, mean_q, scale_q)
        scaled = squares / abs(mean_p - mean_q)
        return kl(scaled, ratio, namespace(ratio).log(ratio))

    @of.mutant(source="https://github.com/FluxML/model-zoo/pull/147")
    def logarithm_sign(mean_p, scale_p, mean_q, scale_q, /):
        """the logarithm has the wrong sign"""
        squares, ratio = terms(mean_p, scale_p, mean_q, scale_q)
        return kl(squares, ratio, -namespace(ratio).log(ratio))

    @of.mutant
    def logarithm_doubled(mean_p, scale_p, mean_q, scale_q, /):
        """the logarithm lacks its factor 1/2"""
        squares, ratio = terms(mean_p, scale_p, mean_q, scale_q)
        return kl(squares, ratio, 2 * namespace(ratio).log(ratio))

    @of.mutant
    def logarithm_halved(mean_p, scale_p, mean_q, scale_q, /):
        """the logarithm is that of the standard deviations, half of it"""
        squares, ratio = terms(mean_p, scale_p, mean_q, scale_q)
        return kl(squares, ratio, namespace(ratio).log(ratio) / 2)

    @of.mutant
    def one_not_subtracted(mean_p, scale_p, mean_q, scale_q, /):
        """1 is not subtracted from the ratio of the variances"""
        return of.formula(mean_p, scale_p, mean_q, scale_q) + mean_p.shape[-1] / 2

    @of.mutant
    def against_the_standard_normal(mean_p, scale_p, mean_q, scale_q, /):
        """q is ignored and N(0, I) taken"""
        var_p = variances(scale_p)
        return kl(mean_p * mean_p, var_p, namespace(var_p).log(var_p))

    @of.mutant
    def bits(mean_p, scale_p, mean_q, scale_q, /):
        """the result is in bits, not nats"""
        return of.formula(mean_p, scale_p, mean_q, scale_q) / math.log(2)

    @of.mutant(gradient=True)
    def gradient_sign_of_means(g, mean_p, scale_p, mean_q, scale_q, /):
        """the gradients in the means have each other's sign"""
        dmean_p, dp, dmean_q, dq = of.formula.vjp(g, mean_p, scale_p, mean_q, scale_q)
        return -dmean_p, dp, -dmean_q, dq

    @of.mutant(gradient=True)
    def gradient_half_missing(g, mean_p, scale_p, mean_q, scale_q, /):
        """the gradients in the variances lack their factor 1/2"""
        dmean_p, dp, dmean_q, dq = of.formula.vjp(g, mean_p, scale_p, mean_q, scale_q)
        return dmean_p, 2 * dp, dmean_q, 2 * dq

    @of.mutant(gradient=True)
    def gradient_swapped(g, mean_p, scale_p, mean_q, scale_q, /):
        """the gradients in p and in q are exchanged"""
        dmean_p, dp, dmean_q, dq = of.formula.vjp(g, mean_p, scale_p, mean_q, scale_q)
        return dmean_q, dq, dmean_p, dp

    @of.mutant(gradient=True)
    def gradient_without_means(g, mean_p, scale_p, mean_q, scale_q, /):
        """the gradient in the variance of q lacks the term with the means"""
        dmean_p, dp, dmean_q, _ = of.formula.vjp(g, mean_p, scale_p, mean_q, scale_q)
        *_, dq = of.formula.vjp(g, mean_q, scale_p, mean_q, scale_q)
        return dmean_p, dp, dmean_q, dq


_register(diagonal, lambda var: var)
_register(log_variance, lambda log_var: namespace(log_var).exp(log_var))


@diagonal.mutant(source="https://github.com/tensorflow/tensorflow/issues/20261")
def variances_as_deviations(mean_p, var_p, mean_q, var_q, /):
    """variances are taken for standard deviations: they are squared"""
    return gaussian_kl_diagonal(mean_p, var_p**2, mean_q, var_q**2)


@diagonal.mutant
def variances_as_precisions(mean_p, var_p, mean_q, var_q, /):
    """variances are taken for precisions"""
    return gaussian_kl_diagonal(mean_p, 1 / var_p, mean_q, 1 / var_q)


@diagonal.mutant
def variances_as_logarithms(mean_p, var_p, mean_q, var_q, /):
    """variances are taken for their logarithms"""
    return gaussian_kl_log_variance(mean_p, var_p, mean_q, var_q)


@diagonal.mutant(gradient=True)
def gradient_in_deviations(g, mean_p, var_p, mean_q, var_q, /):
    """the gradients are those in the standard deviations"""
    xp = namespace(mean_p)
    dmean_p, dp, dmean_q, dq = gaussian_kl_diagonal.vjp(g, mean_p, var_p, mean_q, var_q)
    return dmean_p, 2 * xp.sqrt(var_p) * dp, dmean_q, 2 * xp.sqrt(var_q) * dq


@log_variance.mutant(source="https://github.com/keras-team/keras/issues/3169")
def log_deviations(mean_p, log_var_p, mean_q, log_var_q, /):
    """logarithms of variances are taken for those of standard deviations: they are doubled"""
    return gaussian_kl_log_variance(mean_p, 2 * log_var_p, mean_q, 2 * log_var_q)


@log_variance.mutant(source="https://github.com/DaehanKim/vgae_pytorch/issues/2")
def deviations_not_squared(mean_p, log_var_p, mean_q, log_var_q, /):
    """the ratio of the standard deviations is not squared: exp(a/2) in place of exp(a)"""
    xp = namespace(mean_p)
    log_ratio = log_var_p - log_var_q
    terms = (mean_p - mean_q) ** 2 * xp.exp(-log_var_q) + xp.exp(log_ratio / 2) - 1 - log_ratio
    return 0.5 * terms.sum(axis=-1)


@log_variance.mutant(source="https://github.com/SupaeroDataScience/deep-learning/pull/6")
def squares_not_halved(mean_p, log_var_p, mean_q, log_var_q, /):
    """the squares of means and deviations are not halved, while the other terms are"""
    xp = namespace(mean_p)
    squares = (mean_p - mean_q) ** 2 * xp.exp(-log_var_q) + xp.exp(log_var_p - log_var_q)
    value = gaussian_kl_log_variance(mean_p, log_var_p, mean_q, log_var_q)
    return value + 0.5 * squares.sum(axis=-1)


@log_variance.mutant
def not_logarithms(mean_p, log_var_p, mean_q, log_var_q, /):
    """the logarithms are not taken back where the variance of q divides the means"""
    value = gaussian_kl_log_variance(mean_q, log_var_p, mean_q, log_var_q)
    return value + 0.5 * ((mean_p - mean_q) ** 2 * (1 - log_var_q)).sum(axis=-1)


@log_variance.mutant
def ratio_inverted(mean_p, log_var_p, mean_q, log_var_q, /):
    """the ratio of the variances is inverted in its exponential"""
    log_ratio = log_var_p - log_var_q
    xp = namespace(mean_p)
    value = gaussian_kl_log_variance(mean_p, log_var_p, mean_q, log_var_q)
    return value + 0.5 * (xp.exp(-log_ratio) - xp.exp(log_ratio)).sum(axis=-1)


@log_variance.mutant(gradient=True)
def gradient_in_the_variance(g, mean_p, log_var_p, mean_q, log_var_q, /):
    """the gradients are those in the variances, not in their logarithms"""
    xp = namespace(mean_p)
    var_p, var_q = xp.exp(log_var_p), xp.exp(log_var_q)
    return gaussian_kl_diagonal.vjp(g, mean_p, var_p, mean_q, var_q)


@log_variance.mutant(gradient=True)
def gradient_with_half_the_exponent(g, mean_p, log_var_p, mean_q, log_var_q, /):
    """the gradients in the logarithms have exp(a/2) in place of exp(a)"""
    xp = namespace(mean_p)
    dmean_p, _, dmean_q, dq = gaussian_kl_log_variance.vjp(g, mean_p, log_var_p, mean_q, log_var_q)
    return dmean_p, g[..., None] * xp.expm1((log_var_p - log_var_q) / 2) / 2, dmean_q, dq


# --------------------------------------------------------------------------------- Cholesky factors


def _cov(factor):
    return factor @ factor.swapaxes(-1, -2)


@triangular.mutant(source="https://github.com/tensorforce/tensorforce/issues/107")
def factors_swapped(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """p and q are swapped: KL(q || p)"""
    return gaussian_kl_cholesky(mean_q, scale_tril_q, mean_p, scale_tril_p)


@triangular.mutant
def upper_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the covariances are L^T L in place of L L^T: factors of the other triangle"""
    cov_p, cov_q = _cov(scale_tril_p.swapaxes(-1, -2)), _cov(scale_tril_q.swapaxes(-1, -2))
    return gaussian_kl(mean_p, cov_p, mean_q, cov_q)


@triangular.mutant
def factors_as_precisions(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the factors are taken for those of the precisions"""
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    cov_p, cov_q = (solve(_cov(x), identity) for x in (scale_tril_p, scale_tril_q))
    return gaussian_kl(mean_p, cov_p, mean_q, cov_q)


@triangular.mutant
def diagonals_of_the_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """only the diagonals of the factors are used: as scale_diag"""
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    return gaussian_kl_cholesky(mean_p, scale_tril_p * identity, mean_q, scale_tril_q * identity)


@triangular.mutant
def log_determinants_halved(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the log-determinants are those of the factors, half of the covariances'"""
    return _with_log_ratio(mean_p, scale_tril_p, mean_q, scale_tril_q, 0.5)


@triangular.mutant
def log_determinants_doubled(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the log-determinants count twice"""
    return _with_log_ratio(mean_p, scale_tril_p, mean_q, scale_tril_q, -1)


def _with_log_ratio(mean_p, scale_tril_p, mean_q, scale_tril_q, weight):
    """The divergence, with so much of the log ratio of the factors' determinants added."""
    xp = namespace(mean_p)
    value = gaussian_kl_cholesky(mean_p, scale_tril_p, mean_q, scale_tril_q)
    ratio = xp.diagonal(scale_tril_p, axis1=-2, axis2=-1) / xp.diagonal(
        scale_tril_q, axis1=-2, axis2=-1
    )
    return value + weight * xp.log(ratio).sum(axis=-1)


@triangular.mutant
def means_whitened_by_p(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the difference of the means is whitened with the factor of p"""
    value = gaussian_kl_cholesky(mean_p, scale_tril_q, mean_p, scale_tril_q)
    value = value + gaussian_kl_cholesky(mean_p, scale_tril_p, mean_p, scale_tril_q)
    z = solve(scale_tril_p, (mean_p - mean_q)[..., None])
    return value + 0.5 * (z * z).sum(axis=(-2, -1))


@triangular.mutant(gradient=True)
def gradient_in_covariances(g, mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the gradients are those in the covariances, not in their factors"""
    return gaussian_kl.vjp(g, mean_p, _cov(scale_tril_p), mean_q, _cov(scale_tril_q))


@triangular.mutant(gradient=True, source="https://github.com/pyro-ppl/pyro/issues/685")
def gradient_not_triangular(g, mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the gradients in the factors have entries above the diagonal: 2 G L without tril"""
    dmean_p, of_p, dmean_q, of_q = gradient_in_covariances(
        g, mean_p, scale_tril_p, mean_q, scale_tril_q
    )
    return dmean_p, 2 * of_p @ scale_tril_p, dmean_q, 2 * of_q @ scale_tril_q


@triangular.mutant(gradient=True)
def gradient_factor_two_missing(g, mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the gradients in the factors lack the factor 2 of tril(2 G L)"""
    dmean_p, dp, dmean_q, dq = gaussian_kl_cholesky.vjp(
        g, mean_p, scale_tril_p, mean_q, scale_tril_q
    )
    return dmean_p, dp / 2, dmean_q, dq / 2


@triangular.mutant(gradient=True)
def gradient_without_determinant(g, mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the gradient in the factor of p lacks the -1/L_ii of its log-determinant"""
    dmean_p, dp, dmean_q, dq = gaussian_kl_cholesky.vjp(
        g, mean_p, scale_tril_p, mean_q, scale_tril_q
    )
    xp = namespace(mean_p)
    identity = xp.eye(mean_p.shape[-1], dtype=mean_p.dtype)
    inverse = identity / xp.diagonal(scale_tril_p, axis1=-2, axis2=-1)[..., None]
    return dmean_p, dp + g[..., None, None] * inverse, dmean_q, dq


# --------------------------------------------------------------------------------------- precisions


@inverse.mutant(source="https://github.com/tensorforce/tensorforce/issues/107")
def precisions_swapped(mean_p, precision_p, mean_q, precision_q, /):
    """p and q are swapped: KL(q || p)"""
    return gaussian_kl_precision(mean_q, precision_q, mean_p, precision_p)


@inverse.mutant
def precisions_as_covariances(mean_p, precision_p, mean_q, precision_q, /):
    """precisions are taken for covariances"""
    return gaussian_kl(mean_p, precision_p, mean_q, precision_q)


@inverse.mutant
def shape_exchanged(mean_p, precision_p, mean_q, precision_q, /):
    """trace and log-determinant have the ratio of the precisions upside down"""
    squares = gaussian_kl_precision(mean_p, precision_q, mean_q, precision_q)
    return squares + gaussian_kl_precision(mean_p, precision_q, mean_p, precision_p)


@inverse.mutant
def means_weighted_with_precision_p(mean_p, precision_p, mean_q, precision_q, /):
    """the difference of the means is weighted with the precision of p"""
    squares = gaussian_kl_precision(mean_p, precision_p, mean_q, precision_p)
    return squares + gaussian_kl_precision(mean_p, precision_p, mean_p, precision_q)


@inverse.mutant
def means_divided_by_the_precision(mean_p, precision_p, mean_q, precision_q, /):
    """the difference of the means is divided by the precision of q"""
    delta = mean_p - mean_q
    squares = (delta * solve(precision_q, delta[..., None])[..., 0]).sum(axis=-1)
    return squares / 2 + gaussian_kl_precision(mean_p, precision_p, mean_p, precision_q)


@inverse.mutant
def diagonals_of_the_precisions(mean_p, precision_p, mean_q, precision_q, /):
    """only the diagonals of the precisions are used"""
    identity = namespace(mean_p).eye(mean_p.shape[-1], dtype=mean_p.dtype)
    return gaussian_kl_precision(mean_p, precision_p * identity, mean_q, precision_q * identity)


@inverse.mutant(gradient=True)
def gradient_in_the_covariances(g, mean_p, precision_p, mean_q, precision_q, /):
    """the gradients are those in the covariances"""
    dmean_p, dp, dmean_q, dq = gaussian_kl_precision.vjp(
        g, mean_p, precision_p, mean_q, precision_q
    )
    return dmean_p, -precision_p @ dp @ precision_p, dmean_q, -precision_q @ dq @ precision_q


@inverse.mutant(gradient=True)
def gradient_signs_of_the_precisions(g, mean_p, precision_p, mean_q, precision_q, /):
    """the gradients in the precisions have the wrong sign"""
    dmean_p, dp, dmean_q, dq = gaussian_kl_precision.vjp(
        g, mean_p, precision_p, mean_q, precision_q
    )
    return dmean_p, -dp, dmean_q, -dq


@inverse.mutant(gradient=True)
def gradient_of_precisions_without_means(g, mean_p, precision_p, mean_q, precision_q, /):
    """the gradient in the precision of q lacks delta delta^T"""
    dmean_p, dp, dmean_q, _ = gaussian_kl_precision.vjp(g, mean_p, precision_p, mean_q, precision_q)
    *_, dq = gaussian_kl_precision.vjp(g, mean_q, precision_p, mean_q, precision_q)
    return dmean_p, dp, dmean_q, dq


@inverse.mutant(gradient=True)
def gradient_of_precisions_doubled(g, mean_p, precision_p, mean_q, precision_q, /):
    """the gradients in the precisions lack their factor 1/2"""
    dmean_p, dp, dmean_q, dq = gaussian_kl_precision.vjp(
        g, mean_p, precision_p, mean_q, precision_q
    )
    return dmean_p, 2 * dp, dmean_q, 2 * dq
