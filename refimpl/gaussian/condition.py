"""What one part of a Gaussian says about another, products of densities, Fisher information."""

from __future__ import annotations

import math

from numpy.linalg import LinAlgError

from refimpl.backend import (
    eigvalsh,
    finfo,
    logdet_from_cholesky,
    namespace,
    solve,
    solve_triangular,
)
from refimpl.core import (
    factor_where_definite,
    inverse_from_cholesky,
    matvec,
    outer,
    positive_definite_factor,
    require_finite,
    semidefinite_factor,
    symmetric,
    symmetric_part,
    whiten,
)
from refimpl.formula import formula

_LOG_2PI = math.log(2 * math.pi)


@formula(
    "(a),(b),(a,a),(a,b),(b,b),(b)->(a),(a,a)",
    source="Bishop 2006, eqs. 2.81 and 2.82; Schur complement as in kexue.fm/archives/8512",
)
def gaussian_conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    r"""Mean and covariance of one part of a Gaussian vector, given the other part.

    Formula
    -------
    .. math:: E[x_a | x_b] = \mu_a + \Sigma_{ab} \Sigma_{bb}^{-1} (x_b - \mu_b), \qquad
        \operatorname{Cov}[x_a | x_b] = \Sigma_{aa} - \Sigma_{ab} \Sigma_{bb}^{-1} \Sigma_{ba}

    Parameters
    ----------
    mean_a, mean_b : (..., a) and (..., b), means of the two parts.
    cov_aa, cov_ab, cov_bb : (..., a, a), (..., a, b) and (..., b, b), the blocks of the joint
        covariance; the joint may be singular, cov_bb may not.
    x_b : (..., b), the value that is known.

    Returns
    -------
    mean : (..., a), linear in x_b.
    cov : (..., a, a), exactly symmetric: the Schur complement of cov_bb, which x_b does not enter.

    Raises
    ------
    ValueError
        a = 0 or b = 0; NaN or infinity; cov_aa or cov_bb not symmetric (beyond 1e-10, or 8 eps
        where that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov_bb that is not positive definite, or blocks whose Schur complement has a negative
        eigenvalue, beyond rounding: they are of no joint covariance.

    Conventions
    -----------
    It is the Kalman update without noise of its own, the regression of a on b, and the posterior of
    a Gaussian process (add the noise to cov_bb).

    Breaks when
    -----------
    What b nearly determines is a small difference of large terms: the error of the covariance is
    relative to cov_aa, and a variance that should be 0 may come out as -1e-16 of it. The
    general solver of ``form="textbook"`` mixes coordinates of unlike sizes.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3.1; Zhang, The Schur
    Complement and Its Applications, 2005.

    Examples
    --------
    >>> import refimpl
    >>> m, c = refimpl.gaussian_conditional([0.0], [0.0], [[2.0]], [[1.0]], [[1.0]], [3.0])
    >>> m.tolist(), c.tolist()
    ([3.0], [[1.0]])
    """
    cov_aa, factor, residual = _given(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b)
    half = solve_triangular(factor, cov_ab.swapaxes(-1, -2))
    z = solve_triangular(factor, residual[..., None])
    rest = symmetric_part(cov_aa - half.swapaxes(-1, -2) @ half)
    _require_joint(rest, cov_aa)
    return _same_batch(mean_a + (half.swapaxes(-1, -2) @ z)[..., 0], rest)


def _same_batch(mean, cov):
    """Mean and covariance over the leading axes of both, though one may not depend on all."""
    xp = namespace(mean)
    return mean + xp.zeros_like(cov[..., 0]), cov + xp.zeros_like(mean)[..., None]


def _given(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b):
    """cov_aa made symmetric, the Cholesky factor of cov_bb, and x_b - mean_b."""
    for name, x in (("mean_a", mean_a), ("mean_b", mean_b), ("cov_ab", cov_ab), ("x_b", x_b)):
        require_finite(name, x)
    factor = positive_definite_factor("cov_bb", symmetric("cov_bb", cov_bb))
    return symmetric("cov_aa", cov_aa), factor, x_b - mean_b


def _require_joint(rest, cov_aa):
    """LinAlgError where the Schur complement says that the blocks are of no covariance."""
    _, is_definite = factor_where_definite(rest)
    if bool(is_definite.all()):
        return
    largest = eigvalsh(cov_aa)[..., -1]
    smallest = eigvalsh(rest)[..., 0]
    if bool((smallest < -32 * rest.shape[-1] * finfo(rest).eps * abs(largest)).any()):
        raise LinAlgError(
            "cov_aa: the blocks are of no joint covariance: the smallest eigenvalue of "
            f"cov_aa - cov_ab cov_bb^-1 cov_ba is {float(smallest.min()):.3g}"
        )


@gaussian_conditional.form("textbook", loses="small directions lose digits")
def gaussian_conditional_textbook(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """The regression coefficients S_ab S_bb^{-1} by a general solver, and what they leave."""
    cov_aa, factor, residual = _given(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b)
    coefficients = solve(cov_bb, cov_ab.swapaxes(-1, -2)).swapaxes(-1, -2)
    rest = symmetric_part(cov_aa - coefficients @ cov_ab.swapaxes(-1, -2))
    _require_joint(rest, cov_aa)
    return _same_batch(mean_a + matvec(coefficients, residual), rest)


@gaussian_conditional.defvjp
def gaussian_conditional_vjp(g, mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b, /):
    """With the gain K = S_ab S_bb^{-1}, z = S_bb^{-1} (x_b - mean_b) and G made symmetric:
    dmean_a = g_m, dx_b = K^T g_m = -dmean_b, dcov_aa = G, dcov_ab = g_m z^T - 2 G K,
    dcov_bb = the symmetric part of K^T G K - (K^T g_m) z^T."""
    dmean, dcov = g[0], symmetric_part(g[1])
    _, factor, residual = _given(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b)
    inverse = inverse_from_cholesky(factor)
    gain, z = cov_ab @ inverse, matvec(inverse, residual)
    dx = matvec(gain.swapaxes(-1, -2), dmean)
    dcov_ab = outer(dmean, z) - 2 * dcov @ gain
    dcov_bb = symmetric_part(gain.swapaxes(-1, -2) @ dcov @ gain - outer(dx, z))
    return dmean, -dx, dcov, dcov_ab, dcov_bb, dx


@formula(
    "(d),(d,d),(d),(d,d)->(),(d),(d,d)",
    source="Petersen & Pedersen 2012, The Matrix Cookbook, section 8.1.8",
)
def gaussian_product(mean_p, cov_p, mean_q, cov_q, /):
    r"""Product of two Gaussian densities: a weight times a Gaussian density.

    Formula
    -------
    .. math:: N(x; a, A)\, N(x; b, B) = e^{w}\, N(x; c, C), \quad
        w = \log N(a; b, A + B), \quad C = A (A + B)^{-1} B, \quad
        c = a + A (A + B)^{-1} (b - a)

    Parameters
    ----------
    mean_p, mean_q : (..., d), a and b, in some unit.
    cov_p, cov_q : (..., d, d) covariances A and B, in that unit squared; they may be singular,
        their sum may not.

    Returns
    -------
    log_weight : (...), natural logarithm of the integral of the product.
    mean : (..., d), c.
    cov : (..., d, d), C = (A^{-1} + B^{-1})^{-1} where these inverses exist, exactly symmetric.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue, or a singular sum.

    Conventions
    -----------
    The weight is not 1: Bayes' rule divides by it, and it is the evidence. Precisions add; the
    convolution of the densities, the law of a sum of vectors, is another thing, N(a + b, A + B).

    Breaks when
    -----------
    The form with (A + B)^{-1} needs neither inverse: its errors grow with the condition number of
    the sum alone. The general solver of ``form="textbook"`` loses digits of small directions.

    References
    ----------
    Petersen & Pedersen 2012; Rasmussen & Williams, Gaussian Processes, 2006, eq. A.7.

    Examples
    --------
    >>> import refimpl
    >>> w, c, cov = refimpl.gaussian_product([0.0], [[1.0]], [4.0], [[3.0]])
    >>> round(float(w), 12), c.tolist(), cov.tolist()
    (-3.612085713765, [1.0], [[0.75]])
    """
    delta, cov_p, cov_q, factor = _summed(mean_p, cov_p, mean_q, cov_q)
    z = solve_triangular(factor, delta[..., None])
    half_p, half_q = solve_triangular(factor, cov_p), solve_triangular(factor, cov_q)
    squares = (z * z).sum(axis=(-2, -1))
    log_weight = -0.5 * (delta.shape[-1] * _LOG_2PI + logdet_from_cholesky(factor) + squares)
    mean = mean_p - (half_p.swapaxes(-1, -2) @ z)[..., 0]
    return log_weight, *_same_batch(mean, symmetric_part(half_p.swapaxes(-1, -2) @ half_q))


def _summed(mean_p, cov_p, mean_q, cov_q):
    """a - b, both covariances made symmetric, and the Cholesky factor of their sum."""
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    semidefinite_factor("cov_p", cov_p)
    semidefinite_factor("cov_q", cov_q)
    return mean_p - mean_q, cov_p, cov_q, positive_definite_factor("cov_p + cov_q", cov_p + cov_q)


@gaussian_product.form("textbook", loses="small directions lose digits")
def gaussian_product_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """The products with (A + B)^{-1} as they are written, by a general solver."""
    delta, cov_p, cov_q, factor = _summed(mean_p, cov_p, mean_q, cov_q)
    total = cov_p + cov_q
    square = (delta * solve(total, delta[..., None])[..., 0]).sum(axis=-1)
    log_weight = -0.5 * (delta.shape[-1] * _LOG_2PI + logdet_from_cholesky(factor) + square)
    mean = mean_p - matvec(cov_p, solve(total, delta[..., None])[..., 0])
    return log_weight, *_same_batch(mean, symmetric_part(cov_p @ solve(total, cov_q)))


@gaussian_product.defvjp
def gaussian_product_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """With S = A + B, u = S^{-1} (a - b), p = S^{-1} A g_c, q = S^{-1} B g_c, G made symmetric and
    all products made symmetric: da = q - g_w u, db = p + g_w u,
    dA = g_w (u u^T - S^{-1})/2 - q u^T + S^{-1} B G B S^{-1},
    dB = g_w (u u^T - S^{-1})/2 + p u^T + S^{-1} A G A S^{-1}."""
    dweight, dmean, dcov = g
    dcov = symmetric_part(dcov)
    delta, cov_p, cov_q, factor = _summed(mean_p, cov_p, mean_q, cov_q)
    inverse = inverse_from_cholesky(factor)
    u = matvec(inverse, delta)
    share_p, share_q = inverse @ cov_p, inverse @ cov_q
    p, q = matvec(share_p, dmean), matvec(share_q, dmean)
    row, square = dweight[..., None], dweight[..., None, None]
    through_weight = square * (outer(u, u) - inverse) / 2
    dcov_p = through_weight - outer(q, u) + share_q @ dcov @ share_q.swapaxes(-1, -2)
    dcov_q = through_weight + outer(p, u) + share_p @ dcov @ share_p.swapaxes(-1, -2)
    return q - row * u, symmetric_part(dcov_p), p + row * u, symmetric_part(dcov_q)


@formula(
    "(d),(d,d),(d,d)->()",
    source="Skovgaard 1984, A Riemannian geometry of the multivariate normal model, eq. 2.1",
)
def fisher_information_metric(tangent_mean, tangent_cov, cov, /):
    r"""Squared length of a small change of a Gaussian, in the Fisher information metric.

    Formula
    -------
    .. math:: ds^2 = d\mu^T \Sigma^{-1} d\mu
        + \tfrac12 \operatorname{tr}\left( \Sigma^{-1} d\Sigma\, \Sigma^{-1} d\Sigma \right)

    Parameters
    ----------
    tangent_mean : (..., d), the change of the mean, in the unit of x.
    tangent_cov : (..., d, d), the change of the covariance, symmetric, in that unit squared.
    cov : (..., d, d) covariance, in that unit squared: variances, never deviations.

    Returns
    -------
    (...), never negative, without unit. The mean does not enter.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a cov or tangent_cov that is not symmetric (beyond 1e-10, or 8 eps
        where that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov that is not positive definite; the message gives its smallest eigenvalue.

    Conventions
    -----------
    It is twice the divergence KL of the change, to second order. The change is one of the
    covariance; in deviations s, as geomstats' diagonal metric has it, a change ds is 2 s ds here.

    Breaks when
    -----------
    Errors grow with the condition number of cov after scaling its diagonal to ones.

    References
    ----------
    Skovgaard, Scandinavian Journal of Statistics 11, 1984; Amari & Nagaoka 2000, section 2.2.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.fisher_information_metric([2.0], [[4.0]], [[4.0]]))
    1.5
    """
    _, z, change = _whitened(tangent_mean, tangent_cov, cov)
    return (z * z).sum(axis=-1) + 0.5 * (change * change).sum(axis=(-2, -1))


def _whitened(tangent_mean, tangent_cov, cov):
    """The Cholesky factor L of cov, L^{-1} dmean and L^{-1} dcov L^{-T}."""
    require_finite("tangent_mean", tangent_mean)
    tangent_cov = symmetric("tangent_cov", tangent_cov)
    factor = positive_definite_factor("cov", symmetric("cov", cov))
    z = solve_triangular(factor, tangent_mean[..., None])[..., 0]
    return factor, z, symmetric_part(whiten(factor, tangent_cov, factor))


@fisher_information_metric.defvjp
def fisher_information_metric_vjp(g, tangent_mean, tangent_cov, cov, /):
    """dv = 2 S^{-1} v, dV = S^{-1} V S^{-1}, dS = -S^{-1} (v v^T + V S^{-1} V) S^{-1}."""
    factor, z, change = _whitened(tangent_mean, tangent_cov, cov)
    dmean = 2 * solve_triangular(factor, z[..., None], transpose=True)[..., 0]
    inner = outer(z, z) + change @ change
    dtangent = symmetric_part(whiten(factor, change, factor, transpose=True))
    dcov = -symmetric_part(whiten(factor, inner, factor, transpose=True))
    square = g[..., None, None]
    return g[..., None] * dmean, square * dtangent, square * dcov
