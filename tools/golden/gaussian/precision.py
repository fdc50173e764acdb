"""Second definitions: inverses by cofactors, Cholesky factors as ratios of minors."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense, graded


def _matrices():
    rng = np.random.default_rng(21366)
    return {
        "g1": ((np.array([[2.0, 1.0], [1.0, 2.0]]),), {}),
        "g2": ((np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,), {}),
        "one": ((np.array([[4.0]]),), {}),
        "dimension_4": ((dense(rng, 4, 100.0),), {}),
        "graded_1e12": ((graded(rng, 3, 1e12),), {}),
        "dense_1e12": ((dense(rng, 3, 1e12),), {}),
    }


def _minor(matrix, rows, columns):
    """The determinant of the entries in these rows and columns, by the first row's expansion."""
    if not rows:
        return mpmath.mpf(1)
    first, *others = rows
    return mpmath.fsum(
        (-1) ** k * matrix[first][j] * _minor(matrix, others, columns[:k] + columns[k + 1 :])
        for k, j in enumerate(columns)
    )


def _inverse(matrix):
    d = len(matrix)
    every = list(range(d))
    determinant = _minor(matrix, every, every)
    return [
        [
            (-1) ** (i + j)
            * _minor(matrix, every[:j] + every[j + 1 :], every[:i] + every[i + 1 :])
            / determinant
            for j in every
        ]
        for i in every
    ]


@golden("covariance_from_precision", _matrices)
def covariance(precision):
    return _inverse(precision)


@golden("precision_from_covariance", _matrices)
def precision(cov):
    return _inverse(cov)


@golden("cholesky_from_covariance", _matrices)
def cholesky(cov):
    """L_ij is the minor of rows 0 ... j-1, i and columns 0 ... j, over two leading roots."""
    d = len(cov)
    lead = [_minor(cov, list(range(k)), list(range(k))) for k in range(d + 1)]
    return [
        [
            _minor(cov, [*range(j), i], list(range(j + 1))) / mpmath.sqrt(lead[j] * lead[j + 1])
            if j <= i
            else mpmath.mpf(0)
            for j in range(d)
        ]
        for i in range(d)
    ]


@golden("cholesky_from_precision", _matrices)
def cholesky_of_inverse(precision):
    return cholesky(_inverse(precision))
