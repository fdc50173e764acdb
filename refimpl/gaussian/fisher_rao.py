"""Fisher-Rao distance of Gaussians with one covariance, or with independent coordinates."""

from __future__ import annotations

import math

from refimpl.backend import namespace, solve_triangular
from refimpl.formula import formula
from refimpl.gaussian.variation import checked_line, whitened_gap

_SQRT_8 = 2 * math.sqrt(2)
_SOURCE = "Atkinson & Mitchell 1981; Pinele, Strapasson & Costa 2020"


@formula("(),(),(),()->()", source=_SOURCE)
def fisher_rao_univariate(mean_p, var_p, mean_q, var_q, /):
    r"""Fisher-Rao distance of two Gaussians on the line.

    Formula
    -------
    .. math:: d(p,q) = 2\sqrt2\, \operatorname{arsinh} \sqrt{Q}, \qquad
        Q = \frac{\delta^2/2 + (\sigma_p - \sigma_q)^2}{4 \sigma_p \sigma_q},
        \quad \delta = \mu_p - \mu_q

    the length of the shortest curve in the metric
    :math:`ds^2 = (d\mu^2 + 2\,d\sigma^2)/\sigma^2`, a hyperbolic plane of curvature -1/2.

    Parameters
    ----------
    mean_p, mean_q : (...), in some unit.
    var_p, var_q : (...) variances, in that unit squared, never standard deviations.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments. A metric.

    Raises
    ------
    ValueError
        NaN or infinity; a variance that is not positive.

    Conventions
    -----------
    Lengths in Fisher's information itself, so that KL is about d^2/2 near p = q; some texts have
    the hyperbolic plane's own metric, d/sqrt(2). Variances: the points of geomstats'
    UnivariateNormalDistributions are means and standard deviations.

    Breaks when
    -----------
    It has a kink at p = q, where the gradient is given as 0. arcosh(1 + 2 Q), the usual way to
    write it, loses half of the digits near p = q.

    References
    ----------
    Atkinson & Mitchell, Rao's distance measure, 1981; Pinele, Strapasson & Costa, The Fisher-Rao
    distance between multivariate normal distributions, 2020.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.fisher_rao_univariate(0.0, 1.0, 1.0, 4.0)), 12)
    1.189380931406
    """
    return _SQRT_8 * namespace(mean_p).arcsinh(_root(*checked_line(mean_p, var_p, mean_q, var_q)))


def _root(mean_p, var_p, mean_q, var_q):
    """The root of Q; deviations are subtracted through variances, whose difference is exact."""
    xp = namespace(mean_p)
    sigma_p, sigma_q = xp.sqrt(var_p), xp.sqrt(var_q)
    change = (var_p - var_q) / (sigma_p + sigma_q)
    return xp.hypot((mean_p - mean_q) / math.sqrt(2), change) / (
        2 * xp.sqrt(sigma_p) * xp.sqrt(sigma_q)
    )


@fisher_rao_univariate.defvjp
def fisher_rao_univariate_vjp(g, mean_p, var_p, mean_q, var_q, /):
    """With dd/dQ = sqrt(2/(Q (1 + Q))) and s = 8 sigma_p sigma_q: dmean_p = dd/dQ 2 delta/s
    = -dmean_q, dvar_p = dd/dQ (v_p - v_q - delta^2/2)/(s v_p), dvar_q the same with q."""
    xp = namespace(mean_p)
    root = _root(*checked_line(mean_p, var_p, mean_q, var_q))
    safe = xp.where(root > 0, root, 1)
    steepness = g * math.sqrt(2) / (safe * xp.sqrt(1 + root * root))
    return _of_q(steepness, mean_p, var_p, mean_q, var_q)


def _of_q(steepness, mean_p, var_p, mean_q, var_q):
    """The steepness times the gradients of Q."""
    xp = namespace(mean_p)
    scale = steepness / (8 * xp.sqrt(var_p) * xp.sqrt(var_q))
    delta, gap = mean_p - mean_q, var_p - var_q
    half = delta * delta / 2
    dmean = 2 * scale * delta
    return dmean, scale * (gap - half) / var_p, -dmean, -scale * (gap + half) / var_q


@formula("(d),(d),(d),(d)->()", source=_SOURCE)
def fisher_rao_diagonal(mean_p, var_p, mean_q, var_q, /):
    r"""Fisher-Rao distance of two Gaussians within the family of independent coordinates.

    Formula
    -------
    .. math:: d(p,q) = \sqrt{\sum_i d_i^2}, \qquad d_i = \text{the univariate distance of
        coordinate } i

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    var_p, var_q : (..., d) variances, in that unit squared, never standard deviations.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments. A metric.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a variance that is not positive.

    Conventions
    -----------
    The shortest curve through diagonal covariances. Among all covariances there may be a shorter
    one, because the family is not totally geodesic: this is an upper bound of that distance, and
    :func:`calvo_oller_bound` a lower one.

    Breaks when
    -----------
    It has a kink at p = q, where the gradient is given as 0.

    References
    ----------
    Pinele, Strapasson & Costa 2020.

    Examples
    --------
    >>> import refimpl
    >>> value = refimpl.fisher_rao_diagonal([0.0, 0.0], [1.0, 1.0], [1.0, 1.0], [4.0, 4.0])
    >>> round(float(value), 12)
    1.682038644023
    """
    if mean_p.shape[-1] == 0:
        raise ValueError(f"mean_p: expected at least one dimension, got shape {mean_p.shape}")
    xp = namespace(mean_p)
    return euclidean_norm(xp.arcsinh(_root(*checked_line(mean_p, var_p, mean_q, var_q)))) * _SQRT_8


def euclidean_norm(x):
    """The Euclidean norm over the last axis, whose squares neither overflow nor vanish."""
    xp = namespace(x)
    largest = xp.abs(x).max(axis=-1)
    unit = x / xp.where(largest > 0, largest, 1)[..., None]
    return largest * xp.sqrt((unit * unit).sum(axis=-1))


@fisher_rao_diagonal.defvjp
def fisher_rao_diagonal_vjp(g, mean_p, var_p, mean_q, var_q, /):
    """d_i/d times the gradients of each d_i."""
    xp = namespace(mean_p)
    root = _root(*checked_line(mean_p, var_p, mean_q, var_q))
    angle = xp.arcsinh(root)
    total = euclidean_norm(angle)
    share = angle / xp.where(root > 0, root, 1) / xp.where(total > 0, total, 1)[..., None]
    steepness = g[..., None] * share * math.sqrt(2) / xp.sqrt(1 + root * root)
    return _of_q(steepness, mean_p, var_p, mean_q, var_q)


@formula("(d),(d),(d,d)->()", source=_SOURCE)
def fisher_rao_same_covariance(mean_p, mean_q, cov, /):
    r"""Fisher-Rao distance of two Gaussians with the same covariance.

    Formula
    -------
    .. math:: d(p,q) = 2\sqrt2\, \operatorname{arsinh}\frac{r}{2\sqrt2}, \qquad
        r^2 = \delta^T \Sigma^{-1} \delta, \quad \delta = \mu_p - \mu_q

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov : (..., d, d) covariance of both, in that unit squared.

    Returns
    -------
    (...), symmetric in the means, never negative, exactly 0 for equal means.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`total_variation_same_covariance`.

    Conventions
    -----------
    The distance among all Gaussians: the shortest curve leaves the family of this covariance, where
    the distance would be Mahalanobis' r, an upper bound. It is sqrt(2) arcosh(1 + r^2/4).

    Breaks when
    -----------
    It has a kink at equal means, where the gradient is given as 0.

    References
    ----------
    Pinele, Strapasson & Costa 2020, section 3.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.fisher_rao_same_covariance([0.0], [2.0], [[1.0]])), 12)
    1.862459718905
    """
    xp = namespace(mean_p)
    _, z = whitened_gap(mean_p, mean_q, cov)
    return _SQRT_8 * xp.arcsinh(euclidean_norm(z[..., 0]) / _SQRT_8)


@fisher_rao_same_covariance.defvjp
def fisher_rao_same_covariance_vjp(g, mean_p, mean_q, cov, /):
    """With u = S^{-1} delta and t = r sqrt(1 + r^2/8): dmean_p = u/t = -dmean_q,
    dcov = -u u^T/(2 t)."""
    xp = namespace(mean_p)
    factor, z = whitened_gap(mean_p, mean_q, cov)
    u = solve_triangular(factor, z, transpose=True)
    r = euclidean_norm(z[..., 0])
    scale = g / (xp.where(r > 0, r, 1) * xp.sqrt(1 + r * r / 8))
    scaled = scale[..., None, None] * u
    return scaled[..., 0], -scaled[..., 0], -scaled * u.swapaxes(-1, -2) / 2
