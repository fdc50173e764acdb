"""Second definition of the sliced distance: quantiles of the projections, by quadrature."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.transport import with_means


def _cases():
    rng = np.random.default_rng(2015)
    cases = {}
    for name, (arrays, _) in with_means().items():
        directions = rng.standard_normal((3, len(arrays[0])))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        cases[name] = ((*arrays, directions * (2.0 if name == "g2" else 1.0)), {})
    return cases


@golden("sliced_wasserstein_squared", _cases)
def sliced(mean_p, cov_p, mean_q, cov_q, directions):
    """int (m_p + s_p z - m_q - s_q z)^2 dN(z): both quantile functions at the same level. Three
    nodes of Gauss and Hermite are exact for a square."""
    nodes = [mpmath.sqrt(3), -mpmath.sqrt(3), mpmath.mpf(0)]
    weights = [mpmath.mpf(1) / 6, mpmath.mpf(1) / 6, mpmath.mpf(2) / 3]
    total = mpmath.mpf(0)
    for theta in directions:
        (m_p, s_p), (m_q, s_q) = (
            _projected(theta, mean, cov) for mean, cov in ((mean_p, cov_p), (mean_q, cov_q))
        )
        for z, w in zip(nodes, weights, strict=True):
            total += w * (m_p + s_p * z - m_q - s_q * z) ** 2
    return total / len(directions)


def _projected(theta, mean, cov):
    d = range(len(theta))
    variance = mpmath.fsum(theta[i] * cov[i][j] * theta[j] for i in d for j in d)
    return mpmath.fsum(t * m for t, m in zip(theta, mean, strict=True)), mpmath.sqrt(variance)
