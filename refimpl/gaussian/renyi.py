"""Divergences of any order between two Gaussians: Renyi, and chi-squared."""

from __future__ import annotations

from typing import Any, NamedTuple

from refimpl.backend import namespace, solve_triangular
from refimpl.core import (
    factor_where_definite,
    positive_definite_factor,
    symmetric_part,
    whiten,
)
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair, density_factors, log_det_divergence

_SIGNATURE = "(d),(d,d),(d),(d,d)->()"


@formula(
    _SIGNATURE,
    source="Renyi 1961; Gil, Alajaji & Linder 2013, table 2; van Erven & Harremoes 2014",
    keywords={"order": "()"},
)
def renyi_divergence(mean_p, cov_p, mean_q, cov_q, /, *, order):
    r"""Renyi divergence D_a(p || q) of two Gaussians, in nats.

    Formula
    -------
    .. math:: D_a(p\|q) = \frac{1}{a-1} \log \int p^a q^{1-a}
        = \tfrac{a}{2}\, \delta^T \Sigma_*^{-1} \delta
        - \frac{\log\det\Sigma_* - (1-a) \log\det\Sigma_p - a \log\det\Sigma_q}{2(a-1)}

    with :math:`\delta = \mu_p - \mu_q` and :math:`\Sigma_* = a\Sigma_q + (1-a)\Sigma_p`. With
    :math:`R(A|B) = \operatorname{tr}(B^{-1}A) - d - \log\det(B^{-1}A)`, never negative, the second
    term is computed as

    .. math:: \tfrac12 R(\Sigma_p|\Sigma_*) + \tfrac{a}{2(1-a)} R(\Sigma_q|\Sigma_*),

    where the traces cancel and R(S_q | S_*) vanishes with the square of 1 - a.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.
    order : (...) positive. 1 is the limit, the Kullback-Leibler divergence.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments, nondecreasing in the order; infinite where
    one covariance is singular, and where S_* is not positive definite, which needs an order above 1
    and a p that is wider than q in some direction.

    Raises
    ------
    ValueError
        As :func:`gaussian_kl`; an order that is not positive and finite.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; two singular ones; for the gradient also one, or
        an S_* that is not positive definite.

    Conventions
    -----------
    The order is the exponent of p. Twice :func:`bhattacharyya_distance` at 1/2,
    log(1 + :func:`chi_squared_divergence`) at 2, skew symmetric:
    (1 - a) D_a(p || q) = a D_{1-a}(q || p). Tsallis', Amari's and Cressie & Read's families are
    functions of :func:`chernoff_coefficient`.

    Breaks when
    -----------
    Orders above 1 lose a factor of about 2a - 1, and more where S_* is nearly singular. The
    textbook formula (``form="textbook"``) loses all digits near p = q and near order 1.

    References
    ----------
    Gil, Alajaji & Linder, Renyi divergence measures for commonly used univariate continuous
    distributions, 2013; van Erven & Harremoes, Renyi divergence and Kullback-Leibler divergence,
    2014.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.renyi_divergence([0.0], [[1.0]], [1.0], [[4.0]], order=0.5)), 12)
    0.323143551314
    """
    return _renyi(pair_of(mean_p, cov_p, mean_q, cov_q), checked_order(order))


class Pair(NamedTuple):
    """The difference of the means, the covariances with their factors, where both have one."""

    delta: Any
    cov_p: Any
    cov_q: Any
    factor_p: Any
    factor_q: Any
    is_proper: Any


def pair_of(mean_p, cov_p, mean_q, cov_q) -> Pair:
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    return Pair(delta, cov_p, cov_q, *density_factors(cov_p, cov_q))


def regular_pair_of(mean_p, cov_p, mean_q, cov_q) -> Pair:
    """The same for gradients, which no singular covariance has."""
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p = positive_definite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    return Pair(delta, cov_p, cov_q, factor_p, factor_q, namespace(delta).ones((), dtype=bool))


def checked_order(order, largest: float = float("inf")):
    if not bool(((order > 0) & (order < largest)).all()):
        bound = "finite" if largest == float("inf") else f"below {largest:g}"
        raise ValueError(f"order: expected positive and {bound}")
    return order


class Mixture(NamedTuple):
    """What S_* = a S_q + (1 - a) S_p says of p and q; anything where it is not ``definite``."""

    factor: Any
    is_definite: Any
    z: Any  # L_*^{-1} delta, as a column
    from_p: Any  # R(S_p | S_*)
    from_q: Any  # R(S_q | S_*)


def mixture_of(pair: Pair, order) -> Mixture:
    a = order[..., None, None]
    factor, is_definite = factor_where_definite(a * pair.cov_q + (1 - a) * pair.cov_p)
    z = solve_triangular(factor, pair.delta[..., None])
    gap = pair.cov_p - pair.cov_q
    # S_p - S_* and S_q - S_* are multiples of the difference: nothing near equal is subtracted.
    from_p = log_det_divergence(a * gap, pair.factor_p, factor)
    from_q = log_det_divergence((a - 1) * gap, pair.factor_q, factor)
    return Mixture(factor, is_definite, z, from_p, from_q)


def _renyi(pair: Pair, order):
    xp = namespace(order)
    mixture = mixture_of(pair, order)
    mahalanobis = (mixture.z * mixture.z).sum(axis=(-2, -1))
    curvature = _curvature(pair, mixture, order)
    value = mixture.from_p / 2 + order / 2 * (mahalanobis + (1 - order) * curvature)
    return xp.where(pair.is_proper & mixture.is_definite, value, xp.inf)[()]


def _curvature(pair: Pair, mixture: Mixture, order):
    """R(S_q | S_*)/(1 - a)^2, and its limit at order 1."""
    xp = namespace(order)
    change = whiten(mixture.factor, pair.cov_p - pair.cov_q, mixture.factor)
    rest = xp.where(order == 1, 1, 1 - order)
    limit = (change * change).sum(axis=(-2, -1)) / 2
    return xp.where(order == 1, limit, mixture.from_q / (rest * rest))


@renyi_divergence.form("textbook", loses="large terms cancel")
def renyi_divergence_textbook(mean_p, cov_p, mean_q, cov_q, /, *, order):
    """Three log-determinants, as they are printed; they cancel near p = q and near order 1."""
    pair = pair_of(mean_p, cov_p, mean_q, cov_q)
    a = checked_order(order)[..., None, None]
    xp = namespace(order)
    factor, is_definite = factor_where_definite(a * pair.cov_q + (1 - a) * pair.cov_p)
    z = solve_triangular(factor, pair.delta[..., None])
    half, half_p, half_q = (
        xp.log(xp.diagonal(x, axis1=-2, axis2=-1)).sum(axis=-1)
        for x in (factor, pair.factor_p, pair.factor_q)
    )
    log_ratio = half - (1 - order) * half_p - order * half_q
    value = order / 2 * (z * z).sum(axis=(-2, -1)) + log_ratio / (1 - order)
    return xp.where(pair.is_proper & is_definite, value, xp.inf)[()]


@renyi_divergence.defvjp
def renyi_divergence_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, order):
    """With v = S_*^{-1} delta: dmean_p = a v = -dmean_q,
    dcov_p = a/2 [S_*^{-1} (S_p - S_q) S_p^{-1} - (1 - a) v v^T],
    dcov_q = -a/2 [S_*^{-1} (S_p - S_q) S_q^{-1} + a v v^T], and in the order
    KL(r || p)/(1 - a)^2, with the Gaussian r proportional to p^a q^{1-a}."""
    pair = regular_pair_of(mean_p, cov_p, mean_q, cov_q)
    mixture = _definite_mixture(pair, checked_order(order))
    v = solve_triangular(mixture.factor, mixture.z, transpose=True)
    mahalanobis = (v * (pair.cov_p @ v)).sum(axis=(-2, -1))
    dorder = g / 2 * (mahalanobis + _curvature(pair, mixture, order))
    return *mixture_gradients(g * order, pair, mixture, order), dorder


def _definite_mixture(pair: Pair, order) -> Mixture:
    a = order[..., None, None]
    positive_definite_factor(
        "order cov_q + (1 - order) cov_p", a * pair.cov_q + (1 - a) * pair.cov_p
    )
    return mixture_of(pair, order)


def mixture_gradients(g, pair: Pair, mixture: Mixture, order):
    """Gradients in means and covariances of D_a/a, or of -log c_a/(a (1 - a))."""
    factor, gap = mixture.factor, pair.cov_p - pair.cov_q
    v = solve_triangular(factor, mixture.z, transpose=True)
    outer, a = v * v.swapaxes(-1, -2), order[..., None, None]
    from_p = whiten(factor, whiten(factor, gap, pair.factor_p), pair.factor_p, transpose=True)
    from_q = whiten(factor, whiten(factor, gap, pair.factor_q), pair.factor_q, transpose=True)
    dmean, half = g[..., None] * v[..., 0], g[..., None, None] / 2
    dcov_p = half * (symmetric_part(from_p) - (1 - a) * outer)
    return dmean, dcov_p, -dmean, -half * (symmetric_part(from_q) + a * outer)


@formula(
    _SIGNATURE,
    source="Pearson 1900; Nielsen & Nock 2014, section 3; kexue.fm/archives/8512",
)
def chi_squared_divergence(mean_p, cov_p, mean_q, cov_q, /):
    r"""Pearson's chi-squared divergence of two Gaussians.

    Formula
    -------
    .. math:: \chi^2(p\|q) = \int \frac{(p-q)^2}{q} = \int \frac{p^2}{q} - 1 = e^{D_2(p\|q)} - 1

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.

    Returns
    -------
    (...), never negative, exactly 0 for equal arguments; infinite where 2 S_q - S_p is not positive
    definite (p is too wide for q), where one covariance is singular, and where it overflows.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`renyi_divergence`.

    Conventions
    -----------
    The variance of p/q under q. The reverse order is Neyman's. Some texts halve it.

    Breaks when
    -----------
    As :func:`renyi_divergence` of order 2; beyond D_2 = 709 it overflows float64. The integral
    less one, the textbook way, loses all digits near p = q.

    References
    ----------
    Nielsen & Nock, On the chi square and higher-order chi distances for approximating
    f-divergences, 2014.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.chi_squared_divergence([0.0], [[1.0]], [1.0], [[4.0]])), 12)
    0.74402634151
    """
    order = _two(mean_p)
    return namespace(mean_p).expm1(_renyi(pair_of(mean_p, cov_p, mean_q, cov_q), order))


def _two(x):
    return namespace(x).full((), 2, dtype=x.dtype)


@chi_squared_divergence.form("textbook", loses="large terms cancel")
def chi_squared_divergence_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """The integral less one, from three log-determinants; it cancels near p = q."""
    order = _two(mean_p)
    return (
        namespace(mean_p).exp(renyi_divergence_textbook(mean_p, cov_p, mean_q, cov_q, order=order))
        - 1
    )


@chi_squared_divergence.defvjp
def chi_squared_divergence_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """1 + chi^2 times the gradient of D_2."""
    pair, order = regular_pair_of(mean_p, cov_p, mean_q, cov_q), _two(mean_p)
    mixture = _definite_mixture(pair, order)
    scale = g * namespace(mean_p).exp(_renyi(pair, order))
    return mixture_gradients(order * scale, pair, mixture, order)
