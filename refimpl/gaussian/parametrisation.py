"""From the parameters that distributions are given by to a covariance, with the chain rule.

Every distance of this topic takes covariances. To use one with other parameters, convert them
first; to differentiate it, pass its gradient on to the vjp of the conversion.
"""

from __future__ import annotations

from refimpl.backend import namespace
from refimpl.core import require_finite, require_nonnegative, symmetric_part
from refimpl.formula import formula

_SOURCE = "Golub & Van Loan 2013, section 4.2; gradients as in Murray 2016, arXiv:1602.07527"


@formula("(d,d)->(d,d)", source=_SOURCE)
def covariance_from_cholesky(scale_tril, /):
    r"""Covariance from a lower triangular factor (torch's and TFP's scale_tril).

    Formula
    -------
    .. math:: \Sigma = L L^T

    Parameters
    ----------
    scale_tril : (..., d, d), lower triangular, in the unit of x.

    Returns
    -------
    (..., d, d), exactly symmetric, in the unit of x squared.

    Raises
    ------
    ValueError
        Something above the diagonal; NaN or infinity; d = 0.

    Conventions
    -----------
    An upper factor, as SciPy's ``cholesky`` returns by default, is refused: pass its transpose.
    Code that reads only one triangle ignores it silently. The gradient is lower triangular: what
    is above the diagonal is no parameter.

    Breaks when
    -----------
    Never: a zero on the diagonal gives a singular covariance, and the sign of a column does not
    matter (torch refuses both).

    References
    ----------
    Golub & Van Loan, Matrix Computations, 2013, section 4.2; pyro issue 685 (a wrong gradient).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.covariance_from_cholesky([[2.0, 0.0], [1.0, 3.0]]).tolist()
    [[4.0, 2.0], [2.0, 10.0]]
    """
    return gram(_lower_triangular("scale_tril", scale_tril))


@covariance_from_cholesky.defvjp
def covariance_from_cholesky_vjp(g, scale_tril, /):
    """dL = tril((G + G^T) L)."""
    scale_tril = _lower_triangular("scale_tril", scale_tril)
    return (namespace(g).tril((g + g.swapaxes(-1, -2)) @ scale_tril),)


def _lower_triangular(name, matrix):
    """The matrix, if it is one; ValueError where something is above its diagonal."""
    _require_dimension(name, matrix, axis=-1)
    if bool((namespace(matrix).triu(matrix, 1) != 0).any()):
        raise ValueError(
            f"{name}: expected a lower triangular factor, but something is above the diagonal "
            "(an upper factor must be transposed)"
        )
    return matrix


def _require_dimension(name, x, axis):
    require_finite(name, x)
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one dimension, got shape {x.shape}")


def gram(factor):
    """S S^T, symmetric to the last bit whatever the order of summation."""
    return symmetric_part(factor @ factor.swapaxes(-1, -2))


@formula("(d,r)->(d,d)", source=_SOURCE)
def covariance_from_factor(factor, /):
    r"""Covariance from any factor: of rank r at most, and no square root is taken.

    Formula
    -------
    .. math:: \Sigma = S S^T

    Parameters
    ----------
    factor : (..., d, r), one row for each coordinate, in the unit of x. r may be less or more than
        d, and 0.

    Returns
    -------
    (..., d, d), exactly symmetric, positive semidefinite, in the unit of x squared.

    Raises
    ------
    ValueError
        NaN or infinity; d = 0.

    Conventions
    -----------
    Coordinates are rows. Observations in rows (scikit-learn, pandas) make a factor after centring,
    division by sqrt(n - ddof) and transposition; see :func:`sample_moments`.

    Breaks when
    -----------
    Products of entries below 1e-154 underflow in float64.

    References
    ----------
    Golub & Van Loan 2013, section 4.2.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.covariance_from_factor([[1.0], [2.0]]).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    _require_dimension("factor", factor, axis=-2)
    return gram(factor)


@covariance_from_factor.defvjp
def covariance_from_factor_vjp(g, factor, /):
    """dS = (G + G^T) S."""
    return ((g + g.swapaxes(-1, -2)) @ factor,)


@formula("(d)->(d,d)", source=_SOURCE)
def covariance_from_variance(variance, /):
    r"""Diagonal covariance of independent coordinates.

    Formula
    -------
    .. math:: \Sigma = \operatorname{diag}(v)

    Parameters
    ----------
    variance : (..., d), not negative, in the unit of x squared.

    Returns
    -------
    (..., d, d), in the unit of x squared.

    Raises
    ------
    ValueError
        A negative variance; NaN or infinity; d = 0.

    Conventions
    -----------
    SciPy's one-dimensional ``cov`` and torch's ``cov_diag`` are variances; TFP's ``scale_diag``
    and the ``scale`` of a ``Normal`` are deviations: :func:`covariance_from_deviation`. For the
    logarithm of a variance, as in variational autoencoders, pass its exponential; the gradient in
    the logarithm is that in the variance times the variance.

    Breaks when
    -----------
    Never: variances of 0 give a singular covariance, which densities refuse and W2 accepts.

    References
    ----------
    Bishop 2006, section 2.3; tensorflow issue 20261 (variance or deviation).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.covariance_from_variance([4.0, 9.0]).tolist()
    [[4.0, 0.0], [0.0, 9.0]]
    """
    return _diagonal(_not_negative("variance", variance))


@covariance_from_variance.defvjp
def covariance_from_variance_vjp(g, variance, /):
    """dv = diag(G)."""
    return (namespace(g).diagonal(g, axis1=-2, axis2=-1),)


def _diagonal(entries):
    return entries[..., None] * namespace(entries).eye(entries.shape[-1], dtype=entries.dtype)


def _not_negative(name, x):
    _require_dimension(name, x, axis=-1)
    require_nonnegative(name, x)
    return x


@formula("(d)->(d,d)", source=_SOURCE)
def covariance_from_deviation(deviation, /):
    r"""Diagonal covariance from standard deviations.

    Formula
    -------
    .. math:: \Sigma = \operatorname{diag}(s)^2

    Parameters
    ----------
    deviation : (..., d), not negative, in the unit of x.

    Returns
    -------
    (..., d, d), in the unit of x squared.

    Raises
    ------
    ValueError
        A negative deviation; NaN or infinity; d = 0.

    Conventions
    -----------
    What torch's, JAX's and SciPy's one-dimensional normals call ``scale``, TFP also ``scale_diag``.

    Breaks when
    -----------
    Squares of deviations below 1e-154 underflow in float64, and lose digits below 1e-2 in float16.

    References
    ----------
    Bishop 2006, section 2.3; tensorflow issue 20261 (variance or deviation).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.covariance_from_deviation([2.0, 3.0]).tolist()
    [[4.0, 0.0], [0.0, 9.0]]
    """
    deviation = _not_negative("deviation", deviation)
    return _diagonal(deviation * deviation)


@covariance_from_deviation.defvjp
def covariance_from_deviation_vjp(g, deviation, /):
    """ds = 2 s diag(G)."""
    return (2 * deviation * namespace(g).diagonal(g, axis1=-2, axis2=-1),)


@formula("(d),(d,r)->(d,d)", source="Woodbury 1950; Rubin & Thayer 1982 (factor analysis)")
def covariance_from_low_rank(variance, factor, /):
    r"""Covariance of low rank plus diagonal, as in factor analysis.

    Formula
    -------
    .. math:: \Sigma = \operatorname{diag}(v) + W W^T

    Parameters
    ----------
    variance : (..., d), not negative, in the unit of x squared.
    factor : (..., d, r), in the unit of x; r may be 0.

    Returns
    -------
    (..., d, d), exactly symmetric, in the unit of x squared.

    Raises
    ------
    ValueError
        A negative variance; NaN or infinity; d = 0.

    Conventions
    -----------
    torch's ``LowRankMultivariateNormal(loc, cov_factor, cov_diag)`` in the other order. TFP's
    ``MultivariateNormalDiagPlusLowRank`` builds its *scale* in this way, so its covariance is the
    square of this matrix.

    Breaks when
    -----------
    Variances below eps times the squares of the factor are rounded away: what depends on them
    (a density, say) has lost its digits before it begins.

    References
    ----------
    Rubin & Thayer, EM algorithms for ML factor analysis, 1982.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.covariance_from_low_rank([1.0, 3.0], [[1.0], [2.0]]).tolist()
    [[2.0, 2.0], [2.0, 7.0]]
    """
    variance = _not_negative("variance", variance)
    require_finite("factor", factor)
    return _diagonal(variance) + gram(factor)


@covariance_from_low_rank.defvjp
def covariance_from_low_rank_vjp(g, variance, factor, /):
    """dv = diag(G), dW = (G + G^T) W."""
    dvariance = namespace(g).diagonal(g, axis1=-2, axis2=-1)
    return dvariance, (g + g.swapaxes(-1, -2)) @ factor
