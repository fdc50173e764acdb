"""The optimal transport between two Gaussians itself: its affine map, and its joint covariance."""

from __future__ import annotations

from refimpl.backend import argsort, eigh, finfo, namespace, solve_triangular, svd
from refimpl.core import matvec, outer, positive_definite_factor, symmetric, symmetric_part
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair
from refimpl.gaussian.transport import covariance_factor

_SOURCE = "Knott & Smith 1984; Olkin & Pukelsheim 1982; kexue.fm/archives/8512"


@formula("(d),(d,d),(d),(d,d)->(d,d),(d)", source=_SOURCE)
def transport_map(mean_p, cov_p, mean_q, cov_q, /):
    r"""The optimal map T(x) = A x + b from one Gaussian to another: its matrix and its offset.

    Formula
    -------
    .. math:: A = \Sigma_p^{-1/2} \big(\Sigma_p^{1/2} \Sigma_q \Sigma_p^{1/2}\big)^{1/2}
        \Sigma_p^{-1/2}, \qquad b = \mu_q - A \mu_p

    the only symmetric positive semidefinite matrix with :math:`A \Sigma_p A = \Sigma_q`, also known
    as the geometric mean of :math:`\Sigma_q` and :math:`\Sigma_p^{-1}`. It is computed as a square:
    with Cholesky factors and :math:`L_p^T L_q = W m V^T`,
    :math:`A = (L_p^{-T} W) m (L_p^{-T} W)^T`; and a step of Newton's iteration for A - I on
    :math:`A \Sigma_p A = \Sigma_q` restores the digits of small and of nearly equal directions.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. cov_q may be singular.

    Returns
    -------
    A (..., d, d), symmetric positive semidefinite, without unit; b (..., d), in the unit of the
    means.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov_p that is not positive definite (where it is singular there need be no map, though
        there is always an :func:`optimal_cross_covariance`); a cov_q with a negative eigenvalue,
        for the gradient also a singular one. The message gives the smallest eigenvalue.

    Conventions
    -----------
    From p to q, T(x) = A x + b with x a column, as in POT's ``bures_wasserstein_mapping`` (where x
    is a row; A is symmetric). The map from q to p has the inverse of A. The map with Cholesky
    factors :math:`L_q L_p^{-1}` (Knothe-Rosenblatt) and that with roots
    :math:`\Sigma_q^{1/2}\Sigma_p^{-1/2}` also carry p to q, but are not optimal.

    Breaks when
    -----------
    Errors grow with the condition numbers of the covariances after scaling their diagonals to ones:
    different units of the coordinates cost nothing where they are those of p and of q alike.
    The roots of ``form="textbook"`` lose the digits of small directions.

    References
    ----------
    Knott & Smith, On the optimal mapping of distributions, 1984; Peyre & Cuturi, Computational
    optimal transport, 2019, remark 2.31.

    Examples
    --------
    >>> import refimpl
    >>> matrix, offset = refimpl.transport_map([1.0], [[1.0]], [0.0], [[4.0]])
    >>> float(matrix[0, 0]), float(offset[0])
    (2.0, -2.0)
    """
    _, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    order = descending(cov_p, cov_q)
    cov_p, cov_q = reordered(order, cov_p), reordered(order, cov_q)
    factor_p = positive_definite_factor("cov_p", cov_p)
    matrix, move = _matrix_and_move(factor_p, covariance_factor("cov_q", cov_q), cov_p, cov_q)
    matrix, move = (reordered(order.swapaxes(-1, -2), x) for x in (matrix, move))
    # Near equality b is itself a difference.
    return matrix, (mean_q - mean_p) - matvec(move, mean_p)


def descending(cov_p, cov_q):
    """The permutation matrix (..., d, d) that brings coordinates of large deviations first.

    Singular values of products of graded factors have all of their digits in this order only.
    """
    xp = namespace(cov_p)
    variances = (xp.diagonal(cov, axis1=-2, axis2=-1) for cov in (cov_p, cov_q))
    sizes = xp.sqrt(next(variances)) * xp.sqrt(next(variances))
    order = argsort(-sizes)[..., None]
    return (order == xp.arange(sizes.shape[-1])).astype(sizes.dtype)


def reordered(permutation, matrix):
    """The matrix in permuted coordinates, without any rounding."""
    return permutation @ matrix @ permutation.swapaxes(-1, -2)


def aligned(factor_p, factor_q):
    """W, m and V with S_p^T S_q = W m V^T: a = S_p W and b = S_q V have A a = b and a^T b = m."""
    w, m, vt = svd(factor_p.swapaxes(-1, -2) @ factor_q)
    return w, m, vt.swapaxes(-1, -2)


def _matrix_and_move(factor_p, factor_q, cov_p, cov_q):
    """A, and A - I."""
    xp = namespace(cov_p)
    w, m, _ = aligned(factor_p, factor_q)
    a, inverse = factor_p @ w, solve_triangular(factor_p, w, transpose=True)
    root = inverse * xp.sqrt(m)[..., None, :]
    matrix = root @ root.swapaxes(-1, -2)
    move = matrix - xp.eye(m.shape[-1], dtype=m.dtype)
    carried, change = move @ cov_p, cov_q - cov_p
    near = change - 2 * symmetric_part(carried) - carried @ move
    far = cov_q - symmetric_part(matrix @ cov_p @ matrix)
    rest = xp.where(abs(change) + abs(carried) < abs(cov_q), near, far)
    weight = m[..., :, None] + m[..., None, :]
    # Directions that are null in q, within rounding, have no digits to restore.
    is_seen = weight > 4 * m.shape[-1] * finfo(m).eps * m[..., :1, None]
    turned = symmetric_part(a.swapaxes(-1, -2) @ rest @ a)
    solved = xp.where(is_seen, turned / xp.where(is_seen, weight, 1.0), 0.0).astype(m.dtype)
    step = _congruent(inverse, solved)
    return matrix + step, move + step


@transport_map.form("textbook", loses="small directions lose digits")
def transport_map_textbook(mean_p, cov_p, mean_q, cov_q, /):
    """With three matrix roots, as it is written; loses digits of small directions."""
    _, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    positive_definite_factor("cov_p", cov_p)
    covariance_factor("cov_q", cov_q)
    root, inverse = matrix_power(cov_p, 0.5), matrix_power(cov_p, -0.5)
    matrix = inverse @ matrix_power(symmetric_part(root @ cov_q @ root), 0.5) @ inverse
    return matrix, mean_q - matvec(matrix, mean_p)


def matrix_power(cov, exponent):
    """A power of a symmetric positive semidefinite matrix, by eigenvalues."""
    xp = namespace(cov)
    eigenvalues, basis = eigh(cov)
    powers = xp.maximum(eigenvalues, 0) ** exponent
    return (basis * powers[..., None, :].astype(cov.dtype)) @ basis.swapaxes(-1, -2)


@transport_map.defvjp
def transport_map_vjp(g, mean_p, cov_p, mean_q, cov_q, /):
    """With the cotangents G of A and h of b: dmean_q = h, dmean_p = -A h, and G - h mean_p^T for A.
    A S_p A = S_q gives a^T dA a = a^T (dS_q - A dS_p A) a / (m_i + m_j) entry by entry, so that
    dcov_q = a Y a^T and dcov_p = -b Y b^T for Y = a^{-1} G a^{-T} / (m_i + m_j)."""
    g_matrix, g_offset = g
    _, cov_p, cov_q = checked_pair(mean_p, cov_p, mean_q, cov_q)
    order = descending(cov_p, cov_q)
    cov_p, cov_q = reordered(order, cov_p), reordered(order, cov_q)
    factor_p = positive_definite_factor("cov_p", cov_p)
    factor_q = positive_definite_factor("cov_q", cov_q)
    w, m, v = aligned(factor_p, factor_q)
    total = symmetric_part(g_matrix - outer(g_offset, mean_p))
    inverse = solve_triangular(factor_p, w, transpose=True)
    y = inverse.swapaxes(-1, -2) @ reordered(order, total) @ inverse
    y = y / (m[..., :, None] + m[..., None, :])
    matrix, _ = _matrix_and_move(factor_p, factor_q, cov_p, cov_q)
    back = order.swapaxes(-1, -2)
    dmean_p = -matvec(reordered(back, matrix), g_offset)
    dcov_p, dcov_q = -_congruent(factor_q @ v, y), _congruent(factor_p @ w, y)
    return dmean_p, reordered(back, dcov_p), g_offset, reordered(back, dcov_q)


def _congruent(a, y):
    """a Y a^T, exactly symmetric."""
    return symmetric_part(a @ y @ a.swapaxes(-1, -2))


@formula("(d,d),(d,d)->(d,d)", source=_SOURCE)
def optimal_cross_covariance(cov_p, cov_q, /):
    r"""Cross-covariance E (x - mean_p)(y - mean_q)^T of the optimal coupling of two Gaussians.

    Formula
    -------
    .. math:: C = \Sigma_p A = \Sigma_p^{1/2} \big(\Sigma_p^{1/2} \Sigma_q \Sigma_p^{1/2}\big)^{1/2}
        \Sigma_p^{-1/2} = (\Sigma_p \Sigma_q)^{1/2}

    with the matrix A of the optimal map. Among all C that make the joint covariance
    :math:`\begin{pmatrix}\Sigma_p & C\\ C^T & \Sigma_q\end{pmatrix}` positive semidefinite it has
    the largest trace. It is computed as :math:`C = S_p W V^T S_q^T` for factors with
    :math:`S_p^T S_q = W m V^T`, and so exists for singular covariances too.

    Parameters
    ----------
    cov_p, cov_q : (..., d, d) covariances, in some unit squared: variances on the diagonal, never
        standard deviations. They may be singular.

    Returns
    -------
    (..., d, d), in the unit of the covariances; rows belong to p, columns to q. It is not symmetric
    in general.

    Raises
    ------
    ValueError
        As :func:`transport_map`.
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; for the gradient also a singular one. The message
        gives the smallest eigenvalue.

    Conventions
    -----------
    Where both covariances are singular the optimal coupling need not be the only one: directions
    that p and q cannot match (m = 0, within rounding) stay uncorrelated here. The transposed matrix
    is that from q to p.

    Breaks when
    -----------
    A direction that is null within rounding costs half of the digits there, as for
    :func:`bures_squared`. The roots of ``form="textbook"`` do so below sqrt(eps).

    References
    ----------
    Olkin & Pukelsheim, The distance between two random vectors with given dispersion matrices,
    1982; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> cross = refimpl.optimal_cross_covariance([[1.0, 0.0], [0.0, 9.0]], [[4.0, 0.0], [0.0, 1.0]])
    >>> cross.tolist()
    [[2.0, 0.0], [0.0, 3.0]]
    """
    return cross_covariance(symmetric("cov_p", cov_p), symmetric("cov_q", cov_q))


def cross_covariance(cov_p, cov_q):
    """The formula, of exactly symmetric covariances."""
    order = descending(cov_p, cov_q)
    factor_p = covariance_factor("cov_p", reordered(order, cov_p))
    factor_q = covariance_factor("cov_q", reordered(order, cov_q))
    w, m, v = aligned(factor_p, factor_q)
    is_matched = m > m.shape[-1] * finfo(m).eps * m[..., :1]
    cross = factor_p @ (w * is_matched[..., None, :]) @ (factor_q @ v).swapaxes(-1, -2)
    return reordered(order.swapaxes(-1, -2), cross)


@optimal_cross_covariance.form("textbook", loses="small directions lose digits")
def optimal_cross_covariance_textbook(cov_p, cov_q, /):
    """S_p^{1/2} (S_p^{1/2} S_q S_p^{1/2})^{-1/2} S_p^{1/2} S_q, null where S_p or S_q is."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    covariance_factor("cov_p", cov_p)
    covariance_factor("cov_q", cov_q)
    root = matrix_power(cov_p, 0.5)
    eigenvalues, basis = eigh(symmetric_part(root @ cov_q @ root))
    tolerance = eigenvalues.shape[-1] * finfo(eigenvalues).eps * eigenvalues[..., -1:]
    xp = namespace(cov_p)
    is_seen = eigenvalues > tolerance
    powers = xp.where(is_seen, xp.where(is_seen, eigenvalues, 1) ** -0.5, 0).astype(cov_p.dtype)
    inverse_root = (basis * powers[..., None, :]) @ basis.swapaxes(-1, -2)
    return root @ inverse_root @ root @ cov_q


@optimal_cross_covariance.defvjp
def optimal_cross_covariance_vjp(g, cov_p, cov_q, /):
    """dcov_q = a Y a^T with Y = sym(a^T G a^{-T}) / (m_i + m_j), and dcov_p = b Z b^T with
    Z = sym(b^T G^T b^{-T}) / (m_i + m_j), as C^T is the cross-covariance of q and p."""
    return cross_covariance_gradients(g, symmetric("cov_p", cov_p), symmetric("cov_q", cov_q))


def cross_covariance_gradients(g, cov_p, cov_q):
    """Gradients of <G, C> in symmetric covariances."""
    order = descending(cov_p, cov_q)
    factor_p = positive_definite_factor("cov_p", reordered(order, cov_p))
    factor_q = positive_definite_factor("cov_q", reordered(order, cov_q))
    w, m, v = aligned(factor_p, factor_q)
    weight = m[..., :, None] + m[..., None, :]

    def through(factor, rotation, g):
        columns = factor @ rotation
        inverse = solve_triangular(factor, rotation, transpose=True)
        turned = symmetric_part(columns.swapaxes(-1, -2) @ g @ inverse)
        return reordered(order.swapaxes(-1, -2), _congruent(columns, turned / weight))

    g = reordered(order, g)
    return through(factor_q, v, g.swapaxes(-1, -2)), through(factor_p, w, g)
