"""Moments of a Gaussian, and of quadratic forms in it."""

from __future__ import annotations

import math
from typing import Annotated

from refimpl.backend import namespace
from refimpl.core import (
    matvec,
    outer,
    require_finite,
    semidefinite_factor,
    symmetric,
    symmetric_part,
)
from refimpl.formula import formula
from refimpl.formula.options import Number

_SOURCE = "Mathai & Provost 1992, Quadratic Forms in Random Variables, theorem 3.2b.2"


@formula("(d),(d,d)->(d,d)", source="Bishop 2006, eq. 2.62; kexue.fm/archives/8512")
def gaussian_second_moment(mean, cov, /):
    r"""Second moment about the origin, E x x^T.

    Formula
    -------
    .. math:: E\, x x^T = \mu \mu^T + \Sigma

    Parameters
    ----------
    mean : (..., d), in some unit.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.

    Returns
    -------
    (..., d, d), exactly symmetric, in that unit squared.

    Raises
    ------
    ValueError
        d = 0; NaN or infinity; a cov that is not symmetric (beyond 1e-10, or 8 eps where that is
        more, of its largest entry).
    numpy.linalg.LinAlgError
        A cov with a negative eigenvalue; the message gives it.

    Conventions
    -----------
    About the origin, not about the mean: that is the covariance. It holds for every distribution
    with these moments.

    Breaks when
    -----------
    The covariance cannot be had back where the mean is far above the deviation: subtracting mu mu^T
    loses the digits that adding it rounded away.

    References
    ----------
    Bishop, Pattern Recognition and Machine Learning, 2006, section 2.3;
    https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.gaussian_second_moment([1.0, 2.0], [[1.0, 0.0], [0.0, 3.0]]).tolist()
    [[2.0, 2.0], [2.0, 7.0]]
    """
    mean, cov = checked_moments(mean, cov)
    return outer(mean, mean) + cov


@gaussian_second_moment.defvjp
def gaussian_second_moment_vjp(g, mean, cov, /):
    """dmean = (G + G^T) mean, dcov = G, made symmetric."""
    mean, _ = checked_moments(mean, cov)
    g = symmetric_part(g)
    return 2 * matvec(g, mean), g


def checked_moments(mean, cov, suffix=""):
    """The mean, and a covariance that is one, possibly singular; errors name them with suffix."""
    require_finite("mean" + suffix, mean)
    cov = symmetric("cov" + suffix, cov)
    semidefinite_factor("cov" + suffix, cov)
    return mean, cov


def _symmetric_form(name, matrix):
    """The symmetric part of A, all that x^T A x knows of A."""
    require_finite(name, matrix)
    return symmetric_part(matrix)


@formula("(d,d),(d),(d,d)->()", source=_SOURCE + "; kexue.fm/archives/8512")
def gaussian_quadratic_mean(matrix, mean, cov, /):
    r"""Expectation of a quadratic form, E x^T A x.

    Formula
    -------
    .. math:: E\, x^T A x = \operatorname{tr}(A \Sigma) + \mu^T A \mu

    Parameters
    ----------
    matrix : (..., d, d), A; it need not be symmetric.
    mean : (..., d), in some unit.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.

    Returns
    -------
    (...), in the unit of A times the unit of x squared; of either sign.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_second_moment`.

    Conventions
    -----------
    It holds for every distribution with these moments. The gradient in A is that of a free matrix:
    for a symmetric A it is symmetric.

    Breaks when
    -----------
    Terms of opposite signs cancel: errors are relative to the sum of their sizes. What is
    antisymmetric in A cancels exactly. In ``form="textbook"`` it leaves rounding errors.

    References
    ----------
    Mathai & Provost 1992, corollary 3.2b.1; https://kexue.fm/archives/8512.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.gaussian_quadratic_mean([[1.0, 4.0], [0.0, 1.0]], [1, 2], [[1, 0], [0, 3]]))
    17.0
    """
    mean, cov = checked_moments(mean, cov)
    # A large antisymmetric part would cancel in the sum; like this it is gone before.
    form = _symmetric_form("matrix", matrix)
    return (form * (outer(mean, mean) + cov)).sum(axis=(-2, -1))


@gaussian_quadratic_mean.form("textbook", loses="large terms cancel")
def gaussian_quadratic_mean_textbook(matrix, mean, cov, /):
    """Trace and form of any A as they are written; a large antisymmetric part cancels in them."""
    mean, cov = checked_moments(mean, cov)
    require_finite("matrix", matrix)
    trace = namespace(cov).trace(matrix @ cov, axis1=-2, axis2=-1)
    return trace + (mean * matvec(matrix, mean)).sum(axis=-1)


@gaussian_quadratic_mean.defvjp
def gaussian_quadratic_mean_vjp(g, matrix, mean, cov, /):
    """dA = S + mean mean^T, dmean = (A + A^T) mean, dcov = (A + A^T)/2."""
    mean, cov = checked_moments(mean, cov)
    form = _symmetric_form("matrix", matrix)
    square = g[..., None, None]
    dmatrix = square * (outer(mean, mean) + cov)
    return dmatrix, 2 * g[..., None] * matvec(form, mean), square * form


@formula("(d,d),(d,d),(d),(d,d)->()", source=_SOURCE)
def gaussian_quadratic_covariance(left, right, mean, cov, /):
    r"""Covariance of two quadratic forms in the same Gaussian vector.

    Formula
    -------
    .. math:: \operatorname{Cov}(x^T A x, x^T B x)
        = 2 \operatorname{tr}(A \Sigma B \Sigma) + 4 \mu^T A \Sigma B \mu

    for symmetric A and B; others count by their symmetric parts.

    Parameters
    ----------
    left, right : (..., d, d), A and B; they need not be symmetric.
    mean : (..., d), in some unit.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.

    Returns
    -------
    (...), the variance of a form where A = B, else of either sign.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_second_moment`.

    Conventions
    -----------
    Books state it for symmetric matrices; with others, tr(A S B S) is wrong, and the symmetric
    parts are taken here. Only a Gaussian has it: fourth moments enter.

    Breaks when
    -----------
    As :func:`gaussian_quadratic_mean`.

    References
    ----------
    Mathai & Provost 1992, theorem 3.2d.4; Searle, Linear Models, 1971, section 2.5.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.gaussian_quadratic_covariance([[1.0]], [[2.0]], [3.0], [[4.0]]))
    352.0
    """
    mean, cov = checked_moments(mean, cov)
    left, right = _symmetric_form("left", left), _symmetric_form("right", right)
    product = cov @ right @ cov
    bilinear = (matvec(left, mean) * matvec(cov, matvec(right, mean))).sum(axis=-1)
    return 2 * (left * product).sum(axis=(-2, -1)) + 4 * bilinear


@gaussian_quadratic_covariance.form("textbook")
def gaussian_quadratic_covariance_textbook(left, right, mean, cov, /):
    """2 tr(A S B S) + 4 mean^T A S B mean, by the product A S B S itself."""
    mean, cov = checked_moments(mean, cov)
    product = _symmetric_form("left", left) @ cov @ _symmetric_form("right", right)
    trace = namespace(cov).trace(product @ cov, axis1=-2, axis2=-1)
    return 2 * trace + 4 * (mean * matvec(product, mean)).sum(axis=-1)


@gaussian_quadratic_covariance.defvjp
def gaussian_quadratic_covariance_vjp(g, left, right, mean, cov, /):
    """With u = A mean, v = B mean and all products made symmetric: dA = 2 S B S + 4 mean (S v)^T,
    dB = 2 S A S + 4 mean (S u)^T, dmean = 4 (A S v + B S u), dcov = 4 A S B + 4 u v^T."""
    mean, cov = checked_moments(mean, cov)
    left, right = _symmetric_form("left", left), _symmetric_form("right", right)
    u, v = matvec(left, mean), matvec(right, mean)
    spread_u, spread_v = matvec(cov, u), matvec(cov, v)
    dleft = 2 * cov @ right @ cov + 4 * outer(mean, spread_v)
    dright = 2 * cov @ left @ cov + 4 * outer(mean, spread_u)
    dmean = 4 * (matvec(left, spread_v) + matvec(right, spread_u))
    dcov = 4 * (left @ cov @ right + outer(u, v))
    square = g[..., None, None]
    return (
        square * symmetric_part(dleft),
        square * symmetric_part(dright),
        g[..., None] * dmean,
        square * symmetric_part(dcov),
    )


@formula("(d,d),(d),(d,d)->()", source=_SOURCE)
def gaussian_quadratic_cumulant(
    matrix, mean, cov, /, *, order: Annotated[int, Number(1, 150, whole=True)]
):
    r"""Cumulant of a quadratic form in a Gaussian vector.

    Formula
    -------
    .. math:: \kappa_s(x^T A x) = 2^{s-1} (s-1)! \left[ \operatorname{tr} (A\Sigma)^s
        + s\, \mu^T (A \Sigma)^{s-1} A \mu \right]

    for a symmetric A; another counts by its symmetric part.

    Parameters
    ----------
    matrix : (..., d, d), A; it need not be symmetric.
    mean : (..., d), in some unit.
    cov : (..., d, d) covariance, in that unit squared; it may be singular.
    order : s, a whole number from 1.

    Returns
    -------
    (...): the mean for s = 1, the variance for s = 2, the third central moment for s = 3; not the
    fourth central moment for s = 4, which is larger by three times the variance squared.

    Raises
    ------
    ValueError, numpy.linalg.LinAlgError
        As :func:`gaussian_second_moment`; an order that is no whole number from 1.

    Conventions
    -----------
    Cumulants, the derivatives at 0 of log E exp(t x^T A x); SciPy's ``stats`` gives skewness and
    excess kurtosis, which are kappa_3 / kappa_2^{3/2} and kappa_4 / kappa_2^2. For A = I and S = I
    they are those of the noncentral chi-square distribution.

    Breaks when
    -----------
    As :func:`gaussian_quadratic_mean`. They grow like (s - 1)! (2 |A S|)^s, soon out of range.

    References
    ----------
    Mathai & Provost 1992, theorem 3.2b.2.

    Examples
    --------
    >>> import refimpl
    >>> float(refimpl.gaussian_quadratic_cumulant([[1.0]], [0.0], [[1.0]], order=3))
    8.0
    """
    mean, cov = checked_moments(mean, cov)
    form = _symmetric_form("matrix", matrix)
    constant = _constant(order)
    product = form
    for _ in range(order - 1):
        product = product @ cov @ form
    weighted = order * outer(mean, mean) + cov
    return constant * (product * weighted).sum(axis=(-2, -1))


def _constant(order):
    """2^{s-1} (s-1)!"""
    return float(2 ** (order - 1) * math.factorial(order - 1))


@gaussian_quadratic_cumulant.form("textbook")
def gaussian_quadratic_cumulant_textbook(matrix, mean, cov, /, *, order):
    """By the powers of A S, as they are written."""
    mean, cov = checked_moments(mean, cov)
    xp, form = namespace(cov), _symmetric_form("matrix", matrix)
    power = xp.eye(cov.shape[-1], dtype=cov.dtype)
    for _ in range(order - 1):
        power = power @ form @ cov
    trace = xp.trace(power @ form @ cov, axis1=-2, axis2=-1)
    square = (mean * matvec(power @ form, mean)).sum(axis=-1)
    return 2.0 ** (order - 1) * float(math.factorial(order - 1)) * (trace + order * square)


@gaussian_quadratic_cumulant.defvjp
def gaussian_quadratic_cumulant_vjp(g, matrix, mean, cov, /, *, order):
    """With w_j = (S A)^j mean and c = 2^{s-1} (s-1)! s: dA = c [S (A S)^{s-1} + sum w_j w_k^T]
    over j + k = s - 1, dcov = c [A (S A)^{s-1} + sum A w_j w_k^T A] over j + k = s - 2,
    dmean = 2 c A w_{s-1}."""
    mean, cov = checked_moments(mean, cov)
    form = _symmetric_form("matrix", matrix)
    scale = g * (order * _constant(order))
    product, dual = form, cov
    chain = [mean]
    for _ in range(order - 1):
        product, dual = product @ cov @ form, dual @ form @ cov
        chain.append(matvec(cov, matvec(form, chain[-1])))
    images = [matvec(form, w) for w in chain]
    dmatrix = dual + sum(map(outer, chain, reversed(chain)))
    dcov = product + sum(map(outer, images[:-1], reversed(images[:-1])))
    square = scale[..., None, None]
    return (
        square * symmetric_part(dmatrix),
        2 * scale[..., None] * images[-1],
        square * symmetric_part(dcov),
    )
