"""Second definitions: mean norms by special functions, and by integrals over the distance."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense, graded


def _numbers():
    rows = {
        "g3": (0.0, 1.0, 1.0, 4.0),
        "g3_reversed": (1.0, 4.0, 0.0, 1.0),
        "same_variance": (2.0, 3.0, 0.5, 3.0),
        "same_mean": (1.0, 9.0, 1.0, 16.0),
        "near_equal_1e-8": (1.0 + 1e-8, 2.0, 1.0, 2.0 + 3e-8),
        "near_equal_1e-4": (1.0 + 1e-4, 2.0, 1.0, 2.0 + 3e-4),
        "far_apart": (50.0, 0.25, -30.0, 2.0),
        "wide_and_narrow": (0.0, 1e-12, 1e-3, 1e12),
    }
    return {name: (tuple(map(np.array, row)), {}) for name, row in rows.items()}


@golden("energy_distance_univariate", _numbers)
def numbers(mean_p, variance_p, mean_q, variance_q):
    def mean_size(mean, variance):
        s = mpmath.sqrt(variance)
        folded = s * mpmath.sqrt(2 / mpmath.pi) * mpmath.exp(-(mean**2) / (2 * variance))
        return folded + mean * mpmath.erf(mean / (s * mpmath.sqrt(2)))

    between = mean_size(mean_p - mean_q, variance_p + variance_q)
    return (
        2 * between
        - mean_size(mpmath.mpf(0), 2 * variance_p)
        - mean_size(mpmath.mpf(0), 2 * variance_q)
    )


def _spheres():
    rng = np.random.default_rng(2013)
    cases = {}
    for name, d, difference, distance in (
        ("plane", 2, 1.0, 1.0),
        ("space", 3, 0.5, 2.0),
        ("dimension_9", 9, 3.0, 1.0),
        ("near_equal_1e-8", 4, 1e-8, 1e-8),
        ("same_mean", 3, 2.0, 0.0),
        ("same_variance", 3, 0.0, 1.0),
        ("far_apart", 2, 1.0, 40.0),
    ):
        mean = rng.standard_normal(d)
        moved = mean + distance * rng.standard_normal(d)
        cases[name] = ((moved, np.array(1.5 * (1 + difference)), mean, np.array(1.5)), {})
    return cases


@golden("energy_distance_isotropic", _spheres)
def spheres(mean_p, variance_p, mean_q, variance_q):
    d = mpmath.mpf(len(mean_p))
    squares = mpmath.fsum((a - b) ** 2 for a, b in zip(mean_p, mean_q, strict=True))

    def mean_norm(square, variance):
        constant = mpmath.sqrt(2 * variance) * mpmath.gammaprod([(d + 1) / 2], [d / 2])
        return constant * mpmath.hyp1f1(-mpmath.mpf(1) / 2, d / 2, -square / (2 * variance))

    between = mean_norm(squares, variance_p + variance_q)
    return 2 * between - mean_norm(0, 2 * variance_p) - mean_norm(0, 2 * variance_q)


def _pairs():
    rng = np.random.default_rng(2014)
    two = (np.array([0.5, 1.0]), np.array([[2.0, 1.0], [1.0, 2.0]]))
    g1 = (np.array([1.0, 2.0]), two[1], np.zeros(2), np.diag([1.0, 4.0]))
    g2 = (
        np.array([1.0, 0.0, -1.0]),
        np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,
        np.array([0.0, 0.5, 0.5]),
        np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]]),
    )
    cov = dense(rng, 3, 10.0)
    change = rng.standard_normal((3, 3))
    near = cov + 1e-8 * (change + change.T)
    mean = rng.standard_normal(3)
    cases = {
        "g1": g1,
        "g1_reversed": (*g1[2:], *g1[:2]),
        "g2": g2,
        "near_equal_1e-8": (mean + 1e-8 * rng.standard_normal(3), near, mean, cov),
        "same_covariance": (mean + 1.0, cov, mean, cov),
        "same_mean": (mean, 3 * cov + np.eye(3) / 4, mean, cov),
        "far_apart": (mean + 20.0, cov / 64, mean, cov),
        "graded_1e12": (
            np.array([1.0, 1e-3, 1e-6]),
            graded(rng, 3, 1e12),
            np.zeros(3),
            2 * graded(rng, 3, 1e12),
        ),
    }
    return {name: (arrays, {}) for name, arrays in cases.items()}


def _mean_norm(mean, cov):
    """E|z| as the integral of (1 - E exp(-u^2 |z|^2))/(sqrt(pi) u^2) over u > 0, in the eigenbasis:
    the Gauss-Legendre rule on intervals that double, with 1/u beyond the last."""
    d = len(mean)
    values, vectors = mpmath.eigsy(mpmath.matrix(cov))
    turned = vectors.T * mpmath.matrix(mean)
    smallest, largest = min(values), max(values) + mpmath.fsum(m**2 for m in mean)

    def integrand(u):
        total = mpmath.mpf(0)
        for i in range(d):
            damping = 1 + 2 * u * u * values[i]
            total += u * u * turned[i] ** 2 / damping + mpmath.log(damping) / 2
        return -mpmath.expm1(-total) / u**2

    start, end = 1 / mpmath.sqrt(8 * largest), 4 / mpmath.sqrt(smallest)
    cuts = [mpmath.mpf(0), start]
    while cuts[-1] < end:
        cuts.append(2 * cuts[-1])
    inner = mpmath.quad(integrand, cuts, method="gauss-legendre")
    outer = mpmath.quad(
        lambda w: integrand(1 / w) / w**2, [0, 1 / cuts[-1]], method="gauss-legendre"
    )
    return (inner + outer) / mpmath.sqrt(mpmath.pi)


@golden(
    "energy_distance",
    _pairs,
    beyond={
        "same_mean": (4.0, "a sum over nodes of a quadrature, each rounded"),
        "g1": (4.0, "a sum over nodes of a quadrature, each rounded"),
        "g1_reversed": (4.0, "a sum over nodes of a quadrature, each rounded"),
    },
)
def general(mean_p, cov_p, mean_q, cov_q):
    def added(first, second):
        rows = zip(first, second, strict=True)
        return [[a + b for a, b in zip(*row, strict=True)] for row in rows]

    delta = [a - b for a, b in zip(mean_p, mean_q, strict=True)]
    nothing = [0 * x for x in delta]
    between = _mean_norm(delta, added(cov_p, cov_q))
    within = _mean_norm(nothing, added(cov_p, cov_p)) + _mean_norm(nothing, added(cov_q, cov_q))
    return 2 * between - within
