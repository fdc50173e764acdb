"""Moments of estimated kernels by integrals over the lengths of the projections."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

from tools.golden import golden


def _cases():
    rng = np.random.default_rng(7921)
    x, y = 0.4 * rng.standard_normal((2, 4))
    cases = {}
    for kind in ("positive", "hyperbolic", "trigonometric", "fourier"):
        for projections, number in (("iid", 5), ("chi", 4), ("chi", 7)):
            options = {"kind": kind, "projections": projections, "number": number}
            cases[f"{kind} {projections} {number}"] = ((x, y), options)
    cases["fixed lengths"] = (
        (x, y),
        {"kind": "positive", "projections": "sqrt_d", "number": 6},
    )
    far = {"kind": "trigonometric", "projections": "chi", "number": 4}
    return cases | {"far apart": ((4.0 * x, -3.0 * y), far)}


def _dot(x, y):
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def _over_directions(square, d):
    """The mean of exp(u.z) over unit vectors u in d dimensions; square = |z|^2, may be negative."""
    return mpmath.hyp0f1(mpf(d) / 2, square / 4)


def _over_lengths(square, d, freedom):
    """The mean of exp(r u.z) for a length r with the law of chi(freedom)."""

    def density(r):
        log = (freedom - 1) * mpmath.log(r) - r * r / 2
        return mpmath.exp(log - (mpf(freedom) / 2 - 1) * mpmath.log(2)) / mpmath.gamma(
            mpf(freedom) / 2
        )

    # Far enough for 50 digits; the integrand grows no faster than exp(r |z|).
    ends = [0, 2, 5, 10, 20, 40]
    return mpmath.quad(lambda r: density(r) * _over_directions(r * r * square, d), ends)


def _row_moments(square, d, projections):
    """Means of exp(w.z), of exp(2 w.z), and of exp(w.z + w'.z) for two rows of one block."""
    if projections == "sqrt_d":
        return tuple(_over_directions(factor * d * square, d) for factor in (1, 4, 2))
    two_rows = _over_lengths(square, d, 2 * d)
    return _over_lengths(square, d, d), _over_lengths(4 * square, d, d), two_rows


def _pairs_in_blocks(m, d, projections):
    if projections == "iid":
        return 0
    return sum(1 for a in range(m) for b in range(m) if a != b and a // d == b // d)


@golden("favor_moments", _cases)
def favor_moments(x, y, kind, number, projections):
    d, m = len(x), number
    total = _dot(x, x) + _dot(y, y)
    dot = _dot(x, y)
    sign = 1 if kind in ("positive", "hyperbolic") else -1
    # cos(w.z) is the real part of exp(i w.z): minus the square of z.
    square = sign * (total + 2 * sign * dot)
    one, twice, two_rows = _row_moments(square, d, projections)
    height = {"positive": -1, "hyperbolic": -1, "trigonometric": 1, "fourier": 0}[kind]
    scale = mpmath.exp(height * total / 2)
    # The mean square of one row: exp, or its even part cosh or cos.
    own = twice if kind == "positive" else (1 + twice) / 2
    inside = _pairs_in_blocks(m, d, projections)
    across = m * (m - 1) - inside
    mean_square = scale**2 * (m * own + inside * two_rows + across * one**2) / mpf(m) ** 2
    right = mpmath.exp(dot) if height else mpmath.exp(square / 2)
    mean = scale * one
    return mean, mean_square - 2 * right * mean + right**2
