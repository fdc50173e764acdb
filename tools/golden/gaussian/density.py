"""Second definitions: log density and entropy of a Gaussian, by the inverse and the determinant."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense, graded


def _covariances() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8512)
    return {
        "g1": np.array([[2.0, 1.0], [1.0, 2.0]]),
        "g2": np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 1.0], [0.0, 1.0, 3.0]]) / 4,
        "g3": np.array([[1.0]]),
        "negative_entropy": dense(rng, 4, 10.0) / 64,
        "dimension_7": dense(rng, 7, 100.0),
        "graded_1e12": graded(rng, 3, 1e12),
        "dense_1e12": dense(rng, 3, 1e12),
    }


def _points():
    rng = np.random.default_rng(3)
    cases = {}
    for name, cov in _covariances().items():
        mean = rng.standard_normal(len(cov))
        x = mean + np.linalg.cholesky(cov) @ rng.standard_normal(len(cov))
        cases[name] = ((x, mean, cov), {})
    mean, cov = np.array([1.0, 2.0]), _covariances()["g1"]
    cases["at_the_mean"] = ((mean, mean, cov), {})
    cases["far_out"] = ((np.array([40.0, -50.0]), mean, cov), {})
    return cases


@golden("gaussian_log_density", _points)
def log_density(x, mean, cov):
    d = len(x)
    gap = mpmath.matrix([a - b for a, b in zip(x, mean, strict=True)])
    cov = mpmath.matrix(cov)
    mahalanobis = (gap.T * mpmath.inverse(cov) * gap)[0]
    density = mpmath.exp(-mahalanobis / 2) / mpmath.sqrt((2 * mpmath.pi) ** d * mpmath.det(cov))
    return mpmath.log(density)


@golden("gaussian_entropy", lambda: {name: ((cov,), {}) for name, cov in _covariances().items()})
def entropy(cov):
    return mpmath.log(mpmath.det(2 * mpmath.pi * mpmath.e * mpmath.matrix(cov))) / 2
