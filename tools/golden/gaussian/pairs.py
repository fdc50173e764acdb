"""Pairs of Gaussians for the golden cases of divergences."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden.gaussian.samples import dense, graded

G1 = ([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]], [0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
G2 = (
    [1.0, 0.0, -1.0],
    [[1.0, 0.5, 0.0], [0.5, 1.25, 0.25], [0.0, 0.25, 0.75]],
    [0.0, 0.5, 0.5],
    [[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]],
)
G3 = ([0.0], [[1.0]], [1.0], [[4.0]])


def pairs():
    cases = {}
    for name, (mean_p, cov_p, mean_q, cov_q) in {"g1": G1, "g2": G2, "g3": G3}.items():
        cases[name] = (mean_p, cov_p, mean_q, cov_q)
        cases[name + "_reversed"] = (mean_q, cov_q, mean_p, cov_p)
    cases["same_covariance"] = (G1[0], G1[3], G1[2], G1[3])
    rng = np.random.default_rng(8512)
    cov = dense(rng, 4, 10.0)
    cases["near_equal_1e-8"] = _near(rng, cov, 1e-8)
    cases["near_equal_1e-4"] = _near(rng, cov, 1e-4)
    cases["on_the_seam"] = _near(rng, cov, 0.3)
    mean = 100 * rng.standard_normal(4)
    cases["far_apart"] = (mean, dense(rng, 4, 10.0) / 1024, np.zeros(4), cov)
    cases["dimension_9"] = _unrelated(rng, dense(rng, 9, 100.0), dense(rng, 9, 100.0))
    cases["graded_1e12"] = _unrelated(rng, graded(rng, 3, 1e12), graded(rng, 3, 1e12))
    cases["graded_1e12_near_equal"] = _near(rng, graded(rng, 3, 1e12), 1e-6)
    cases["dense_1e12"] = _near(rng, dense(rng, 3, 1e12), 0.5)
    return {name: (tuple(map(np.array, arrays)), {}) for name, arrays in cases.items()}


def _unrelated(rng, cov_p, cov_q):
    mean_q = rng.standard_normal(len(cov_q))
    mean_p = mean_q + np.linalg.cholesky(cov_q) @ rng.standard_normal(len(cov_q))
    return mean_p, cov_p, mean_q, cov_q


def _near(rng, cov, difference):
    """q, and a p that differs from it by about ``difference`` in q's own units."""
    factor = np.linalg.cholesky(cov)
    change = rng.standard_normal(cov.shape) / len(cov)
    cov_p = cov + difference * factor @ (change + change.T) @ factor.T
    mean = rng.standard_normal(len(cov))
    mean_p = mean + difference * factor @ rng.standard_normal(len(cov))
    return mean_p, (cov_p + cov_p.T) / 2, mean, cov


def ratios(cov_p, cov_q):
    """The eigenvalues of S_q^{-1} S_p, from nested lists of mpf."""
    inverse = mpmath.inverse(mpmath.cholesky(mpmath.matrix(cov_q)))
    whitened = inverse * mpmath.matrix(cov_p) * inverse.T
    return mpmath.eigsy((whitened + whitened.T) / 2, eigvals_only=True)


def whitened(mean_p, cov_p, mean_q, cov_q):
    """The eigenvalues of S_q^{-1} S_p, and delta in the coordinates where S_q is the identity and
    S_p is diagonal."""
    inverse = mpmath.inverse(mpmath.cholesky(mpmath.matrix(cov_q)))
    image = inverse * mpmath.matrix(cov_p) * inverse.T
    eigenvalues, basis = mpmath.eigsy((image + image.T) / 2)
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    return list(eigenvalues), list(basis.T * (inverse * delta))
