"""Covariance, precision and Cholesky factor of one Gaussian: any of them from another."""

from __future__ import annotations

from refimpl.backend import namespace, solve_triangular
from refimpl.core import (
    inverse_from_cholesky,
    positive_definite_factor,
    symmetric,
    symmetric_part,
    whiten,
)
from refimpl.formula import formula

_SOURCE = "Golub & Van Loan 2013, section 4.2; gradients as in Murray 2016, arXiv:1602.07527"


@formula("(d,d)->(d,d)", source=_SOURCE)
def covariance_from_precision(precision, /):
    r"""Covariance from a precision matrix.

    Formula
    -------
    .. math:: \Sigma = P^{-1}

    Parameters
    ----------
    precision : (..., d, d), symmetric positive definite, in the unit of x to the power -2.

    Returns
    -------
    (..., d, d), exactly symmetric, in the unit of x squared.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a matrix that is not symmetric (beyond 1e-10, or 8 eps where that is
        more, of its largest entry).
    numpy.linalg.LinAlgError
        A matrix that is not positive definite; the message gives its smallest eigenvalue.

    Conventions
    -----------
    torch's ``precision_matrix``, scikit-learn's ``precisions_`` (its ``precisions_cholesky_`` is an
    upper factor U with P = U U^T). The gradient is the symmetric G with df = tr(G dP).

    Breaks when
    -----------
    Errors grow with the condition number after scaling the diagonal to ones: different units of the
    coordinates cost nothing.

    References
    ----------
    Golub & Van Loan, Matrix Computations, 2013, section 4.2.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.covariance_from_precision([[4.0, 0.0], [0.0, 0.25]]).tolist()
    [[0.25, 0.0], [0.0, 4.0]]
    """
    return _inverse("precision", precision)


@covariance_from_precision.defvjp
def covariance_from_precision_vjp(g, precision, /):
    """dP = -S G S, with G made symmetric."""
    return (_inverse_gradient(g, _inverse("precision", precision)),)


def _inverse(name, matrix):
    return inverse_from_cholesky(positive_definite_factor(name, symmetric(name, matrix)))


def _inverse_gradient(g, inverse):
    return -symmetric_part(inverse @ symmetric_part(g) @ inverse)


@formula("(d,d)->(d,d)", source=_SOURCE)
def precision_from_covariance(cov, /):
    r"""Precision matrix from a covariance.

    Formula
    -------
    .. math:: P = \Sigma^{-1}

    Parameters
    ----------
    cov : (..., d, d) covariance: variances on the diagonal, in the unit of x squared.

    Returns
    -------
    (..., d, d), exactly symmetric, in the unit of x to the power -2. A zero says that two
    coordinates are independent given all others; its diagonal holds 1 / conditional variances.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`covariance_from_precision`.

    Conventions
    -----------
    As :func:`covariance_from_precision`.

    Breaks when
    -----------
    As :func:`covariance_from_precision`.

    References
    ----------
    Golub & Van Loan 2013, section 4.2; Lauritzen, Graphical Models, 1996.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.precision_from_covariance([[4.0, 0.0], [0.0, 0.25]]).tolist()
    [[0.25, 0.0], [0.0, 4.0]]
    """
    return _inverse("cov", cov)


@precision_from_covariance.defvjp
def precision_from_covariance_vjp(g, cov, /):
    """dS = -P G P, with G made symmetric."""
    return (_inverse_gradient(g, _inverse("cov", cov)),)


@formula("(d,d)->(d,d)", source=_SOURCE)
def cholesky_from_covariance(cov, /):
    r"""Lower Cholesky factor of a covariance: torch's and TFP's scale_tril.

    Formula
    -------
    .. math:: L L^T = \Sigma, \qquad L_{ij} = 0 \; (j > i), \quad L_{ii} > 0

    Parameters
    ----------
    cov : (..., d, d) covariance: variances on the diagonal, in the unit of x squared.

    Returns
    -------
    (..., d, d) lower triangular, with a positive diagonal: the deviation of each coordinate given
    those before it. In the unit of x.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`covariance_from_precision`.

    Conventions
    -----------
    Lower, as NumPy and torch. SciPy's ``cholesky`` and MATLAB's ``chol`` return L^T by default. The
    gradient is the symmetric G with df = tr(G dS): autograd may put both halves into one triangle.

    Breaks when
    -----------
    A singular covariance has factors, but no unique Cholesky factor: it is refused.

    References
    ----------
    Golub & Van Loan 2013, algorithm 4.2.1; Murray, Differentiation of the Cholesky decomposition,
    2016, arXiv:1602.07527.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.cholesky_from_covariance([[4.0, 2.0], [2.0, 10.0]]).tolist()
    [[2.0, 0.0], [1.0, 3.0]]
    """
    return positive_definite_factor("cov", symmetric("cov", cov))


@cholesky_from_covariance.defvjp
def cholesky_from_covariance_vjp(g, cov, /):
    """dS = the symmetric part of L^{-T} F(L^T G) L^{-1}, F the lower half."""
    factor = positive_definite_factor("cov", symmetric("cov", cov))
    inner = _lower_half(factor.swapaxes(-1, -2) @ namespace(g).tril(g))
    return (symmetric_part(whiten(factor, inner, factor, transpose=True)),)


def _lower_half(matrix):
    """The lower triangle with half of the diagonal."""
    xp = namespace(matrix)
    return xp.tril(matrix) - matrix * (xp.eye(matrix.shape[-1], dtype=matrix.dtype) / 2)


@formula("(d,d)->(d,d)", source=_SOURCE)
def cholesky_from_precision(precision, /):
    r"""Lower Cholesky factor of the covariance, from a precision matrix that is never inverted.

    Formula
    -------
    .. math:: L L^T = P^{-1}, \qquad L = U^{-T} \text{ with } P = U U^T, \; U \text{ upper}

    Parameters
    ----------
    precision : (..., d, d), symmetric positive definite, in the unit of x to the power -2.

    Returns
    -------
    (..., d, d) lower triangular, with a positive diagonal, in the unit of x: the very factor that
    :func:`cholesky_from_covariance` gives for the inverse.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`covariance_from_precision`.

    Conventions
    -----------
    U is the Cholesky factor of P with rows and columns in reverse order, reversed back. The inverse
    transpose of P's own Cholesky factor is a factor of the covariance too, but an upper one.

    Breaks when
    -----------
    As :func:`covariance_from_precision`. An inverse first and Cholesky then, as torch did once,
    fails where the rounded inverse is not positive definite any more.

    References
    ----------
    pytorch pull request 21366; Golub & Van Loan 2013, section 4.2.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.cholesky_from_precision([[1.25, -0.5], [-0.5, 1.0]]).tolist()
    [[1.0, 0.0], [0.5, 1.0]]
    """
    xp = namespace(precision)
    reversed_rows = xp.flip(symmetric("precision", precision), axis=(-2, -1))
    upper = xp.flip(positive_definite_factor("precision", reversed_rows), axis=(-2, -1))
    return solve_triangular(upper.swapaxes(-1, -2), xp.eye(upper.shape[-1], dtype=upper.dtype))


@cholesky_from_precision.defvjp
def cholesky_from_precision_vjp(g, precision, /):
    """dP = minus the symmetric part of L F(L^T G) L^T, F the lower half."""
    factor = cholesky_from_precision(precision)
    inner = _lower_half(factor.swapaxes(-1, -2) @ namespace(g).tril(g))
    return (-symmetric_part(factor @ inner @ factor.swapaxes(-1, -2)),)
