"""Second definitions: weighted divergences to and from the geometric mean; bounds of JS."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.divergence import kl
from tools.golden.gaussian.overlap import coefficient
from tools.golden.gaussian.pairs import pairs


def _with_weights():
    return {
        f"{name}_weight_{weight}": (arrays, {"weight": np.array(weight)})
        for name, (arrays, _) in pairs().items()
        for weight in ((0.5, 0.25) if name in ("g1", "g2", "g3") else (0.25,))
    }


def _geometric_mean(mean_p, cov_p, mean_q, cov_q, weight):
    """Mean and covariance of the normalised p^(1-a) q^a, by precisions."""
    precision_p, precision_q = (mpmath.inverse(mpmath.matrix(x)) for x in (cov_p, cov_q))
    cov = mpmath.inverse((1 - weight) * precision_p + weight * precision_q)
    linear = (1 - weight) * (precision_p * mpmath.matrix(mean_p))
    linear += weight * (precision_q * mpmath.matrix(mean_q))
    return list(cov * linear), cov.tolist()


@golden("geometric_jensen_shannon", _with_weights)
def geometric(mean_p, cov_p, mean_q, cov_q, weight):
    middle = _geometric_mean(mean_p, cov_p, mean_q, cov_q, weight)
    return (1 - weight) * kl(mean_p, cov_p, *middle) + weight * kl(mean_q, cov_q, *middle)


@golden("dual_geometric_jensen_shannon", _with_weights)
def dual(mean_p, cov_p, mean_q, cov_q, weight):
    middle = _geometric_mean(mean_p, cov_p, mean_q, cov_q, weight)
    return (1 - weight) * kl(*middle, mean_p, cov_p) + weight * kl(*middle, mean_q, cov_q)


@golden("jensen_shannon_bounds", pairs)
def bounds(mean_p, cov_p, mean_q, cov_q):
    overlap = coefficient(mean_p, cov_p, mean_q, cov_q)
    variation = mpmath.log(2) * mpmath.sqrt(1 - overlap**2)
    return mpmath.log(2) * (1 - overlap), min(1 - overlap, variation)
