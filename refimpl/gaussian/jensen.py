"""Jensen-Shannon divergences of two Gaussians: the geometric ones, and bounds for the real one."""

from __future__ import annotations

import math

from refimpl.backend import cholesky, logdet_from_cholesky, namespace, solve, solve_triangular
from refimpl.core import positive_definite_factor, symmetric_part, whiten
from refimpl.formula import formula
from refimpl.gaussian.chernoff import exponent_of, imbalance_of
from refimpl.gaussian.divergence import log_det_divergence
from refimpl.gaussian.overlap import (
    bhattacharyya_distance_textbook,
    bhattacharyya_distance_vjp,
    distance_between,
)
from refimpl.gaussian.renyi import Pair, mixture_gradients, mixture_of, pair_of, regular_pair_of

_SIGNATURE = "(d),(d,d),(d),(d,d)->()"
_SOURCE = "Nielsen 2019, On the Jensen-Shannon symmetrization of distances, section 4"
_LOG_2 = math.log(2)


@formula(_SIGNATURE, source=_SOURCE, keywords={"weight": "()"})
def geometric_jensen_shannon(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    r"""Geometric Jensen-Shannon divergence of two Gaussians, in nats.

    Formula
    -------
    .. math:: \mathrm{GJS}_a(p,q) = (1-a)\,\mathrm{KL}(p\|G) + a\,\mathrm{KL}(q\|G),
        \qquad G \propto p^{1-a} q^a

    G is the Gaussian with :math:`\Sigma_G^{-1} = (1-a)\Sigma_p^{-1} + a\Sigma_q^{-1}`. With
    :math:`\Sigma_* = a\Sigma_p + (1-a)\Sigma_q`, v = S_*^{-1} (mu_p - mu_q), and
    :math:`R(A|B) = \operatorname{tr}(B^{-1}A) - d - \log\det(B^{-1}A)` it is computed from terms
    none of which is negative,

    .. math:: \mathrm{KL}(p\|G) = \tfrac12 \left[ R(\Sigma_*|\Sigma_q)
        + |\mu_p - \mu_G|_G^2 \right], \qquad \mu_p - \mu_G = a \Sigma_p v, \\
        \mathrm{KL}(q\|G) = \tfrac12 \left[ R(\Sigma_*|\Sigma_p)
        + |\mu_G - \mu_q|_G^2 \right], \qquad \mu_G - \mu_q = (1-a) \Sigma_q v,

    with :math:`|x|_G^2 = x^T \Sigma_G^{-1} x`.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.
    weight : (...) a, the weight of q, between 0 and 1, both excluded.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments; infinite where one covariance is singular.
    It vanishes as a goes to 0 or 1.

    Raises
    ------
    ValueError
        As :func:`gaussian_kl`; a weight that is not between 0 and 1.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; two singular ones; for the gradient also one.

    Conventions
    -----------
    Nielsen's: the heavier weight in the sum goes with the heavier exponent in G. Part of the
    literature on variational inference has the weights of G exchanged, G ~ p^a q^{1-a}, which gives
    KL(p || q) at a = 0 and KL(q || p) at a = 1 instead of 0. GJS_a(p, q) = GJS_{1-a}(q, p).

    Breaks when
    -----------
    Errors grow with the condition numbers of the covariances after scaling the diagonal of S_* to
    ones. ``form="textbook"`` loses all digits near p = q.

    References
    ----------
    Nielsen 2019; Deasy, Simidjievski & Lio, Constraining variational inference with geometric
    Jensen-Shannon divergence, 2020.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([0.0], [[1.0]]), ([1.0], [[4.0]])
    >>> round(float(refimpl.geometric_jensen_shannon(*p, *q, weight=0.5)), 12)
    0.275928224343
    """
    xp = namespace(weight)
    pair, a = pair_of(mean_p, cov_p, mean_q, cov_q), checked_weight(weight)
    factor, v = _mixed(pair, a)
    gap = pair.cov_p - pair.cov_q
    w = a[..., None, None]
    # S_* - S_p and S_* - S_q are multiples of the difference.
    to_p = log_det_divergence((w - 1) * gap, factor, pair.factor_p)
    to_q = log_det_divergence(w * gap, factor, pair.factor_q)

    def square_in_g(x):
        """x^T S_G^{-1} x."""
        return (1 - a) * _square(pair.factor_p, x) + a * _square(pair.factor_q, x)

    # mu_p - mu_G and mu_G - mu_q.
    shift_p, shift_q = w * (pair.cov_p @ v), (1 - w) * (pair.cov_q @ v)
    of_p, of_q = to_q + square_in_g(shift_p), to_p + square_in_g(shift_q)
    value = ((1 - a) * of_p + a * of_q) / 2
    return xp.where(pair.is_proper, value, xp.inf)[()]


def checked_weight(weight):
    if not bool(((weight > 0) & (weight < 1)).all()):
        raise ValueError("weight: expected between 0 and 1")
    return weight


def _mixed(pair: Pair, weight):
    """The Cholesky factor of S_* = a S_p + (1 - a) S_q, and v = S_*^{-1} delta as a column."""
    w = weight[..., None, None]
    factor = positive_definite_factor("cov_p + cov_q", w * pair.cov_p + (1 - w) * pair.cov_q)
    z = solve_triangular(factor, pair.delta[..., None])
    return factor, solve_triangular(factor, z, transpose=True)


def _dot(x, y):
    return (x * y).sum(axis=(-2, -1))


def _square(factor, x):
    """x^T S^{-1} x of a column, with the Cholesky factor of S."""
    z = solve_triangular(factor, x)
    return _dot(z, z)


@geometric_jensen_shannon.form("textbook", loses="large terms cancel")
def geometric_jensen_shannon_textbook(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """Both divergences from G, from its printed mean and covariance; cancels near p = q."""
    p, q, g, is_proper = _with_geometric_mean(mean_p, cov_p, mean_q, cov_q, weight)
    value = (1 - weight) * _divergence(*p, *g) + weight * _divergence(*q, *g)
    return namespace(weight).where(is_proper, value, namespace(weight).inf)[()]


def _with_geometric_mean(mean_p, cov_p, mean_q, cov_q, weight):
    """p, q, G with S_G^{-1} = (1 - a) S_p^{-1} + a S_q^{-1}, and where both have a density."""
    pair, a = pair_of(mean_p, cov_p, mean_q, cov_q), checked_weight(weight)[..., None, None]
    xp, is_proper = namespace(weight), pair.is_proper[..., None, None]
    identity = xp.eye(cov_p.shape[-1], dtype=cov_p.dtype)
    cov_p, cov_q = (xp.where(is_proper, x, identity) for x in (pair.cov_p, pair.cov_q))
    precision_p, precision_q = solve(cov_p, identity), solve(cov_q, identity)
    cov_g = symmetric_part(solve((1 - a) * precision_p + a * precision_q, identity))
    pull = (1 - a) * solve(cov_p, mean_p[..., None]) + a * solve(cov_q, mean_q[..., None])
    return (mean_p, cov_p), (mean_q, cov_q), ((cov_g @ pull)[..., 0], cov_g), pair.is_proper


def _divergence(mean_p, cov_p, mean_q, cov_q):
    """KL(p || q) as it is printed, by a general solver."""
    delta = (mean_p - mean_q)[..., None]
    trace = namespace(delta).trace(solve(cov_q, cov_p), axis1=-2, axis2=-1)
    mahalanobis = (delta * solve(cov_q, delta)).sum(axis=(-2, -1))
    log_det_p, log_det_q = (logdet_from_cholesky(cholesky(x)) for x in (cov_p, cov_q))
    return 0.5 * (trace + mahalanobis - delta.shape[-2] + log_det_q - log_det_p)


@geometric_jensen_shannon.defvjp
def geometric_jensen_shannon_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """With P = S_p^{-1}, Q = S_q^{-1}, H = P + Q - S_*^{-1}, gap = S_p - S_q, c = a (1 - a):
    dmean_p = c H delta = -dmean_q,
    dcov_p = c/2 [H gap P - P delta delta^T P + a v v^T],
    dcov_q = c/2 [-H gap Q - Q delta delta^T Q + (1 - a) v v^T], symmetrised."""
    pair, a = regular_pair_of(mean_p, cov_p, mean_q, cov_q), checked_weight(weight)
    factor, v = _mixed(pair, a)
    gap, delta = pair.cov_p - pair.cov_q, pair.delta[..., None]

    def solve(factor, x):
        return solve_triangular(factor, solve_triangular(factor, x), transpose=True)

    u_p, u_q = solve(pair.factor_p, delta), solve(pair.factor_q, delta)
    h_gap = solve(pair.factor_p, gap) + solve(pair.factor_q, gap) - solve(factor, gap)
    # H gap P = (P (H gap)^T)^T: the transposed products serve as well, being symmetrised.
    from_p = solve(pair.factor_p, h_gap.swapaxes(-1, -2))
    from_q = solve(pair.factor_q, h_gap.swapaxes(-1, -2))
    w, outer = a[..., None, None], v * v.swapaxes(-1, -2)
    half = (g * a * (1 - a))[..., None, None] / 2
    dcov_p = half * (symmetric_part(from_p) - u_p * u_p.swapaxes(-1, -2) + w * outer)
    dcov_q = half * ((1 - w) * outer - symmetric_part(from_q) - u_q * u_q.swapaxes(-1, -2))
    h_delta = u_p + u_q - v
    dmean = 2 * half[..., 0] * h_delta[..., 0]
    dweight = g * _slope(pair, factor, v, a, _dot(delta, h_delta))
    return dmean, dcov_p, -dmean, dcov_q, dweight


def _slope(pair: Pair, factor, v, a, mean_term):
    """The derivative in the weight; the traces of its four matrices are two square norms."""
    gap, w = pair.cov_p - pair.cov_q, a[..., None, None]
    to_p = log_det_divergence((w - 1) * gap, factor, pair.factor_p)
    to_q = log_det_divergence(w * gap, factor, pair.factor_q)
    from_p, from_q = (whiten(factor, gap, x) for x in (pair.factor_p, pair.factor_q))
    second = _dot(from_q, from_q) - _dot(from_p, from_p) + _dot(v, gap @ v)
    return (to_p - to_q + a * (1 - a) * second + (1 - 2 * a) * mean_term) / 2


@formula(_SIGNATURE, source=_SOURCE, keywords={"weight": "()"})
def dual_geometric_jensen_shannon(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    r"""Dual geometric Jensen-Shannon divergence of two Gaussians, in nats.

    Formula
    -------
    .. math:: \mathrm{GJS}^*_a(p,q) = (1-a)\,\mathrm{KL}(G\|p) + a\,\mathrm{KL}(G\|q)
        = -\log \int p^{1-a} q^a = a\, D_{1-a}(p\|q), \qquad G \propto p^{1-a} q^a

    G is what makes that weighted sum smallest over all distributions.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.
    weight : (...) a, the weight of q, between 0 and 1, both excluded.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments; infinite where one covariance is singular.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`geometric_jensen_shannon`.

    Conventions
    -----------
    As :func:`geometric_jensen_shannon`: dual means that the arguments of KL are exchanged. Equal to
    :func:`bhattacharyya_distance` at 1/2, and to minus the logarithm of
    :func:`chernoff_coefficient` of order 1 - a.

    Breaks when
    -----------
    As :func:`renyi_divergence` below order 1; ``form="textbook"`` loses all digits near p = q.

    References
    ----------
    Nielsen 2019; Deasy, Simidjievski & Lio 2020.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([0.0], [[1.0]]), ([1.0], [[4.0]])
    >>> round(float(refimpl.dual_geometric_jensen_shannon(*p, *q, weight=0.25)), 12)
    0.098313266597
    """
    pair, order = pair_of(mean_p, cov_p, mean_q, cov_q), 1 - checked_weight(weight)
    return exponent_of(pair, mixture_of(pair, order), order)


@dual_geometric_jensen_shannon.form("textbook", loses="large terms cancel")
def dual_geometric_jensen_shannon_textbook(mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """Both divergences of G, from its printed mean and covariance; cancels near p = q."""
    p, q, g, is_proper = _with_geometric_mean(mean_p, cov_p, mean_q, cov_q, weight)
    value = (1 - weight) * _divergence(*g, *p) + weight * _divergence(*g, *q)
    return namespace(weight).where(is_proper, value, namespace(weight).inf)[()]


@dual_geometric_jensen_shannon.defvjp
def dual_geometric_jensen_shannon_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, weight):
    """Those of a D_{1-a}; in the weight KL(G || q) - KL(G || p)."""
    pair, order = regular_pair_of(mean_p, cov_p, mean_q, cov_q), 1 - checked_weight(weight)
    mixture = mixture_of(pair, order)
    gradients = mixture_gradients(g * order * weight, pair, mixture, order)
    return *gradients, g * imbalance_of(pair, mixture, order)


@formula(
    "(d),(d,d),(d),(d,d)->(),()",
    source="Topsoe 2000; Lin 1991; Fuglede & Topsoe 2004",
)
def jensen_shannon_bounds(mean_p, cov_p, mean_q, cov_q, /):
    r"""Lower and upper bound of the Jensen-Shannon divergence of two Gaussians, in nats.

    Formula
    -------
    .. math:: \log 2 \cdot H^2 \le \mathrm{JS}(p,q) \le
        \min\left( H^2,\ \log 2 \sqrt{1 - \mathrm{BC}^2} \right), \qquad H^2 = 1 - \mathrm{BC}

    for :math:`\mathrm{JS} = \tfrac12 \mathrm{KL}(p\|m) + \tfrac12 \mathrm{KL}(q\|m)` with
    m = (p + q)/2, which is no Gaussian: there is no closed form. JS and H^2 are integrals of
    functions of p and q whose ratio is (s tanh s - log cosh s)/(1 - sech s) at p/q = exp(2 s),
    which falls from 1 to log 2 with |s|; and JS is at most log 2 times the total variation, which
    is at most sqrt(1 - BC^2).

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.

    Returns
    -------
    lower, upper : (...), from 0 to log 2, exactly 0 for equal arguments, log 2 where one covariance
        is singular. Near p = q both tend to JS.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`bhattacharyya_distance`.

    Conventions
    -----------
    Nats: JS is at most log 2, 1 bit. The divergence, not the distance, its root. Weights 1/2.

    Breaks when
    -----------
    As :func:`bhattacharyya_distance`. They are a factor of at most 1/log 2 = 1.44 apart. The upper
    bound has a kink where its two parts are equal, at BC = 0.351. ``form="textbook"``, one minus a
    rounded coefficient, loses all digits near p = q.

    References
    ----------
    Topsoe, Some inequalities for information divergence and related measures of discrimination,
    2000; Lin, Divergence measures based on the Shannon entropy, 1991.

    Examples
    --------
    >>> import refimpl
    >>> bounds = refimpl.jensen_shannon_bounds([0.0], [[1.0]], [1.0], [[4.0]])
    >>> [round(float(x), 12) for x in bounds]
    [0.103413773264, 0.149194537847]
    """
    xp = namespace(mean_p)
    distance = distance_between(mean_p, cov_p, mean_q, cov_q)
    hellinger = -xp.expm1(-distance)
    variation = xp.sqrt(-xp.expm1(-2 * distance))
    return _LOG_2 * hellinger, xp.minimum(hellinger, _LOG_2 * variation)


@jensen_shannon_bounds.form("textbook", loses="large terms cancel")
def jensen_shannon_bounds_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """One minus the coefficient and one minus its square, as printed; both cancel near p = q."""
    xp = namespace(mean_p)
    coefficient = xp.exp(-bhattacharyya_distance_textbook(mean_p, cov_p, mean_q, cov_q))
    hellinger = 1 - coefficient
    variation = xp.sqrt(xp.maximum(1 - coefficient * coefficient, 0))
    return _LOG_2 * hellinger, xp.minimum(hellinger, _LOG_2 * variation)


@jensen_shannon_bounds.defvjp
def jensen_shannon_bounds_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """BC, or log 2 BC^2/sqrt(1 - BC^2) in the second part, times the gradients of BD."""
    xp = namespace(mean_p)
    of_lower, of_upper = g
    distance = distance_between(mean_p, cov_p, mean_q, cov_q)
    coefficient, variation = xp.exp(-distance), xp.sqrt(-xp.expm1(-2 * distance))
    is_hellinger = -xp.expm1(-distance) <= _LOG_2 * variation
    steep = _LOG_2 * coefficient / xp.where(is_hellinger, 1, variation)
    scale = _LOG_2 * of_lower + of_upper * xp.where(is_hellinger, 1, steep)
    return bhattacharyya_distance_vjp(scale * coefficient, mean_p, cov_p, mean_q, cov_q)
