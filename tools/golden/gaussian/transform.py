"""Second definitions: transforms by completing the square with the precision matrix."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense, graded


def gaussians():
    rng = np.random.default_rng(1970)
    cases = {
        "g1": (np.array([1.0, 2.0]), np.array([[2.0, 1.0], [1.0, 2.0]])),
        "g2": (
            np.array([1.0, 0.0, -1.0]),
            np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,
        ),
        "g3": (np.array([1.0]), np.array([[4.0]])),
        "dimension_4": (rng.standard_normal(4), dense(rng, 4, 100.0)),
        "graded_1e12": (np.geomspace(1, 1e-6, 3), graded(rng, 3, 1e12)),
        "dense_1e12": (rng.standard_normal(3), dense(rng, 3, 1e12)),
    }
    return {name: (rng.standard_normal(len(m)), m, s) for name, (m, s) in cases.items()}


def _without_means():
    return {name: ((w, cov), {}) for name, (w, _, cov) in gaussians().items()}


@golden("gaussian_log_integral", _without_means)
def log_integral(w, cov):
    """With the precision P = S^{-1}: log of sqrt((2 pi)^d/det P) exp(w^T P^{-1} w/2)"""
    precision = mpmath.inverse(mpmath.matrix(cov))
    vector = mpmath.matrix(w)
    square = (vector.T * mpmath.lu_solve(precision, vector))[0]
    return mpmath.log(
        mpmath.sqrt((2 * mpmath.pi) ** len(w) / mpmath.det(precision)) * mpmath.exp(square / 2)
    )


def _exponent(w, mean, cov, unit):
    """unit w^T mean + unit^2 w^T S w/2, entry by entry."""
    axes = range(len(w))
    linear = mpmath.fsum(w[i] * mean[i] for i in axes)
    square = mpmath.fsum(w[i] * cov[i][j] * w[j] for i in axes for j in axes)
    return unit * linear + unit**2 * square / 2


def _all():
    return {name: (arrays, {}) for name, arrays in gaussians().items()}


@golden("gaussian_log_moment_generating_function", _all)
def log_moment_generating_function(w, mean, cov):
    return _exponent(w, mean, cov, 1)


@golden("gaussian_characteristic_function", _all)
def characteristic_function(w, mean, cov):
    value = mpmath.exp(_exponent(w, mean, cov, mpmath.mpc(0, 1)))
    return value.real, value.imag
