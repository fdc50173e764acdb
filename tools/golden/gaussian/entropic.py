"""Second definitions of entropic costs, in the form of Mallasto, Gerolin and Minh."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.optimal_map import root
from tools.golden.gaussian.transport import trace, with_means


def _cases():
    sizes = [2.0, 0.25, 16.0, 1e-3, 1e4]
    return {
        name: (arrays, {"regularisation": np.array(sizes[i % 5] if i > 2 else 2.0)})
        for i, (name, (arrays, _)) in enumerate(with_means().items())
    }


def _cost(cov_p, cov_q, epsilon):
    """tr S_p + tr S_q - epsilon/2 (tr M - log det M + d log 2 - 2 d), with the matrix
    M = I + (I + 16/epsilon^2 S_p^{1/2} S_q S_p^{1/2})^{1/2}."""
    d = cov_p.rows
    root_p = root(cov_p)
    m = mpmath.eye(d) + root(mpmath.eye(d) + 16 / epsilon**2 * (root_p * cov_q * root_p))
    entropic = trace(m) - mpmath.log(mpmath.det(m)) + d * mpmath.log(2) - 2 * d
    return trace(cov_p) + trace(cov_q) - epsilon / 2 * entropic


@golden("entropic_wasserstein_squared", _cases)
def cost(mean_p, cov_p, mean_q, cov_q, regularisation):
    gap = mpmath.fsum((a - b) ** 2 for a, b in zip(mean_p, mean_q, strict=True))
    return gap + _cost(mpmath.matrix(cov_p), mpmath.matrix(cov_q), regularisation)


@golden("sinkhorn_divergence", _cases)
def divergence(mean_p, cov_p, mean_q, cov_q, regularisation):
    between = cost(mean_p, cov_p, mean_q, cov_q, regularisation)
    own = (_cost(mpmath.matrix(c), mpmath.matrix(c), regularisation) for c in (cov_p, cov_q))
    return between - mpmath.fsum(own) / 2
