"""Wrong variants of the divergence of Gaussians given by variances or by Cholesky factors."""

from __future__ import annotations

import math

from refimpl.backend import namespace, solve
from refimpl.evidence.gaussian.parametrised import diagonal, inverse, log_variance, triangular
from refimpl.evidence.gaussian.shared import diagonal_matrix, diagonal_of, identity_of, inverse_of
from refimpl.evidence.mistakes import Textbook, wrong, wrong_gradients
from refimpl.gaussian.divergence import gaussian_kl
from refimpl.gaussian.parametrised import (
    gaussian_kl_cholesky,
    gaussian_kl_diagonal,
    gaussian_kl_log_variance,
    gaussian_kl_precision,
)

# ------------------------------------------------------------------- variances and their logarithms


def _terms(mean_p, var_p, mean_q, var_q):
    """delta^2/v_q, t = v_p/v_q, 1, log t, and the factor of all, for each coordinate."""
    ratio = var_p / var_q
    return {
        "squares": (mean_p - mean_q) ** 2 / var_q,
        "ratio": ratio,
        "one": 1,
        "logarithm": namespace(ratio).log(ratio),
        "half": 0.5,
    }


def _terms_of_logarithms(mean_p, log_var_p, mean_q, log_var_q):
    exp = namespace(mean_p).exp
    return _terms(mean_p, exp(log_var_p), mean_q, exp(log_var_q))


def _whole(squares, ratio, one, logarithm, half):
    return half * (squares + ratio - one - logarithm).sum(axis=-1)


for book in (
    Textbook(diagonal, _terms, _whole),
    Textbook(log_variance, _terms_of_logarithms, _whole),
):
    book.wrong(
        "the terms are averaged over the coordinates, not added",
        half=lambda t: t.half / t.mean_p.shape[-1],
    )
    book.wrong(
        "the difference of the means is divided by the variance of p",
        squares=lambda t: t.squares / t.ratio,
    )
    book.wrong(
        "the difference of the means is not squared",
        squares=lambda t: t.squares / abs(t.mean_p - t.mean_q),
    )
    book.wrong(
        "the logarithm has the wrong sign",
        logarithm=lambda t: -t.logarithm,
        source="https://github.com/FluxML/model-zoo/pull/147",
    )
    book.wrong("the logarithm lacks its factor 1/2", logarithm=lambda t: 2 * t.logarithm)
    book.wrong(
        "the logarithm is that of the standard deviations, half of it",
        logarithm=lambda t: t.logarithm / 2,
    )
    book.wrong("1 is not subtracted from the ratio of the variances", one=0)

BOTH = (diagonal, log_variance)
_SWAPPED = "https://github.com/tensorforce/tensorforce/issues/107"
wrong(BOTH, "the factor 1/2 is missing", output=lambda y: 2 * y)
wrong(BOTH, "the means are ignored", arrays={"mean_p": "mean_q"})
wrong(BOTH, "the result is in bits, not nats", output=lambda y: y / math.log(2))
for of, scale, one in ((diagonal, "var", 1), (log_variance, "log_var", 0)):
    scale_p, scale_q = f"{scale}_p", f"{scale}_q"
    wrong(
        of,
        "p and q are swapped: KL(q || p)",
        arrays={"mean_p": "mean_q", scale_p: scale_q, "mean_q": "mean_p", scale_q: scale_p},
        source=_SWAPPED,
    )
    wrong(
        of,
        "q is ignored and N(0, I) taken",
        arrays={"mean_q": lambda x: 0 * x, scale_q: lambda x, one=one: 0 * x + one},
    )
    wrong(
        of,
        "the gradients in the variances lack their factor 1/2",
        gradient={scale_p: lambda x: 2 * x, scale_q: lambda x: 2 * x},
    )

    @wrong_gradients(of)
    def gradient_without_means(found, g, arrays, options, f=of.formula):
        """the gradient in the variance of q lacks the term with the means"""
        return *found[:3], f.vjp(g, arrays[2], *arrays[1:])[3]


wrong(
    BOTH,
    "the gradients in the means have each other's sign",
    gradient={"mean_p": lambda x: -x, "mean_q": lambda x: -x},
)
wrong(
    BOTH,
    "the gradients in p and in q are exchanged",
    gradient=lambda found, arrays, options: (*found[2:], *found[:2]),
)
wrong(
    diagonal,
    "variances are taken for standard deviations: they are squared",
    arrays={"var_p": lambda x: x**2, "var_q": lambda x: x**2},
    source="https://github.com/tensorflow/tensorflow/issues/20261",
)
wrong(
    diagonal,
    "variances are taken for precisions",
    arrays={"var_p": lambda x: 1 / x, "var_q": lambda x: 1 / x},
)
wrong(
    diagonal,
    "the gradients are those in the standard deviations",
    gradient=lambda found, arrays, options: (
        *(found[0], 2 * arrays[1] ** 0.5 * found[1]),
        *(found[2], 2 * arrays[3] ** 0.5 * found[3]),
    ),
)
wrong(
    log_variance,
    "logarithms of variances are taken for those of standard deviations: they are doubled",
    arrays={"log_var_p": lambda x: 2 * x, "log_var_q": lambda x: 2 * x},
    source="https://github.com/keras-team/keras/issues/3169",
)


@diagonal.mutant
def variances_as_logarithms(mean_p, var_p, mean_q, var_q, /):
    """variances are taken for their logarithms"""
    return gaussian_kl_log_variance(mean_p, var_p, mean_q, var_q)


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


wrong(
    triangular,
    "p and q are swapped: KL(q || p)",
    arrays={
        **{"mean_p": "mean_q", "scale_tril_p": "scale_tril_q"},
        **{"mean_q": "mean_p", "scale_tril_q": "scale_tril_p"},
    },
    source=_SWAPPED,
)
wrong(
    triangular,
    "only the diagonals of the factors are used: as scale_diag",
    arrays={
        "scale_tril_p": lambda x: x * identity_of(x),
        "scale_tril_q": lambda x: x * identity_of(x),
    },
)


@triangular.mutant
def upper_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the covariances are L^T L in place of L L^T: factors of the other triangle"""
    cov_p, cov_q = _cov(scale_tril_p.swapaxes(-1, -2)), _cov(scale_tril_q.swapaxes(-1, -2))
    return gaussian_kl(mean_p, cov_p, mean_q, cov_q)


@triangular.mutant
def factors_as_precisions(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """the factors are taken for those of the precisions"""
    cov_p, cov_q = (inverse_of(_cov(x)) for x in (scale_tril_p, scale_tril_q))
    return gaussian_kl(mean_p, cov_p, mean_q, cov_q)


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
    value = gaussian_kl_cholesky(mean_p, scale_tril_p, mean_q, scale_tril_q)
    ratio = diagonal_of(scale_tril_p) / diagonal_of(scale_tril_q)
    return value + weight * namespace(ratio).log(ratio).sum(axis=-1)


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


wrong(
    triangular,
    "the gradients in the factors lack the factor 2 of tril(2 G L)",
    gradient={"scale_tril_p": lambda x: x / 2, "scale_tril_q": lambda x: x / 2},
)


@wrong_gradients(triangular)
def gradient_without_determinant(found, g, arrays, options):
    """the gradient in the factor of p lacks the -1/L_ii of its log-determinant"""
    found[1] = found[1] + g[..., None, None] * diagonal_matrix(1 / diagonal_of(arrays[1]))
    return found


# --------------------------------------------------------------------------------------- precisions


wrong(
    inverse,
    "p and q are swapped: KL(q || p)",
    arrays={
        **{"mean_p": "mean_q", "precision_p": "precision_q"},
        **{"mean_q": "mean_p", "precision_q": "precision_p"},
    },
    source=_SWAPPED,
)
wrong(
    inverse,
    "only the diagonals of the precisions are used",
    arrays={
        "precision_p": lambda x: x * identity_of(x),
        "precision_q": lambda x: x * identity_of(x),
    },
)


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


wrong(
    inverse,
    "the gradients in the precisions have the wrong sign",
    gradient={"precision_p": lambda x: -x, "precision_q": lambda x: -x},
)
wrong(
    inverse,
    "the gradients in the precisions lack their factor 1/2",
    gradient={"precision_p": lambda x: 2 * x, "precision_q": lambda x: 2 * x},
)
wrong(
    inverse,
    "the gradients are those in the covariances",
    gradient=lambda found, arrays, options: (
        *(found[0], -arrays[1] @ found[1] @ arrays[1]),
        *(found[2], -arrays[3] @ found[3] @ arrays[3]),
    ),
)


@wrong_gradients(inverse)
def gradient_of_precisions_without_means(found, g, arrays, options):
    """the gradient in the precision of q lacks delta delta^T"""
    return *found[:3], gaussian_kl_precision.vjp(g, arrays[2], *arrays[1:])[3]
