"""Divergences between two Gaussians."""

from __future__ import annotations

import math

from numpy.linalg import LinAlgError

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve, solve_triangular
from refimpl.core import (
    positive_definite_factor,
    require_finite,
    semidefinite_factor,
    symmetric,
    symmetric_part,
    whiten,
    x_minus_log1p,
)
from refimpl.formula import formula

_SIGNATURE = "(d),(d,d),(d),(d,d)->()"
_LOG_2PI = math.log(2 * math.pi)


@formula(
    _SIGNATURE,
    source="Kullback & Leibler 1951; Cover & Thomas 2006, ch. 8; kexue.fm/archives/8512",
)
def gaussian_kl(mean_p, cov_p, mean_q, cov_q, /):
    r"""Kullback-Leibler divergence KL(p || q) of two Gaussians, in nats.

    Formula
    -------
    .. math:: \mathrm{KL}(p\|q) = \tfrac12 \left[ \delta^T \Sigma_q^{-1} \delta
        + \operatorname{tr}(\Sigma_q^{-1}\Sigma_p) - d - \log\det(\Sigma_q^{-1}\Sigma_p) \right],
        \qquad \delta = \mu_p - \mu_q

    It is computed as a sum of terms none of which is negative. With :math:`\Sigma_q = L L^T`,
    z = L^{-1} delta, lower triangular M and r(x) = x - log(1 + x),

    .. math:: M M^T = L^{-1} \Sigma_p L^{-T}, \qquad
        \mathrm{KL} = \tfrac12 \left[ |z|^2 + \sum_{i>k} M_{ik}^2 + \sum_i r(M_{ii}^2 - 1) \right],

    because the trace is the sum of all squares of M, the determinant the product of its diagonal
    ones.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments, natural logarithm; infinite where cov_p is
    singular.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov_q that is not positive definite, or a cov_p with a negative eigenvalue; for the
        gradient also a singular cov_p. The message gives the smallest eigenvalue.

    Conventions
    -----------
    KL(p || q) = E_p log(p/q): ``torch.distributions.kl_divergence(p, q)`` has the same order; the
    forward and the reverse KL of variational inference differ by it. Nats: divide by log 2 for
    bits. Covariances, not torch's and TFP's ``scale_tril``; TFP's ``scale_diag`` is a standard
    deviation. Gradients in a covariance are the symmetric G with df = tr(G dS) for symmetric dS.

    Breaks when
    -----------
    The textbook formula (``form="textbook"``, torch, TFP) loses all digits where the relative
    difference of p and q is below sqrt(eps), and turns negative. What is left here are the errors
    of solving with cov_q, which grow with its condition number after scaling its diagonal to ones.
    Rounding may hide that cov_p is singular: then the result is some large number.

    References
    ----------
    Kullback & Leibler 1951; Cover & Thomas, Elements of Information Theory, 2006;
    https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_kl([0.0], [[1.0]], [1.0], [[4.0]])), 12)
    0.44314718056
    """
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p, is_proper = semidefinite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    z = solve_triangular(factor_q, delta[..., None])[..., 0]
    shape = log_det_divergence(cov_p - cov_q, factor_p, factor_q)
    return xp.where(is_proper, 0.5 * ((z * z).sum(axis=-1) + shape), xp.inf)[()]


def checked_pair(mean_p, cov_p, mean_q, cov_q):
    """The difference of the means, and the covariances made exactly symmetric."""
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    return mean_p - mean_q, symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)


def density_factors(cov_p, cov_q):
    """Both Cholesky factors, and where both exist (...): where not, one has no density.

    LinAlgError where neither has: then p and q have no overlap that a volume could measure.
    """
    factor_p, is_proper_p = semidefinite_factor("cov_p", cov_p)
    factor_q, is_proper_q = semidefinite_factor("cov_q", cov_q)
    if not bool((is_proper_p | is_proper_q).all()):
        raise LinAlgError("cov_p, cov_q: both are singular, so that neither has a density")
    return factor_p, factor_q, is_proper_p & is_proper_q


def log_det_divergence(gap, factor_p, factor_q):
    """tr(S_q^{-1} S_p) - d - log det(S_q^{-1} S_p) from gap = S_p - S_q and both Cholesky factors.

    Twice the Kullback-Leibler divergence of centred Gaussians: every other divergence here is made
    of such terms. It is accurate relative to itself, never negative, exactly 0 for a gap of 0.
    """
    xp = namespace(gap)
    # E = L^{-1} S_p L^{-T} - I: whitening the difference keeps it accurate where p is near q.
    excess = symmetric_part(whiten(factor_q, gap, factor_q))
    is_near = (excess * excess).sum(axis=(-2, -1)) < 0.25
    # Near q, M comes from E, whose small entries are accurate; else from L_p, whose pivots are.
    near = far = 0
    if bool(is_near.any()):
        near = _shape_from_excess(xp.where(is_near[..., None, None], excess, 0.0))
    if not bool(is_near.all()):
        far = _shape_from_factors(factor_p, factor_q)
    return xp.where(is_near, near, far)


def _shape_from_excess(excess):
    """Sum of M_ik^2 below the diagonal and of r(M_ii^2 - 1) on it, with M M^T = I + E."""
    xp = namespace(excess)
    factor = cholesky(xp.eye(excess.shape[-1], dtype=excess.dtype) + excess)
    below = xp.tril(factor, -1)
    squares = (below * below).sum(axis=-1)
    # 1 + E_ii = M_ii^2 + squares gives M_ii^2 - 1; forming 1 + E_ii would round a small E_ii away.
    diagonal = xp.diagonal(excess, axis1=-2, axis2=-1) - squares
    return (squares + x_minus_log1p(diagonal)).sum(axis=-1)


def _shape_from_factors(factor_p, factor_q):
    """The same with M = L_q^{-1} L_p."""
    xp = namespace(factor_p)
    below = xp.tril(solve_triangular(factor_q, factor_p), -1)
    diagonal_p = xp.diagonal(factor_p, axis1=-2, axis2=-1)
    ratio = diagonal_p / xp.diagonal(factor_q, axis1=-2, axis2=-1)
    return (below * below).sum(axis=(-2, -1)) + (ratio * ratio - 1 - 2 * xp.log(ratio)).sum(axis=-1)


@gaussian_kl.form("textbook", loses="large terms cancel")
def gaussian_kl_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """Trace, Mahalanobis distance and determinants, as torch computes them; cancels near p = q."""
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p, is_proper = semidefinite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    z = solve_triangular(factor_q, delta[..., None])[..., 0]
    m = solve_triangular(factor_q, factor_p)
    trace = (m * m).sum(axis=(-2, -1))
    log_det_ratio = logdet_from_cholesky(factor_p) - logdet_from_cholesky(factor_q)
    divergence = 0.5 * (trace + (z * z).sum(axis=-1) - delta.shape[-1] - log_det_ratio)
    return xp.where(is_proper, divergence, xp.inf)[()]


@gaussian_kl.defvjp
def gaussian_kl_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """dmean_p = S_q^{-1} delta = -dmean_q, dcov_p = S_p^{-1} (S_p - S_q) S_q^{-1}/2 (which is
    (S_q^{-1} - S_p^{-1})/2), dcov_q = -S_q^{-1} (S_p - S_q + delta delta^T) S_q^{-1}/2.
    All are exactly 0 at p = q."""
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p = positive_definite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    return kl_gradients(g, delta, cov_p - cov_q, factor_p, factor_q)


def kl_gradients(g, delta, gap, factor_p, factor_q):
    """The gradients above, from gap = S_p - S_q and both Cholesky factors."""
    z = solve_triangular(factor_q, delta[..., None])
    dmean = g[..., None] * solve_triangular(factor_q, z, transpose=True)[..., 0]
    dcov_p = whiten(factor_p, whiten(factor_p, gap, factor_q), factor_q, transpose=True)
    inner = whiten(factor_q, gap, factor_q) + z * z.swapaxes(-1, -2)
    dcov_q = whiten(factor_q, inner, factor_q, transpose=True)
    half = g[..., None, None] / 2
    return dmean, half * symmetric_part(dcov_p), -dmean, -half * symmetric_part(dcov_q)


@formula(_SIGNATURE, source="Jeffreys 1946; Kullback & Leibler 1951")
def jeffreys_divergence(mean_p, cov_p, mean_q, cov_q, /):
    r"""Jeffreys divergence of two Gaussians, the sum of both Kullback-Leibler divergences, in nats.

    Formula
    -------
    .. math:: J(p,q) = \mathrm{KL}(p\|q) + \mathrm{KL}(q\|p) = \tfrac12 \left[
        \delta^T (\Sigma_p^{-1} + \Sigma_q^{-1}) \delta
        + \operatorname{tr}(\Sigma_q^{-1}\Sigma_p + \Sigma_p^{-1}\Sigma_q) - 2d \right]

    No logarithm is left. With the Cholesky factors L_p and L_q the trace is computed as the square
    norm of :math:`L_q^{-1} (\Sigma_p - \Sigma_q) L_p^{-T}`.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments; infinite where one
    covariance is singular.

    Raises
    ------
    ValueError
        As :func:`gaussian_kl`.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; two singular ones; for the gradient also one.

    Conventions
    -----------
    The sum. Much code that calls it symmetrised or symmetric KL returns the mean, half of it.

    Breaks when
    -----------
    Errors of solving, which grow with the condition numbers after scaling the diagonals to ones.
    The sum of two textbook divergences, or ``form="textbook"``, loses all digits near p = q.

    References
    ----------
    Jeffreys, An invariant form for the prior probability in estimation problems, 1946.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.jeffreys_divergence([0.0], [[1.0]], [1.0], [[4.0]])), 12)
    1.75
    """
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p, factor_q, is_proper = density_factors(cov_p, cov_q)
    z_p, z_q = (solve_triangular(x, delta[..., None]) for x in (factor_p, factor_q))
    change = whiten(factor_q, cov_p - cov_q, factor_p)
    squares = sum((x * x).sum(axis=(-2, -1)) for x in (z_p, z_q, change))
    return xp.where(is_proper, squares / 2, xp.inf)[()]


@jeffreys_divergence.form("textbook", loses="large terms cancel")
def jeffreys_divergence_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """Both traces and both Mahalanobis distances, less 2d; cancels near p = q."""
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    *_, is_proper = density_factors(cov_p, cov_q)
    identity = xp.eye(delta.shape[-1], dtype=delta.dtype)
    cov_p, cov_q = (xp.where(is_proper[..., None, None], x, identity) for x in (cov_p, cov_q))
    traces = xp.trace(solve(cov_q, cov_p) + solve(cov_p, cov_q), axis1=-2, axis2=-1)
    pull = solve(cov_p, delta[..., None]) + solve(cov_q, delta[..., None])
    mahalanobis = (delta * pull[..., 0]).sum(axis=-1)
    divergence = 0.5 * (traces + mahalanobis - 2 * delta.shape[-1])
    return xp.where(is_proper, divergence, xp.inf)[()]


@jeffreys_divergence.defvjp
def jeffreys_divergence_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """The sum of the gradients of both divergences."""
    forward = gaussian_kl_vjp(g, mean_p, cov_p, mean_q, cov_q)
    backward = gaussian_kl_vjp(g, mean_q, cov_q, mean_p, cov_p)
    return tuple(a + b for a, b in zip(forward, backward[2:] + backward[:2], strict=True))


@formula(_SIGNATURE, source="Cover & Thomas 2006, ch. 8; kexue.fm/archives/8512")
def gaussian_cross_entropy(mean_p, cov_p, mean_q, cov_q, /):
    r"""Cross-entropy of two Gaussians, the mean of -log q under p, in nats.

    Formula
    -------
    .. math:: H(p,q) = -\int p \log q = \tfrac12 \left[ d \log 2\pi + \log\det\Sigma_q
        + \operatorname{tr}(\Sigma_q^{-1}\Sigma_p) + \delta^T \Sigma_q^{-1} \delta \right],
        \qquad \delta = \mu_p - \mu_q

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared; cov_p may be singular, even 0.

    Returns
    -------
    (...), natural logarithm. It may be negative, and changes with the unit.

    Raises
    ------
    ValueError
        As :func:`gaussian_kl`.
    numpy.linalg.LinAlgError
        A cov_q that is not positive definite, or a cov_p with a negative eigenvalue.

    Conventions
    -----------
    H(p, q) = H(p) + KL(p || q): p is what the mean is taken over, the data. In bits divide by
    log 2. It is p's entropy at q = p, and -log q at a point for a p without variance.

    Breaks when
    -----------
    As :func:`gaussian_log_density`. For how far q is from p take :func:`gaussian_kl`: the
    difference of two entropies cancels.

    References
    ----------
    Cover & Thomas, Elements of Information Theory, 2006; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_cross_entropy([0.0], [[1.0]], [0.0], [[1.0]])), 12)
    1.418938533205
    """
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    semidefinite_factor("cov_p", cov_p)
    factor = positive_definite_factor("cov_q", cov_q)
    z = solve_triangular(factor, delta[..., None])[..., 0]
    trace = xp.trace(whiten(factor, cov_p, factor), axis1=-2, axis2=-1)
    constant = delta.shape[-1] * _LOG_2PI
    return 0.5 * (constant + logdet_from_cholesky(factor) + trace + (z * z).sum(axis=-1))


@gaussian_cross_entropy.defvjp
def gaussian_cross_entropy_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """dmean_p = S_q^{-1} delta = -dmean_q, dcov_p = S_q^{-1}/2,
    dcov_q = (S_q^{-1} - S_q^{-1} (S_p + delta delta^T) S_q^{-1})/2."""
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor = positive_definite_factor("cov_q", cov_q)
    z = solve_triangular(factor, delta[..., None])
    dmean = g[..., None] * solve_triangular(factor, z, transpose=True)[..., 0]
    identity = xp.eye(delta.shape[-1], dtype=delta.dtype)
    inner = identity - whiten(factor, cov_p, factor) - z * z.swapaxes(-1, -2)
    half = g[..., None, None] / 2
    dcov_p, dcov_q = (
        half * symmetric_part(whiten(factor, x, factor, transpose=True)) for x in (identity, inner)
    )
    return dmean, dcov_p, -dmean, dcov_q
