"""Second definitions of Gromov-Wasserstein costs: expanded squares, of mpmath's eigenvalues."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import golden
from tools.golden.gaussian.samples import dense
from tools.golden.gaussian.transport import covariance_pairs, trace


def _cases():
    rng = np.random.default_rng(2022)
    kept = ("g1", "g2", "g3", "near_equal_1e-8", "unlike_sizes", "graded_1e12")
    cases = {name: covariance_pairs()[name] for name in kept}
    cases["two_spaces"] = (dense(rng, 2, 4.0), 2 * dense(rng, 4, 10.0))
    cases["four_and_one"] = (dense(rng, 4, 10.0), np.array([[0.5]]))
    return {name: (pair, {}) for name, pair in cases.items()}


def _largest_overlap(cov_p, cov_q):
    """max |C|_F^2: the sum of products of eigenvalues in the same order."""
    spectra = (sorted(mpmath.eigsy(cov, eigvals_only=True), reverse=True) for cov in (cov_p, cov_q))
    return mpmath.fsum(a * b for a, b in zip(*spectra, strict=False))


def _products(cov_p, cov_q):
    return trace(cov_p * cov_p) + trace(cov_q * cov_q) - 2 * _largest_overlap(cov_p, cov_q)


@golden("gaussian_gromov_wasserstein_squared", _cases)
def distances(cov_p, cov_q):
    cov_p, cov_q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    return 4 * (trace(cov_p) - trace(cov_q)) ** 2 + 8 * _products(cov_p, cov_q)


@golden("inner_product_gromov_wasserstein_squared", _cases)
def products(cov_p, cov_q):
    return _products(mpmath.matrix(cov_p), mpmath.matrix(cov_q))
