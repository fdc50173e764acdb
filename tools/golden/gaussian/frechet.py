"""Second definition of the Frechet distance: sample moments, and the spectrum of their product."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.transport import bures


def _samples():
    rng = np.random.default_rng(2017)
    square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    x = rng.standard_normal((7, 3))
    pairs = {
        "square_and_triangle": (square, np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])),
        "square_and_segment": (square, np.array([[0.0, 0.0], [2.0, 2.0]])),
        "generic": (x, 2 * rng.standard_normal((9, 3)) + 1),
        "near_equal_1e-8": (x, x + 1e-8 * rng.standard_normal(x.shape)),
        "far_from_the_origin": (1e4 + x, 1e4 + rng.standard_normal((6, 3))),
        "graded": (x * [1.0, 1e-3, 1e-6], rng.standard_normal((5, 3)) * [1.0, 1e-3, 1e-6]),
        "fewer_than_dimensions": (rng.standard_normal((3, 4)), rng.standard_normal((3, 4))),
    }
    cases = {name: (pair, {"ddof": 1}) for name, pair in pairs.items()}
    return cases | {"divisor_n": (pairs["generic"], {"ddof": 0})}


@golden("frechet_distance", _samples)
def frechet(x, y, ddof):
    mean_x, cov_x = _moments(x, ddof)
    mean_y, cov_y = _moments(y, ddof)
    gap = mpmath.fsum((a - b) ** 2 for a, b in zip(mean_x, mean_y, strict=True))
    return gap + bures(cov_x, cov_y)


def _moments(samples, ddof):
    n, d = len(samples), len(samples[0])
    mean = [mpmath.fsum(row[j] for row in samples) / n for j in range(d)]
    cov = mpmath.matrix(d, d)
    for i in range(d):
        for j in range(d):
            products = ((row[i] - mean[i]) * (row[j] - mean[j]) for row in samples)
            cov[i, j] = mpmath.fsum(products) / (n - ddof)
    return mean, cov
