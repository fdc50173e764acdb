"""One Gaussian: log density and entropy."""

from __future__ import annotations

import math

from numpy.linalg import LinAlgError

from refimpl.backend import eigh, logdet_from_cholesky, namespace, solve, solve_triangular
from refimpl.core import (
    positive_definite_factor,
    require_finite,
    symmetric,
    symmetric_part,
    whiten,
)
from refimpl.formula import formula

_LOG_2PI = math.log(2 * math.pi)
_SOURCE = "Bishop 2006, eq. 2.43 and exercise 2.14; kexue.fm/archives/8512"


@formula("(d),(d),(d,d)->()", source=_SOURCE)
def gaussian_log_density(x, mean, cov, /):
    r"""Log density of the Gaussian N(mean, cov) at the point x, in nats.

    Formula
    -------
    .. math:: \log p(x) = -\tfrac12 \left[ d \log 2\pi + \log\det\Sigma
        + (x-\mu)^T \Sigma^{-1} (x-\mu) \right]

    Parameters
    ----------
    x : (..., d) points, in some unit.
    mean : (..., d), in the unit of x.
    cov : (..., d, d) covariance, in that unit squared: variances on the diagonal, never standard
        deviations.

    Returns
    -------
    (...), natural logarithm of a density per unit of x to the power d. It may be positive.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a cov that is not symmetric (beyond 1e-10, or 8 eps where that is
        more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov that is not positive definite; the message gives its smallest eigenvalue.

    Conventions
    -----------
    The covariance is what SciPy calls ``cov`` and torch ``covariance_matrix``. torch and TFP also
    take a Cholesky factor (``scale_tril``), torch a ``precision_matrix``, and TFP's ``scale_diag``
    is a standard deviation. SciPy reads the lower triangle only; here both must agree. The gradient
    in cov is the symmetric G with df = tr(G dS) for symmetric dS: autograd through a Cholesky
    factor may put both halves into one triangle.

    Breaks when
    -----------
    Errors grow with the condition number of cov after scaling its diagonal to ones: different units
    of the coordinates cost nothing.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3;
    https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_log_density([0.0], [0.0], [[1.0]])), 12)
    -0.918938533205
    """
    factor, z = _whitened(x, mean, cov)
    return -0.5 * (x.shape[-1] * _LOG_2PI + logdet_from_cholesky(factor) + (z * z).sum(axis=-1))


@gaussian_log_density.form("textbook", loses="large terms cancel")
def gaussian_log_density_textbook(x, mean, cov, /):
    """The product with the inverse covariance as it is written, by a general solver."""
    factor, _ = _whitened(x, mean, cov)
    gap = x - mean
    mahalanobis = (gap * solve(cov, gap[..., None])[..., 0]).sum(axis=-1)
    return -0.5 * (x.shape[-1] * _LOG_2PI + logdet_from_cholesky(factor) + mahalanobis)


@gaussian_log_density.form("eigenvalue", loses="small eigenvalues lose digits")
def gaussian_log_density_eigenvalue(x, mean, cov, /):
    """In the eigenbasis of the covariance, as SciPy does; small eigenvalues lose digits."""
    require_finite("x", x)
    require_finite("mean", mean)
    xp = namespace(x)
    eigenvalues, basis = eigh(symmetric("cov", cov))
    if not bool((eigenvalues > 0).all()):
        raise LinAlgError("cov: matrix is not positive definite: an eigenvalue is not positive")
    gap = (basis.swapaxes(-1, -2) @ (x - mean)[..., None])[..., 0]
    mahalanobis = (gap * gap / eigenvalues).sum(axis=-1)
    return -0.5 * (x.shape[-1] * _LOG_2PI + xp.log(eigenvalues).sum(axis=-1) + mahalanobis)


@gaussian_log_density.defvjp
def gaussian_log_density_vjp(g, x, mean, cov, /):
    r"""With u = S^{-1}(x - mean): dx = -u, dmean = u, dcov = (u u^T - S^{-1})/2."""
    xp = namespace(x)
    factor, z = _whitened(x, mean, cov)
    u = solve_triangular(factor, z[..., None], transpose=True)[..., 0]
    inner = z[..., :, None] * z[..., None, :] - xp.eye(z.shape[-1], dtype=z.dtype)
    dcov = whiten(factor, inner, factor, transpose=True)
    dmean = g[..., None] * u
    return -dmean, dmean, g[..., None, None] * symmetric_part(dcov) / 2


def _whitened(x, mean, cov):
    """The Cholesky factor L of cov, and z = L^{-1}(x - mean), whose square norm is Mahalanobis'."""
    require_finite("x", x)
    require_finite("mean", mean)
    factor = positive_definite_factor("cov", symmetric("cov", cov))
    return factor, solve_triangular(factor, (x - mean)[..., None])[..., 0]


@formula("(d,d)->()", source=_SOURCE)
def gaussian_entropy(cov, /):
    r"""Differential entropy of a Gaussian, in nats; it depends on the covariance alone.

    Formula
    -------
    .. math:: H = \tfrac12 \left[ d (1 + \log 2\pi) + \log\det\Sigma \right]

    Parameters
    ----------
    cov : (..., d, d) covariance: variances on the diagonal, never standard deviations.

    Returns
    -------
    (...), natural logarithm. It may be negative, and changes with the unit of x.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_log_density`.

    Conventions
    -----------
    Nats: divide by log 2 for bits. SciPy's ``entropy(mean, cov)`` takes a mean that it ignores, and
    treats directions below its cut-off on the eigenvalues as absent.

    Breaks when
    -----------
    As :func:`gaussian_log_density`.

    References
    ----------
    Bishop 2006, exercise 2.14; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_entropy([[1.0]])), 12)
    1.418938533205
    """
    factor = positive_definite_factor("cov", symmetric("cov", cov))
    return 0.5 * (cov.shape[-1] * (1 + _LOG_2PI) + logdet_from_cholesky(factor))


@gaussian_entropy.defvjp
def gaussian_entropy_vjp(g, cov, /):
    r"""dcov = S^{-1}/2."""
    xp = namespace(cov)
    factor = positive_definite_factor("cov", symmetric("cov", cov))
    inverse = whiten(factor, xp.eye(cov.shape[-1], dtype=cov.dtype), factor, transpose=True)
    return (g[..., None, None] * symmetric_part(inverse) / 2,)
