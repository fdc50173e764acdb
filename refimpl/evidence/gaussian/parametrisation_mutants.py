"""Wrong conversions: one parametrisation taken for another, and gradients that forget a half."""

from __future__ import annotations

from refimpl.backend import namespace, solve
from refimpl.evidence.gaussian.parametrisation import (
    cholesky,
    deviation,
    factor,
    low_rank,
    variance,
)
from refimpl.evidence.gaussian.shared import diagonal_matrix, diagonal_of, transposed
from refimpl.evidence.mistakes import wrong
from refimpl.gaussian.parametrisation import (
    covariance_from_cholesky,
    covariance_from_low_rank,
)

_SCALE_OR_COVARIANCE = "https://github.com/tensorflow/tensorflow/issues/20261"


# ----------------------------------------------------------------------- from a Cholesky factor


@cholesky.mutant
def factor_on_the_right(scale_tril, /):
    """the product is L^T L instead of L L^T"""
    return transposed(scale_tril) @ scale_tril


@cholesky.mutant(source=_SCALE_OR_COVARIANCE)
def factor_is_the_covariance(scale_tril, /):
    """the factor is taken for the covariance itself, its lower triangle mirrored"""
    return scale_tril + transposed(namespace(scale_tril).tril(scale_tril, -1))


@cholesky.mutant
def squared_entries(scale_tril, /):
    """every entry is squared, instead of the matrix"""
    return scale_tril * scale_tril


@cholesky.mutant
def square_of_the_factor(scale_tril, /):
    """the product is L L: the transposition is missing"""
    return scale_tril @ scale_tril


@cholesky.mutant(source="https://github.com/pyro-ppl/pyro/issues/3232")
def deviations_from_the_diagonal(scale_tril, /):
    """the diagonal of L is taken for the deviations of the coordinates"""
    product = scale_tril @ transposed(scale_tril)
    variances = diagonal_of(scale_tril) ** 2
    return product + diagonal_matrix(variances - diagonal_of(product))


@cholesky.mutant
def factor_of_the_precision(scale_tril, /):
    """the result is the precision, the inverse of L L^T"""
    xp = namespace(scale_tril)
    identity = xp.eye(scale_tril.shape[-1], dtype=scale_tril.dtype)
    return solve(scale_tril @ transposed(scale_tril), identity)


@cholesky.mutant(gradient=True, source="https://github.com/pyro-ppl/pyro/issues/685")
def gradient_without_the_other_half(g, scale_tril, /):
    """the gradient is tril(G L): the factor's second appearance is forgotten"""
    return (namespace(g).tril(g @ scale_tril),)


@cholesky.mutant(gradient=True)
def gradient_above_the_diagonal(g, scale_tril, /):
    """the gradient is not cut to the lower triangle"""
    return ((g + transposed(g)) @ scale_tril,)


@cholesky.mutant(gradient=True)
def gradient_with_half_a_diagonal(g, scale_tril, /):
    """the gradient counts the diagonal by half"""
    (found,) = covariance_from_cholesky.vjp(g, scale_tril)
    return (found - diagonal_matrix(diagonal_of(found)) / 2,)


@cholesky.mutant(gradient=True)
def gradient_by_the_right(g, scale_tril, /):
    """the gradient is tril(L (G + G^T)): the factor stands on the wrong side"""
    return (namespace(g).tril(scale_tril @ (g + transposed(g))),)


# ------------------------------------------------------------------------------- from a factor


@factor.mutant
def columns_for_rows(factor, /):
    """the product is S^T S: coordinates are looked for in the columns"""
    return transposed(factor) @ factor


@factor.mutant
def mean_square(factor, /):
    """the product is divided by the number of columns, as if they were observations"""
    return factor @ transposed(factor) / max(factor.shape[-1], 1)


@factor.mutant
def centred(factor, /):
    """the mean of each row is subtracted first, as numpy.cov does"""
    gap = factor - factor.mean(axis=-1, keepdims=True)
    return gap @ transposed(gap)


@factor.mutant
def factor_with_identity(factor, /):
    """the identity is added, a covariance of low rank plus diagonal"""
    return factor @ transposed(factor) + namespace(factor).eye(factor.shape[-2], dtype=factor.dtype)


@factor.mutant
def factor_diagonal_only(factor, /):
    """only the variances are kept"""
    return diagonal_matrix((factor * factor).sum(axis=-1))


@factor.mutant(gradient=True)
def factor_gradient_without_the_other_half(g, factor, /):
    """the gradient is G S: the factor's second appearance is forgotten"""
    return (g @ factor,)


@factor.mutant(gradient=True)
def factor_gradient_doubled_half(g, factor, /):
    """the gradient is 2 G S, which takes G for symmetric"""
    return (2 * g @ factor,)


# ----------------------------------------------------------- from variances and from deviations


wrong(
    variance,
    "the variances are taken for deviations: they are squared",
    arrays={"variance": lambda x: x * x},
    source=_SCALE_OR_COVARIANCE,
)


wrong(
    variance,
    "the variances are taken for precisions: they are inverted",
    arrays={"variance": lambda x: 1 / x},
)


wrong(
    variance,
    "the variances are taken for log-variances",
    arrays={"variance": lambda x: namespace(x).exp(x)},
)


@variance.mutant
def variance_in_every_row(variance, /):
    """the variances fill every row instead of the diagonal"""
    return variance[..., None, :] + 0 * variance[..., :, None]


@variance.mutant
def spherical(variance, /):
    """every coordinate has the mean variance"""
    return diagonal_matrix(0 * variance + variance.mean(axis=-1, keepdims=True))


@variance.mutant(gradient=True)
def variance_gradient_of_row_sums(g, variance, /):
    """the gradient sums the rows of G instead of taking its diagonal"""
    return (g.sum(axis=-1),)


@variance.mutant(gradient=True)
def variance_gradient_in_the_logarithm(g, variance, /):
    """the gradient is that in the log-variance: it is multiplied by the variance"""
    return (variance * diagonal_of(g),)


@variance.mutant(gradient=True)
def variance_gradient_in_the_deviation(g, variance, /):
    """the gradient is that in the deviation: it is multiplied by twice the deviation"""
    return (2 * namespace(g).sqrt(variance) * diagonal_of(g),)


@deviation.mutant(source=_SCALE_OR_COVARIANCE)
def deviation_not_squared(deviation, /):
    """the deviations are taken for variances: they are not squared"""
    return diagonal_matrix(deviation)


@deviation.mutant
def deviation_rooted(deviation, /):
    """the square root is taken instead of the square"""
    return diagonal_matrix(namespace(deviation).sqrt(deviation))


@deviation.mutant
def deviation_inverted(deviation, /):
    """the result is the precision, 1/s^2"""
    return diagonal_matrix(1 / (deviation * deviation))


@deviation.mutant
def deviation_as_log_deviation(deviation, /):
    """the deviations are taken for log-deviations"""
    return diagonal_matrix(namespace(deviation).exp(2 * deviation))


@deviation.mutant
def fully_correlated(deviation, /):
    """the product s s^T is not restricted to the diagonal: the coordinates are fully correlated"""
    return deviation[..., :, None] * deviation[..., None, :]


@deviation.mutant(gradient=True)
def deviation_gradient_not_scaled(g, deviation, /):
    """the gradient lacks the deviation: it is that in the variance"""
    return (diagonal_of(g),)


@deviation.mutant(gradient=True)
def deviation_gradient_of_row_sums(g, deviation, /):
    """the gradient sums the rows of G instead of taking its diagonal"""
    return (2 * deviation * g.sum(axis=-1),)


# ----------------------------------------------------------------- from low rank plus diagonal


wrong(
    low_rank,
    "the diagonal is taken for deviations: it is squared",
    arrays={"variance": lambda x: x * x},
)


@low_rank.mutant
def low_rank_scale(variance, factor, /):
    """the matrix is taken for the scale, whose square is the covariance, as in TFP"""
    scale = covariance_from_low_rank(variance, factor)
    return scale @ scale


@low_rank.mutant
def diagonal_everywhere(variance, factor, /):
    """the variances are added to every entry of their row, by broadcasting"""
    return variance[..., :, None] + factor @ transposed(factor)


wrong(
    low_rank,
    "the low-rank part is divided by the number of its columns",
    arrays={"factor": lambda x: x / max(x.shape[-1], 1) ** 0.5},
)


@low_rank.mutant
def low_rank_cross_terms_missing(variance, factor, /):
    """only the diagonal of the low-rank part is added"""
    return diagonal_matrix(variance + (factor * factor).sum(axis=-1))


@low_rank.mutant(gradient=True)
def low_rank_gradient_without_the_other_half(g, variance, factor, /):
    """the gradient in the factor is G W: its second appearance is forgotten"""
    return covariance_from_low_rank.vjp(g, variance, factor)[0], g @ factor


@low_rank.mutant(gradient=True)
def low_rank_gradient_of_row_sums(g, variance, factor, /):
    """the gradient in the variances sums the rows of G instead of taking its diagonal"""
    return g.sum(axis=-1), covariance_from_low_rank.vjp(g, variance, factor)[1]


@low_rank.mutant(gradient=True)
def low_rank_gradient_of_the_deviation(g, variance, factor, /):
    """the gradient in the variances is that in deviations: twice the deviation too much"""
    dvariance, dfactor = covariance_from_low_rank.vjp(g, variance, factor)
    return 2 * namespace(g).sqrt(variance) * dvariance, dfactor
