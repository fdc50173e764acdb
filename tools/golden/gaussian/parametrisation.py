"""Second definitions: covariances entry by entry, as expectations of products of coordinates."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense, graded


def _factors():
    rng = np.random.default_rng(685)
    return {
        "g1": ((np.array([[2.0, 0.0], [0.5, 1.5]]),), {}),
        "dimension_5": ((np.linalg.cholesky(dense(rng, 5, 100.0)),), {}),
        "graded_1e12": ((np.linalg.cholesky(graded(rng, 3, 1e12)),), {}),
        "singular": ((np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-1.0, 3.0, 1.0]]),), {}),
        "one": ((np.array([[-3.0]]),), {}),
    }


def _rectangles():
    rng = np.random.default_rng(686)
    return {
        "tall": ((rng.standard_normal((4, 2)),), {}),
        "wide": ((rng.standard_normal((2, 5)),), {}),
        "square": ((rng.standard_normal((3, 3)),), {}),
        "units": ((rng.standard_normal((3, 3)) * np.array([[1e-6], [1.0], [1e6]]),), {}),
    }


def _vectors():
    return {
        "two": ((np.array([2.0, 0.3]),), {}),
        "units": ((np.array([1e-6, 0.7, 1e6]),), {}),
        "vanishing": ((np.array([0.0, 1.0]),), {}),
    }


@golden("covariance_from_cholesky", _factors)
def from_cholesky(scale_tril):
    """Only the entries on and below the diagonal are read."""
    d = len(scale_tril)
    return [
        [
            mpmath.fsum(scale_tril[i][k] * scale_tril[j][k] for k in range(min(i, j) + 1))
            for j in range(d)
        ]
        for i in range(d)
    ]


@golden("covariance_from_factor", _rectangles)
def from_factor(factor):
    return [[mpmath.fdot(a, b) for b in factor] for a in factor]


@golden("covariance_from_variance", _vectors)
def from_variance(variance):
    return [[v * (i == j) for j in range(len(variance))] for i, v in enumerate(variance)]


@golden("covariance_from_deviation", _vectors)
def from_deviation(deviation):
    return [[s**2 * (i == j) for j in range(len(deviation))] for i, s in enumerate(deviation)]


def _pairs():
    rng = np.random.default_rng(687)
    return {
        "tall": ((rng.random(4), rng.standard_normal((4, 2))), {}),
        "wide": ((rng.random(2), rng.standard_normal((2, 5))), {}),
        "small_diagonal": ((1e-9 * rng.random(3), rng.standard_normal((3, 2))), {}),
    }


@golden("covariance_from_low_rank", _pairs)
def from_low_rank(variance, factor):
    return [
        [mpmath.fdot(a, b) + variance[i] * (i == j) for j, b in enumerate(factor)]
        for i, a in enumerate(factor)
    ]
