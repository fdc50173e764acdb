"""Overlap of two Gaussians: Bhattacharyya distance and coefficient, Hellinger distance."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import namespace, solve_triangular
from refimpl.core import positive_definite_factor, symmetric_part, whiten
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair, density_factors, log_det_divergence

_SIGNATURE = "(d),(d,d),(d),(d,d)->()"
_SOURCE = "Bhattacharyya 1943; Kailath 1967; kexue.fm/archives/8512"


@formula(_SIGNATURE, source=_SOURCE)
def bhattacharyya_distance(mean_p, cov_p, mean_q, cov_q, /):
    r"""Bhattacharyya distance of two Gaussians, minus the logarithm of their overlap, in nats.

    Formula
    -------
    .. math:: \mathrm{BD}(p,q) = -\log \int \sqrt{p\,q}
        = \tfrac18 \delta^T S^{-1} \delta
        + \tfrac12 \log \frac{\det S}{\sqrt{\det\Sigma_p \det\Sigma_q}},
        \qquad \delta = \mu_p - \mu_q, \quad S = \tfrac12 (\Sigma_p + \Sigma_q)

    With :math:`R(A|B) = \operatorname{tr}(B^{-1}A) - d - \log\det(B^{-1}A)`, which is never
    negative, the second term is computed as

    .. math:: \tfrac14 \left[ R(\Sigma_p|S) + R(\Sigma_q|S) \right],

    because the two traces add to 2d.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments, natural logarithm;
    infinite where one covariance is singular, because a density and a null set do not overlap.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; two singular ones; for the gradient also one. The
        message gives the smallest eigenvalue.

    Conventions
    -----------
    Nats. It is no metric: the triangle inequality fails; that of :func:`hellinger_squared`'s root
    holds. In one dimension it is (delta^2/(v_p + v_q))/4 + log((v_p + v_q)/(2 s_p s_q))/2. Some
    code gives the coefficient exp(-BD) this name. Gradients in a covariance are the symmetric G
    with df = tr(G dS) for symmetric dS.

    Breaks when
    -----------
    The textbook formula (``form="textbook"``) loses all digits where the relative difference of p
    and q is below sqrt(eps), and turns negative. Here errors grow with the condition number of
    the covariances after scaling the diagonal of S to ones. Rounding may hide that a covariance is
    singular: then the result is some large number.

    References
    ----------
    Bhattacharyya 1943; Kailath, The divergence and Bhattacharyya distance measures in signal
    selection, 1967; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.bhattacharyya_distance([0.0], [[1.0]], [1.0], [[4.0]])), 12)
    0.161571775657
    """
    return distance_between(mean_p, cov_p, mean_q, cov_q)


def distance_between(mean_p, cov_p, mean_q, cov_q):
    """The distance as it is computed above, for the formulas that are functions of it."""
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p, factor_q, is_proper = density_factors(cov_p, cov_q)
    factor = positive_definite_factor("cov_p + cov_q", cov_p / 2 + cov_q / 2)
    z = solve_triangular(factor, delta[..., None])[..., 0]
    # S_p - S = -(S_q - S), formed before anything is divided.
    gap = (cov_p - cov_q) / 2
    shape = log_det_divergence(gap, factor_p, factor) + log_det_divergence(-gap, factor_q, factor)
    return xp.where(is_proper, (z * z).sum(axis=-1) / 8 + shape / 4, xp.inf)[()]


@bhattacharyya_distance.form("textbook", loses="large terms cancel")
def bhattacharyya_distance_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """Three log-determinants, as they are printed; they cancel near p = q."""
    xp = namespace(mean_p)
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    *factors, is_proper = density_factors(cov_p, cov_q)
    factor = positive_definite_factor("cov_p + cov_q", (cov_p + cov_q) / 2)
    z = solve_triangular(factor, delta[..., None])[..., 0]
    half, half_p, half_q = (
        xp.log(xp.diagonal(x, axis1=-2, axis2=-1)).sum(axis=-1) for x in (factor, *factors)
    )
    distance = (z * z).sum(axis=-1) / 8 + half - (half_p + half_q) / 2
    return xp.where(is_proper, distance, xp.inf)[()]


@bhattacharyya_distance.defvjp
def bhattacharyya_distance_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """With u = S^{-1} delta: dmean_p = u/4 = -dmean_q, dcov_p = (S^{-1} - S_p^{-1})/4 - u u^T/16,
    where the difference is S^{-1} (S_p - S_q) S_p^{-1}/2; dcov_q the same with q.
    All are exactly 0 at p = q."""
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    factor_p = positive_definite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    factor = positive_definite_factor("cov_p + cov_q", cov_p / 2 + cov_q / 2)
    z = solve_triangular(factor, delta[..., None])
    u = solve_triangular(factor, z, transpose=True)
    gap, outer = cov_p - cov_q, u * u.swapaxes(-1, -2)
    from_p = whiten(factor, whiten(factor, gap, factor_p), factor_p, transpose=True)
    from_q = whiten(factor, whiten(factor, gap, factor_q), factor_q, transpose=True)
    dmean, scale = g[..., None] * u[..., 0] / 4, g[..., None, None] / 16
    dcov_p = scale * (2 * symmetric_part(from_p) - outer)
    dcov_q = -scale * (2 * symmetric_part(from_q) + outer)
    return dmean, dcov_p, -dmean, dcov_q


@formula(_SIGNATURE, source=_SOURCE)
def bhattacharyya_coefficient(mean_p, cov_p, mean_q, cov_q, /):
    r"""Bhattacharyya coefficient of two Gaussians: the integral of the root of their product.

    Formula
    -------
    .. math:: \mathrm{BC}(p,q) = \int \sqrt{p\,q} = e^{-\mathrm{BD}(p,q)}

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.

    Returns
    -------
    (...), from 0 to 1, exactly 1 for equal arguments; 0 where one covariance is singular, and
    where it is smaller than the smallest number of its type.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`bhattacharyya_distance`.

    Conventions
    -----------
    Also called affinity, Hellinger integral, and (squared) classical fidelity: "fidelity" is BC in
    some texts and BC^2 in others.

    Breaks when
    -----------
    Near p = q it says little: 1 - BC is :func:`hellinger_squared`, accurate there. Far apart its
    relative error is the absolute one of the distance.
    The log-determinants of ``form="textbook"`` cancel.

    References
    ----------
    Bhattacharyya 1943; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.bhattacharyya_coefficient([0.0], [[1.0]], [1.0], [[4.0]])), 12)
    0.850805462153
    """
    return namespace(mean_p).exp(-distance_between(mean_p, cov_p, mean_q, cov_q))


@bhattacharyya_coefficient.form("textbook", loses="large terms cancel")
def bhattacharyya_coefficient_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """From three log-determinants, as they are printed; they cancel near p = q."""
    return namespace(mean_p).exp(-bhattacharyya_distance_textbook(mean_p, cov_p, mean_q, cov_q))


@bhattacharyya_coefficient.defvjp
def bhattacharyya_coefficient_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """-BC times the gradient of the distance."""
    coefficient = namespace(mean_p).exp(-distance_between(mean_p, cov_p, mean_q, cov_q))
    return bhattacharyya_distance_vjp(-g * coefficient, mean_p, cov_p, mean_q, cov_q)


@formula(_SIGNATURE, source="Hellinger 1909; Pardo 2006, ch. 1; kexue.fm/archives/8512")
def hellinger_squared(mean_p, cov_p, mean_q, cov_q, /, *, normalisation: Literal["unit", "double"]):
    r"""Squared Hellinger distance of two Gaussians.

    Formula
    -------
    .. math:: H^2(p,q) = c \int (\sqrt p - \sqrt q)^2 = 2c\,(1 - e^{-\mathrm{BD}(p,q)}),
        \qquad c = \tfrac12 \text{ or } 1

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.
    normalisation : ``"unit"`` has c = 1/2 and reaches 1; ``"double"`` has c = 1 and reaches 2.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments; its largest value
    where one covariance is singular. Its root is a metric.

    Raises
    ------
    ValueError
        As :func:`bhattacharyya_distance`; an unknown normalisation.
    numpy.linalg.LinAlgError
        As :func:`bhattacharyya_distance`.

    Conventions
    -----------
    No default, because the field is divided: Tsybakov 2009 has c = 1, most code c = 1/2. The
    result is the square; the distance itself is its root, whose gradient does not exist at p = q,
    where this one's is 0.

    Breaks when
    -----------
    As :func:`bhattacharyya_distance`. One minus a rounded coefficient, the textbook way, loses all
    digits near p = q.

    References
    ----------
    Hellinger 1909; Pardo, Statistical Inference Based on Divergence Measures, 2006; Tsybakov,
    Introduction to Nonparametric Estimation, 2009, section 2.4.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([0.0], [[1.0]]), ([1.0], [[4.0]])
    >>> round(float(refimpl.hellinger_squared(*p, *q, normalisation="unit")), 12)
    0.149194537847
    """
    largest = _largest_hellinger_squared(normalisation)
    return -largest * namespace(mean_p).expm1(-distance_between(mean_p, cov_p, mean_q, cov_q))


@hellinger_squared.form("textbook", loses="large terms cancel")
def hellinger_squared_textbook(mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """One minus the coefficient, from three log-determinants; it cancels near p = q."""
    distance = bhattacharyya_distance_textbook(mean_p, cov_p, mean_q, cov_q)
    return _largest_hellinger_squared(normalisation) * (1 - namespace(mean_p).exp(-distance))


@hellinger_squared.defvjp
def hellinger_squared_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, normalisation):
    """2c BC times the gradient of the distance."""
    coefficient = namespace(mean_p).exp(-distance_between(mean_p, cov_p, mean_q, cov_q))
    weight = _largest_hellinger_squared(normalisation) * coefficient
    return bhattacharyya_distance_vjp(g * weight, mean_p, cov_p, mean_q, cov_q)


def _largest_hellinger_squared(normalisation: str) -> float:
    return {"unit": 1.0, "double": 2.0}[normalisation]
