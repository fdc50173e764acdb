"""Wrong variants of means of kernels and of the discrepancy: above all, of the bandwidth."""

from __future__ import annotations

from refimpl.backend import namespace, solve
from refimpl.core import outer
from refimpl.evidence.gaussian import pairs_mutants
from refimpl.evidence.gaussian.kernel import kernel, laplace, mmd
from refimpl.evidence.gaussian.shared import logdet, off_diagonal_doubled
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.kernel import (
    gaussian_expected_kernel,
    gaussian_square_norm_laplace,
)

# --------------------------------------------------------------------------- Laplace transform


def _inverse_square(cov, w):
    return (w * solve(cov, w[..., None])[..., 0]).sum(axis=-1)


def _laplace(mean, cov, rate, two=2.0, power=0.5, damped=True):
    xp = namespace(mean)
    d = mean.shape[-1]
    damping = xp.eye(d, dtype=cov.dtype) + two * rate[..., None, None] * cov
    square = _inverse_square(damping, mean) if damped else (mean * mean).sum(axis=-1)
    return xp.exp(-rate * square - power * logdet(damping))


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


wrong(laplace, "the mean is forgotten", arrays={"mean": lambda x: 0 * x})


wrong(
    laplace,
    "the exponent is t |x|^2/2: the rate is taken for 1/h^2",
    options={"rate": lambda t: t / 2},
)


wrong(laplace, "the logarithm is returned", output=lambda y: namespace(y).log(y))


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


wrong(
    laplace,
    "the gradient in cov counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


# -------------------------------------------------------------------------------- mean kernel


wrong(
    kernel,
    "the bandwidth is taken for scikit-learn's gamma: the kernel is exp(-h |z|^2)",
    options={"bandwidth": lambda h: 1 / (2 * h) ** 0.5},
)


wrong(
    kernel,
    "the bandwidth is taken for a variance: the kernel is exp(-|z|^2/(2 h))",
    options={"bandwidth": lambda h: h**0.5},
)


wrong(
    kernel,
    "the kernel is exp(-|z|^2/h^2), without the factor 1/2",
    options={"bandwidth": lambda h: h / 2**0.5},
)


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
    return xp.exp(-square / 2 - logdet(_blurred(cov, bandwidth / bandwidth)) / 2)


@kernel.mutant
def determinant_not_relative(mean, cov, /, *, bandwidth):
    """the determinant is that of S + h^2 I, not divided by the kernel's own h^{2d}"""
    blurred = _blurred(cov, bandwidth)
    return namespace(mean).exp(-_inverse_square(blurred, mean) / 2 - logdet(blurred) / 2)


wrong(
    kernel,
    "the kernel of the mean difference is returned: the covariance is forgotten",
    arrays={"cov": lambda x: 0 * x},
)


def _blurred(cov, bandwidth):
    identity = namespace(cov).eye(cov.shape[-1], dtype=cov.dtype)
    return cov + (bandwidth * bandwidth)[..., None, None] * identity


@kernel.mutant(gradient=True)
def kernel_gradient_without_the_determinant(g, mean, cov, /, *, bandwidth):
    """the gradient in cov lacks the determinant's part"""
    dmean, _, dbandwidth = gaussian_expected_kernel.vjp(g, mean, cov, bandwidth=bandwidth)
    value = g * gaussian_expected_kernel(mean, cov, bandwidth=bandwidth)
    return dmean, outer(dmean, dmean) / (2 * value[..., None, None]), dbandwidth


wrong(
    kernel,
    "the gradient in cov counts each off-diagonal entry twice",
    gradient={"cov": off_diagonal_doubled},
)


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


wrong(
    mmd,
    "the bandwidth is taken for scikit-learn's gamma: the kernel is exp(-h |x - y|^2)",
    options={"bandwidth": lambda h: 1 / (2 * h) ** 0.5},
)


wrong(
    mmd,
    "the bandwidth is taken for a variance: the kernel is exp(-|x - y|^2/(2 h))",
    options={"bandwidth": lambda h: h**0.5},
)


wrong(
    mmd,
    "the kernel is exp(-|x - y|^2/h^2), without the factor 1/2",
    options={"bandwidth": lambda h: h / 2**0.5},
)


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


wrong(mmd, "the root is returned, not the square", output=lambda y: y**0.5)
