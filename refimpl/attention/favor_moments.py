"""Exact mean and mean square error of kernels that are estimated with random features."""

from __future__ import annotations

from typing import Literal

from refimpl.backend import finfo, namespace
from refimpl.formula import formula
from refimpl.formula.options import Count


@formula(
    "(d),(d)->(),()",
    differentiable=False,
    reason="it describes an estimator, whose draws do not depend on x and y",
    source="Choromanski et al. 2020 (arXiv:2009.14794), lemma 2 and theorem 2; archives/7921",
)
def favor_moments(
    x,
    y,
    /,
    *,
    kind: Literal["positive", "hyperbolic", "trigonometric", "fourier"],
    number: Count,
    projections: Literal["iid", "chi", "sqrt_d"],
):
    r"""Exact mean and mean square error of the kernel estimated by random features.

    Formula
    -------
    With m = number, t = |x + y|^2, D = |x - y|^2, c = exp(-|x|^2 - |y|^2) and independent
    projections,

    ===============  ============================  =============================================
    ``kind``         mean                          m times the mean square error
    ===============  ============================  =============================================
    "positive"       exp(x.y)                      :math:`c\,e^t (e^t - 1)`
    "hyperbolic"     exp(x.y)                      :math:`c\,(e^t - 1)^2/2`
    "trigonometric"  exp(x.y)                      :math:`(1 - e^{-D})^2/(2c)`
    "fourier"        exp(-D/2)                     :math:`(1 - e^{-D})^2/2`
    ===============  ============================  =============================================

    Two orthogonal rows with lengths drawn from chi(d) are correlated. Their sum is isotropic with
    the square length of 2d normal numbers, so that for f = sum over blocks of s(s - 1)/m^2 (s rows
    in a block) the error changes by

    .. math:: f c \left[ {}_1F_1(d; d/2; t/2) - e^t \right] \le 0
        \quad\text{or}\quad \frac{f}{c} \left[ {}_1F_1(d; d/2; -D/2) - e^{-D} \right]

    for exponentials and (without 1/c for "fourier") cosines. Rows of the fixed length sqrt d have
    the mean :math:`\sqrt c\,{}_0F_1(; d/2; d t/4) < e^{x y}`.

    Parameters
    ----------
    x, y : (..., d) the scaled query and key.
    kind : "positive", "hyperbolic", "trigonometric" or "fourier", of :func:`favor_features`.
    number : int. Projections (half of the features where a kind has two for each).
    projections : "iid", "chi" (orthogonal in blocks of d, chi(d) lengths) or "sqrt_d" (orthogonal,
        lengths sqrt d; with kind "positive").

    Returns
    -------
    mean (...), mean square error (...) about exp(x.y), or about exp(-D/2) for "fourier".

    Raises
    ------
    ValueError
        Unknown names; number < 1; "sqrt_d" with another kind than "positive".

    Conventions
    -----------
    The error is that of the kernel, not that of attention: there the quotient of two estimates is
    biased by O(1/m). The error includes the square of a bias.

    Breaks when
    -----------
    Exponentials of t overflow beyond t = 350 in float64 (44 in float32).

    References
    ----------
    Choromanski et al. 2020 (arXiv:2009.14794); https://kexue.fm/archives/7921. The correlation of
    orthogonal rows is exact here, where the paper has a bound.

    Examples
    --------
    >>> import refimpl
    >>> x, y = [0.5, 0.0], [0.5, 0.0]
    >>> mean, error = refimpl.favor_moments(x, y, kind="positive", number=8, projections="iid")
    >>> float(mean.round(6)), float(error.round(6))
    (1.284025, 0.354121)
    """
    share = 0.0 if projections == "iid" else _share_of_pairs(number, x.shape[-1])
    if kind in ("trigonometric", "fourier") and projections != "sqrt_d":
        return _cosines(x, y, kind, number, share)
    if kind == "positive" and projections == "sqrt_d":
        return _fixed_lengths(x, y, number, share)
    if kind in ("positive", "hyperbolic") and projections != "sqrt_d":
        return _exponentials(x, y, kind, number, share)
    raise ValueError(f"kind: no moments of {kind!r} are known with projections={projections!r}")


def _share_of_pairs(m: int, d: int) -> float:
    """The share of ordered pairs of rows that are two of one block."""
    full, rest = divmod(m, max(d, 1))
    return (full * d * (d - 1) + rest * (rest - 1)) / m**2


def _squares(x, y):
    """exp(-|x|^2 - |y|^2), |x + y|^2 and |x - y|^2."""
    total = (x * x).sum(axis=-1) + (y * y).sum(axis=-1)
    sums, gaps = x + y, x - y
    return namespace(x).exp(-total), (sums * sums).sum(axis=-1), (gaps * gaps).sum(axis=-1)


def _exponentials(x, y, kind, m, share):
    xp = namespace(x)
    c, t, _ = _squares(x, y)
    mean = xp.exp((x * y).sum(axis=-1))
    if kind == "positive":
        # c e^t is the square of the mean; e^2t alone overflows early.
        error = mean * mean * xp.expm1(t) / m
    else:
        error = (xp.sqrt(c) * xp.expm1(t)) ** 2 / (2 * m)
    if share:
        d = x.shape[-1]
        error = error + share * _excess(t, lambda i: (d + i) / (d + 2 * i), c)
    return mean, error


def _cosines(x, y, kind, m, share):
    xp = namespace(x)
    c, _, gap = _squares(x, y)
    decay = xp.expm1(-gap)
    error = decay * decay / (2 * m)
    if share:
        error = error + share * _cosine_pairs(gap, x.shape[-1])
    if kind == "fourier":
        return xp.exp(-gap / 2), error
    return xp.exp((x * y).sum(axis=-1)), error / c


def _cosine_pairs(gap, d):
    """1F1(d; d/2; -D/2) - exp(-D), never by a difference of large terms."""
    xp = namespace(gap)
    near = xp.minimum(gap, 1.0)
    small = _excess(-near, lambda i: (d + i) / (d + 2 * i), xp.ones_like(gap))
    # Kummer: exp(-D/2) 1F1(-d/2; d/2; D/2), whose terms are below exp(D/2).
    kummer = 1 + _excess(gap / 2, lambda i: (2 * i - d) / (2 * i + d), xp.exp(-gap / 2))
    return xp.where(gap < 1.0, small, kummer - xp.exp(-gap))


def _fixed_lengths(x, y, m, share):
    xp = namespace(x)
    c, t, _ = _squares(x, y)
    d = x.shape[-1]

    def ratio(i):
        return d / (d + 2 * i)

    # Means of one row, of the product of two, and of the square of one, less the exponentials.
    one = _excess(t / 2, ratio, xp.sqrt(c))
    two, square = (_excess(z, ratio, c) for z in (t, 2 * t))
    right = xp.exp((x * y).sum(axis=-1))
    excess = 2 * right * one + one * one
    variance = (right * right * xp.expm1(t) + square - excess) / m + share * (two - excess)
    return right + one, variance + one * one


def _excess(z, ratio, scale):
    """scale sum_k (r_k - 1) z^k / k! with r_k = ratio(0) ... ratio(k - 1): a series less exp(z)."""
    xp = namespace(z)
    term, total, factor, k = scale, xp.zeros_like(z), 1.0, 0
    largest = float(xp.abs(z).max()) if z.size else 0.0
    while k < largest or bool((xp.abs(term) > finfo(z).eps * xp.abs(total) / 8).any()):
        factor *= ratio(k)
        k += 1
        term = term * z / k
        total = total + (factor - 1.0) * term
        if k > 20_000:
            break
    return total
