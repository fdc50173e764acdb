"""Total variation between Gaussians, where there is a closed form."""

from __future__ import annotations

import math

from refimpl.backend import erf, namespace, solve_triangular
from refimpl.core import (
    positive_definite_factor,
    require_finite,
    require_positive,
    symmetric,
)
from refimpl.formula import formula

_SOURCE = "Le Cam 1986; Devroye, Mehrabian & Reddad 2018, section 1"


@formula("(d),(d),(d,d)->()", source=_SOURCE)
def total_variation_same_covariance(mean_p, mean_q, cov, /):
    r"""Total variation distance of two Gaussians with the same covariance.

    Formula
    -------
    .. math:: \mathrm{TV}(p,q) = \tfrac12 \int |p - q|
        = \operatorname{erf}\left( \frac{r}{2\sqrt2} \right) = 2\Phi(r/2) - 1, \qquad
        r^2 = \delta^T \Sigma^{-1} \delta, \quad \delta = \mu_p - \mu_q

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov : (..., d, d) covariance of both, in that unit squared.

    Returns
    -------
    (...), from 0 to 1, exactly 0 for equal means.

    Raises
    ------
    ValueError
        As :func:`gaussian_log_density`.
    numpy.linalg.LinAlgError
        A cov that is not positive definite.

    Conventions
    -----------
    The largest difference of the probabilities of one event, half of the integral of |p - q|: some
    texts call the whole integral total variation.

    Breaks when
    -----------
    It has a kink at equal means, like r: there the gradient is given as 0. Other dimensions or
    covariances: one dimension is :func:`total_variation_univariate`, for the rest no closed form
    is known, only bounds such as H^2 <= TV <= sqrt(1 - BC^2).

    References
    ----------
    Devroye, Mehrabian & Reddad, The total variation distance between high-dimensional Gaussians
    with the same mean, 2018.

    Examples
    --------
    >>> import refimpl
    >>> value = refimpl.total_variation_same_covariance([0.0], [1.7], [[1.0]])
    >>> round(float(value), 12)
    0.604674913755
    """
    xp = namespace(mean_p)
    _, z = whitened_gap(mean_p, mean_q, cov)
    return erf(xp.sqrt((z * z).sum(axis=(-2, -1))) / (2 * math.sqrt(2)))


def whitened_gap(mean_p, mean_q, cov):
    """The Cholesky factor L of cov, and L^{-1} (mean_p - mean_q) as a column."""
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    factor = positive_definite_factor("cov", symmetric("cov", cov))
    return factor, solve_triangular(factor, (mean_p - mean_q)[..., None])


@total_variation_same_covariance.defvjp
def total_variation_same_covariance_vjp(g, mean_p, mean_q, cov, /):
    """With u = S^{-1} delta and dTV/dr = exp(-r^2/8)/sqrt(2 pi): dmean_p = dTV/dr u/r = -dmean_q,
    dcov = -dTV/dr u u^T/(2 r)."""
    xp = namespace(mean_p)
    factor, z = whitened_gap(mean_p, mean_q, cov)
    u = solve_triangular(factor, z, transpose=True)
    squares = (z * z).sum(axis=(-2, -1))
    distance = xp.where(squares > 0, xp.sqrt(squares), 1)
    scale = (g * xp.exp(-squares / 8) / (math.sqrt(2 * math.pi) * distance))[..., None, None]
    dmean = (scale * u)[..., 0]
    return dmean, -dmean, -scale * u * u.swapaxes(-1, -2) / 2


@formula("(),(),(),()->()", source=_SOURCE)
def total_variation_univariate(mean_p, var_p, mean_q, var_q, /):
    r"""Total variation distance of two Gaussians on the line.

    Formula
    -------
    .. math:: \mathrm{TV}(p,q) = \tfrac12 \int |p - q| = \sum_{i=1,2} |\Phi(y_i) - \Phi(t_i)|,
        \qquad y_i = \frac{x_i - \mu_p}{\sigma_p}, \quad t_i = \frac{x_i - \mu_q}{\sigma_q}

    where p = q in x_1 and x_2, the roots of a quadratic equation. Its solution is symmetric in p
    and q: with

    .. math:: D = \frac{|\mu_p - \mu_q|}{\sigma_p + \sigma_q}, \quad
        \kappa = \frac{\sigma_q - \sigma_p}{\sigma_q + \sigma_p}, \quad
        \lambda = \log\frac{\sigma_q}{\sigma_p}, \quad
        g = D + \sqrt{D^2 + 2\kappa\lambda}

    y and t are c + h and c - h, for one root with c = -lambda/g, h = -g/2, for the other with
    c = g/(2 kappa), h = kappa lambda/g. Nothing cancels, and a small difference of Phi is a series.

    Parameters
    ----------
    mean_p, mean_q : (...), in some unit.
    var_p, var_q : (...) variances, in that unit squared.

    Returns
    -------
    (...), symmetric in p and q, from 0 to 1, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        NaN or infinity; a variance that is not positive.

    Conventions
    -----------
    As :func:`total_variation_same_covariance`. Variances, not standard deviations.

    Breaks when
    -----------
    It has a kink at p = q, where the gradient is given as 0.

    References
    ----------
    Devroye, Mehrabian & Reddad 2018.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.total_variation_univariate(0.0, 1.0, 1.0, 4.0)), 8)
    0.39006566
    """
    half_log_ratio, *roots = _crossings(*checked_line(mean_p, var_p, mean_q, var_q))
    near, far = (_normal_between(c, h, half_log_ratio) for c, h in roots)
    return (far - near)[()]


def checked_line(mean_p, var_p, mean_q, var_q):
    require_finite("mean_p", mean_p)
    require_finite("mean_q", mean_q)
    require_positive("var_p", var_p)
    require_positive("var_q", var_q)
    return mean_p, var_p, mean_q, var_q


def _crossings(mean_p, var_p, mean_q, var_q):
    """lambda/2 = c h, and c and h of both roots, the second at infinity for equal variances."""
    xp = namespace(mean_p)
    total = xp.sqrt(var_p) + xp.sqrt(var_q)
    kappa = (var_q - var_p) / (total * total)
    log_ratio = xp.where(xp.abs(kappa) < 0.5, 2 * xp.arctanh(kappa), xp.log(var_q / var_p) / 2)
    gap = xp.abs(mean_p - mean_q) / total
    g = gap + xp.sqrt(gap * gap + 2 * kappa * log_ratio)
    # Where p = q both h are 0, and any c will do.
    safe = xp.where(g > 0, g, 1)
    outer = xp.where(kappa == 0, xp.inf, safe / (2 * kappa))
    return log_ratio / 2, (-log_ratio / safe, -g / 2), (outer, kappa * log_ratio / safe)


def _normal_between(c, h, product):
    """Phi(c + h) - Phi(c - h), with the product c h; relative to itself also for small h."""
    xp = namespace(c)
    # exp(-h^2 u^2/2 + c h u) has the Taylor coefficients a_n; its even part is integrated.
    is_near = (xp.abs(h) < 0.5) & (xp.abs(product) < 0.5)
    x, y = (xp.where(is_near, value, 0) for value in (product, h * h))
    before, a, integral = 0 * x, 1 + 0 * x * y, 1 + 0 * x * y
    for n in range(1, 31):
        before, a = a, (x * a - y * before) / n
        if n % 2 == 0:
            integral = integral + a / (n + 1)
    series = math.sqrt(2 / math.pi) * xp.exp(-c * c / 2) * h * integral
    root = math.sqrt(2)
    return xp.where(is_near, series, (erf((c + h) / root) - erf((c - h) / root)) / 2)


@total_variation_univariate.defvjp
def total_variation_univariate_vjp(g, mean_p, var_p, mean_q, var_q, /):
    """By the density f at both roots, which need not be differentiated, because p = q there: with
    (f, y, t) of one less those of the other, dmean_p = -f = -dmean_q, dsigma_p = -f y and
    dsigma_q = f t."""
    xp = namespace(mean_p)
    _, *roots = _crossings(*checked_line(mean_p, var_p, mean_q, var_q))
    dmean = dvar_p = dvar_q = 0
    for sign, (c, h) in zip((1, -1), roots, strict=True):
        # h = 0 is the kink, or a root at infinity.
        y, t = (xp.where(h == 0, 0, x) for x in (c + h, c - h))
        density = xp.where(h == 0, 0, xp.exp(-y * y / 2) / xp.sqrt(2 * math.pi * var_p))
        dmean = dmean + sign * g * density
        dvar_p = dvar_p + sign * g * density * y / (2 * xp.sqrt(var_p))
        dvar_q = dvar_q - sign * g * density * t / (2 * xp.sqrt(var_q))
    # The roots are those for mean_p >= mean_q.
    dmean = xp.where(mean_p < mean_q, -dmean, dmean)
    return dmean, dvar_p, -dmean, dvar_q
