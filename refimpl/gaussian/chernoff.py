"""Exponents of error of a test between two Gaussians: Chernoff coefficient and information."""

from __future__ import annotations

from refimpl.backend import (
    cholesky,
    finfo,
    logdet_from_cholesky,
    namespace,
    solve,
    solve_triangular,
    svd,
)
from refimpl.core import whiten
from refimpl.formula import formula
from refimpl.gaussian.renyi import (
    Mixture,
    Pair,
    checked_order,
    mixture_gradients,
    mixture_of,
    pair_of,
    regular_pair_of,
    renyi_divergence_textbook,
)

_MOST_STEPS = 64


@formula(
    "(d),(d,d),(d),(d,d)->()",
    source="Chernoff 1952; Nielsen 2013, eq. 5; Cover & Thomas 2006, section 11.9",
    keywords={"order": "()"},
)
def chernoff_coefficient(mean_p, cov_p, mean_q, cov_q, /, *, order):
    r"""Chernoff coefficient of two Gaussians: the integral of p^a q^(1-a).

    Formula
    -------
    .. math:: c_a(p,q) = \int p^a q^{1-a} = e^{-(1-a) D_a(p\|q)}, \qquad 0 < a < 1

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.
    order : (...) between 0 and 1, both excluded.

    Returns
    -------
    (...), from 0 to 1, exactly 1 for equal arguments; 0 where one covariance is singular.

    Raises
    ------
    ValueError
        As :func:`gaussian_kl`; an order that is not between 0 and 1.
    numpy.linalg.LinAlgError
        As :func:`renyi_divergence`.

    Conventions
    -----------
    The order is the exponent of p; in some texts it is that of q.
    c_a(p, q) = c_{1-a}(q, p). :func:`bhattacharyya_coefficient` at 1/2. Tsallis' divergence is
    (1 - c_a)/(1 - a), Amari's (1 - c_a)/(a (1 - a)).

    Breaks when
    -----------
    Near p = q it says little, because it is near 1. Far apart its relative error is the absolute
    one of its logarithm. The log-determinants of ``form="textbook"`` cancel near p = q.

    References
    ----------
    Chernoff 1952; Nielsen, An information-geometric characterization of Chernoff information, 2013.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.chernoff_coefficient([0.0], [[1.0]], [1.0], [[4.0]], order=0.5)), 12)
    0.850805462153
    """
    pair, order = pair_of(mean_p, cov_p, mean_q, cov_q), checked_order(order, 1.0)
    return namespace(order).exp(-exponent_of(pair, mixture_of(pair, order), order))


def exponent_of(pair: Pair, mixture: Mixture, order):
    """-log c_a: (1 - a) R(S_p | S_*)/2 + a R(S_q | S_*)/2 + a (1 - a) |z|^2/2."""
    xp = namespace(order)
    # The weight first: where S_* is small, |z|^2 alone may overflow.
    mahalanobis = (order[..., None, None] * mixture.z * mixture.z).sum(axis=(-2, -1))
    value = (1 - order) * (mixture.from_p + mahalanobis) + order * mixture.from_q
    return xp.where(pair.is_proper, value / 2, xp.inf)[()]


@chernoff_coefficient.form("textbook", loses="large terms cancel")
def chernoff_coefficient_textbook(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """By the printed divergence of that order; its log-determinants cancel near p = q."""
    divergence = renyi_divergence_textbook(
        mean_p, cov_p, mean_q, cov_q, order=checked_order(order, 1.0)
    )
    return namespace(order).exp(-(1 - order) * divergence)


@chernoff_coefficient.defvjp
def chernoff_coefficient_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, order):
    """-(1 - a) c_a times the gradient of D_a; in the order c_a (KL(r || q) - KL(r || p)), with
    the Gaussian r proportional to p^a q^{1-a}."""
    pair = regular_pair_of(mean_p, cov_p, mean_q, cov_q)
    mixture = mixture_of(pair, checked_order(order, 1.0))
    g = g * namespace(order).exp(-exponent_of(pair, mixture, order))
    gradients = mixture_gradients(-g * order * (1 - order), pair, mixture, order)
    return *gradients, g * imbalance_of(pair, mixture, order)


def imbalance_of(pair: Pair, mixture: Mixture, order):
    """KL(r || q) - KL(r || p), the derivative of log c_a, which rises from - KL to + KL.

    r has the covariance S_p S_*^{-1} S_q: seen from p it is as S_q from S_*, and the reverse.
    """
    v = solve_triangular(mixture.factor, mixture.z, transpose=True)
    to_p = (v * (pair.cov_p @ v)).sum(axis=(-2, -1))
    to_q = (v * (pair.cov_q @ v)).sum(axis=(-2, -1))
    rest = 1 - order
    return (mixture.from_p - mixture.from_q + order * order * to_q - rest * rest * to_p) / 2


@formula(
    "(d),(d,d),(d),(d,d)->()",
    source="Chernoff 1952; Nielsen 2013; Cover & Thomas 2006, section 11.9",
)
def chernoff_information(mean_p, cov_p, mean_q, cov_q, /):
    r"""Chernoff information of two Gaussians: the best exponent of a Bayesian test, in nats.

    Formula
    -------
    .. math:: C(p,q) = \max_{0<a<1} -\log \int p^a q^{1-a}

    The exponent is concave in a, with the derivative KL(r || p) - KL(r || q) of the Gaussian r
    proportional to :math:`p^a q^{1-a}`, which is as far from p as from q at the maximum. Newton's
    method, kept within a shrinking bracket, finds it.

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
    ValueError, numpy.linalg.LinAlgError
        As :func:`bhattacharyya_distance`.

    Conventions
    -----------
    Nats. The error probability of the Bayesian test between n independent draws of p or of q
    decays as exp(-n C), whatever the prior is. At least :func:`bhattacharyya_distance`, which many
    texts use in its place, and equal to it for equal covariances.

    Breaks when
    -----------
    As :func:`bhattacharyya_distance`. Being at a maximum, it forgives errors of the best order.
    ``form="textbook"`` cancels near p = q.

    References
    ----------
    Chernoff 1952; Nielsen, An information-geometric characterization of Chernoff information, 2013.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.chernoff_information([0.0], [[1.0]], [2.0], [[1.0]])), 12)
    0.5
    """
    pair = pair_of(mean_p, cov_p, mean_q, cov_q)
    order = _best_order(pair)
    return exponent_of(pair, mixture_of(pair, order), order)


def _best_order(pair: Pair):
    """The order that maximises -log c_a; 1/2 for equal p and q."""
    xp = namespace(pair.delta)
    ratios, gap = _eigen_coordinates(pair)
    low = xp.zeros_like(gap[..., 0])
    order, high = low + 0.5, low + 1
    close = finfo(order).eps ** 0.5
    for _ in range(_MOST_STEPS):
        slope, curvature = _derivatives(ratios, gap, order[..., None])
        low, high = xp.where(slope < 0, order, low), xp.where(slope > 0, order, high)
        moved = _within(low, high, order - slope / curvature, (low + high) / 2)
        moved = xp.where(slope == 0, order, moved)
        is_done = bool((xp.abs(moved - order) <= close).all())
        order = moved
        # The error of a Newton step is the square of its length.
        if is_done:
            break
    # One more with terms that stay accurate near p = q, where the eigenvalues are all but 1.
    mixture = mixture_of(pair, order)
    step = imbalance_of(pair, mixture, order) / _variance_of_log_ratio(pair, mixture)
    return _within(0, 1, order - step, order)


def _within(low, high, x, otherwise):
    return namespace(x).where((x > low) & (x < high), x, otherwise)


def _eigen_coordinates(pair: Pair):
    """Variances of p, and delta, in coordinates where q is standard and p is uncorrelated."""
    basis, deviations, _ = svd(solve_triangular(pair.factor_q, pair.factor_p))
    z = solve_triangular(pair.factor_q, pair.delta[..., None])
    gap = (basis.swapaxes(-1, -2) @ z)[..., 0]
    return deviations * deviations, gap


def _derivatives(ratios, gap, order):
    """The first two derivatives in a of log c_a, from one term for each coordinate."""
    xp = namespace(gap)
    mixed = order + (1 - order) * ratios
    v, change = gap / mixed, (1 - ratios) / mixed
    imbalance = (order * order - (1 - order) ** 2 * ratios) * v * v - change - xp.log(ratios)
    variance = change * change + 2 * ratios / mixed * v * v
    return imbalance.sum(axis=-1) / 2, variance.sum(axis=-1) / 2


def _variance_of_log_ratio(pair: Pair, mixture: Mixture):
    """Var_r log(p/q), the second derivative of log c_a."""
    change = whiten(mixture.factor, pair.cov_p - pair.cov_q, mixture.factor)
    v = solve_triangular(mixture.factor, mixture.z, transpose=True)
    to_p, to_q = (solve_triangular(mixture.factor, x @ v) for x in (pair.cov_p, pair.cov_q))
    return (change * change).sum(axis=(-2, -1)) / 2 + (to_p * to_q).sum(axis=(-2, -1))


@chernoff_information.form("textbook", loses="large terms cancel")
def chernoff_information_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """The largest -log of the printed coefficient, of 15 orders, of 15 around that, and so on."""
    pair = pair_of(mean_p, cov_p, mean_q, cov_q)
    xp, column = namespace(pair.delta), pair.delta[..., None]
    log_det_p, log_det_q = map(logdet_from_cholesky, (pair.factor_p, pair.factor_q))

    def exponent(order):
        a = order[..., None, None]
        mixed = a * pair.cov_q + (1 - a) * pair.cov_p
        square = (a * (1 - a) * column * solve(mixed, column)).sum(axis=(-2, -1))
        log_det = logdet_from_cholesky(cholesky(mixed))
        return (square + log_det - (1 - order) * log_det_p - order * log_det_q) / 2

    best, centre, reach = 0, pair.delta.sum(axis=-1) * 0 + log_det_p * 0 + log_det_q * 0 + 0.5, 0.5
    offsets = xp.arange(-7, 8).astype(centre.dtype).reshape((15,) + (1,) * centre.ndim) / 8
    # A concave function's maximum is beside the best of any orders.
    for _ in range(finfo(centre).nmant // 3 + 2):
        orders = centre + reach * offsets
        exponents = exponent(orders)
        best = exponents.max(axis=0)
        centre = xp.where(exponents == best, orders, 1).min(axis=0)
        reach = reach / 8
    return xp.where(pair.is_proper, best, xp.inf)[()]


@chernoff_information.defvjp
def chernoff_information_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """Those of (1 - a) D_a at the best order, which need not be differentiated at a maximum."""
    pair = regular_pair_of(mean_p, cov_p, mean_q, cov_q)
    order = _best_order(pair)
    return mixture_gradients(g * order * (1 - order), pair, mixture_of(pair, order), order)
