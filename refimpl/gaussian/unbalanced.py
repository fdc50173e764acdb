"""Unbalanced entropic optimal transport between Gaussian measures of any mass."""

from __future__ import annotations

from typing import Any, NamedTuple

from refimpl.backend import (
    cholesky,
    eigvalsh,
    logdet_from_cholesky,
    namespace,
    solve,
    solve_triangular,
    svd,
)
from refimpl.core import (
    outer,
    positive_definite_factor,
    require_positive,
    symmetric_part,
)
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair
from refimpl.gaussian.optimal_map import matrix_power
from refimpl.gaussian.transport import covariance_factor


@formula(
    "(),(d),(d,d),(),(d),(d,d)->()",
    source="Janati, Muzellec, Peyre & Cuturi 2020, theorem 3",
    keywords={"regularisation": "()", "penalty": "()"},
)
def unbalanced_entropic_transport(
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, /, *, regularisation, penalty
):
    r"""Unbalanced entropic transport cost of two Gaussian measures: mass may be made or lost.

    Formula
    -------
    .. math:: \min_\pi \int |x-y|^2 d\pi + \varepsilon\,\mathrm{KL}(\pi\|p\otimes q)
        + \gamma\,\mathrm{KL}(\pi_1\|p) + \gamma\,\mathrm{KL}(\pi_2\|q)

    over all positive measures, with :math:`\mathrm{KL}(a\|b) = \int \log(da/db)\,da - |a| + |b|`.
    Let :math:`\sigma^2 = \varepsilon/2`, :math:`\lambda = \sigma^2 + \gamma/2`,
    :math:`\tau = \gamma/(2\sigma^2+\gamma)`, :math:`A = \tfrac\gamma2\Sigma_p(\Sigma_p +
    \lambda)^{-1}`, B the same of q, :math:`\kappa_i` the eigenvalues of AB, :math:`y_i =
    (\kappa_i/\tau + \sigma^4/4)^{1/2} + \sigma^2/2`. The plan has the mass :math:`m_\pi` with

    .. math:: \log m_\pi = \frac{d\sigma^2}{\gamma+\sigma^2}\log\sigma
        - \tfrac12\sum_i\log\frac{\gamma - 2\tau y_i}{\gamma\tau y_i} + \frac{1}{\tau+1}\Big[
        \log m_p m_q + d\log\frac{\gamma}{2\tau} - \sum_i\log y_i
        - \tfrac12\log\det(\Sigma_p+\lambda)(\Sigma_q+\lambda)
        - \tfrac12\delta^T(\Sigma_p+\Sigma_q+\lambda)^{-1}\delta\Big]

    and the cost is :math:`\gamma(m_p + m_q - 2 m_\pi) + 2\sigma^2(m_p m_q - m_\pi)`.

    Parameters
    ----------
    mass_p, mass_q : (...) positive.
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances of the normalised measures, in that unit squared. They
        may be singular.
    regularisation : (...) epsilon > 0, in the unit squared.
    penalty : (...) gamma > 0 for each marginal, in the unit squared.

    Returns
    -------
    (...), in the unit squared times mass.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry); a mass, regularisation or penalty that is not positive.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; the message gives the smallest.

    Conventions
    -----------
    Both divergences are from p and q themselves, with their masses: at masses 1 and a large penalty
    it is :func:`entropic_wasserstein_squared`. The printed formula has log det of A B, and of the
    covariances, and so needs these to be regular; here the singular parts have cancelled. OTT's
    ``UnbalancedBures`` agrees.

    Breaks when
    -----------
    A penalty far above the cost leaves the small difference of two masses times the penalty:
    absolute errors are eps times penalty and mass.

    References
    ----------
    Janati, Muzellec, Peyre & Cuturi, Entropic optimal transport between unbalanced Gaussian
    measures has a closed form, 2020.

    Examples
    --------
    >>> import refimpl
    >>> p, q = (1.0, [0.3], [[1.0]]), (1.0, [-0.5], [[2.0]])
    >>> cost = refimpl.unbalanced_entropic_transport(*p, *q, regularisation=2.0, penalty=1.0)
    >>> round(float(cost), 12)
    1.372417298256
    """
    plan = _plan(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty)
    mass = namespace(mean_p).exp(plan.log_mass)
    kept = penalty * (mass_p + mass_q - 2 * mass)
    return kept + regularisation * (mass_p * mass_q - mass)


class _Plan(NamedTuple):
    """The pieces of log m_pi; ``bracket`` is what tau + 1 divides."""

    log_mass: Any
    bracket: Any
    pull: Any  # (S_p + S_q + lambda)^{-1} delta
    inverse_p: Any  # (S_p + lambda)^{-1}
    inverse_q: Any
    columns_p: Any  # a and b, of factors of A and B: a^T b = kappa^{1/2}
    columns_q: Any
    kappa: Any
    y: Any
    shrinking: Any  # -dlog kappa / dlambda


def _checked(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty):
    for name, value in (
        ("mass_p", mass_p),
        ("mass_q", mass_q),
        ("regularisation", regularisation),
        ("penalty", penalty),
    ):
        require_positive(name, value)
    return checked_pair(mean_p, cov_p, mean_q, cov_q)


def _plan(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty) -> _Plan:
    delta, cov_p, cov_q = _checked(
        mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty
    )
    xp = namespace(delta)
    d, variance = delta.shape[-1], regularisation / 2
    spread, tau = variance + penalty / 2, penalty / (regularisation + penalty)
    factor_p, inverse_p, widened_p = _shrunk("cov_p", cov_p, spread, penalty)
    factor_q, inverse_q, widened_q = _shrunk("cov_q", cov_q, spread, penalty)
    w, s, vt = svd(factor_p.swapaxes(-1, -2) @ factor_q)
    kappa = s * s
    y = xp.hypot(s / xp.sqrt(tau)[..., None], variance[..., None] / 2) + variance[..., None] / 2
    total = cov_p + cov_q + spread[..., None, None] * xp.eye(d, dtype=cov_p.dtype)
    low = positive_definite_factor("cov_p + cov_q", total)
    z = solve_triangular(low, delta[..., None])
    pull = solve_triangular(low, z, transpose=True)[..., 0]
    bracket = xp.log(mass_p) + xp.log(mass_q) + d * xp.log(penalty / (2 * tau))
    logs = xp.log(y) + (xp.log(widened_p) + xp.log(widened_q)) / 2
    bracket = bracket - logs.sum(axis=-1) - (z * z).sum(axis=(-2, -1)) / 2
    slack = penalty[..., None] - 2 * tau[..., None] * y
    spans = xp.log(slack / ((penalty * tau)[..., None] * y)).sum(axis=-1)
    log_mass = d * variance / (penalty + variance) * xp.log(variance) / 2
    log_mass = log_mass - spans / 2 + bracket / (tau + 1)
    v = vt.swapaxes(-1, -2)
    shrinking = (w * w / widened_p[..., :, None] + v * v / widened_q[..., :, None]).sum(axis=-2)
    a, b = factor_p @ w, factor_q @ v
    return _Plan(log_mass, bracket, pull, inverse_p, inverse_q, a, b, kappa, y, shrinking)


def _shrunk(name, cov, spread, penalty):
    """A factor of gamma/2 S (S + lambda)^{-1}, (S + lambda)^{-1}, and eigenvalues of S + lambda."""
    xp = namespace(cov)
    basis, root, _ = svd(covariance_factor(name, cov))
    widened = root * root + spread[..., None]
    factor = basis * (root * xp.sqrt(penalty[..., None] / (2 * widened)))[..., None, :]
    inverse = symmetric_part((basis / widened[..., None, :]) @ basis.swapaxes(-1, -2))
    return factor, inverse, widened


@unbalanced_entropic_transport.form("textbook")
def unbalanced_entropic_transport_textbook(
    mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, /, *, regularisation, penalty
):
    """The mass of the plan as it is printed above, with A, B and the eigenvalues of A B."""
    delta, cov_p, cov_q = _checked(
        mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty
    )
    xp, d = namespace(delta), delta.shape[-1]
    variance, tau = regularisation / 2, penalty / (regularisation + penalty)
    spread = (variance + penalty / 2)[..., None, None] * xp.eye(d, dtype=delta.dtype)
    a, b = (
        symmetric_part((penalty / 2)[..., None, None] * solve(cov + spread, cov))
        for cov in (cov_p, cov_q)
    )
    root = matrix_power(a, 0.5)
    kappa = xp.maximum(eigvalsh(symmetric_part(root @ b @ root)), 0)
    half = variance[..., None] / 2
    y = xp.sqrt(kappa / tau[..., None] + half * half) + half
    log_det_p, log_det_q = (logdet_from_cholesky(cholesky(x + spread)) for x in (cov_p, cov_q))
    square = (delta * solve(cov_p + cov_q + spread, delta[..., None])[..., 0]).sum(axis=-1)
    bracket = xp.log(mass_p * mass_q) + d * xp.log(penalty / (2 * tau)) - xp.log(y).sum(axis=-1)
    bracket = bracket - (log_det_p + log_det_q + square) / 2
    rate, share = penalty[..., None], tau[..., None]
    spans = xp.log((rate - 2 * share * y) / (rate * share * y)).sum(axis=-1)
    log_sigma = xp.log(variance) / 2
    log_mass = d * variance / (penalty + variance) * log_sigma - spans / 2 + bracket / (tau + 1)
    mass = xp.exp(log_mass)
    return penalty * (mass_p + mass_q - 2 * mass) + regularisation * (mass_p * mass_q - mass)


@unbalanced_entropic_transport.defvjp
def unbalanced_entropic_transport_vjp(
    g, mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, /, *, regularisation, penalty
):
    """The cost has dm_pi = m_pi dlog m_pi, and that the derivatives of each piece: the kappa_i of
    A B move by (V_B)_i^T dA (V_B)_i, and dA = gamma/2 lambda (S + lambda)^{-1} dS (S + lambda)^{-1}
    where only S moves."""
    plan = _plan(mass_p, mean_p, cov_p, mass_q, mean_q, cov_q, regularisation, penalty)
    xp = namespace(mean_p)
    mass, variance = xp.exp(plan.log_mass), regularisation / 2
    tau, spread = penalty / (regularisation + penalty), variance + penalty / 2
    by_y, by_kappa = _slopes(plan, variance, penalty, tau)
    share = 1 / (tau + 1)
    slope = -(2 * penalty + regularisation) * mass * g

    def in_cov(inverse, columns):
        """dlog m_pi / dS: of the determinant, the quadratic form, and kappa."""
        seen = (columns * by_kappa[..., None, :]) @ columns.swapaxes(-1, -2)
        through = inverse @ seen @ inverse * (penalty * spread / 2)[..., None, None]
        direct = (outer(plan.pull, plan.pull) - inverse) * (share / 2)[..., None, None]
        return slope[..., None, None] * symmetric_part(direct + through)

    dmean = (-slope * share)[..., None] * plan.pull
    dvariance, dpenalty = _parameter_slopes(plan, by_y, by_kappa, variance, penalty, tau)
    kept = mass_p + mass_q - 2 * mass
    return (
        g * (penalty + regularisation * mass_q) + slope * share / mass_p,
        dmean,
        in_cov(plan.inverse_p, plan.columns_q),
        g * (penalty + regularisation * mass_p) + slope * share / mass_q,
        -dmean,
        in_cov(plan.inverse_q, plan.columns_p),
        g * (mass_p * mass_q - mass) + slope * dvariance / 2,
        g * kept + slope * dpenalty,
    )


def _slopes(plan, variance, penalty, tau):
    """dlog m_pi / dy_i, and through it / dkappa_i."""
    tau, penalty, variance = tau[..., None], penalty[..., None], variance[..., None]
    slack = penalty - 2 * tau * plan.y
    by_y = -1 / ((tau + 1) * plan.y) + 0.5 / plan.y + tau / slack
    return by_y, by_y / (2 * tau * (plan.y - variance / 2))


def _parameter_slopes(plan, by_y, by_kappa, variance, penalty, tau):
    """dlog m_pi / dsigma^2 and / dgamma, through tau, lambda, kappa and y."""
    xp = namespace(variance)
    d = plan.y.shape[-1]
    share, total = 1 / (tau + 1), penalty + variance
    slack = penalty[..., None] - 2 * tau[..., None] * plan.y
    widths = plan.y - variance[..., None] / 2
    squares = plan.kappa / tau[..., None]
    by_tau = -plan.bracket * share**2 - d * share / tau + d / (2 * tau)
    by_tau = by_tau + (plan.y / slack - by_y * squares / (2 * tau[..., None] * widths)).sum(axis=-1)
    traces = (xp.trace(x, axis1=-2, axis2=-1) for x in (plan.inverse_p, plan.inverse_q))
    by_spread = share / 2 * ((plan.pull**2).sum(axis=-1) - sum(traces))
    by_spread = by_spread - (by_kappa * plan.kappa * plan.shrinking).sum(axis=-1)
    by_variance = d / 2 * (penalty / total**2 * xp.log(variance) + 1 / total)
    by_variance = by_variance + (by_y * (0.5 + variance[..., None] / (4 * widths))).sum(axis=-1)
    by_penalty = -d * variance / total**2 * xp.log(variance) / 2 + d * share / penalty
    by_penalty = by_penalty - ((1 / slack - 1 / penalty[..., None]) / 2).sum(axis=-1)
    by_penalty = by_penalty + 2 / penalty * (by_kappa * plan.kappa).sum(axis=-1)
    sum_of_both = 2 * variance + penalty
    dvariance = by_variance + by_spread - 2 * penalty / sum_of_both**2 * by_tau
    return dvariance, by_penalty + by_spread / 2 + 2 * variance / sum_of_both**2 * by_tau
