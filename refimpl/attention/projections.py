"""Projections for random features: independent, orthogonal, and with chosen lengths."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from refimpl.backend import draw, namespace, qr
from refimpl.formula import formula


@formula(
    "(b,d,d),(m)->(m,d)",
    differentiable=False,
    reason="projections are drawn once and not trained",
    source="Choromanski et al. 2020 (arXiv:2009.14794), section 2.4; Mezzadri 2007 (Haar measure)",
)
def orthogonal_projections(gaussians, lengths, /):
    r"""Rows that are orthogonal within blocks of d, uniformly distributed, and of given lengths.

    Formula
    -------
    .. math:: X_b = Q_b R_b \text{ with } R_{b,ii} \ge 0, \qquad
        w_f = \ell_f \, (\text{row } f \bmod d \text{ of } Q_{\lfloor f / d \rfloor})

    Parameters
    ----------
    gaussians : (..., b, d, d) entries drawn from N(0, 1), one square for each block.
    lengths : (..., m) of the rows, m <= b d; the last rows of the last block are left out.

    Returns
    -------
    (..., m, d)

    Raises
    ------
    ValueError
        More rows than the blocks have.

    Conventions
    -----------
    The signs of the columns of Q make the diagonal of R positive: only then is Q uniform on the
    orthogonal group. LAPACK's Q, which released codes take as it is, has its first entry always
    below 0, and kernels estimated with it are biased: at x + y = t e_1 and m = d the mean is
    (1 - erf(t/sqrt 2)/d) of the right one. Signs on the rows (xformers) remove the bias of the
    mean, but not all of it. Lengths: independent chi(d) draws make every row normal ("unbiased");
    sqrt d is the "regularised" choice of the paper.

    Breaks when
    -----------
    A block whose columns are dependent, which a normal draw never is.

    References
    ----------
    Choromanski et al. 2020 (arXiv:2009.14794); Mezzadri 2007 (arXiv:math-ph/0609050);
    google-research/google-research issue 436; idiap/fast-transformers issue 87.

    Examples
    --------
    >>> import refimpl
    >>> refimpl.orthogonal_projections([[[3.0, 0.0], [4.0, 1.0]]], [1.0, 5.0]).round(12).tolist()
    [[0.6, -0.8], [4.0, 3.0]]
    """
    b, d = gaussians.shape[-3:-1]
    m = lengths.shape[-1]
    if m > b * d:
        raise ValueError(f"lengths: expected at most b d = {b * d} rows, got {m}")
    basis, _ = qr(gaussians)
    rows = basis.reshape((*basis.shape[:-3], b * d, d))[..., :m, :]
    return lengths[..., None] * rows


LENGTHS = ("chi", "sqrt_d", "stratified")


def sample_projections(
    rng: Any,
    m: int,
    d: int,
    *,
    orthogonal: bool = True,
    lengths: str = "chi",
    like: Any = None,
) -> Any:
    """m rows of d, from a numpy.random.Generator: normal ones, or orthogonal within blocks of d.

    ``lengths`` are those of orthogonal rows: "chi" (chi(d) draws: each row is normal), "sqrt_d", or
    "stratified" (:func:`stratified_lengths`). Drawn on the host in float64, moved next to ``like``.
    """
    if not orthogonal:
        return draw(rng, "standard_normal", (m, d), like)
    if lengths not in LENGTHS:
        raise ValueError(f"lengths: expected one of {list(LENGTHS)}, got {lengths!r}")
    gaussians = draw(rng, "standard_normal", (-(-m // d), d, d), like)
    if lengths == "chi":
        sizes = draw(rng, "chisquare", (m,), like, df=d) ** 0.5
    elif lengths == "sqrt_d":
        sizes = namespace(like).full((m,), math.sqrt(d))
    else:
        sizes = namespace(gaussians).asarray(stratified_lengths(m, d))
    return orthogonal_projections(gaussians, sizes)


def stratified_lengths(m: int, d: int) -> list[float]:
    """The quantiles i/(m + 1), i = 1 ... m, of chi(d): lengths without chance (archives/7921)."""
    return [math.sqrt(_chi_squared_quantile(i / (m + 1), d)) for i in range(1, m + 1)]


def _chi_squared_quantile(probability: float, d: int) -> float:
    """By Newton steps on the distribution function."""
    # Wilson and Hilferty: the cube root of a chi-squared variable is nearly normal.
    normal = NormalDist().inv_cdf(probability)
    square = d * max(1 - 2 / (9 * d) + normal * math.sqrt(2 / (9 * d)), 0.05) ** 3
    for _ in range(60):
        density = math.exp(_log_power(square / 2, d / 2 - 1)) / 2
        step = (_chi_squared_cdf(square, d) - probability) / density
        # A step over the origin is halved until it stays on this side.
        square = square - step if step < square else square / 2
        if abs(step) <= 1e-15 * square:
            break
    return square


def _log_power(z: float, a: float) -> float:
    """log of z^a e^-z / Gamma(a + 1)."""
    return a * math.log(z) - z - math.lgamma(a + 1)


def _chi_squared_cdf(square: float, d: int) -> float:
    """The regularised incomplete gamma function, by its series of positive terms."""
    z, a, total, count = square / 2, d / 2, 0.0, 0
    term = math.exp(_log_power(z, a))
    while term > 1e-18 * total:
        total += term
        count += 1
        term *= z / (a + count)
    return total
