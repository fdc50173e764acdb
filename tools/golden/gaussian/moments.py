"""Second definitions: moments from Isserlis' theorem, cumulants from a generating function."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense, graded

_G1 = (np.array([1.0, 2.0]), np.array([[2.0, 1.0], [1.0, 2.0]]))
_G2 = (
    np.array([1.0, 0.0, -1.0]),
    np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,
)


def _gaussians():
    rng = np.random.default_rng(1918)
    return {
        "g1": _G1,
        "g2": _G2,
        "g3": (np.array([1.0]), np.array([[4.0]])),
        "centred": (np.zeros(3), dense(rng, 3, 10.0)),
        "dimension_4": (rng.standard_normal(4), dense(rng, 4, 100.0)),
        "graded_1e12": (np.geomspace(1, 1e-6, 3), graded(rng, 3, 1e12)),
        "singular": (np.array([1.0, -1.0]), np.ones((2, 2))),
    }


def _with_matrices(count, option=None):
    rng = np.random.default_rng(1992)
    cases = {}
    for index, (name, (mean, cov)) in enumerate(_gaussians().items()):
        d = len(mean)
        matrices = [np.eye(d) + rng.standard_normal((d, d)) for _ in range(count)]
        options = {} if option is None else {"order": option[index % len(option)]}
        cases[name] = ((*matrices, mean, cov), options)
    return cases


@golden("gaussian_second_moment", lambda: {name: (p, {}) for name, p in _gaussians().items()})
def second_moment(mean, cov):
    d = len(mean)
    return [[mean[i] * mean[j] + cov[i][j] for j in range(d)] for i in range(d)]


@golden("gaussian_quadratic_mean", lambda: _with_matrices(1))
def quadratic_mean(matrix, mean, cov):
    d = len(mean)
    moment = second_moment(mean, cov)
    return mpmath.fsum(matrix[i][j] * moment[i][j] for i in range(d) for j in range(d))


@golden("gaussian_quadratic_covariance", lambda: _with_matrices(2))
def quadratic_covariance(left, right, mean, cov):
    """Isserlis: E x_i x_j x_k x_l - E x_i x_j E x_k x_l, index by index."""
    axes = range(len(mean))
    total = []
    for i in axes:
        for j in axes:
            for k in axes:
                for m in axes:
                    pairs = cov[i][k] * cov[j][m] + cov[i][m] * cov[j][k]
                    pairs += cov[i][k] * mean[j] * mean[m] + cov[i][m] * mean[j] * mean[k]
                    pairs += cov[j][k] * mean[i] * mean[m] + cov[j][m] * mean[i] * mean[k]
                    total.append(left[i][j] * right[k][m] * pairs)
    return mpmath.fsum(total)


@golden("gaussian_quadratic_cumulant", lambda: _with_matrices(1, option=(3, 1, 2, 4, 5)))
def quadratic_cumulant(matrix, mean, cov, *, order):
    """The coefficient of t^s/s! in log E exp(t x^T A x) = -log det(I - 2 t A S)/2
    + t mean^T (I - 2 t A S)^{-1} A mean, from a trapezoidal rule on a circle about 0"""
    d = len(mean)
    form = mpmath.matrix(matrix)
    form = (form + form.T) / 2
    product = form * mpmath.matrix(cov)
    vector = mpmath.matrix(mean)
    radius = 1 / (1000 * mpmath.norm(product, 2))
    points = 40

    def logarithm(t):
        inner = mpmath.eye(d) - 2 * t * product
        about_mean = (vector.T * mpmath.lu_solve(inner, form * vector))[0]
        return -mpmath.log(mpmath.det(inner)) / 2 + t * about_mean

    values = []
    for k in range(points):
        angle = mpmath.expjpi(mpmath.mpf(2) * k / points)
        values.append(logarithm(radius * angle) * angle**-order)
    mean_value = mpmath.fsum(values).real / points
    return mean_value / radius**order * mpmath.factorial(order)
