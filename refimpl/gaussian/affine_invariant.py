"""Fisher-Rao distance of Gaussians with one mean, and its bound where the means differ."""

from __future__ import annotations

import math

from refimpl.backend import eigh, namespace, solve_triangular, svd, svdvals
from refimpl.core import positive_definite_factor, symmetric, symmetric_part, whiten
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair
from refimpl.gaussian.fisher_rao import euclidean_norm


@formula("(d,d),(d,d)->()", source="James 1973; Atkinson & Mitchell 1981")
def fisher_rao_same_mean(cov_p, cov_q, /):
    r"""Fisher-Rao distance of two Gaussians with the same mean.

    Formula
    -------
    .. math:: d(p,q) = \sqrt{\tfrac12 \sum_i \log^2 \lambda_i}, \qquad
        \lambda_i = \text{the eigenvalues of } \Sigma_q^{-1} \Sigma_p

    Parameters
    ----------
    cov_p, cov_q : (..., d, d) covariances: variances on the diagonal.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments. A metric, invariant
    under every linear map of the coordinates.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric.
    numpy.linalg.LinAlgError
        A covariance that is not positive definite.

    Conventions
    -----------
    The affine-invariant distance of covariance matrices, which most code computes, is sqrt(2) times
    as large.

    Breaks when
    -----------
    It has a kink at p = q, where the gradient is given as 0. Far apart, the smallest of the
    eigenvalues are accurate to eps times the root of their ratio to the largest. Close to
    equality ``form="textbook"`` errs by eps itself, not by eps of the distance.

    References
    ----------
    James, The variance information manifold and the functions on it, 1973.

    Examples
    --------
    >>> import refimpl
    >>> value = refimpl.fisher_rao_same_mean([[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 4.0]])
    >>> round(float(value), 12)
    0.921252859009
    """
    _, *whitened = _whitened(symmetric("cov_p", cov_p), symmetric("cov_q", cov_q))
    logarithms, _ = _log_spectrum(*whitened)
    return euclidean_norm(logarithms) / math.sqrt(2)


def _whitened(cov_p, cov_q):
    """L_q, E with I + E = L_q^{-1} S_p L_q^{-T}, and M with M M^T = I + E."""
    factor_p = positive_definite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    excess = symmetric_part(whiten(factor_q, cov_p - cov_q, factor_q))
    return factor_q, excess, solve_triangular(factor_q, factor_p)


def _log_spectrum(excess, m):
    """Logarithms of the eigenvalues of I + E = M M^T, and the eigenvectors."""
    xp = namespace(excess)
    is_near = ((excess * excess).sum(axis=(-2, -1)) < 0.25)[..., None]
    # Near equality the small eigenvalues of E are accurate, else the singular values of M.
    near, vectors = eigh(xp.where(is_near[..., None], excess, 0.0))
    columns, far, _ = svd(m)
    logarithms = xp.where(is_near, xp.log1p(near), 2 * xp.log(far))
    return logarithms, xp.where(is_near[..., None], vectors, columns)


@fisher_rao_same_mean.form("textbook", loses="large terms cancel")
def fisher_rao_same_mean_textbook(cov_p, cov_q, /):
    """The eigenvalues, squares of singular values of L_q^{-1} L_p; their excess over 1 cancels."""
    factor_p = positive_definite_factor("cov_p", symmetric("cov_p", cov_p))
    factor_q = positive_definite_factor("cov_q", symmetric("cov_q", cov_q))
    xp = namespace(cov_p)
    logarithms = 2 * xp.log(svdvals(solve_triangular(factor_q, factor_p)))
    return xp.sqrt((logarithms * logarithms).sum(axis=-1) / 2)


@fisher_rao_same_mean.defvjp
def fisher_rao_same_mean_vjp(g, cov_p, cov_q, /):
    """With L^{-1} S_p L^{-T} = U diag(l) U^T, S_q = L L^T: dcov_p = L^{-T} U diag(log l/l) U^T
    L^{-1}/(2 d), dcov_q = -L^{-T} U diag(log l) U^T L^{-1}/(2 d)."""
    factor, *whitened = _whitened(symmetric("cov_p", cov_p), symmetric("cov_q", cov_q))
    logarithms, vectors = _log_spectrum(*whitened)
    unit = g[..., None] * _direction(logarithms)
    of_p, of_q = (
        whiten(factor, _with_spectrum(vectors, x), factor, transpose=True)
        for x in (unit * namespace(cov_p).exp(-logarithms), -unit)
    )
    return symmetric_part(of_p), symmetric_part(of_q)


def _direction(logarithms):
    """The gradient of the distance in the logarithms; 0 where all are 0."""
    norm = euclidean_norm(logarithms)
    return logarithms / (math.sqrt(2) * namespace(norm).where(norm > 0, norm, 1))[..., None]


def _with_spectrum(vectors, values):
    return (vectors * values[..., None, :]) @ vectors.swapaxes(-1, -2)


@formula("(d),(d,d),(d),(d,d)->()", source="Calvo & Oller 1990")
def calvo_oller_bound(mean_p, cov_p, mean_q, cov_q, /):
    r"""Lower bound of the Fisher-Rao distance of two Gaussians, by Calvo and Oller.

    Formula
    -------
    .. math:: \sqrt{\tfrac12 \sum_i \log^2 \lambda_i} \le d(p,q), \qquad \lambda_i
        = \text{the eigenvalues of } P_q^{-1} P_p, \quad
        P = \begin{pmatrix} 1 & \mu^T \\ \mu & \Sigma + \mu\mu^T \end{pmatrix}

    The distance of the covariance matrices P of one dimension more, among which these are a curved
    surface. It is computed with mu_q = 0, which changes no eigenvalue.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared.

    Returns
    -------
    (...), symmetric in p and q, never negative, exactly 0 for equal arguments. A metric, invariant
    under every affine map of the coordinates.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`fisher_rao_same_mean`.

    Conventions
    -----------
    For the general Fisher-Rao distance no closed form is known. The bound is exact for equal means,
    and to leading order near p = q: the embedding is isometric.

    Breaks when
    -----------
    As :func:`fisher_rao_same_mean`.

    References
    ----------
    Calvo & Oller, A distance between multivariate normal distributions based in an embedding into
    the Siegel group, 1990.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.calvo_oller_bound([0.0], [[1.0]], [1.0], [[4.0]])), 12)
    1.18604902775
    """
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    _, _, *embedded = _embedded(delta, *_whitened(cov_p, cov_q))
    logarithms, _ = _log_spectrum(*embedded)
    return euclidean_norm(logarithms) / math.sqrt(2)


def _embedded(delta, factor_q, excess, m):
    """z = L_q^{-1} delta as a column, the matrix that borders by a row and a column, and E and M of
    P_p = [[1, z^T], [z, I + E + z z^T]] and P_q = I."""
    xp = namespace(delta)
    z = solve_triangular(factor_q, delta[..., None])
    identity = xp.eye(delta.shape[-1] + 1, dtype=delta.dtype)
    first, border = identity[:, :1], identity[:, 1:]
    y = first + border @ z
    outer = y * y.swapaxes(-1, -2) - first * first.T
    return z, border, border @ excess @ border.T + outer, border @ m @ border.T + y * first.T


@calvo_oller_bound.form("textbook", loses="large terms cancel")
def calvo_oller_bound_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """The distance of the bordered matrices P as they are printed; cancels near p = q."""
    _, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(mean_p)
    identity = xp.eye(mean_p.shape[-1] + 1, dtype=mean_p.dtype)
    first, border = identity[:, :1], identity[:, 1:]

    def factor_of(name, mean, cov):
        """The Cholesky factor of P: 1 and 0, and below it the mean and the factor of S."""
        below = mean[..., None] * first.T + positive_definite_factor(name, cov) @ border.T
        return first * first.T + border @ below

    factor_p, factor_q = factor_of("cov_p", mean_p, cov_p), factor_of("cov_q", mean_q, cov_q)
    logarithms = 2 * xp.log(svdvals(solve_triangular(factor_q, factor_p)))
    return xp.sqrt((logarithms * logarithms).sum(axis=-1) / 2)


@calvo_oller_bound.defvjp
def calvo_oller_bound_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """With the gradient [[., w^T], [w, G]] in the bordered matrix of whitened coordinates,
    L_q L_q^T = S_q: dcov_p = L_q^{-T} G L_q^{-1}, dmean_p = 2 L_q^{-T} (G z + w) = -dmean_q;
    dcov_q as dcov_p with p and q exchanged."""
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    dmean, dcov_p = _gradients_of_first(g, delta, cov_p, cov_q)
    _, dcov_q = _gradients_of_first(g, -delta, cov_q, cov_p)
    return dmean, dcov_p, -dmean, dcov_q


def _gradients_of_first(g, delta, cov_p, cov_q):
    factor_q, *whitened = _whitened(cov_p, cov_q)
    z, border, *embedded = _embedded(delta, factor_q, *whitened)
    logarithms, vectors = _log_spectrum(*embedded)
    values = g[..., None] * _direction(logarithms) * namespace(delta).exp(-logarithms)
    full = symmetric_part(_with_spectrum(vectors, values))
    inner = border.T @ full @ border
    column = inner @ z + full[..., 1:, :1]
    dmean = 2 * solve_triangular(factor_q, column, transpose=True)[..., 0]
    return dmean, symmetric_part(whiten(factor_q, inner, factor_q, transpose=True))
