"""Kullback-Leibler divergence of Gaussians that are not given by covariance matrices."""

from __future__ import annotations

from refimpl.backend import logdet_from_cholesky, namespace, solve_triangular
from refimpl.core import (
    expm1_minus,
    inverse_from_cholesky,
    matvec,
    positive_definite_factor,
    ratio_minus_log,
    require_finite,
    require_nonnegative,
    require_positive,
    semidefinite_factor,
    symmetric,
    symmetric_part,
    whiten,
)
from refimpl.formula import formula
from refimpl.gaussian.divergence import log_det_divergence

_SOURCE = "Kullback & Leibler 1951; kexue.fm/archives/8512"


def mean_gap(mean_p, mean_q):
    """mean_p - mean_q; ValueError where they are not finite, or have no coordinates."""
    if mean_p.shape[-1] == 0:
        raise ValueError(f"mean_p: expected at least one dimension, got shape {mean_p.shape}")
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    return mean_p - mean_q


@formula("(d),(d),(d),(d)->()", source=_SOURCE)
def gaussian_kl_diagonal(mean_p, var_p, mean_q, var_q, /):
    r"""KL(p || q) of two Gaussians with independent coordinates, given by variances, in nats.

    Formula
    -------
    .. math:: \mathrm{KL}(p\|q) = \tfrac12 \sum_i \left[ \frac{\delta_i^2}{v_{q,i}}
        + t_i - 1 - \log t_i \right], \qquad \delta = \mu_p - \mu_q,
        \quad t_i = v_{p,i} / v_{q,i}

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    var_p, var_q : (..., d) variances, in that unit squared, never standard deviations.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments; infinite where a variance of p is 0.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a negative variance; a variance of q that is 0, and for the
        gradient one of p.

    Conventions
    -----------
    Variances, like SciPy's ``cov`` of one dimension: torch's ``Normal`` and TFP's ``scale_diag``
    take standard deviations. The sum over the coordinates, not their mean.

    Breaks when
    -----------
    Only where it overflows. t - log t - 1 as it is written loses all digits near p = q.

    References
    ----------
    https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_kl_diagonal([0.0], [1.0], [1.0], [4.0])), 12)
    0.44314718056
    """
    delta = mean_gap(mean_p, mean_q)
    require_nonnegative("var_p", var_p)
    require_positive("var_q", var_q)
    return 0.5 * (delta * delta / var_q + ratio_minus_log(var_p, var_q)).sum(axis=-1)


@gaussian_kl_diagonal.form("textbook", loses="large terms cancel")
def gaussian_kl_diagonal_textbook(mean_p, var_p, mean_q, var_q, /):
    """The terms as they are written, as torch has them for Normal; they cancel near p = q."""
    xp = namespace(mean_p)
    delta = mean_gap(mean_p, mean_q)
    require_nonnegative("var_p", var_p)
    require_positive("var_q", var_q)
    ratio = var_p / var_q
    return 0.5 * (ratio + delta * delta / var_q - 1 - xp.log(ratio)).sum(axis=-1)


@gaussian_kl_diagonal.defvjp
def gaussian_kl_diagonal_vjp(g, mean_p, var_p, mean_q, var_q, /):
    """dmean_p = delta/v_q = -dmean_q, dvar_p = (v_p - v_q)/(2 v_p v_q),
    dvar_q = -(v_p - v_q + delta^2)/(2 v_q^2)."""
    delta, g = mean_gap(mean_p, mean_q), g[..., None]
    require_positive("var_p", var_p)
    require_positive("var_q", var_q)
    gap = (var_p - var_q) / var_q
    dmean = g * delta / var_q
    return dmean, g * gap / var_p / 2, -dmean, -g * (gap + delta * delta / var_q) / var_q / 2


@formula("(d),(d),(d),(d)->()", source="Kingma & Welling 2014, appendix B; " + _SOURCE)
def gaussian_kl_log_variance(mean_p, log_var_p, mean_q, log_var_q, /):
    r"""KL(p || q) of two Gaussians given by log variances, as in variational autoencoders.

    Formula
    -------
    .. math:: \mathrm{KL}(p\|q) = \tfrac12 \sum_i \left[ \delta_i^2 e^{-\ell_{q,i}}
        + e^{a_i} - 1 - a_i \right], \qquad \delta = \mu_p - \mu_q,
        \quad a_i = \ell_{p,i} - \ell_{q,i}

    With q = N(0, I), mean_q = log_var_q = 0, it is
    :math:`\tfrac12 \sum_i (\mu_i^2 + e^{\ell_i} - 1 - \ell_i)`.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    log_var_p, log_var_q : (..., d) natural logarithms of variances in that unit squared.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity.

    Conventions
    -----------
    Logarithms of variances, twice those of standard deviations: code with ``log_std`` or
    ``log_sigma`` has exp(2 log_std). The sum over the coordinates, not their mean, which silently
    divides the weight of this term in a loss by d.

    Breaks when
    -----------
    Only where it overflows: beyond a = 709 in float64, 11 in float16.

    References
    ----------
    Kingma & Welling, Auto-encoding variational Bayes, 2014; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_kl_log_variance([1.0], [1.0], [0.0], [0.0])), 12)
    0.85914091423
    """
    xp = namespace(mean_p)
    delta, log_ratio = mean_gap(mean_p, mean_q), _log_ratio(log_var_p, log_var_q)
    terms = delta * delta * xp.exp(-log_var_q) + expm1_minus(log_ratio)
    return 0.5 * terms.sum(axis=-1)


def _log_ratio(log_var_p, log_var_q):
    require_finite("log_var_p", log_var_p)
    require_finite("log_var_q", log_var_q)
    return log_var_p - log_var_q


@gaussian_kl_log_variance.form("textbook", loses="large terms cancel")
def gaussian_kl_log_variance_textbook(mean_p, log_var_p, mean_q, log_var_q, /):
    """The terms as they are written in most code; they cancel near p = q."""
    xp = namespace(mean_p)
    delta, log_ratio = mean_gap(mean_p, mean_q), _log_ratio(log_var_p, log_var_q)
    terms = 1 + log_ratio - delta * delta * xp.exp(-log_var_q) - xp.exp(log_ratio)
    return -0.5 * terms.sum(axis=-1)


@gaussian_kl_log_variance.defvjp
def gaussian_kl_log_variance_vjp(g, mean_p, log_var_p, mean_q, log_var_q, /):
    """dmean_p = delta e^{-l_q} = -dmean_q, dlog_var_p = (e^a - 1)/2,
    dlog_var_q = -(e^a - 1 + delta^2 e^{-l_q})/2."""
    xp = namespace(mean_p)
    delta, log_ratio, g = mean_gap(mean_p, mean_q), _log_ratio(log_var_p, log_var_q), g[..., None]
    dmean = g * delta * xp.exp(-log_var_q)
    dlog_var = g * xp.expm1(log_ratio) / 2
    return dmean, dlog_var, -dmean, -dlog_var - dmean * delta / 2


@formula("(d),(d,d),(d),(d,d)->()", source="torch.distributions.MultivariateNormal; " + _SOURCE)
def gaussian_kl_cholesky(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    r"""KL(p || q) of two Gaussians given by Cholesky factors of their covariances, in nats.

    Formula
    -------
    With :math:`\Sigma = L L^T`, :math:`z = L_q^{-1}(\mu_p - \mu_q)` and
    :math:`N = L_q^{-1} (L_p - L_q)`,

    .. math:: \mathrm{KL}(p\|q) = \tfrac12 \left[ |z|^2 + |N|_F^2 \right]
        + \sum_i \left[ N_{ii} - \log(1 + N_{ii}) \right]

    No term is negative, and the factors are subtracted before anything is divided or squared.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    scale_tril_p, scale_tril_q : (..., d, d) lower triangular, in that unit, with positive
        diagonals.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments; infinite where the diagonal of
    scale_tril_p has a 0.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; entries above the diagonal; a diagonal with a negative entry, or
        for scale_tril_q (and for the gradient scale_tril_p) with a 0.

    Conventions
    -----------
    torch's and TFP's ``scale_tril``. Gradients are lower triangular, tril(2 G L) of the symmetric
    G in the covariance; Pyro once had others.

    Breaks when
    -----------
    Errors grow with the condition number of scale_tril_q, the root of its covariance's.

    References
    ----------
    https://kexue.fm/archives/8512; https://github.com/pyro-ppl/pyro/issues/685.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_kl_cholesky([0.0], [[1.0]], [1.0], [[2.0]])), 12)
    0.44314718056
    """
    z, n = _whitened_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, require_nonnegative)
    diagonal_p, diagonal_q = diagonal_of(scale_tril_p), diagonal_of(scale_tril_q)
    squares = (z * z).sum(axis=(-2, -1)) + (n * n).sum(axis=(-2, -1))
    return 0.5 * squares + ratio_minus_log(diagonal_p, diagonal_q).sum(axis=-1)


def diagonal_of(matrix):
    """The diagonal (..., d) of (..., d, d)."""
    return namespace(matrix).diagonal(matrix, axis1=-2, axis2=-1)


def _whitened_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, require_of_p):
    """z as a column, and N."""
    delta = mean_gap(mean_p, mean_q)
    factors = {"scale_tril_p": scale_tril_p, "scale_tril_q": scale_tril_q}
    for name, factor in factors.items():
        require_finite(name, factor)
        if not bool((factor == namespace(factor).tril(factor)).all()):
            raise ValueError(f"{name}: expected a lower triangular matrix")
    require_of_p("the diagonal of scale_tril_p", diagonal_of(scale_tril_p))
    require_positive("the diagonal of scale_tril_q", diagonal_of(scale_tril_q))
    z = solve_triangular(scale_tril_q, delta[..., None])
    return z, solve_triangular(scale_tril_q, scale_tril_p - scale_tril_q)


@gaussian_kl_cholesky.form("textbook", loses="large terms cancel")
def gaussian_kl_cholesky_textbook(mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """With M = L_q^{-1} L_p: (|z|^2 + |M|^2 - d)/2 and log-determinants; it cancels near p = q."""
    z, _ = _whitened_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, require_nonnegative)
    m = solve_triangular(scale_tril_q, scale_tril_p)
    squares = (z * z).sum(axis=(-2, -1)) + (m * m).sum(axis=(-2, -1)) - mean_p.shape[-1]
    log_ratio = logdet_from_cholesky(scale_tril_p) - logdet_from_cholesky(scale_tril_q)
    return 0.5 * (squares - log_ratio)


@gaussian_kl_cholesky.defvjp
def gaussian_kl_cholesky_vjp(g, mean_p, scale_tril_p, mean_q, scale_tril_q, /):
    """dL_p = tril(S_q^{-1} L_p) - diag(1/L_p), dL_q = -tril(L_q^{-T} (N + N^T + N N^T + z z^T)):
    lower triangular, exactly 0 at p = q."""
    xp = namespace(mean_p)
    z, n = _whitened_factors(mean_p, scale_tril_p, mean_q, scale_tril_q, require_positive)
    transposed = n.swapaxes(-1, -2)
    excess = n + transposed + n @ transposed + z * z.swapaxes(-1, -2)
    dmean, from_p, from_q = (
        solve_triangular(scale_tril_q, x, transpose=True) for x in (z, n, excess)
    )
    # The identity in M = I + N meets diag(1/L_p) on the diagonal, and leaves N_ii/L_ii there.
    identity = xp.eye(n.shape[-1], dtype=n.dtype)
    on_diagonal = identity * (diagonal_of(n) / diagonal_of(scale_tril_p))[..., None]
    scale = g[..., None, None]
    dmean = g[..., None] * dmean[..., 0]
    return dmean, scale * (xp.tril(from_p) + on_diagonal), -dmean, -scale * xp.tril(from_q)


@formula("(d),(d,d),(d),(d,d)->()", source="Bishop 2006, section 2.3; " + _SOURCE)
def gaussian_kl_precision(mean_p, precision_p, mean_q, precision_q, /):
    r"""KL(p || q) of two Gaussians given by precisions, the inverses of covariances, in nats.

    Formula
    -------
    .. math:: \mathrm{KL}(p\|q) = \tfrac12 \left[ \delta^T P_q \delta
        + \operatorname{tr}(P_p^{-1} P_q) - d - \log\det(P_p^{-1} P_q) \right],
        \qquad \delta = \mu_p - \mu_q

    as :func:`gaussian_kl`, with the precision of q where that has the covariance of p: no matrix is
    inverted.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    precision_p, precision_q : (..., d, d) inverse covariances, in that unit to the power -2.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments; infinite where precision_q is singular, a
    q that is infinitely wide in some direction.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a precision that is not symmetric (beyond 1e-10, or 8 eps where that
        is more, of its largest entry).
    numpy.linalg.LinAlgError
        A precision_p that is not positive definite, or a precision_q with a negative eigenvalue;
        for the gradient also a singular precision_q.

    Conventions
    -----------
    torch's ``precision_matrix``, scikit-learn's ``precisions_``. Gradients in a precision are the
    symmetric G with df = tr(G dP) for symmetric dP: -S G S of the one in the covariance.

    Breaks when
    -----------
    As :func:`gaussian_kl`, with the condition number of precision_p.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning, 2006; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_kl_precision([0.0], [[1.0]], [1.0], [[0.25]])), 12)
    0.44314718056
    """
    xp = namespace(mean_p)
    delta = mean_gap(mean_p, mean_q)[..., None]
    precision_p = symmetric("precision_p", precision_p)
    precision_q = symmetric("precision_q", precision_q)
    factor_p = positive_definite_factor("precision_p", precision_p)
    factor_q, is_proper = semidefinite_factor("precision_q", precision_q)
    shape = log_det_divergence(precision_q - precision_p, factor_q, factor_p)
    z = factor_q.swapaxes(-1, -2) @ delta
    return xp.where(is_proper, 0.5 * ((z * z).sum(axis=(-2, -1)) + shape), xp.inf)[()]


@gaussian_kl_precision.form("textbook", loses="large terms cancel")
def gaussian_kl_precision_textbook(mean_p, precision_p, mean_q, precision_q, /):
    """Trace, Mahalanobis distance and determinants, as they are printed; cancels near p = q."""
    xp = namespace(mean_p)
    delta = mean_gap(mean_p, mean_q)
    precision_p = symmetric("precision_p", precision_p)
    precision_q = symmetric("precision_q", precision_q)
    factor_p = positive_definite_factor("precision_p", precision_p)
    factor_q, is_proper = semidefinite_factor("precision_q", precision_q)
    mahalanobis = (delta * matvec(precision_q, delta)).sum(axis=-1)
    trace = (inverse_from_cholesky(factor_p) * precision_q).sum(axis=(-2, -1))
    log_det_ratio = logdet_from_cholesky(factor_q) - logdet_from_cholesky(factor_p)
    divergence = 0.5 * (mahalanobis + trace - delta.shape[-1] - log_det_ratio)
    return xp.where(is_proper, divergence, xp.inf)[()]


@gaussian_kl_precision.defvjp
def gaussian_kl_precision_vjp(g, mean_p, precision_p, mean_q, precision_q, /):
    """dmean_p = P_q delta = -dmean_q, dP_p = P_p^{-1} (P_p - P_q) P_p^{-1}/2,
    dP_q = (P_p^{-1} - P_q^{-1} + delta delta^T)/2, whose difference of inverses is
    P_q^{-1} (P_q - P_p) P_p^{-1}."""
    delta = mean_gap(mean_p, mean_q)[..., None]
    precision_p = symmetric("precision_p", precision_p)
    precision_q = symmetric("precision_q", precision_q)
    factor_p = positive_definite_factor("precision_p", precision_p)
    factor_q = positive_definite_factor("precision_q", precision_q)
    gap, half = precision_q - precision_p, g[..., None, None] / 2
    inner = whiten(factor_p, whiten(factor_p, gap, factor_p), factor_p, transpose=True)
    mixed = whiten(factor_q, whiten(factor_q, gap, factor_p), factor_p, transpose=True)
    dmean = 2 * (half * (precision_q @ delta))[..., 0]
    outer = delta * delta.swapaxes(-1, -2)
    return dmean, -half * symmetric_part(inner), -dmean, half * (symmetric_part(mixed) + outer)
