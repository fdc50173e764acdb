"""Frechet distance between two sets of samples, as FID computes it from features."""

from __future__ import annotations

from typing import Literal

from refimpl.core import require_finite, symmetric_part
from refimpl.formula import formula
from refimpl.gaussian.transport import aligned_gap, bures_squared_textbook


@formula(
    "(n,d),(m,d)->()",
    source="Dowson & Landau 1982; Heusel et al. 2017 (FID)",
    differentiable=("x", "y"),
)
def frechet_distance(x, y, /, *, ddof: Literal[0, 1]):
    r"""Frechet distance (FID) of two sets of samples: W_2^2 of Gaussians with their moments.

    Formula
    -------
    .. math:: \mathrm{FD} = |\bar x - \bar y|^2 + |S_x|_F^2 + |S_y|_F^2 - 2 |S_x^T S_y|_*, \qquad
        S_x = (x - \bar x)^T / \sqrt{n - \mathrm{ddof}}

    The centred samples are factors of their covariances, so that none is formed, and no matrix
    square root is taken: see :func:`bures_squared_factor`. Fewer samples than dimensions are
    nothing special.

    Parameters
    ----------
    x : (..., n, d) samples in rows, in some unit; n >= 2.
    y : (..., m, d) samples of the other distribution, in the unit of x; m >= 2.
    ddof : {0, 1} covariances have the divisor n - ddof, and m - ddof.

    Returns
    -------
    (...), in the unit squared; never negative, exactly 0 for equal arguments.

    Raises
    ------
    ValueError
        Fewer than two samples; d = 0; NaN or infinity; another ddof.

    Conventions
    -----------
    The square, as everywhere for FID. The divisor has no default: pytorch-fid, clean-fid,
    torch-fidelity and torchmetrics have ddof = 1 (NumPy's ``cov``), POT's ``empirical_`` functions
    0, and those add 1e-6 to the variances. From given moments this is :func:`wasserstein_squared`.
    The value depends on the number of samples: its mean over equal populations is positive, and
    falls like 1/n. With d > n its gradient is that of the features within what the samples span.

    Breaks when
    -----------
    Code that takes the root of the product of the covariances finds roots of rounding errors in
    each null direction, some negative and some imaginary: with n < d it errs by 1e-8 of the trace
    at best, and fails at worst. Here the error is that of rounding the samples. Sums of products
    that are centred later lose the square of mean over deviation. ``form="textbook"`` forms the
    covariances and cancels near equality.

    References
    ----------
    Dowson & Landau, The Frechet distance between multivariate normal distributions, 1982; Heusel et
    al., GANs trained by a two time-scale update rule, 2017; Chong & Forsyth 2020 for the bias.

    Examples
    --------
    >>> import refimpl
    >>> x, y = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [2.0, 2.0]]
    >>> round(float(refimpl.frechet_distance(x, y, ddof=1)), 12)
    2.857265589908
    """
    delta, *factors_and_difference = _moments(x, y, ddof)
    gap, _, _ = aligned_gap(*factors_and_difference)
    return (delta * delta).sum(axis=-1) + (gap * gap).sum(axis=(-2, -1))


def _moments(x, y, ddof):
    """The difference of the means, the factors of the covariances, and these' difference."""
    for name, samples in (("x", x), ("y", y)):
        if samples.shape[-2] < 2 or samples.shape[-1] == 0:
            raise ValueError(
                f"{name}: expected at least 2 samples and a dimension, got shape {samples.shape}"
            )
        require_finite(name, samples)
    # Far from the origin these differences are exact, and the means of what is left are too.
    origin = x[..., :1, :]
    mean_x, factor_x = _mean_and_factor(x - origin, ddof)
    mean_y, factor_y = _mean_and_factor(y - origin, ddof)
    if x.shape[-2] != y.shape[-2]:
        difference = factor_x @ factor_x.swapaxes(-1, -2) - factor_y @ factor_y.swapaxes(-1, -2)
        return mean_x - mean_y, factor_x, factor_y, difference
    # Sample by sample: where x is near y, the steps between them are what has its digits.
    delta, step = _mean_and_factor(x - y, ddof)
    difference = symmetric_part(step @ (factor_x + factor_y).swapaxes(-1, -2))
    return delta, factor_x, factor_y, difference


def _mean_and_factor(samples, ddof):
    mean = samples.mean(axis=-2)
    centred = samples - mean[..., None, :]
    return mean, centred.swapaxes(-1, -2) * (samples.shape[-2] - ddof) ** -0.5


@frechet_distance.form("textbook", loses="large terms cancel")
def frechet_distance_textbook(x, y, /, *, ddof):
    """With covariances and their square roots by eigenvalues; cancels near equality."""
    delta, factor_x, factor_y, _ = _moments(x, y, ddof)
    covs = (s @ s.swapaxes(-1, -2) for s in (factor_x, factor_y))
    return (delta * delta).sum(axis=-1) + bures_squared_textbook(*covs)


@frechet_distance.defvjp
def frechet_distance_vjp(g, x, y, /, *, ddof):
    """With a = S_x W and b = S_y V aligned: every x has 2 delta/n, and its row of
    2 W (a - b)^T/sqrt(n - ddof), centred; y the opposite with m and V."""
    delta, *factors_and_difference = _moments(x, y, ddof)
    gap, w, v = aligned_gap(*factors_and_difference)

    def in_samples(sign, turned, count):
        rows = turned @ gap.swapaxes(-1, -2) * (count - ddof) ** -0.5
        mean = delta[..., None, :] / count
        return 2 * sign * g[..., None, None] * (rows - rows.mean(axis=-2, keepdims=True) + mean)

    return in_samples(1, w, x.shape[-2]), in_samples(-1, v, y.shape[-2])
