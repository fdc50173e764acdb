"""Means of Gaussian kernels, and the distance that they make: maximum mean discrepancy."""

from __future__ import annotations

from typing import Any, NamedTuple

from refimpl.backend import (
    cholesky,
    eigvalsh,
    logdet_from_cholesky,
    namespace,
    solve,
    solve_triangular,
)
from refimpl.core import (
    inverse_from_cholesky,
    matvec,
    outer,
    positive_definite_factor,
    require_nonnegative,
    require_positive,
    symmetric_part,
    whiten,
)
from refimpl.formula import formula
from refimpl.gaussian.moments import checked_moments


@formula(
    "(d),(d,d)->()",
    source="Mathai & Provost 1992, Quadratic Forms in Random Variables, theorem 3.2a.1",
    keywords={"rate": "()"},
)
def gaussian_square_norm_laplace(mean, cov, /, *, rate):
    r"""Laplace transform of the squared norm, E exp(-t |x|^2).

    Formula
    -------
    .. math:: E\, e^{-t |x|^2} = \det(I + 2t\Sigma)^{-1/2}
        \exp\left( -t\, \mu^T (I + 2t\Sigma)^{-1} \mu \right)

    Parameters
    ----------
    mean : (..., d), in some unit.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.
    rate : (...), t, not negative, in that unit to the power -2.

    Returns
    -------
    (...), from 0 to 1, and 1 at t = 0.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_log_moment_generating_function`; a negative rate.

    Conventions
    -----------
    It is the mean of the Gaussian kernel exp(-|x|^2/(2 h^2)) at t = 1/(2 h^2), so kernels, maximum
    mean discrepancy and energy distance are made of it. The norm is about the origin: for |x - c|,
    subtract c from the mean.

    Breaks when
    -----------
    Far from the origin it underflows to 0, beyond t |mean|^2 of about 700.

    References
    ----------
    Mathai & Provost 1992, theorem 3.2a.1.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_square_norm_laplace([0.0], [[1.0]], rate=1.5)), 12)
    0.5
    """
    require_nonnegative("rate", rate)
    factor, z = _damped(mean, cov, rate)
    exponent = rate * (z * z).sum(axis=-1) + logdet_from_cholesky(factor) / 2
    return namespace(mean).exp(-exponent)


def _damped(mean, cov, rate):
    """The Cholesky factor L of I + 2 t S, and z = L^{-1} mean."""
    mean, cov = checked_moments(mean, cov)
    factor = _damping(cov, rate)
    return factor, solve_triangular(factor, mean[..., None])[..., 0]


def _damping(cov, rate):
    """The Cholesky factor of I + 2 t S, which is positive definite for any covariance."""
    identity = namespace(cov).eye(cov.shape[-1], dtype=cov.dtype)
    return positive_definite_factor("cov", identity + 2 * rate[..., None, None] * cov)


@gaussian_square_norm_laplace.form("textbook")
def gaussian_square_norm_laplace_textbook(mean, cov, /, *, rate):
    """The determinant and the product with the inverse as they are written."""
    require_nonnegative("rate", rate)
    mean, cov = checked_moments(mean, cov)
    damping = namespace(cov).eye(cov.shape[-1], dtype=cov.dtype) + 2 * rate[..., None, None] * cov
    log_det = logdet_from_cholesky(cholesky(damping))
    square = (mean * solve(damping, mean[..., None])[..., 0]).sum(axis=-1)
    return namespace(mean).exp(-rate * square - log_det / 2)


@gaussian_square_norm_laplace.defvjp
def gaussian_square_norm_laplace_vjp(g, mean, cov, /, *, rate):
    """With C = I + 2 t S, u = C^{-1} mean and the value f: dmean = -2 t f u,
    dcov = t f (2 t u u^T - C^{-1}), drate = -f (tr(C^{-1} S) + |u|^2)."""
    factor, z = _damped(mean, cov, rate)
    xp = namespace(mean)
    value = xp.exp(-rate * (z * z).sum(axis=-1) - logdet_from_cholesky(factor) / 2)
    u = solve_triangular(factor, z[..., None], transpose=True)[..., 0]
    inverse = inverse_from_cholesky(factor)
    scaled = g * value
    slope = scaled * rate
    dmean = -2 * slope[..., None] * u
    dcov = slope[..., None, None] * (2 * rate[..., None, None] * outer(u, u) - inverse)
    drate = -scaled * ((inverse * cov).sum(axis=(-2, -1)) + (u * u).sum(axis=-1))
    return dmean, dcov, drate


@formula(
    "(d),(d,d)->()",
    source="Muandet et al. 2012, Learning from distributions via support measure machines, table 1",
    keywords={"bandwidth": "()"},
)
def gaussian_expected_kernel(mean, cov, /, *, bandwidth):
    r"""Mean of a Gaussian kernel between two independent Gaussian vectors.

    Formula
    -------
    .. math:: E\, e^{-|z|^2 / (2h^2)} = \det(I + \Sigma/h^2)^{-1/2}
        \exp\left( -\tfrac12 \mu^T (\Sigma + h^2 I)^{-1} \mu \right), \quad
        z = x - y \sim N(\mu, \Sigma)

    Parameters
    ----------
    mean : (..., d), the difference of the two means, in some unit.
    cov : (..., d, d), the *sum* of the two covariances, in that unit squared; it may be singular.
    bandwidth : (...), h, positive, in that unit.

    Returns
    -------
    (...), from 0 to 1.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a cov that is not symmetric (beyond 1e-10, or 8 eps where that is
        more, of its largest entry); a bandwidth that is not positive.
    numpy.linalg.LinAlgError
        A cov with a negative eigenvalue; the message gives it.

    Conventions
    -----------
    The kernel is exp(-|x - y|^2/(2 h^2)): scikit-learn's ``gamma`` is 1/(2 h^2), GPyTorch's and
    scikit-learn's RBF ``length_scale`` is h; some code divides by h or h^2 alone. It is 1 at x = y,
    not a density.

    Breaks when
    -----------
    As :func:`gaussian_square_norm_laplace`, which it is at the rate 1/(2 h^2).

    References
    ----------
    Muandet, Fukumizu, Dinuzzo & Schoelkopf, NeurIPS 2012.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.gaussian_expected_kernel([0.0], [[3.0]], bandwidth=1.0))
    0.5
    """
    factor, z = _damped(mean, cov, _rate(bandwidth))
    return _kernel(factor, z, bandwidth)


def _rate(bandwidth):
    """1/(2 h^2) of a positive bandwidth."""
    require_positive("bandwidth", bandwidth)
    return 1 / (2 * bandwidth * bandwidth)


def _kernel(factor, z, bandwidth):
    """The kernel's mean from the Cholesky factor L of I + S/h^2, and z = L^{-1} mean."""
    exponent = (z * z).sum(axis=-1) / (2 * bandwidth * bandwidth)
    return namespace(z).exp(-exponent - logdet_from_cholesky(factor) / 2)


@gaussian_expected_kernel.form("textbook")
def gaussian_expected_kernel_textbook(mean, cov, /, *, bandwidth):
    """The determinant and the product with the inverse as they are written."""
    require_positive("bandwidth", bandwidth)
    mean, cov = checked_moments(mean, cov)
    identity, area = namespace(cov).eye(cov.shape[-1], dtype=cov.dtype), bandwidth * bandwidth
    area = area[..., None, None]
    log_det = logdet_from_cholesky(cholesky(identity + cov / area))
    square = (mean * solve(cov + area * identity, mean[..., None])[..., 0]).sum(axis=-1)
    return namespace(mean).exp(-(log_det + square) / 2)


@gaussian_expected_kernel.defvjp
def gaussian_expected_kernel_vjp(g, mean, cov, /, *, bandwidth):
    """With M = (S + h^2 I)^{-1}, w = M mean and the value K: dmean = -K w,
    dcov = K (w w^T - M)/2, dbandwidth = K (tr(M S)/h + h |w|^2)."""
    factor, z = _damped(mean, cov, _rate(bandwidth))
    scaled = g * _kernel(factor, z, bandwidth)
    inverse = _precision(factor, bandwidth)
    w = matvec(inverse, mean)
    square = scaled[..., None, None]
    spread = (inverse * cov).sum(axis=(-2, -1)) / bandwidth
    dbandwidth = scaled * (spread + bandwidth * (w * w).sum(axis=-1))
    return -scaled[..., None] * w, square * (outer(w, w) - inverse) / 2, dbandwidth


def _precision(factor, bandwidth):
    """(S + h^2 I)^{-1} from the Cholesky factor of I + S/h^2."""
    return inverse_from_cholesky(factor) / (bandwidth * bandwidth)[..., None, None]


@formula(
    "(d),(d,d),(d),(d,d)->()",
    source="Gretton et al. 2012, A kernel two-sample test, lemma 6, with Muandet et al. 2012",
    keywords={"bandwidth": "()"},
)
def gaussian_mmd_squared(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    r"""Squared maximum mean discrepancy of two Gaussians, with a Gaussian kernel.

    Formula
    -------
    .. math:: \mathrm{MMD}^2 = K(0, 2\Sigma_p) + K(0, 2\Sigma_q) - 2 K(\delta, \Sigma_p + \Sigma_q),
        \qquad \delta = \mu_p - \mu_q

    with K of :func:`gaussian_expected_kernel`. Near p = q it is computed as a sum of terms none of
    which is negative: with C = I + (S_p + S_q)/h^2 = L L^T, z = L^{-1} delta/h and the eigenvalues
    e of L^{-1} (S_p - S_q) L^{-T}/h^2, all between -1 and 1,

    .. math:: \mathrm{MMD}^2 = 2 \det(C)^{-1/2} \left[ (e^s - 1) \cosh t + 2 \sinh^2 \tfrac t2
        + 1 - e^{-|z|^2/2} \right], \\
        s = -\tfrac14 \sum_i \log(1 - e_i^2), \qquad t = \tfrac12 \sum_i \operatorname{artanh} e_i .

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared; they may be singular.
    bandwidth : (...), h, positive, in that unit.

    Returns
    -------
    (...), the square, never negative, exactly 0 for equal arguments, less than 2.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_expected_kernel`.

    Conventions
    -----------
    Of the distributions: an estimate from samples has a bias, or a variance. The kernel is
    exp(-|x - y|^2/(2 h^2)), with the confusions that :func:`gaussian_expected_kernel` names; for a
    sum of kernels, as many tests use, add the squares.

    Breaks when
    -----------
    The three terms of the first formula (``form="textbook"``) lose all digits where the relative
    difference of p and q is below sqrt(eps), and turn negative. The root has no gradient at 0.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schoelkopf & Smola, JMLR 13, 2012.

    Examples
    --------
    >>> import refimpl
    >>> value = refimpl.gaussian_mmd_squared([0.0], [[1.0]], [1.0], [[4.0]], bandwidth=1.0)
    >>> round(float(value), 12)
    0.159470483676
    """
    kernels, *_ = _compare(mean_p, cov_p, mean_q, cov_q, bandwidth)
    return discrepancy(kernels)


class Kernels(NamedTuple):
    """Logarithms of K_p, of K_q, and of the scale det(C)^{-1/2} of K_pq = scale exp(gap).

    Where ``is_near``, K_p and K_q are scale prod (1 +- e)^{-1/2} too, with the e in the last axis.
    """

    log_p: Any
    log_q: Any
    log_scale: Any
    gap: Any
    is_near: Any
    e: Any


def discrepancy(k: Kernels):
    """K_p + K_q - 2 K_pq, where p is near q as a sum of terms none of which is negative."""
    xp = namespace(k.e)
    # With a = -sum log(1 + e)/2 and b = -sum log(1 - e)/2, (exp(a) + exp(b))/2 is exp(s) cosh(t).
    s, t = -xp.log1p(-k.e * k.e).sum(axis=-1) / 4, xp.arctanh(k.e).sum(axis=-1) / 2
    spread = xp.expm1(s) * xp.cosh(t) + 2 * xp.sinh(t / 2) ** 2
    near = 2 * xp.exp(k.log_scale) * (spread - xp.expm1(k.gap))
    kernel_p, kernel_q, kernel_pq = _shifted(k)
    return xp.where(k.is_near, near, kernel_p + kernel_q - 2 * kernel_pq)[()]


def _shifted(k):
    """K_p, K_q and K_pq, all less 1 where they are near 1, so that differences round their size."""
    xp = namespace(k.e)
    is_large = xp.maximum(k.log_p, k.log_q) > -0.5
    logs = k.log_p, k.log_q, k.log_scale + k.gap
    return tuple(xp.where(is_large, xp.expm1(log), xp.exp(log)) for log in logs)


def differences(k: Kernels):
    """K_pq - K_p and K_pq - K_q."""
    xp = namespace(k.e)
    scale = xp.exp(k.log_scale)
    kernel_p, kernel_q, kernel_pq = _shifted(k)
    return tuple(
        xp.where(
            k.is_near,
            scale * (xp.expm1(k.gap) - xp.expm1(-xp.log1p(sign * k.e).sum(axis=-1) / 2)),
            kernel_pq - own,
        )
        for sign, own in ((1, kernel_p), (-1, kernel_q))
    )


def _compare(mean_p, cov_p, mean_q, cov_q, bandwidth):
    """The kernels, the Cholesky factors of I + 2 S_p/h^2, of the same for q and of C, and delta."""
    xp = namespace(mean_p)
    mean_p, cov_p = checked_moments(mean_p, cov_p, "_p")
    mean_q, cov_q = checked_moments(mean_q, cov_q, "_q")
    rate, delta = _rate(bandwidth), mean_p - mean_q
    factors = tuple(_damping(cov, rate) for cov in (2 * cov_p, 2 * cov_q, cov_p + cov_q))
    factor = factors[-1]
    z = solve_triangular(factor, delta[..., None])[..., 0]
    # Whitening the difference keeps it accurate where p is near q.
    change = 2 * rate[..., None, None] * (cov_p - cov_q)
    excess = symmetric_part(whiten(factor, change, factor))
    is_near = (excess * excess).sum(axis=(-2, -1)) < 0.25
    e = eigvalsh(xp.where(is_near[..., None, None], excess, 0.0))
    logs = (-logdet_from_cholesky(f) / 2 for f in factors)
    return Kernels(*logs, -rate * (z * z).sum(axis=-1), is_near, e), factors, delta


@gaussian_mmd_squared.form("textbook", loses="large terms cancel")
def gaussian_mmd_squared_textbook(mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """The three means of kernels as they are written; cancels near p = q."""
    xp = namespace(mean_p)
    k, *_ = _compare(mean_p, cov_p, mean_q, cov_q, bandwidth)
    return xp.exp(k.log_p) + xp.exp(k.log_q) - 2 * xp.exp(k.log_scale + k.gap)


@gaussian_mmd_squared.defvjp
def gaussian_mmd_squared_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, bandwidth):
    """With M_p = (2 S_p + h^2 I)^{-1}, M = (S_p + S_q + h^2 I)^{-1}, w = M delta, D = S_p - S_q:
    dmean_p = 2 K_pq w = -dmean_q,
    dcov_p = (K_pq - K_p) M + K_p M D M_p - K_pq w w^T,
    dcov_q = (K_pq - K_q) M - K_q M D M_q - K_pq w w^T,
    dbandwidth = [MMD^2 (d - h^2 tr M) + h^2 ((K_p - K_q) tr M D M_p - 2 K_q tr M D M_q D M_p)]/h
    - 2 h K_pq |w|^2. All are exactly 0 at p = q."""
    xp = namespace(g)
    k, factors, delta = _compare(mean_p, cov_p, mean_q, cov_q, bandwidth)
    inverse_p, inverse_q, inverse = (_precision(factor, bandwidth) for factor in factors)
    kernel_p, kernel_q, kernel_pq = (xp.exp(log) for log in (k.log_p, k.log_q, k.log_scale + k.gap))
    lack_p, lack_q = differences(k)
    w = matvec(inverse, delta)
    change = cov_p - cov_q
    through_mean = kernel_pq[..., None, None] * outer(w, w)
    dcov_p, dcov_q = (
        lack[..., None, None] * inverse
        + kernel[..., None, None] * symmetric_part(inverse @ change @ other)
        - through_mean
        for lack, kernel, other in ((lack_p, kernel_p, inverse_p), (lack_q, -kernel_q, inverse_q))
    )
    area = bandwidth * bandwidth
    first = _trace(inverse @ change @ inverse_p)
    second = _trace(inverse @ change @ inverse_q @ change @ inverse_p)
    slope = (lack_q - lack_p) * first - 2 * kernel_q * second - discrepancy(k) * _trace(inverse)
    slope = discrepancy(k) * delta.shape[-1] + area * slope
    dbandwidth = slope / bandwidth - 2 * bandwidth * kernel_pq * (w * w).sum(axis=-1)
    dmean, square = 2 * (g * kernel_pq)[..., None] * w, g[..., None, None]
    return dmean, square * dcov_p, -dmean, square * dcov_q, g * dbandwidth


def _trace(matrix):
    return namespace(matrix).trace(matrix, axis1=-2, axis2=-1)
