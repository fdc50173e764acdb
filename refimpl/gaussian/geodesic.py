"""The Bures geometry of Gaussians: geodesics of transport, metric, logarithm, exponential."""

from __future__ import annotations

from numpy.linalg import LinAlgError

from refimpl.backend import eigh, eigvalsh, namespace, svd
from refimpl.core import positive_definite_factor, symmetric, symmetric_part
from refimpl.formula import formula
from refimpl.gaussian.divergence import checked_pair
from refimpl.gaussian.optimal_map import (
    cross_covariance,
    cross_covariance_gradients,
    descending,
    optimal_cross_covariance_textbook,
    reordered,
    transport_map_textbook,
)
from refimpl.gaussian.transport import aligned_gap, covariance_factor

_SOURCE = "Takatsu 2011; Bhatia, Jain & Lim 2019; Malago, Montrucchio & Pistone 2018"


@formula(
    "(d),(d,d),(d),(d,d)->(d),(d,d)",
    source="McCann 1997; Takatsu 2011",
    keywords={"time": "()"},
)
def displacement_interpolation(mean_p, cov_p, mean_q, cov_q, /, *, time):
    r"""Gaussian on the way of optimal transport from p to q: its mean and covariance.

    Formula
    -------
    .. math:: \mu_t = (1-t)\mu_p + t\mu_q, \qquad
        \Sigma_t = (1-t)^2 \Sigma_p + t^2 \Sigma_q + t(1-t)(C + C^T)

    with the optimal cross-covariance C. It is the distribution of (1-t) x + t y under the optimal
    coupling, and the constant-speed geodesic of the Wasserstein-2 distance; with the matrix A of
    the optimal map, :math:`\Sigma_t = M\Sigma_p M` for M = (1-t) I + t A.

    Parameters
    ----------
    mean_p, mean_q : (..., d), in some unit.
    cov_p, cov_q : (..., d, d) covariances, in that unit squared: variances on the diagonal, never
        standard deviations. They may be singular.
    time : (...) the part t of the way, 0 at p and 1 at q.

    Returns
    -------
    mean (..., d) and covariance (..., d, d), in the units of the inputs.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a covariance that is not symmetric (beyond 1e-10, or 8 eps where
        that is more, of its largest entry); a time outside [0, 1].
    numpy.linalg.LinAlgError
        A covariance with a negative eigenvalue; for the gradient also a singular one. The message
        gives the smallest eigenvalue.

    Conventions
    -----------
    Displacement interpolation moves mass; the mixture (1-t) p + t q is another curve, and so are
    the linear path of covariances and that of precisions. Where both are singular the geodesic may
    not be the only one: see :func:`optimal_cross_covariance`.

    Breaks when
    -----------
    As :func:`optimal_cross_covariance`. Of two covariances that differ in size the smaller one
    leaves its digits at the ends of the way only.
    ``form="textbook"`` loses the digits of small directions.

    References
    ----------
    McCann, A convexity principle for interacting gases, 1997; Takatsu, Wasserstein geometry of
    Gaussian measures, 2011.

    Examples
    --------
    >>> import refimpl
    >>> mean, cov = refimpl.displacement_interpolation([0.0], [[1.0]], [4.0], [[9.0]], time=0.5)
    >>> float(mean[0]), float(cov[0, 0])
    (2.0, 4.0)
    """
    _, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, time)
    cross = cross_covariance(cov_p, cov_q)
    t, tt = time[..., None], time[..., None, None]
    mean = (1 - t) * mean_p + t * mean_q
    both = tt * (1 - tt) * (cross + cross.swapaxes(-1, -2))
    return mean, symmetric_part((1 - tt) ** 2 * cov_p + tt * tt * cov_q + both)


def _checked(mean_p, cov_p, mean_q, cov_q, time):
    if not bool(((time >= 0) & (time <= 1)).all()):
        raise ValueError("time: expected numbers from 0 (at p) to 1 (at q)")
    return checked_pair(mean_p, cov_p, mean_q, cov_q)


@displacement_interpolation.form("textbook", loses="small directions lose digits")
def displacement_interpolation_textbook(mean_p, cov_p, mean_q, cov_q, /, *, time):
    """The covariance of (1 - t) x + t y as it is written, from the printed cross-covariance."""
    _, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, time)
    cross = optimal_cross_covariance_textbook(cov_p, cov_q)
    t, tt = time[..., None], time[..., None, None]
    both = tt * (1 - tt) * (cross + cross.swapaxes(-1, -2))
    cov = (1 - tt) ** 2 * cov_p + tt**2 * cov_q + both
    return (1 - t) * mean_p + t * mean_q, cov


@displacement_interpolation.defvjp
def displacement_interpolation_vjp(g, mean_p, cov_p, mean_q, cov_q, /, *, time):
    """With the cotangents h and G (symmetrised): dmean_p = (1-t) h, dmean_q = t h; the covariances
    get (1-t)^2 G and t^2 G, and the gradients of <2 t (1-t) G, C>; and time gets
    h^T (mean_q - mean_p) + tr G (2 t S_q - 2 (1-t) S_p + (1-2t)(C + C^T))."""
    h, g_cov = g[0], symmetric_part(g[1])
    delta, cov_p, cov_q = _checked(mean_p, cov_p, mean_q, cov_q, time)
    cross = cross_covariance(cov_p, cov_q)
    t, tt = time[..., None], time[..., None, None]
    of_p, of_q = cross_covariance_gradients(2 * tt * (1 - tt) * g_cov, cov_p, cov_q)
    speed = 2 * tt * cov_q - 2 * (1 - tt) * cov_p + 2 * (1 - 2 * tt) * cross
    dtime = (g_cov * speed).sum(axis=(-2, -1)) - (h * delta).sum(axis=-1)
    dcov_p, dcov_q = (1 - tt) ** 2 * g_cov + of_p, tt * tt * g_cov + of_q
    return (1 - t) * h, dcov_p, t * h, dcov_q, dtime


@formula("(d,d),(d,d),(d,d)->()", source=_SOURCE)
def bures_metric(cov, tangent_x, tangent_y, /):
    r"""Riemannian metric of the Bures distance: inner product of two symmetric tangents at cov.

    Formula
    -------
    .. math:: g_\Sigma(X, Y) = \tfrac12 \operatorname{tr}(L_X Y) = \operatorname{tr}(L_X\Sigma L_Y),
        \qquad \Sigma L_X + L_X \Sigma = X

    In the eigenbasis of the covariance, :math:`\tfrac12\sum_{ij} X_{ij} Y_{ij}/(l_i + l_j)`.

    Parameters
    ----------
    cov : (..., d, d) covariance, in some unit squared.
    tangent_x, tangent_y : (..., d, d) symmetric matrices: velocities of the covariance.

    Returns
    -------
    (...), in the unit squared for tangents in the unit of cov.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a matrix that is not symmetric (beyond 1e-10, or 8 eps where that is
        more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov that is not positive definite; the message gives its smallest eigenvalue.

    Conventions
    -----------
    The scale is that of the distance: B^2(S, S + X) = g_S(X, X) up to third order, as in geomstats'
    ``SPDBuresWassersteinMetric``. Some texts have tr(L_X Y), twice this; quantum information has
    the Fisher metric of states, 4 times it.

    Breaks when
    -----------
    Errors are relative to the sizes of the terms; near singular covariances a tangent that moves a
    null direction is infinitely long. The eigenvalues of ``form="textbook"`` lose the digits of
    small directions.

    References
    ----------
    Takatsu 2011; Bhatia, Jain & Lim, On the Bures-Wasserstein distance between positive definite
    matrices, 2019.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.bures_metric([[4.0]], [[2.0]], [[6.0]]))
    0.75
    """
    tangent_y = symmetric("tangent_y", tangent_y)
    field = lyapunov(*_spectrum(symmetric("cov", cov)), symmetric("tangent_x", tangent_x))
    return 0.5 * (field * tangent_y).sum(axis=(-2, -1))


def _spectrum(cov):
    """Eigenvalues and eigenvectors of a positive definite matrix, small ones with their digits."""
    order = descending(cov, cov)
    basis, sigma, _ = svd(positive_definite_factor("cov", reordered(order, cov)))
    return sigma * sigma, order.swapaxes(-1, -2) @ basis


def lyapunov(eigenvalues, basis, right):
    """The symmetric L with S L + L S = right, from the eigenbasis of S."""
    turned = basis.swapaxes(-1, -2) @ right @ basis
    solved = turned / (eigenvalues[..., :, None] + eigenvalues[..., None, :])
    return symmetric_part(basis @ solved @ basis.swapaxes(-1, -2))


@bures_metric.form("textbook", loses="small directions lose digits")
def bures_metric_textbook(cov, tangent_x, tangent_y, /):
    """The sum over pairs of eigenvectors as it is printed."""
    positive_definite_factor("cov", symmetric("cov", cov))
    eigenvalues, basis = eigh(symmetric("cov", cov))
    x, y = (
        basis.swapaxes(-1, -2) @ symmetric(name, tangent) @ basis
        for name, tangent in (("tangent_x", tangent_x), ("tangent_y", tangent_y))
    )
    sums = eigenvalues[..., :, None] + eigenvalues[..., None, :]
    return 0.5 * (x * y / sums).sum(axis=(-2, -1))


@bures_metric.defvjp
def bures_metric_vjp(g, cov, tangent_x, tangent_y, /):
    """dtangent_x = L_Y/2, dtangent_y = L_X/2, dcov = -(L_X L_Y + L_Y L_X)/2."""
    spectrum = _spectrum(symmetric("cov", cov))
    field_x = lyapunov(*spectrum, symmetric("tangent_x", tangent_x))
    field_y = lyapunov(*spectrum, symmetric("tangent_y", tangent_y))
    g = g[..., None, None]
    return -g * symmetric_part(field_x @ field_y), g * field_y / 2, g * field_x / 2


@formula("(d,d),(d,d)->(d,d)", source=_SOURCE)
def bures_log(cov_p, cov_q, /):
    r"""Riemannian logarithm of the Bures geometry: the velocity at p of the geodesic to q.

    Formula
    -------
    .. math:: \log_{\Sigma_p}\Sigma_q = (A - I)\Sigma_p + \Sigma_p(A - I) = C + C^T - 2\Sigma_p

    with the matrix A of the optimal map and the optimal cross-covariance C. It is computed from the
    aligned columns of :func:`bures_squared`, as :math:`(b-a)a^T + a(b-a)^T`.

    Parameters
    ----------
    cov_p, cov_q : (..., d, d) covariances, in some unit squared: variances on the diagonal. cov_q
        may be singular.

    Returns
    -------
    (..., d, d) symmetric, in the unit of the covariances; exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        As :func:`bures_metric`.
    numpy.linalg.LinAlgError
        A cov_p that is not positive definite; a cov_q with a negative eigenvalue, for the gradient
        also a singular one. The message gives the smallest eigenvalue.

    Conventions
    -----------
    The base point comes first; geomstats has ``log(point, base_point)``. The length of the result
    in the :func:`bures_metric` is the Bures distance. It is not the matrix logarithm, nor the
    logarithm of the affine-invariant geometry.

    Breaks when
    -----------
    As :func:`bures_squared`; ``form="textbook"`` loses all digits near equality.

    References
    ----------
    As :func:`bures_metric`; Malago, Montrucchio & Pistone, Wasserstein Riemannian geometry of
    Gaussian densities, 2018.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.bures_log([[4.0]], [[9.0]])[0, 0])
    4.0
    """
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    order = descending(cov_p, cov_q)
    factor_p = positive_definite_factor("cov_p", reordered(order, cov_p))
    factor_q = covariance_factor("cov_q", reordered(order, cov_q))
    gap, w, _ = aligned_gap(factor_p, factor_q, reordered(order, cov_p - cov_q))
    velocity = -2 * symmetric_part(gap @ (factor_p @ w).swapaxes(-1, -2))
    return reordered(order.swapaxes(-1, -2), velocity)


@bures_log.form("textbook", loses="large terms cancel")
def bures_log_textbook(cov_p, cov_q, /):
    """(A - I) S_p + S_p (A - I) with the printed map; cancels near equality."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    origin = 0 * cov_p[..., 0]
    matrix, _ = transport_map_textbook(origin, cov_p, origin, cov_q)
    move = matrix - namespace(cov_p).eye(cov_p.shape[-1], dtype=cov_p.dtype)
    return move @ cov_p + cov_p @ move.swapaxes(-1, -2)


@bures_log.defvjp
def bures_log_vjp(g, cov_p, cov_q, /):
    """The gradients of <2 G, C>, and -2 G for cov_p, with G symmetrised."""
    cov_p, cov_q = symmetric("cov_p", cov_p), symmetric("cov_q", cov_q)
    g = 2 * symmetric_part(g)
    dcov_p, dcov_q = cross_covariance_gradients(g, cov_p, cov_q)
    return dcov_p - g, dcov_q


@formula("(d,d),(d,d)->(d,d)", source=_SOURCE)
def bures_exp(cov, tangent, /):
    r"""Riemannian exponential of the Bures geometry: the end of the geodesic with a velocity.

    Formula
    -------
    .. math:: \exp_\Sigma X = (I + L)\Sigma(I + L) = \Sigma + X + L\Sigma L, \qquad
        \Sigma L + L\Sigma = X

    I + L is the matrix of the optimal map from the covariance to the result.

    Parameters
    ----------
    cov : (..., d, d) covariance, in some unit squared.
    tangent : (..., d, d) symmetric, in the unit of cov: a velocity of the covariance.

    Returns
    -------
    (..., d, d) covariance.

    Raises
    ------
    ValueError
        As :func:`bures_metric`.
    numpy.linalg.LinAlgError
        A cov that is not positive definite; a tangent beyond the end of its geodesic, where I + L
        has a negative eigenvalue. The message gives the smallest eigenvalue.

    Conventions
    -----------
    The base point comes first; geomstats has ``exp(tangent_vec, base_point)`` and takes tangents
    beyond the end, where the formula gives a covariance that is nearer than the tangent is long.

    Breaks when
    -----------
    Errors of L grow with the condition number of cov. The eigenvalues of ``form="textbook"``
    lose the digits of small directions.

    References
    ----------
    As :func:`bures_log`.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.bures_exp([[4.0]], [[4.0]])[0, 0])
    9.0
    """
    cov, tangent = symmetric("cov", cov), symmetric("tangent", tangent)
    field = _field_within(_spectrum(cov), tangent)
    return cov + tangent + symmetric_part(field @ cov @ field)


def _field_within(spectrum, tangent):
    """L, where I + L is the matrix of an optimal map."""
    field = lyapunov(*spectrum, tangent)
    _require_within(field)
    return field


def _require_within(field):
    smallest = 1 + eigvalsh(field)[..., 0]
    if bool((smallest < 0).any()):
        raise LinAlgError(
            "tangent: beyond the end of its geodesic: the smallest eigenvalue of I + L is "
            f"{float(smallest.min()):.3g}"
        )


@bures_exp.form("textbook", loses="small directions lose digits")
def bures_exp_textbook(cov, tangent, /):
    """(I + L) S (I + L), where L solves S L + L S = X in the eigenvectors of S."""
    cov, tangent = symmetric("cov", cov), symmetric("tangent", tangent)
    positive_definite_factor("cov", cov)
    eigenvalues, basis = eigh(cov)
    turned = basis.swapaxes(-1, -2) @ tangent @ basis
    solved = turned / (eigenvalues[..., :, None] + eigenvalues[..., None, :])
    field = symmetric_part(basis @ solved @ basis.swapaxes(-1, -2))
    _require_within(field)
    matrix = namespace(cov).eye(cov.shape[-1], dtype=cov.dtype) + field
    return symmetric_part(matrix @ cov @ matrix)


@bures_exp.defvjp
def bures_exp_vjp(g, cov, tangent, /):
    """With G symmetrised, and U the solution of S U + U S = G L S + S L G: dtangent = G + U, and
    dcov = G + L G L - (L U + U L)."""
    cov, tangent = symmetric("cov", cov), symmetric("tangent", tangent)
    spectrum = _spectrum(cov)
    field, g = _field_within(spectrum, tangent), symmetric_part(g)
    back = lyapunov(*spectrum, 2 * symmetric_part(g @ field @ cov))
    dcov = g + symmetric_part(field @ g @ field) - 2 * symmetric_part(field @ back)
    return dcov, g + back
