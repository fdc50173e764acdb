"""Second definitions: Fisher-Rao distances by arcosh in the hyperbolic half plane."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.pairs import pairs


def _lines():
    cases = {
        "g3": (0.0, 1.0, 1.0, 4.0),
        "equal_variances": (0.0, 1.0, 1.7, 1.0),
        "equal_means": (0.5, 1.0, 0.5, 3.0),
        "narrow": (0.3, 1e-12, -0.2, 2.0),
        "far_apart": (1200.0, 1.0, 0.0, 2.0),
        "near_equal_1e-8": (1 + 1e-8, 2.0, 1.0, 2.0 + 3e-8),
    }
    return {name: (tuple(map(np.array, case)), {}) for name, case in cases.items()}


@golden("fisher_rao_univariate", _lines)
def univariate(mean_p, var_p, mean_q, var_q):
    """The half plane of (mu/sqrt 2, sigma), whose unit of length counts sqrt 2."""
    sigma_p, sigma_q = mpmath.sqrt(var_p), mpmath.sqrt(var_q)
    square = (mean_p - mean_q) ** 2 / 2 + (sigma_p - sigma_q) ** 2
    return mpmath.sqrt(2) * mpmath.acosh(1 + square / (2 * sigma_p * sigma_q))


def _variances():
    return {
        name: ((mean_p, np.diagonal(cov_p).copy(), mean_q, np.diagonal(cov_q).copy()), {})
        for name, ((mean_p, cov_p, mean_q, cov_q), _) in pairs().items()
    }


@golden("fisher_rao_diagonal", _variances)
def diagonal(mean_p, var_p, mean_q, var_q):
    return mpmath.norm(list(map(univariate, mean_p, var_p, mean_q, var_q)))


def _same_covariance():
    return {
        name: ((mean_p, mean_q, cov_q), {})
        for name, ((mean_p, _, mean_q, cov_q), _) in pairs().items()
    }


@golden("fisher_rao_same_covariance", _same_covariance)
def same_covariance(mean_p, mean_q, cov):
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    mahalanobis = (delta.T * mpmath.inverse(mpmath.matrix(cov)) * delta)[0]
    return mpmath.sqrt(2) * mpmath.acosh(1 + mahalanobis / 4)
