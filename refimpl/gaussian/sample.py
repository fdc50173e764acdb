"""Moments of a sample."""

from __future__ import annotations

import math

from refimpl.core import require_finite
from refimpl.formula import formula
from refimpl.formula.options import Natural
from refimpl.gaussian.parametrisation import gram


@formula(
    "(n,d)->(d),(d,d)",
    source="Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance, eq. 1.7",
)
def sample_moments(x, /, *, ddof: Natural):
    r"""Mean and covariance of a sample: observations in rows.

    Formula
    -------
    .. math:: m = \frac1n \sum_i x_i, \qquad
        C = \frac{1}{n - \mathrm{ddof}} \sum_i (x_i - m)(x_i - m)^T

    Parameters
    ----------
    x : (..., n, d), n observations of d coordinates.
    ddof : 1 for the unbiased estimate, 0 for the maximum of the likelihood; any whole number from 0
        to n - 1. It has no default.

    Returns
    -------
    mean : (..., d), in the unit of x.
    cov : (..., d, d), exactly symmetric, in that unit squared; singular where n - 1 < d.

    Raises
    ------
    ValueError
        n <= ddof (a single observation has no unbiased covariance); a ddof that is no whole number
        or negative; NaN or infinity; d = 0.

    Conventions
    -----------
    ddof = 1: numpy.cov, torch.cov, pandas, and every FID (pytorch-fid, clean-fid, torch-fidelity,
    torchmetrics). ddof = 0: POT's empirical_* functions (which also add 1e-6 to the diagonal), and
    scikit-learn's empirical_covariance. numpy.cov and torch.cov want coordinates in rows unless
    told rowvar=False, or transposed.

    Breaks when
    -----------
    What the mean exceeds the deviation by is lost to rounding in x itself, once: the mean is
    subtracted before anything is squared, and what its rounding left is subtracted again. Code that
    accumulates sums of x x^T (torchmetrics, streaming code) loses that factor twice.

    References
    ----------
    Chan, Golub & LeVeque, The American Statistician 37, 1983; tqch/ddpm-torch issue 11 (ddof).

    Examples
    --------
    >>> import refimpl
    >>> refimpl.sample_moments([[1.0], [2.0], [6.0]], ddof=1)
    (array([3.]), array([[7.]]))
    """
    mean, factor = _mean_and_factor(x, ddof)
    return mean, gram(factor.swapaxes(-1, -2))


def _mean_and_factor(x, ddof):
    """The mean, and the centred rows over sqrt(n - ddof), whose squares cannot overflow alone."""
    require_finite("x", x)
    n, d = x.shape[-2:]
    if d == 0:
        raise ValueError(f"x: expected at least one dimension, got shape {x.shape}")
    if n <= ddof:
        raise ValueError(f"x: expected more than ddof = {ddof} observations, got {n}")
    mean = x.mean(axis=-2, keepdims=True)
    centred = x - mean
    # The mean was rounded: what is left of it would enter the covariance squared.
    rest = centred.mean(axis=-2, keepdims=True)
    return (mean + rest)[..., 0, :], (centred - rest) / math.sqrt(n - ddof)


@sample_moments.defvjp
def sample_moments_vjp(g, x, /, *, ddof):
    """dx_i = g_m / n + (G + G^T)(x_i - m) / (n - ddof)."""
    dmean, dcov = g
    _, factor = _mean_and_factor(x, ddof)
    n = x.shape[-2]
    through_cov = factor @ (dcov + dcov.swapaxes(-1, -2)) / math.sqrt(n - ddof)
    return (dmean[..., None, :] / n + through_cov,)
