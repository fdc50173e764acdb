"""Integrals of exponentials over a Gaussian: its transforms."""

from __future__ import annotations

import math

from refimpl.backend import logdet_from_cholesky, namespace
from refimpl.core import (
    inverse_from_cholesky,
    matvec,
    outer,
    positive_definite_factor,
    require_finite,
    symmetric,
)
from refimpl.formula import formula
from refimpl.gaussian.moments import checked_moments

_LOG_2PI = math.log(2 * math.pi)
_SOURCE = "Bishop 2006, section 2.3; kexue.fm/archives/8512"


@formula("(d),(d,d)->()", source=_SOURCE)
def gaussian_log_integral(w, cov, /):
    r"""Logarithm of the Gaussian integral with a linear term.

    Formula
    -------
    .. math:: \log \int \exp\left(-\tfrac12 x^T \Sigma^{-1} x + w^T x\right) dx
        = \tfrac12 \left[ d \log 2\pi + \log\det\Sigma + w^T \Sigma w \right]

    Parameters
    ----------
    w : (..., d), in the inverse unit of x.
    cov : (..., d, d), in the unit of x squared: the inverse of the matrix in the exponent.

    Returns
    -------
    (...), natural logarithm of an integral in the unit of x to the power d.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a cov that is not symmetric (beyond 1e-10, or 8 eps where that is
        more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov that is not positive definite; the message gives its smallest eigenvalue.

    Conventions
    -----------
    The exponent has cov's inverse and a factor 1/2. For exp(-x^T A x + b^T x), as physics writes
    it, cov = A^{-1}/2 and w = b.

    Breaks when
    -----------
    Never by overflow, as it is a logarithm.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3;
    https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> round(float(refimpl.gaussian_log_integral([0.0], [[0.5]])), 12)  # log sqrt(pi)
    0.572364942925
    """
    require_finite("w", w)
    cov = symmetric("cov", cov)
    factor = positive_definite_factor("cov", cov)
    return 0.5 * (w.shape[-1] * _LOG_2PI + logdet_from_cholesky(factor) + _square(cov, w))


@gaussian_log_integral.defvjp
def gaussian_log_integral_vjp(g, w, cov, /):
    """dw = S w, dcov = (S^{-1} + w w^T)/2."""
    cov = symmetric("cov", cov)
    factor = positive_definite_factor("cov", cov)
    dcov = (inverse_from_cholesky(factor) + outer(w, w)) / 2
    return g[..., None] * matvec(cov, w), g[..., None, None] * dcov


def _square(cov, w):
    """w^T S w, never negative for a covariance that is one."""
    return (w * matvec(cov, w)).sum(axis=-1)


def _checked(w, mean, cov):
    require_finite("w", w)
    return w, *checked_moments(mean, cov)


@formula("(d),(d),(d,d)->()", source=_SOURCE)
def gaussian_log_moment_generating_function(w, mean, cov, /):
    r"""Logarithm of E exp(w^T x): the cumulant generating function.

    Formula
    -------
    .. math:: \log E\, e^{w^T x} = w^T \mu + \tfrac12 w^T \Sigma w

    Parameters
    ----------
    w : (..., d), in the inverse unit of x.
    mean : (..., d), in the unit of x.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.

    Returns
    -------
    (...), natural logarithm.

    Raises
    ------
    ValueError
        As :func:`gaussian_log_integral`.
    numpy.linalg.LinAlgError
        A cov with a negative eigenvalue; the message gives it.

    Conventions
    -----------
    The logarithm, because the function itself overflows beyond w^T S w = 1400. The mean of a
    lognormal variable is its exponential at w = 1.

    Breaks when
    -----------
    Terms of opposite signs in w^T mean cancel: errors are relative to the sum of their sizes.

    References
    ----------
    Bishop 2006, section 2.3; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.gaussian_log_moment_generating_function([2.0], [1.0], [[3.0]]))
    8.0
    """
    w, mean, cov = _checked(w, mean, cov)
    return (w * mean).sum(axis=-1) + _square(cov, w) / 2


@gaussian_log_moment_generating_function.defvjp
def gaussian_log_moment_generating_function_vjp(g, w, mean, cov, /):
    """dw = mean + S w, dmean = w, dcov = w w^T/2."""
    w, mean, cov = _checked(w, mean, cov)
    row = g[..., None]
    return row * (mean + matvec(cov, w)), row * w, row[..., None] * outer(w, w) / 2


@formula("(d),(d),(d,d)->(),()", source=_SOURCE)
def gaussian_characteristic_function(w, mean, cov, /):
    r"""Characteristic function E exp(i w^T x), as its real and its imaginary part.

    Formula
    -------
    .. math:: E\, e^{i w^T x} = e^{-\frac12 w^T \Sigma w}
        \left( \cos w^T \mu + i \sin w^T \mu \right)

    Parameters
    ----------
    w : (..., d), in the inverse unit of x.
    mean : (..., d), in the unit of x.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.

    Returns
    -------
    real, imaginary : (...) each, E cos(w^T x) and E sin(w^T x), from -1 to 1.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_log_moment_generating_function`.

    Conventions
    -----------
    exp(+i w^T x), as probability writes it: the Fourier transform of engineering is the conjugate,
    and NumPy's frequencies are w / (2 pi).

    Breaks when
    -----------
    Angles w^T mean far above 1 / eps radians have lost their fraction.

    References
    ----------
    Lukacs, Characteristic Functions, 1970; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> real, imaginary = refimpl.gaussian_characteristic_function([1.0], [0.0], [[2.0]])
    >>> round(float(real), 12), float(imaginary)
    (0.367879441171, 0.0)
    """
    w, mean, cov = _checked(w, mean, cov)
    xp = namespace(w)
    size = xp.exp(-_square(cov, w) / 2)
    angle = (w * mean).sum(axis=-1)
    return size * xp.cos(angle), size * xp.sin(angle)


@gaussian_characteristic_function.form("textbook")
def gaussian_characteristic_function_textbook(w, mean, cov, /):
    """The real and the imaginary part of exp(i w^T mean - w^T S w/2)."""
    require_finite("w", w)
    mean, cov = checked_moments(mean, cov)
    angle, square = (w * mean).sum(axis=-1), (w * matvec(cov, w)).sum(axis=-1)
    value = namespace(w).exp(1j * angle - square / 2)
    return value.real.astype(w.dtype), value.imag.astype(w.dtype)


@gaussian_characteristic_function.defvjp
def gaussian_characteristic_function_vjp(g, w, mean, cov, /):
    """With radial = g_r real + g_i imaginary and tangential = g_i real - g_r imaginary:
    dw = tangential mean - radial S w, dmean = tangential w, dcov = -radial w w^T/2."""
    real, imaginary = gaussian_characteristic_function(w, mean, cov)
    radial = (g[0] * real + g[1] * imaginary)[..., None]
    tangential = (g[1] * real - g[0] * imaginary)[..., None]
    dw = tangential * mean - radial * matvec(symmetric("cov", cov), w)
    return dw, tangential * w, -radial[..., None] * outer(w, w) / 2
