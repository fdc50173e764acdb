"""Sliced Wasserstein distance of two Gaussians, on given directions."""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.core import matvec, outer, positive_definite_factor, require_finite
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair
from refimpl.gaussian.transport import covariance_factor


@formula("(d),(d,d),(d),(d,d),(t,d)->()", source="Rabin, Peyre, Delon & Bernot 2011; Bonneel 2015")
def sliced_wasserstein_squared(mean_p, cov_p, mean_q, cov_q, directions, /):
    r"""Mean squared Wasserstein-2 distance of two Gaussians projected on given directions.

    Formula
    -------
    .. math:: \frac1T \sum_t \Big[ (\theta_t^T\delta)^2
        + \Big( \sqrt{\theta_t^T\Sigma_p\theta_t} - \sqrt{\theta_t^T\Sigma_q\theta_t} \Big)^2 \Big],
        \qquad \delta = \mu_p - \mu_q

    The difference of roots is computed as :math:`\theta^T(\Sigma_p - \Sigma_q)\theta` over their
    sum.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. They may be singular.
    directions : (..., t, d) vectors without unit, as they are: unit vectors give the sliced
        distance.

    Returns
    -------
    (...), in the unit squared; never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        d = 0 or t = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps
        where that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; for the gradient also a singular one. The message
        gives the smallest eigenvalue.

    Conventions
    -----------
    The square, and the mean over directions, which are not drawn here. Over all unit vectors it is
    the sliced Wasserstein distance, with :math:`|\delta|^2/d` for the means; POT and others
    normalise the vectors that they are given, this does not. Some texts multiply by d.

    Breaks when
    -----------
    Nothing cancels, but in ``form="textbook"`` near equality. Few directions say little: the mean
    over random ones has the error of a Monte Carlo estimate.

    References
    ----------
    Rabin, Peyre, Delon & Bernot, Wasserstein barycenter and its application to texture mixing,
    2011; Bonneel, Rabin, Peyre & Pfister 2015.

    Examples
    --------
    >>> import refimpl
    >>> p, q = ([0.0, 0.0], [[4.0, 0.0], [0.0, 9.0]]), ([1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    >>> float(refimpl.sliced_wasserstein_squared(*p, *q, [[1.0, 0.0], [0.0, 1.0]]))
    3.0
    """
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, directions)
    covariance_factor("cov_p", cov_p)
    covariance_factor("cov_q", cov_q)
    shifts, gaps, _, _ = _slices(delta, cov_p, cov_q, directions)
    return (shifts * shifts + gaps * gaps).mean(axis=-1)


def _checked(mean_p, cov_p, mean_q, cov_q, directions):
    require_finite("directions", directions)
    if directions.shape[-2] == 0:
        raise ValueError("directions: expected at least one")
    return checked_pair(mean_p, cov_p, mean_q, cov_q)


def _slices(delta, cov_p, cov_q, directions):
    """The shift, the difference of the deviations, and both deviations, along each direction."""
    xp = namespace(delta)

    def along(matrix):
        return (directions @ matrix * directions).sum(axis=-1)

    root_p, root_q = (xp.sqrt(xp.maximum(along(cov), 0)) for cov in (cov_p, cov_q))
    both = root_p + root_q
    gaps = xp.where(both > 0, along(cov_p - cov_q) / xp.where(both > 0, both, 1.0), 0.0)
    return matvec(directions, delta), gaps.astype(delta.dtype), root_p, root_q


@sliced_wasserstein_squared.form("textbook", loses="large terms cancel")
def sliced_wasserstein_squared_textbook(mean_p, cov_p, mean_q, cov_q, directions, /):
    """The difference of the deviations as it is written; cancels near equality."""
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, directions)
    covariance_factor("cov_p", cov_p)
    covariance_factor("cov_q", cov_q)
    shifts, _, root_p, root_q = _slices(delta, cov_p, cov_q, directions)
    return (shifts**2 + (root_p - root_q) ** 2).mean(axis=-1)


@sliced_wasserstein_squared.defvjp
def sliced_wasserstein_squared_vjp(g, mean_p, cov_p, mean_q, cov_q, directions, /):
    """With r = s_p - s_q along each direction: dmean_p = 2 theta theta^T delta = -dmean_q, dcov_p =
    r/s_p theta theta^T, dcov_q = -r/s_q theta theta^T, and a direction gets 2 delta delta^T theta +
    2 r (S_p theta/s_p - S_q theta/s_q); means over directions."""
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, directions)
    positive_definite_factor("cov_p", cov_p)
    positive_definite_factor("cov_q", cov_q)
    xp = namespace(delta)
    shifts, gaps, root_p, root_q = _slices(delta, cov_p, cov_q, directions)
    g = (g / directions.shape[-2])[..., None]

    def over(root):
        """r/s, and 0 along a direction of length 0."""
        return g * xp.where(root > 0, gaps / xp.where(root > 0, root, 1.0), 0.0).astype(root.dtype)

    def squares(weights):
        return (directions * weights[..., None]).swapaxes(-1, -2) @ directions

    of_p, of_q = over(root_p), over(root_q)
    dmean = 2 * ((g * shifts)[..., None] * directions).sum(axis=-2)
    ddirections = 2 * outer(g * shifts, delta)
    ddirections = ddirections + 2 * (
        of_p[..., None] * (directions @ cov_p) - of_q[..., None] * (directions @ cov_q)
    )
    return dmean, squares(of_p), -dmean, -squares(of_q), ddirections
