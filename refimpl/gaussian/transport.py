"""Optimal transport between two Gaussians for the squared distance: Bures and Wasserstein-2."""

from __future__ import annotations

from numpy.linalg import LinAlgError

from refimpl.backend import cholesky, eigh, eigvalsh, finfo, namespace, qr, solve_triangular, svd
from refimpl.core import positive_definite_factor, require_finite, symmetric, symmetric_part
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair

_SOURCE = (
    "Dowson & Landau 1982; Olkin & Pukelsheim 1982; Givens & Shortt 1984; kexue.fm/archives/8512"
)


@formula("(d,d),(d,d)->()", source=_SOURCE)
def bures_squared(cov_p, cov_q, /):
    r"""Squared Bures distance of two covariances: the transport cost of centred Gaussians.

    Formula
    -------
    .. math:: B^2 = \operatorname{tr}\Sigma_p + \operatorname{tr}\Sigma_q
        - 2\operatorname{tr}\big(\Sigma_p^{1/2}\Sigma_q\Sigma_p^{1/2}\big)^{1/2}
        = \operatorname{tr}\Sigma_p + \operatorname{tr}\Sigma_q
        - 2\operatorname{tr}(\Sigma_p\Sigma_q)^{1/2}

    It is computed as a sum of squares. With :math:`\Sigma_p = S_p S_p^T`,
    :math:`\Sigma_q = S_q S_q^T` and the singular value decomposition
    :math:`S_p^T S_q = W m V^T`, the columns of :math:`a = S_p W` and :math:`b = S_q V` are aligned:

    .. math:: B^2 = \sum_j |a_j - b_j|^2, \qquad
        (\Sigma_p + \Sigma_q + 2 m_j)(a_j - b_j) = (\Sigma_p - \Sigma_q)(a_j + b_j).

    Where :math:`a_j` and :math:`b_j` nearly cancel, the second equation gives their difference.

    Parameters
    ----------
    cov_p, cov_q : (..., d, d) covariances, in some unit squared: variances on the diagonal, never
        standard deviations. They may be singular.

    Returns
    -------
    (...), in the unit of the covariances; never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; for the gradient also a singular one, where B^2 has
        an infinite slope (:func:`bures_squared_factor` has gradients there). The message gives the
        smallest eigenvalue.

    Conventions
    -----------
    The square, of the cost |x - y|^2 without 1/2: the Frechet distance of FID code and OTT's
    ``w2_dist`` are squares too, POT returns the root. Gradients in a covariance are the symmetric G
    with df = tr(G dS) for symmetric dS: I minus the matrix of the optimal map.

    Breaks when
    -----------
    The textbook forms lose all digits where the relative difference of p and q is below sqrt(eps),
    and half of the digits for every null direction. Here neither does, nor do differences of
    unit between the coordinates. What is left is what rounding of the entries does to B^2 itself: a
    direction that is null within rounding, of one covariance, costs half of the digits. It counts
    as null where the correlation matrix has an eigenvalue below d eps of its largest.

    References
    ----------
    Dowson & Landau 1982; Olkin & Pukelsheim 1982; Bhatia, Jain & Lim, On the Bures-Wasserstein
    distance between positive definite matrices, 2019; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.bures_squared([[1.0, 0.0], [0.0, 9.0]], [[4.0, 0.0], [0.0, 1.0]]))
    5.0
    """
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    return _bures_squared(cov_p, cov_q)


def _bures_squared(cov_p, cov_q):
    factor_p, factor_q = covariance_factor("cov_p", cov_p), covariance_factor("cov_q", cov_q)
    gap, _, _ = aligned_gap(factor_p, factor_q, cov_p - cov_q)
    return (gap * gap).sum(axis=(-2, -1))


def covariance_factor(name: str, cov):
    """Some S (..., d, d) with S S^T = cov: the Cholesky factor, or one of a singular covariance.

    LinAlgError where an eigenvalue is negative by more than rounding.
    """
    xp = namespace(cov)
    tolerance = cov.shape[-1] * finfo(cov).eps
    variances = xp.diagonal(cov, axis1=-2, axis2=-1)
    try:
        factor = cholesky(cov)
        # A pivot over its variance is 1 - R^2 given the coordinates before: the units cancel.
        pivots = xp.diagonal(factor, axis1=-2, axis2=-1) ** 2
        if bool((pivots > tolerance * variances).all()):
            return factor
    except LinAlgError:
        pass
    if cov.ndim > 2:
        return xp.stack([covariance_factor(name, each) for each in cov])
    deviations = xp.sqrt(xp.where(variances > 0, variances, 1.0)).astype(cov.dtype)
    eigenvalues, basis = eigh(cov / deviations[:, None] / deviations)
    if bool(eigenvalues[0] < -tolerance * eigenvalues[-1]):
        smallest = f"its smallest eigenvalue is {float(eigvalsh(cov)[0]):.3g}"
        raise LinAlgError(f"{name}: matrix is not positive semidefinite: {smallest}")
    kept = xp.where(eigenvalues > tolerance * eigenvalues[-1], eigenvalues, 0.0)
    return deviations[:, None] * basis * xp.sqrt(kept).astype(cov.dtype)


def aligned_gap(factor_p, factor_q, difference):
    """a - b (..., d, k), W (..., r, k) and V (..., s, k), for a = S_p W and b = S_q V.

    W and V are orthonormal and make a^T b diagonal, positive and as large as can be: so |a - b|_F^2
    is the Bures distance. ``difference`` is S_p S_p^T - S_q S_q^T, and as good as its relative
    accuracy is that of a - b.
    """
    xp = namespace(factor_p)
    (narrow_p, rows_p), (narrow_q, rows_q) = _narrow(factor_p), _narrow(factor_q)
    k = max(narrow_p.shape[-1], narrow_q.shape[-1])
    narrow_p, narrow_q = xp.broadcast_arrays(_widened(narrow_p, k), _widened(narrow_q, k))
    w, m, vt = svd(narrow_p.swapaxes(-1, -2) @ narrow_q)
    v = vt.swapaxes(-1, -2)
    a, b = narrow_p @ w, narrow_q @ v
    direct = a - b
    # Singular values of both factors side by side: those of S_p + S_q, with all of their digits.
    basis, sigma, _ = svd(xp.concatenate([narrow_p, narrow_q], axis=-1))
    weight = sigma[..., :, None] ** 2 + 2 * m[..., None, :]
    right = basis.swapaxes(-1, -2) @ (difference @ (a + b))
    safe = xp.where(weight > 0, weight, 1.0).astype(weight.dtype)
    solved = basis @ (xp.where(weight > 0, right, 0.0).astype(right.dtype) / safe)
    size = (a * a + b * b).sum(axis=-2)
    # Columns as short as rounding errors of the longest have directions that mean nothing.
    is_noise = size <= 8 * k * finfo(m).eps * m[..., :1]
    is_near = is_noise | ((direct * direct).sum(axis=-2) <= size / 16)
    # As a_j^T b_j = m_j is not negative, a gap that is longer than that solves for noise.
    is_near = is_near & ((solved * solved).sum(axis=-2) <= size)
    gap = xp.where(is_near[..., None, :], solved, direct)
    return gap, rows_p @ w[..., : rows_p.shape[-1], :], rows_q @ v[..., : rows_q.shape[-1], :]


def _narrow(factor):
    """A factor (..., d, min(r, d)) of the same covariance, and the rows O with S O = it."""
    d, r = factor.shape[-2:]
    if r <= d:
        return factor, namespace(factor).eye(r, dtype=factor.dtype)
    rows, triangle = qr(factor.swapaxes(-1, -2))
    return triangle.swapaxes(-1, -2), rows


def _widened(factor, width):
    """The factor with columns of zeros up to that width."""
    xp = namespace(factor)
    missing = (*factor.shape[:-1], width - factor.shape[-1])
    return xp.concatenate([factor, xp.zeros(missing, dtype=factor.dtype)], axis=-1)


@bures_squared.form("textbook", loses="large terms cancel")
def bures_squared_textbook(cov_p, cov_q, /):
    """Two matrix square roots by eigenvalues, as POT computes it; cancels near p = q."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    xp = namespace(cov_p)
    for name, cov in (("cov_p", cov_p), ("cov_q", cov_q)):
        covariance_factor(name, cov)
    eigenvalues, basis = eigh(cov_p)
    roots = xp.sqrt(xp.maximum(eigenvalues, 0))
    root = (basis * roots[..., None, :]) @ basis.swapaxes(-1, -2)
    return _from_squares(cov_p, cov_q, eigvalsh(symmetric_part(root @ cov_q @ root)))


@bures_squared.form("product", loses="large terms cancel")
def bures_squared_product(cov_p, cov_q, /):
    """Roots of the eigenvalues of the product, as FID code does; those of S_q^T Sigma_p S_q."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    covariance_factor("cov_p", cov_p)
    factor = covariance_factor("cov_q", cov_q)
    return _from_squares(
        cov_p, cov_q, eigvalsh(symmetric_part(factor.swapaxes(-1, -2) @ cov_p @ factor))
    )


def _from_squares(cov_p, cov_q, squares):
    """tr Sigma_p + tr Sigma_q - 2 sum of roots."""
    xp = namespace(cov_p)
    traces = xp.trace(cov_p, axis1=-2, axis2=-1) + xp.trace(cov_q, axis1=-2, axis2=-1)
    return traces - 2 * xp.sqrt(xp.maximum(squares, 0)).sum(axis=-1)


@bures_squared.defvjp
def bures_squared_vjp(g, cov_p, cov_q, /):
    """dcov_p = I - A and dcov_q = I - A^{-1}, where A is the matrix of the optimal map from p to q;
    A a_j = b_j, so that they are (a - b) a^{-1} and (b - a) b^{-1}. Exactly 0 at p = q."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    return tuple(g[..., None, None] * x for x in _bures_gradients(cov_p, cov_q))


def _bures_gradients(cov_p, cov_q):
    factor_p = positive_definite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    gap, w, v = aligned_gap(factor_p, factor_q, cov_p - cov_q)

    def over(aligned, factor):
        """gap (S O)^{-1} = gap O^T S^{-1}, made symmetric."""
        rotated = aligned @ gap.swapaxes(-1, -2)
        return symmetric_part(solve_triangular(factor, rotated, transpose=True))

    return over(w, factor_p), -over(v, factor_q)


@formula("(d,r),(d,s)->()", source=_SOURCE)
def bures_squared_factor(factor_p, factor_q, /):
    r"""Squared Bures distance of two covariances that are given by factors, S S^T.

    Formula
    -------
    .. math:: B^2 = |S_p|_F^2 + |S_q|_F^2 - 2 |S_p^T S_q|_*
        = \min_{U^T U = I} |S_p U - S_q|_F^2

    with the sum of the singular values as norm. The minimum (orthogonal Procrustes) is at the polar
    factor U of :math:`S_p^T S_q`; the narrower factor is widened by columns of zeros. It is
    computed like :func:`bures_squared`, with
    :math:`2(\Sigma_p - \Sigma_q) = (S_p - S_q)(S_p + S_q)^T + (S_p + S_q)(S_p - S_q)^T`.

    Parameters
    ----------
    factor_p : (..., d, r) any matrix whose product with its transpose is the covariance: a Cholesky
        factor, loadings, centred data over sqrt(n). In some unit.
    factor_q : (..., d, s), in the unit of factor_p.

    Returns
    -------
    (...), in that unit squared; never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        An empty axis; NaN or infinity.

    Conventions
    -----------
    The square, of the cost |x - y|^2 without 1/2. A factor is (d, r) as in S S^T; data of n points
    in rows, divided by sqrt(n), are its transpose. The gradient is the full one: a Cholesky
    factor's is its lower triangle. It is unique where :math:`S_p^T S_q` has the rank min(r, s, d),
    else one of the subgradients.

    Breaks when
    -----------
    Errors of B are those of rounding the entries of the factors: relative to B they are as large as
    the factors over B. Two factors that are equal up to a rotation of their columns give the square
    of a rounding error; factors that are close themselves keep their digits.
    ``form="textbook"`` loses all digits near equality.

    References
    ----------
    As :func:`bures_squared`; Schoenemann 1966 for Procrustes.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.bures_squared_factor([[1.0], [1.0]], [[1.0], [-1.0]])), 12)
    4.0
    """
    gap, _, _ = _factor_gap(factor_p, factor_q)
    return (gap * gap).sum(axis=(-2, -1))


def _factor_gap(factor_p, factor_q):
    for name, factor in (("factor_p", factor_p), ("factor_q", factor_q)):
        if 0 in factor.shape[-2:]:
            raise ValueError(f"{name}: expected at least one row and column, got {factor.shape}")
        require_finite(name, factor)
    width = max(factor_p.shape[-1], factor_q.shape[-1])
    wide_p, wide_q = _widened(factor_p, width), _widened(factor_q, width)
    half = (wide_p - wide_q) @ (wide_p + wide_q).swapaxes(-1, -2)
    return aligned_gap(factor_p, factor_q, symmetric_part(half))


@bures_squared_factor.form("textbook", loses="large terms cancel")
def bures_squared_factor_textbook(factor_p, factor_q, /):
    """The squares minus the singular values as they are written; cancels near p = q."""
    _factor_gap(factor_p, factor_q)
    _, m, _ = svd(factor_p.swapaxes(-1, -2) @ factor_q)
    squares = (factor_p**2).sum(axis=(-2, -1)) + (factor_q**2).sum(axis=(-2, -1))
    return squares - 2 * m.sum(axis=-1)


@bures_squared_factor.defvjp
def bures_squared_factor_vjp(g, factor_p, factor_q, /):
    """With S_p^T S_q = W m V^T: dfactor_p = 2 (S_p - S_q V W^T) = 2 (a - b) W^T, and dfactor_q =
    2 (S_q - S_p W V^T) = 2 (b - a) V^T."""
    gap, w, v = _factor_gap(factor_p, factor_q)
    gap = 2 * g[..., None, None] * gap
    return gap @ w.swapaxes(-1, -2), -gap @ v.swapaxes(-1, -2)


@formula("(d),(d,d),(d),(d,d)->()", source=_SOURCE)
def wasserstein_squared(mean_p, cov_p, mean_q, cov_q, /):
    r"""Squared Wasserstein-2 distance of two Gaussians: the least mean of |x - y|^2.

    Formula
    -------
    .. math:: W_2^2 = |\mu_p - \mu_q|^2 + B^2(\Sigma_p, \Sigma_q)

    with the squared Bures distance of :func:`bures_squared`. It is the minimum of E|x - y|^2 over
    all joint distributions of x ~ p and y ~ q; a cross-covariance C is feasible where the Schur
    complement :math:`\Sigma_p - C \Sigma_q^{-1} C^T` is positive semidefinite, and none has a
    larger trace than the optimal one.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. They may be singular.

    Returns
    -------
    (...), in the unit squared; never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`bures_squared`; means with NaN or infinity are a ValueError.

    Conventions
    -----------
    The square, of the cost |x - y|^2 without 1/2; :func:`wasserstein_distance` is the root. This is
    also the Frechet (inception) distance between moments: what FID code computes from them.

    Breaks when
    -----------
    As :func:`bures_squared`. Means far from the origin lose what their own rounding loses.

    References
    ----------
    Dowson & Landau 1982; Gelbrich 1990; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.wasserstein_squared([0.0], [[1.0]], [1.0], [[4.0]]))
    2.0
    """
    return _wasserstein_squared(mean_p, cov_p, mean_q, cov_q)


def _wasserstein_squared(mean_p, cov_p, mean_q, cov_q):
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    return (delta * delta).sum(axis=-1) + _bures_squared(cov_p, cov_q)


@wasserstein_squared.form("textbook", loses="large terms cancel")
def wasserstein_squared_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """With two matrix square roots by eigenvalues, as POT computes it; cancels near p = q."""
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    return (delta * delta).sum(axis=-1) + bures_squared_textbook(cov_p, cov_q)


@wasserstein_squared.defvjp
def wasserstein_squared_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """dmean_p = 2 delta = -dmean_q, dcov_p = I - A and dcov_q = I - A^{-1} with the matrix A of the
    optimal map."""
    delta, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    dmean = 2 * g[..., None] * delta
    dcov_p, dcov_q = (g[..., None, None] * x for x in _bures_gradients(cov_p, cov_q))
    return dmean, dcov_p, -dmean, dcov_q


@formula("(d),(d,d),(d),(d,d)->()", source=_SOURCE)
def wasserstein_distance(mean_p, cov_p, mean_q, cov_q, /):
    r"""Wasserstein-2 distance of two Gaussians, a metric: the root of the least mean of |x - y|^2.

    Formula
    -------
    .. math:: W_2 = \sqrt{|\mu_p - \mu_q|^2 + B^2(\Sigma_p, \Sigma_q)}

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. They may be singular.

    Returns
    -------
    (...), in the unit of the means; exactly 0 for equal arguments.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`wasserstein_squared`.

    Conventions
    -----------
    The root, as POT's ``bures_wasserstein_distance``; FID, OTT's ``w2_dist`` and
    :func:`wasserstein_squared` are squares. With zero means it is the Bures distance. At distance 0
    the gradient is set to 0, which is one of the subgradients in the means: the distance has a
    corner there, and autograd through the root gives NaN.

    Breaks when
    -----------
    As :func:`bures_squared`.

    References
    ----------
    As :func:`wasserstein_squared`.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.wasserstein_distance([0.0], [[1.0]], [10.0], [[1.0]]))
    10.0
    """
    return namespace(mean_p).sqrt(_wasserstein_squared(mean_p, cov_p, mean_q, cov_q))


@wasserstein_distance.form("textbook", loses="large terms cancel")
def wasserstein_distance_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """With two matrix square roots by eigenvalues, as POT computes it; cancels near p = q."""
    squared = wasserstein_squared_textbook(mean_p, cov_p, mean_q, cov_q)
    xp = namespace(mean_p)
    return xp.sqrt(xp.maximum(squared, 0))


@wasserstein_distance.defvjp
def wasserstein_distance_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """Those of the square over 2 W_2; 0 where W_2 is."""
    xp = namespace(mean_p)
    distance = xp.sqrt(_wasserstein_squared(mean_p, cov_p, mean_q, cov_q))
    slope = xp.where(distance > 0, g / (2 * xp.where(distance > 0, distance, 1.0)), 0.0)
    return wasserstein_squared_vjp(slope.astype(g.dtype), mean_p, cov_p, mean_q, cov_q)
