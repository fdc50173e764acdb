"""Second definitions: divergences from variances and factors, through E_p log p - E_p log q."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.divergence import kl
from tools.golden.gaussian.pairs import pairs


def _in_one_dimension(mean_p, var_p, mean_q, var_q):
    """The mean of log p - log q over the points mean_p +- s_p, which is exact for quadratics."""

    def log_density(x, mean, var):
        return mpmath.log(mpmath.npdf(x, mean, mpmath.sqrt(var)))

    points = [mean_p + sign * mpmath.sqrt(var_p) for sign in (1, -1)]
    return (
        mpmath.fsum(log_density(x, mean_p, var_p) - log_density(x, mean_q, var_q) for x in points)
        / 2
    )


def _variances():
    cases = {}
    for name, ((mean_p, cov_p, mean_q, cov_q), _) in pairs().items():
        cases[name] = (mean_p, np.diagonal(cov_p).copy(), mean_q, np.diagonal(cov_q).copy()), {}
    tiny = (np.zeros(2), np.array([1e-12, 1.0]), np.zeros(2), np.array([1.0, 1e-12]))
    return cases | {"ratios_1e12": (tiny, {})}


@golden("gaussian_kl_diagonal", _variances)
def diagonal(mean_p, var_p, mean_q, var_q):
    return mpmath.fsum(map(_in_one_dimension, mean_p, var_p, mean_q, var_q))


def _log_variances():
    return {
        name: ((mean_p, np.log(var_p), mean_q, np.log(var_q)), {})
        for name, ((mean_p, var_p, mean_q, var_q), _) in _variances().items()
    }


@golden("gaussian_kl_log_variance", _log_variances)
def log_variance(mean_p, log_var_p, mean_q, log_var_q):
    variances = (list(map(mpmath.exp, x)) for x in (log_var_p, log_var_q))
    var_p, var_q = variances
    return mpmath.fsum(map(_in_one_dimension, mean_p, var_p, mean_q, var_q))


def _factors():
    cases = {}
    for name, ((mean_p, cov_p, mean_q, cov_q), _) in pairs().items():
        cases[name] = (mean_p, np.linalg.cholesky(cov_p), mean_q, np.linalg.cholesky(cov_q)), {}
    return cases


@golden("gaussian_kl_cholesky", _factors)
def triangular(mean_p, scale_tril_p, mean_q, scale_tril_q):
    """As printed, with the covariances L L^T; entries above the diagonals are not read."""
    d = len(mean_p)
    factors = [
        mpmath.matrix([[x[i][j] if j <= i else 0 for j in range(d)] for i in range(d)])
        for x in (scale_tril_p, scale_tril_q)
    ]
    cov_p, cov_q = (x * x.T for x in factors)
    delta = mpmath.matrix([a - b for a, b in zip(mean_p, mean_q, strict=True)])
    precision = mpmath.inverse(cov_q)
    ratio = precision * cov_p
    trace = mpmath.fsum(ratio[i, i] for i in range(d))
    return ((delta.T * precision * delta)[0] + trace - d - mpmath.log(mpmath.det(ratio))) / 2


def _precisions():
    cases = {}
    for name, ((mean_p, cov_p, mean_q, cov_q), _) in pairs().items():
        # Covariances and precisions are the same kind of matrix: these serve as both.
        cases[name] = (mean_p, cov_p, mean_q, cov_q), {}
    return cases


@golden("gaussian_kl_precision", _precisions)
def inverse(mean_p, precision_p, mean_q, precision_q):
    """As printed, with the inverses as covariances."""
    covs = (mpmath.inverse(mpmath.matrix(x)).tolist() for x in (precision_p, precision_q))
    cov_p, cov_q = covs
    return kl(mean_p, cov_p, mean_q, cov_q)
