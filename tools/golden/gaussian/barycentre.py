"""Second definition of the barycentre: the iteration with matrix roots, until it stands still."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.optimal_map import root
from tools.golden.gaussian.samples import dense, graded


def _cases():
    rng = np.random.default_rng(2011)
    g1 = np.array([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 4.0]]])
    cases = {
        "numbers": (np.array([[[1.0]], [[9.0]], [[4.0]]]), np.array([1.0, 2.0, 1.0])),
        "g1": (g1, np.array([0.5, 0.5])),
        "three": (np.stack([dense(rng, 3, 10.0) for _ in range(3)]), np.array([0.2, 0.3, 0.5])),
        "unlike_sizes": (
            np.stack([dense(rng, 2, 4.0) * size for size in (1.0, 1 / 64)]),
            np.array([1.0, 3.0]),
        ),
        "graded_1e12": (np.stack([graded(rng, 2, 1e12) for _ in range(2)]), np.array([2.0, 1.0])),
    }
    return {name: (arrays, {}) for name, arrays in cases.items()}


@golden(
    "bures_barycentre",
    _cases,
    beyond={
        "three": (4.0, "the iteration ends at a step of some roundings"),
        "unlike_sizes": (4.0, "the iteration ends at a step of some roundings"),
    },
)
def barycentre(covs, weights):
    """S <- S^{-1/2} (sum w_i (S^{1/2} S_i S^{1/2})^{1/2})^2 S^{-1/2}."""
    covs = [mpmath.matrix(cov) for cov in covs]
    total = mpmath.fsum(weights)
    cov = sum((w / total * c for w, c in zip(weights, covs, strict=True)), covs[0] * 0)
    change = 1
    while change > mpmath.mpf(10) ** (30 - mpmath.mp.dps):
        half = root(cov)
        inverse = mpmath.inverse(half)
        mean = covs[0] * 0
        for w, c in zip(weights, covs, strict=True):
            mean += w / total * root(half * c * half)
        moved = inverse * mean * mean * inverse
        change = max(abs(x - y) / abs(y) for x, y in zip(moved, cov, strict=True) if y)
        cov = moved
    return cov.tolist()
