"""Second definitions of transport costs: roots of the eigenvalues of the covariances' product."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import SPECTRAL, golden
from tools.golden.gaussian.pairs import G1, G2, G3
from tools.golden.gaussian.samples import dense, graded


def covariance_pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Positive definite pairs, near and far, well and badly conditioned."""
    rng = np.random.default_rng(1982)
    base, fine = dense(rng, 3, 10.0), graded(rng, 3, 1e12)
    return {
        **{n: (np.array(g[1]), np.array(g[3])) for n, g in (("g1", G1), ("g2", G2), ("g3", G3))},
        "near_equal_1e-8": (near(rng, base, 1e-8), base),
        "near_equal_1e-4": (near(rng, base, 1e-4), base),
        "on_the_seam": (near(rng, base, 1.0), base),
        "unlike_sizes": (dense(rng, 3, 10.0) / 2**20, base),
        "dimension_6": (dense(rng, 6, 100.0), dense(rng, 6, 100.0)),
        "graded_1e12": (graded(rng, 3, 1e12), fine),
        "graded_1e12_near_equal_1e-8": (near(rng, fine, 1e-8), fine),
        "dense_1e8": (dense(rng, 3, 1e8), dense(rng, 3, 1e8)),
    }


def near(rng, cov, difference):
    """A covariance that differs from this one by about ``difference``, in its own units."""
    factor = np.linalg.cholesky(cov)
    change = rng.standard_normal(cov.shape) / len(cov) / 4
    moved = cov + difference * factor @ (change + change.T) @ factor.T
    return (moved + moved.T) / 2


def with_means() -> dict[str, tuple]:
    rng = np.random.default_rng(1984)
    cases = {}
    for name, (cov_p, cov_q) in covariance_pairs().items():
        mean_q = rng.standard_normal(len(cov_q))
        step = 1e-8 if "1e-8" in name else 1.0
        mean_p = mean_q + step * np.linalg.cholesky(cov_q) @ rng.standard_normal(len(cov_q))
        cases[name] = (mean_p, cov_p, mean_q, cov_q)
    cases |= {n: tuple(map(np.array, g)) for n, g in (("g1", G1), ("g2", G2), ("g3", G3))}
    cases["one_dimension"] = tuple(map(np.array, ([0.0], [[1.0]], [10.0], [[1.0]])))
    return {name: (arrays, {}) for name, arrays in cases.items()}


def trace(matrix):
    return mpmath.fsum(matrix[i, i] for i in range(matrix.rows))


def trace_of_root(product):
    """tr X^{1/2}, for X with real eigenvalues none of which is negative."""
    eigenvalues = mpmath.eig(product, left=False, right=False)
    return mpmath.fsum(mpmath.sqrt(abs(mpmath.re(x))) for x in eigenvalues)


@golden(
    "bures_squared",
    lambda: {name: (pair, {}) for name, pair in covariance_pairs().items()},
    beyond={
        "graded_1e12": SPECTRAL,
        "unlike_sizes": SPECTRAL,
    },
)
def bures(cov_p, cov_q):
    cov_p, cov_q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    return trace(cov_p) + trace(cov_q) - 2 * trace_of_root(cov_p * cov_q)


@golden("wasserstein_squared", with_means)
def squared(mean_p, cov_p, mean_q, cov_q):
    gap = mpmath.fsum((a - b) ** 2 for a, b in zip(mean_p, mean_q, strict=True))
    return gap + bures(cov_p, cov_q)


@golden("wasserstein_distance", with_means)
def distance(mean_p, cov_p, mean_q, cov_q):
    return mpmath.sqrt(squared(mean_p, cov_p, mean_q, cov_q))


def _factors():
    rng = np.random.default_rng(27)
    wide = rng.standard_normal((3, 5))
    triangle = np.linalg.cholesky(dense(rng, 3, 10.0))
    cases = {
        "square": (rng.standard_normal((3, 3)), triangle),
        "wide_and_narrow": (wide, rng.standard_normal((3, 2))),
        "both_wide": (wide, rng.standard_normal((3, 4))),
        "lines": (np.array([[1.0], [2.0], [0.0]]), np.array([[1.0], [-1.0], [2.0]])),
        "near_equal_1e-8": (triangle + 1e-8 * rng.standard_normal((3, 3)), triangle),
        "near_equal_of_rank_2": (wide[:, :2] + 1e-8 * rng.standard_normal((3, 2)), wide[:, :2]),
        "graded": (np.diag([1.0, 1e-3, 1e-6]) @ wide, np.diag([1.0, 1e-3, 1e-6]) @ triangle),
    }
    return {name: (pair, {}) for name, pair in cases.items()}


@golden("bures_squared_factor", _factors)
def bures_of_factors(factor_p, factor_q):
    """By the eigenvalues of (S_p^T S_q)^T (S_p^T S_q), on the smaller side."""
    factor_p, factor_q = mpmath.matrix(factor_p), mpmath.matrix(factor_q)
    product = factor_p.T * factor_q
    gram = product.T * product if product.cols <= product.rows else product * product.T
    return (
        mpmath.fsum(x**2 for x in factor_p)
        + mpmath.fsum(x**2 for x in factor_q)
        - 2 * (mpmath.fsum(mpmath.sqrt(abs(x)) for x in mpmath.eigsy(gram, eigvals_only=True)))
    )
