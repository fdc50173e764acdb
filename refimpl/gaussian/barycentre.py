"""Wasserstein barycentre of Gaussians: the mean of covariances in the Bures geometry."""

from __future__ import annotations

from numpy.linalg import LinAlgError

from refimpl.backend import finfo, namespace, solve, svd
from refimpl.core import (
    factor_where_definite,
    positive_definite_factor,
    require_nonnegative,
    symmetric,
    symmetric_part,
)
from refimpl.formula import formula
from refimpl.gaussian.optimal_map import descending, matrix_power, reordered
from refimpl.gaussian.transport import covariance_factor

_MOST_STEPS = 100


@formula(
    "(k,d,d),(k)->(d,d)",
    source="Agueh & Carlier 2011; Alvarez-Esteban, del Barrio, Cuesta-Albertos & Matran 2016",
)
def bures_barycentre(covs, weights, /):
    r"""Covariance of the Wasserstein barycentre: least weighted mean of squared Bures distances.

    Formula
    -------
    .. math:: \Sigma = \arg\min_\Sigma \sum_i w_i B^2(\Sigma, \Sigma_i), \qquad
        \sum_i w_i A_{\Sigma\to\Sigma_i} = I

    with the matrices A of the optimal maps. The second line, which says that the maps average to
    the identity, is solved by the iteration :math:`\Sigma \leftarrow M \Sigma M`,
    :math:`M = \sum_i w_i A_{\Sigma\to\Sigma_i}`, and near the solution by Newton's. With
    :math:`\Sigma = L L^T` and :math:`L^T S_i = W_i m_i V_i^T`, the maps are
    :math:`L^T A_i L = W_i m_i W_i^T`, and a step :math:`\Sigma + L H L^T` has

    .. math:: \sum_i w_i W_i \Big[ (W_i^T H W_i)_{jk}\, \frac{m_{ij} m_{ik}}{m_{ij} + m_{ik}} \Big]
        W_i^T = \sum_i w_i W_i m_i W_i^T - L^T L.

    Parameters
    ----------
    covs : (..., k, d, d) covariances, in some unit squared. Some may be singular, not all.
    weights : (..., k) not negative; they are divided by their sum.

    Returns
    -------
    (..., d, d), positive definite, in the unit of the covariances. The mean of the barycentre is
    the weighted mean of the means.

    Raises
    ------
    ValueError
        k = 0 or d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps
        where that is more, of its largest entry); negative weights, or none that is positive.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; none that is positive definite; for the gradient
        also any that is not; or no convergence.

    Conventions
    -----------
    Weights have no default. The iteration of Agueh and Carlier, :math:`\Sigma \leftarrow \sum_i w_i
    (\Sigma^{1/2}\Sigma_i\Sigma^{1/2})^{1/2}`, which POT uses, has the same fixed point, and takes
    many more steps. The barycentre is not the arithmetic mean (the covariance of the mixture of
    centred Gaussians), whose trace is larger, nor the square of the mean of roots, which it is for
    covariances that commute.

    Breaks when
    -----------
    Newton's step solves d^2 equations: for d in the hundreds that is slow. Singular covariances
    that leave a direction to few members converge slowly. ``form="textbook"`` loses
    the digits of small directions, and stops after a hundred steps.

    References
    ----------
    Agueh & Carlier, Barycenters in the Wasserstein space, 2011; Alvarez-Esteban et al., A
    fixed-point approach to barycenters in Wasserstein space, 2016.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.bures_barycentre([[[1.0]], [[9.0]]], [0.5, 0.5])[0, 0]), 12)
    4.0
    """
    covs, weights, order = _checked(covs, weights)
    cov, _ = _solved(covs, _factors(covs), weights)
    return reordered(order.swapaxes(-1, -2), cov)


def _checked(covs, weights):
    """Covariances in descending coordinates, weights that sum to 1, and the order."""
    require_nonnegative("weights", weights)
    if weights.shape[-1] == 0 or not bool((weights.sum(axis=-1) > 0).all()):
        raise ValueError("weights: expected at least one that is positive")
    weights = weights / weights.sum(axis=-1, keepdims=True)
    covs = symmetric("covs", covs)
    total = covs.sum(axis=-3)
    order = descending(total, total)
    return reordered(order[..., None, :, :], covs), weights, order


def _factors(covs):
    return covariance_factor("covs", covs)


def _solved(covs, factors, weights):
    """The barycentre, and the decompositions there."""
    xp = namespace(covs)
    cov = (weights[..., None, None] * covs).sum(axis=-3)
    tolerance = finfo(cov).eps / 64
    identity = xp.eye(cov.shape[-1], dtype=cov.dtype)
    before = xp.full(cov.shape[:-2], xp.inf, dtype=cov.dtype)
    for _ in range(_MOST_STEPS):
        frame = _Frame(cov, factors, weights)
        step = frame.newton_step()
        length = (step * step).sum(axis=(-2, -1))
        is_near = length < 0.25
        near = is_near[..., None, None]
        moved = frame.low @ (identity + xp.where(near, step, 0.0)) @ frame.low.swapaxes(-1, -2)
        cov = symmetric_part(xp.where(near, moved, frame.averaged()))
        # Newton's error is the square of its last step, until steps are rounding errors.
        is_done = (length <= tolerance) | (is_near & (length >= before / 4))
        if bool(is_done.all()):
            return cov, _Frame(cov, factors, weights)
        before = xp.where(is_near, length, xp.inf)
    raise LinAlgError(f"covs: no barycentre within {_MOST_STEPS} steps")


class _Frame:
    """The maps from one covariance L L^T to all others, in its own coordinates: W m W^T."""

    def __init__(self, cov, factors, weights):
        self.low = positive_definite_factor("weighted sum of covs", cov)
        self.weights = weights[..., None, None]
        turned = self.low[..., None, :, :].swapaxes(-1, -2) @ factors
        self.w, self.m, _ = svd(turned)

    def maps(self):
        """L^T A_i L, shape (..., k, d, d)."""
        return (self.w * self.m[..., None, :]) @ self.w.swapaxes(-1, -2)

    def excess(self):
        """L^T (sum w_i A_i - I) L, which is 0 at the barycentre."""
        gram = self.low.swapaxes(-1, -2) @ self.low
        return symmetric_part((self.weights * self.maps()).sum(axis=-3) - gram)

    def averaged(self):
        """M S M for M = sum w_i A_i."""
        mean = (self.weights * self.maps()).sum(axis=-3)
        # L^{-T} (L^T M L) (L^T M L) L^{-1}
        half = solve(self.low.swapaxes(-1, -2), mean)
        return half @ half.swapaxes(-1, -2)

    def newton_step(self):
        return self.solved(self.excess())

    def solved(self, right):
        """H with sum w_i W_i [(W_i^T H W_i)_jk m_j m_k/(m_j + m_k)] W_i^T = right."""
        xp = namespace(right)
        d = right.shape[-1]
        left, top = self.m[..., :, None], self.m[..., None, :]
        total = left + top
        share = xp.where(total > 0, left * (top / xp.where(total > 0, total, 1.0)), 0.0)
        share = (self.weights * share).astype(right.dtype)
        pairs = self.w[..., :, None, :, None] * self.w[..., None, :, None, :]
        pairs = pairs.reshape((*pairs.shape[:-4], d * d, d * d))
        scaled = pairs * share.reshape((*share.shape[:-2], 1, d * d))
        operator = (scaled @ pairs.swapaxes(-1, -2)).sum(axis=-3)
        try:
            flat = solve(operator, right.reshape((*right.shape[:-2], d * d, 1)))
        except LinAlgError:
            raise LinAlgError("covs: expected one that is positive definite") from None
        return symmetric_part(flat.reshape(right.shape))


@bures_barycentre.form("textbook", loses="small directions lose digits")
def bures_barycentre_textbook(covs, weights, /):
    """A hundred steps S <- S^{-1/2} (sum w_i (S^{1/2} S_i S^{1/2})^{1/2})^2 S^{-1/2}."""
    covs, weights, order = _checked(covs, weights)
    share, (_, is_definite) = weights[..., None, None], factor_where_definite(covs)
    if not bool((is_definite & (weights > 0)).any(axis=-1).all()):
        raise LinAlgError("covs: expected one that is positive definite")
    covariance_factor("covs", covs)
    cov = (share * covs).sum(axis=-3)
    for _ in range(_MOST_STEPS):
        root, inverse_root = matrix_power(cov, 0.5), matrix_power(cov, -0.5)
        wide = root[..., None, :, :]
        mean = (share * matrix_power(symmetric_part(wide @ covs @ wide), 0.5)).sum(axis=-3)
        cov = symmetric_part(inverse_root @ mean @ mean @ inverse_root)
    return reordered(order.swapaxes(-1, -2), cov)


@bures_barycentre.defvjp
def bures_barycentre_vjp(g, covs, weights, /):
    """Implicitly: with H for G in the same equation, right side L^T G L, the gradient in S_i is
    w_i L W_i [(W_i^T H W_i)_jk/(m_j + m_k)] W_i^T L^T, and in w_i tr H (L^T A_i L - L^T L)."""
    total = weights.sum(axis=-1)[..., None]
    covs, weights, order = _checked(covs, weights)
    for i in range(covs.shape[-3]):
        positive_definite_factor("covs", covs[..., i, :, :])
    _, frame = _solved(covs, _factors(covs), weights)
    low = frame.low
    g = reordered(order, symmetric_part(g))
    inner = frame.solved(symmetric_part(low.swapaxes(-1, -2) @ g @ low))[..., None, :, :]
    turned = frame.w.swapaxes(-1, -2) @ inner @ frame.w
    turned = turned / (frame.m[..., :, None] + frame.m[..., None, :])
    columns = low[..., None, :, :] @ frame.w
    dcovs = frame.weights * symmetric_part(columns @ turned @ columns.swapaxes(-1, -2))
    gram = (low.swapaxes(-1, -2) @ low)[..., None, :, :]
    dweights = (inner * (frame.maps() - gram)).sum(axis=(-2, -1)) / total
    return reordered(order.swapaxes(-1, -2)[..., None, :, :], dcovs), dweights
