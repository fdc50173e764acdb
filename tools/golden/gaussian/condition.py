"""Second definitions: conditioning by joint precisions, products by sums of precisions."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs
from tools.golden.gaussian.samples import dense, graded


def _conditionals():
    rng = np.random.default_rng(2006)
    joints = {
        "g1": (np.array([[2.0, 1.0], [1.0, 2.0]]), 1),
        "g2": (np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4, 1),
        "two_of_five": (dense(rng, 5, 30.0), 2),
        "three_of_four": (dense(rng, 4, 30.0), 3),
        "graded_1e12": (graded(rng, 4, 1e12), 2),
        "nearly_determined": (dense(rng, 3, 1e6), 1),
    }
    cases = {}
    for name, (joint, a) in joints.items():
        mean = rng.standard_normal(len(joint))
        x = mean + np.linalg.cholesky(joint) @ rng.standard_normal(len(joint))
        blocks = joint[:a, :a], joint[:a, a:], joint[a:, a:]
        cases[name] = ((mean[:a], mean[a:], *blocks, x[a:]), {})
    return cases


@golden("gaussian_conditional", _conditionals)
def conditional(mean_a, mean_b, cov_aa, cov_ab, cov_bb, x_b):
    """Joint precision [[P, Q], [Q^T, R]]: covariance P^{-1}, mean m_a - P^{-1} Q (x_b - m_b)"""
    a, b = len(mean_a), len(mean_b)
    rows = [[*cov_aa[i], *cov_ab[i]] for i in range(a)]
    rows += [[*(cov_ab[i][j] for i in range(a)), *cov_bb[j]] for j in range(b)]
    precision = mpmath.inverse(mpmath.matrix(rows))
    cov = mpmath.inverse(precision[:a, :a])
    gap = mpmath.matrix([x - m for x, m in zip(x_b, mean_b, strict=True)])
    mean = mpmath.matrix(mean_a) - cov * (precision[:a, a:] * gap)
    return list(mean), cov.tolist()


@golden("gaussian_product", pairs)
def product(mean_p, cov_p, mean_q, cov_q):
    """The weight from the three normalisations: it makes the product right at x = 0."""
    d = len(mean_p)
    a, b = mpmath.matrix(mean_p), mpmath.matrix(mean_q)
    p, q = mpmath.inverse(mpmath.matrix(cov_p)), mpmath.inverse(mpmath.matrix(cov_q))
    cov = mpmath.inverse(p + q)
    mean = cov * (p * a + q * b)

    def log_density_at_zero(m, precision):
        squares = (m.T * precision * m)[0]
        return (mpmath.log(mpmath.det(precision) / (2 * mpmath.pi) ** d) - squares) / 2

    weight = log_density_at_zero(a, p) + log_density_at_zero(b, q)
    return weight - log_density_at_zero(mean, p + q), list(mean), cov.tolist()


def _tangents():
    rng = np.random.default_rng(1984)
    covs = {
        "g1": np.array([[2.0, 1.0], [1.0, 2.0]]),
        "g2": np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,
        "one": np.array([[4.0]]),
        "dimension_5": dense(rng, 5, 100.0),
        "graded_1e12": graded(rng, 3, 1e12),
    }
    cases = {}
    for name, cov in covs.items():
        unit = np.sqrt(np.diag(cov))
        change = rng.standard_normal(cov.shape) * unit[:, None] * unit
        cases[name] = ((rng.standard_normal(len(cov)) * unit, (change + change.T) / 2, cov), {})
    # The diagonal metric: a variance of 4 that changes by 0.2, one of 1 that changes by 0.1.
    cases["variances"] = ((np.zeros(2), np.diag([0.1, 0.2]), np.diag([1.0, 4.0])), {})
    return cases


@golden("fisher_information_metric", _tangents)
def information(tangent_mean, tangent_cov, cov):
    precision = mpmath.inverse(mpmath.matrix(cov))
    v = mpmath.matrix(tangent_mean)
    change = precision * mpmath.matrix(tangent_cov)
    square = change * change
    trace = mpmath.fsum(square[i, i] for i in range(len(tangent_mean)))
    return (v.T * precision * v)[0] + trace / 2
