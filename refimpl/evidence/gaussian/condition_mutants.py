"""Wrong variants of conditioning, products and Fisher information."""

from __future__ import annotations

from refimpl.backend import namespace, solve
from refimpl.core import matvec, outer
from refimpl.evidence.gaussian.condition import conditional, fisher, product
from refimpl.evidence.gaussian.shared import (
    LOG_2PI,
    diagonal_of,
    inverse_of,
    logdet,
    off_diagonal_doubled,
    trace,
    transposed,
)
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.condition import (
    fisher_information_metric,
    gaussian_conditional,
    gaussian_product,
)


def _gain(cov_ab, cov_bb):
    return transposed(solve(cov_bb, transposed(cov_ab)))


# -------------------------------------------------------------------------------- conditional


def _conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, gain=None):
    gain = _gain(cov_ab, cov_bb) if gain is None else gain
    return mean_a + matvec(gain, x_b - mean_b), cov_aa - gain @ transposed(cov_ab)


@conditional.mutant
def marginal(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """nothing is learnt from x_b: the marginal is returned"""
    return mean_a + 0 * matvec(cov_ab, x_b - mean_b), cov_aa + 0 * cov_ab @ transposed(cov_ab)


@conditional.mutant
def covariance_of_b_not_inverted(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """cov_bb is multiplied instead of inverted"""
    return _conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, gain=cov_ab @ cov_bb)


@conditional.mutant
def covariance_of_b_missing(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """cov_bb is forgotten, as if x_b were white"""
    return _conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, gain=cov_ab)


@conditional.mutant
def covariance_not_reduced(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """the covariance is that of x_a alone, and only the mean is conditional"""
    mean, cov = gaussian_conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b)
    return mean, cov_aa + 0 * cov


@conditional.mutant
def covariance_increased(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """the explained covariance is added instead of subtracted"""
    mean, cov = gaussian_conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b)
    return mean, 2 * cov_aa - cov


@conditional.mutant
def covariance_explained(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """the explained covariance is returned, not the rest"""
    mean, cov = gaussian_conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b)
    return mean, cov_aa - cov


@conditional.mutant(gradient=True)
def gradient_of_the_gain_halved(g, *arrays):
    """the gradient in cov_ab has G K instead of 2 G K"""
    found = list(gaussian_conditional.vjp(g, *arrays))
    found[3] = found[3] + (g[1] + transposed(g[1])) / 2 @ _gain(arrays[3], arrays[4])
    return tuple(found)


@conditional.mutant(gradient=True)
def gradient_of_the_mean_without_the_gain(g, *arrays):
    """the gradients in cov_ab and cov_bb lack the part through the mean"""
    found = list(gaussian_conditional.vjp(g, *arrays))
    without = gaussian_conditional.vjp((0 * g[0], g[1]), *arrays)
    found[3], found[4] = without[3], without[4]
    return tuple(found)


# ------------------------------------------------------------------------------------ product


@product.mutant
def convolution(mean_p, cov_p, mean_q, cov_q, /):
    """the law of the sum of the vectors is returned: N(a + b, A + B)"""
    weight, *_ = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return weight, mean_p + mean_q, cov_p + cov_q


@product.mutant
def precision_returned(mean_p, cov_p, mean_q, cov_q, /):
    """the sum of the precisions is not inverted back"""
    weight, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return weight, mean, inverse_of(cov)


@product.mutant
def weights_exchanged(mean_p, cov_p, mean_q, cov_q, /):
    """each mean is weighted by its own covariance instead of the other's"""
    weight, _, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    pulled = matvec(cov_p, mean_p) + matvec(cov_q, mean_q)
    return weight, solve(cov_p + cov_q, pulled[..., None])[..., 0], cov


@product.mutant
def means_averaged(mean_p, cov_p, mean_q, cov_q, /):
    """the mean is the plain average, without the precisions"""
    weight, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return weight, (mean_p + mean_q) / 2 + 0 * mean, cov


@product.mutant
def covariance_doubled(mean_p, cov_p, mean_q, cov_q, /):
    """the covariance is the harmonic mean, twice the parallel sum"""
    weight, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return weight, mean, 2 * cov


@product.mutant
def weight_forgotten(mean_p, cov_p, mean_q, cov_q, /):
    """the product is taken for a density: its weight is 1"""
    weight, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return 0 * weight, mean, cov


@product.mutant
def weight_not_log(mean_p, cov_p, mean_q, cov_q, /):
    """the weight itself is returned, not its logarithm"""
    weight, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return namespace(weight).exp(weight), mean, cov


@product.mutant
def weight_with_the_product_covariance(mean_p, cov_p, mean_q, cov_q, /):
    """the weight is N(a; b, C), with the covariance of the product instead of A + B"""
    _, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    delta = mean_p - mean_q
    squares = (delta * solve(cov, delta[..., None])[..., 0]).sum(axis=-1)
    return -0.5 * (delta.shape[-1] * LOG_2PI + logdet(cov) + squares), mean, cov


@product.mutant
def weight_without_two_pi(mean_p, cov_p, mean_q, cov_q, /):
    """the weight lacks d/2 log 2 pi"""
    weight, mean, cov = gaussian_product(mean_p, cov_p, mean_q, cov_q)
    return weight + mean.shape[-1] * LOG_2PI / 2, mean, cov


@product.mutant(gradient=True)
def gradient_of_the_weight_missing(g, *arrays):
    """the gradients lack the part through the weight"""
    return gaussian_product.vjp((0 * g[0], *g[1:]), *arrays)


@product.mutant(gradient=True)
def gradient_of_the_covariance_missing(g, *arrays):
    """the gradients lack the part through the covariance"""
    return gaussian_product.vjp((g[0], g[1], 0 * g[2]), *arrays)


@product.mutant(gradient=True)
def gradient_of_the_mean_with_fixed_gain(g, *arrays):
    """the gradients in the covariances lack the part through the mean"""
    dmean_p, _, dmean_q, _ = gaussian_product.vjp(g, *arrays)
    _, dcov_p, _, dcov_q = gaussian_product.vjp((g[0], 0 * g[1], g[2]), *arrays)
    return dmean_p, dcov_p, dmean_q, dcov_q


# -------------------------------------------------------------------------------- information


def _terms(tangent_mean, tangent_cov, cov):
    """v^T S^{-1} v and tr(S^{-1} V S^{-1} V)."""
    change = solve(cov, tangent_cov)
    linear = (tangent_mean * solve(cov, tangent_mean[..., None])[..., 0]).sum(axis=-1)
    return linear, (change * transposed(change)).sum(axis=(-2, -1))


@fisher.mutant
def half_missing(tangent_mean, tangent_cov, cov, /):
    """the trace lacks its factor 1/2"""
    return sum(_terms(tangent_mean, tangent_cov, cov))


wrong(fisher, "everything is halved: the divergence instead of twice it", output=lambda y: y / 2)


@fisher.mutant
def trace_of_squared_entries(tangent_mean, tangent_cov, cov, /):
    """the trace is the sum of squared entries of S^{-1} V, which is not symmetric"""
    change = solve(cov, tangent_cov)
    linear, _ = _terms(tangent_mean, tangent_cov, cov)
    return linear + (change * change).sum(axis=(-2, -1)) / 2


@fisher.mutant
def trace_squared(tangent_mean, tangent_cov, cov, /):
    """the square of the trace stands for the trace of the square"""
    linear, _ = _terms(tangent_mean, tangent_cov, cov)
    return linear + trace(solve(cov, tangent_cov)) ** 2 / 2


@fisher.mutant
def diagonal_model(tangent_mean, tangent_cov, cov, /):
    """only the diagonals count, as in the model of independent coordinates"""
    variances = diagonal_of(cov)
    terms = tangent_mean**2 / variances + (diagonal_of(tangent_cov) / variances) ** 2 / 2
    return terms.sum(axis=-1)


wrong(fisher, "the length is returned, not its square", output=lambda y: y**0.5)


@fisher.mutant(gradient=True)
def gradient_in_cov_of_the_trace_halved(g, tangent_mean, tangent_cov, cov, /):
    """the gradient in cov counts one of the two inverses in the trace"""
    dmean, dtangent, dcov = fisher_information_metric.vjp(g, tangent_mean, tangent_cov, cov)
    u = solve(cov, tangent_mean[..., None])[..., 0]
    return dmean, dtangent, (dcov - g[..., None, None] * outer(u, u)) / 2


wrong(
    fisher,
    "the gradient in the change counts each off-diagonal entry twice",
    gradient={"tangent_cov": off_diagonal_doubled},
)
