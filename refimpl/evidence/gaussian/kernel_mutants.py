"""Wrong variants of means of kernels and of the discrepancy: above all, of the bandwidth."""

from __future__ import annotations

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve
from refimpl.core import outer
from refimpl.evidence.gaussian import pairs_mutants
from refimpl.evidence.gaussian.kernel import kernel, laplace, mmd
from refimpl.evidence.gaussian.shared import off_diagonal_doubled
from refimpl.gaussian.kernel import (
    gaussian_expected_kernel,
    gaussian_mmd_squared,
    gaussian_square_norm_laplace,
)

# --------------------------------------------------------------------------- Laplace transform


def _logdet(cov):
    return logdet_from_cholesky(cholesky(cov))


def _inverse_square(cov, w):
    return (w * solve(cov, w[..., None])[..., 0]).sum(axis=-1)


def _laplace(mean, cov, rate, two=2.0, power=0.5, damped=True):
    xp = namespace(mean)
    d = mean.shape[-1]
    damping = xp.eye(d, dtype=cov.dtype) + two * rate[..., None, None] * cov
    square = _inverse_square(damping, mean) if damped else (mean * mean).sum(axis=-1)
    return xp.exp(-rate * square - power * _logdet(damping))


@laplace.mutant
def two_missing(mean, cov, /, *, rate):
    """I + t S stands for I + 2 t S"""
    return _laplace(mean, cov, rate, two=1.0)


@laplace.mutant
def determinant_without_root(mean, cov, /, *, rate):
    """the determinant lacks its root"""
    return _laplace(mean, cov, rate, power=1.0)


@laplace.mutant
def determinant_missing(mean, cov, /, *, rate):
    """the determinant is missing"""
    return _laplace(mean, cov, rate, power=0.0)


@laplace.mutant
def mean_not_damped(mean, cov, /, *, rate):
    """the exponent is that of the mean, t |mean|^2, without (I + 2 t S)^{-1}"""
    return _laplace(mean, cov, rate, damped=False)


@laplace.mutant
def centred(mean, cov, /, *, rate):
    """the mean is forgotten"""
    return _laplace(0 * mean, cov, rate)


@laplace.mutant
def rate_of_a_kernel(mean, cov, /, *, rate):
    """the exponent is t |x|^2/2: the rate is taken for 1/h^2"""
    return _laplace(mean, cov, rate / 2)


@laplace.mutant
def logarithm(mean, cov, /, *, rate):
    """the logarithm is returned"""
    return namespace(mean).log(_laplace(mean, cov, rate))


@laplace.mutant(gradient=True)
def gradient_of_determinant_missing(g, mean, cov, /, *, rate):
    """the gradient in cov lacks the determinant's part"""
    dmean, _, drate = gaussian_square_norm_laplace.vjp(g, mean, cov, rate=rate)
    # dmean = -2 t f u, so its square has what is left.
    value = _laplace(mean, cov, rate)
    rest = outer(dmean, dmean) / (2 * (g * value)[..., None, None])
    return dmean, rest, drate


@laplace.mutant(gradient=True)
def gradient_of_the_logarithm(g, mean, cov, /, *, rate):
    """the gradients are those of the logarithm: the value does not multiply them"""
    found = gaussian_square_norm_laplace.vjp(g / _laplace(mean, cov, rate), mean, cov, rate=rate)
    return tuple(found)


@laplace.mutant(gradient=True)
def gradient_in_cov_off_diagonal_doubled(g, mean, cov, /, *, rate):
    """the gradient in cov counts each off-diagonal entry twice"""
    dmean, dcov, drate = gaussian_square_norm_laplace.vjp(g, mean, cov, rate=rate)
    return dmean, off_diagonal_doubled(dcov), drate


# -------------------------------------------------------------------------------- mean kernel


@kernel.mutant
def bandwidth_is_gamma(mean, cov, /, *, bandwidth):
    """the bandwidth is taken for scikit-learn's gamma: the kernel is exp(-h |z|^2)"""
    return _laplace(mean, cov, bandwidth)


@kernel.mutant
def bandwidth_is_a_variance(mean, cov, /, *, bandwidth):
    """the bandwidth is taken for a variance: the kernel is exp(-|z|^2/(2 h))"""
    return _laplace(mean, cov, 1 / (2 * bandwidth))


@kernel.mutant
def kernel_without_two(mean, cov, /, *, bandwidth):
    """the kernel is exp(-|z|^2/h^2), without the factor 1/2"""
    return _laplace(mean, cov, 1 / bandwidth**2)


@kernel.mutant
def kernel_is_a_density(mean, cov, /, *, bandwidth):
    """the kernel is scaled like a density of deviation h"""
    scale = (2 * 3.141592653589793 * bandwidth**2) ** (mean.shape[-1] / 2)
    return gaussian_expected_kernel(mean, cov, bandwidth=bandwidth) / scale


@kernel.mutant
def determinant_with_unit_bandwidth(mean, cov, /, *, bandwidth):
    """the determinant is that of I + S, without the bandwidth"""
    xp = namespace(mean)
    square = _inverse_square(_blurred(cov, bandwidth), mean)
    return xp.exp(-square / 2 - _logdet(_blurred(cov, bandwidth / bandwidth)) / 2)


@kernel.mutant
def determinant_not_relative(mean, cov, /, *, bandwidth):
    """the determinant is that of S + h^2 I, not divided by the kernel's own h^{2d}"""
    blurred = _blurred(cov, bandwidth)
    return namespace(mean).exp(-_inverse_square(blurred, mean) / 2 - _logdet(blurred) / 2)


@kernel.mutant
def kernel_at_the_mean(mean, cov, /, *, bandwidth):
    """the kernel of the mean difference is returned: the covariance is forgotten"""
    return gaussian_expected_kernel(mean, 0 * cov, bandwidth=bandwidth)


def _blurred(cov, bandwidth):
    identity = namespace(cov).eye(cov.shape[-1], dtype=cov.dtype)
    return cov + (bandwidth * bandwidth)[..., None, None] * identity


@kernel.mutant(gradient=True)
def kernel_gradient_without_the_determinant(g, mean, cov, /, *, bandwidth):
    """the gradient in cov lacks the determinant's part"""
    dmean, _, dbandwidth = gaussian_expected_kernel.vjp(g, mean, cov, bandwidth=bandwidth)
    value = g * gaussian_expected_kernel(mean, cov, bandwidth=bandwidth)
    return dmean, outer(dmean, dmean) / (2 * value[..., None, None]), dbandwidth


@kernel.mutant(gradient=True)
def kernel_gradient_off_diagonal_doubled(g, mean, cov, /, *, bandwidth):
    """the gradient in cov counts each off-diagonal entry twice"""
    dmean, dcov, dbandwidth = gaussian_expected_kernel.vjp(g, mean, cov, bandwidth=bandwidth)
    return dmean, off_diagonal_doubled(dcov), dbandwidth


# -------------------------------------------------------------------------------- discrepancy

pairs_mutants.register_arguments(mmd)
pairs_mutants.register_gradients(mmd)


def _discrepancy(arrays, bandwidth, own=2.0, cross=2.0):
    """The three means of kernels, with the factors of covariances and of the cross term."""
    mean_p, cov_p, mean_q, cov_q = arrays
    delta = mean_p - mean_q
    rate = 1 / (2 * bandwidth**2)
    own_p, own_q = (_laplace(0 * delta, own * cov, rate) for cov in (cov_p, cov_q))
    return own_p + own_q - cross * _laplace(delta, (cov_p + cov_q) * (own / 2), rate)


@mmd.mutant
def gamma_for_bandwidth(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """the bandwidth is taken for scikit-learn's gamma: the kernel is exp(-h |x - y|^2)"""
    wanted = 1 / (2 * bandwidth) ** 0.5
    return gaussian_mmd_squared(mean_p, cov_p, mean_q, cov_q, bandwidth=wanted)


@mmd.mutant
def variance_for_bandwidth(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """the bandwidth is taken for a variance: the kernel is exp(-|x - y|^2/(2 h))"""
    return gaussian_mmd_squared(mean_p, cov_p, mean_q, cov_q, bandwidth=bandwidth**0.5)


@mmd.mutant
def half_missing_in_the_kernel(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """the kernel is exp(-|x - y|^2/h^2), without the factor 1/2"""
    return gaussian_mmd_squared(mean_p, cov_p, mean_q, cov_q, bandwidth=bandwidth / 2**0.5)


@mmd.mutant
def one_draw_for_two(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """the covariance of a difference of two draws of p is taken for S_p instead of 2 S_p"""
    rate = 1 / (2 * bandwidth**2)
    delta = mean_p - mean_q
    own_p, own_q = (_laplace(0 * delta, cov, rate) for cov in (cov_p, cov_q))
    return own_p + own_q - 2 * _laplace(delta, cov_p + cov_q, rate)


@mmd.mutant
def average_covariance(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """all three covariances are halved: the means of kernels at the means"""
    return _discrepancy((mean_p, cov_p, mean_q, cov_q), bandwidth, own=1.0)


@mmd.mutant
def cross_term_once(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """the cross term is subtracted once instead of twice"""
    return _discrepancy((mean_p, cov_p, mean_q, cov_q), bandwidth, cross=1.0)


@mmd.mutant
def root(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """the root is returned, not the square"""
    found = gaussian_mmd_squared(mean_p, cov_p, mean_q, cov_q, bandwidth=bandwidth)
    return namespace(found).sqrt(found)
