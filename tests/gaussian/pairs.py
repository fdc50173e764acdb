"""Pairs of Gaussians for the tests of divergences; the golden pairs of the literature."""

from __future__ import annotations

import mpmath
import numpy as np

ZERO, IDENTITY = np.zeros(2), np.eye(2)
G1 = ([1.0, 2.0], [[2.0, 1.0], [1.0, 2.0]], [0.0, 0.0], [[1.0, 0.0], [0.0, 4.0]])
G2 = (
    [1.0, 0.0, -1.0],
    [[1.0, 0.5, 0.0], [0.5, 1.25, 0.25], [0.0, 0.25, 0.75]],
    [0.0, 0.5, 0.5],
    [[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]],
)
G3 = ([0.0], [[1.0]], [1.0], [[4.0]])


def covariance(rng, d, batch=()):
    factor = rng.standard_normal((*batch, d, d))
    return factor @ factor.swapaxes(-1, -2) + np.eye(d)


def pair_that_differs(rng, d, difference):
    """q, and a p that differs from it by ``difference`` in q's own units, with the changes."""
    mean, cov = rng.standard_normal(d), covariance(rng, d)
    factor = np.linalg.cholesky(cov)
    change = factor @ covariance(rng, d) @ factor.T / d
    shift = factor @ rng.standard_normal(d)
    p = mean + difference * shift, cov + difference * (change + change.T) / 2
    return *p, mean, cov


def exact_pair(mean_p, cov_p, mean_q, cov_q):
    """delta and both covariances as mpmath matrices, digit for digit."""
    delta = mpmath.matrix(np.ravel(mean_p).tolist()) - mpmath.matrix(np.ravel(mean_q).tolist())
    return (
        delta,
        mpmath.matrix(np.asarray(cov_p).tolist()),
        mpmath.matrix(np.asarray(cov_q).tolist()),
    )


def relative_condition(rng, d, condition):
    """p and q whose covariances differ by factors of up to ``condition``, in graded coordinates."""
    units = np.geomspace(1, condition**-0.5, d)
    return (
        rng.standard_normal(d),
        covariance(rng, d) * units[:, None] * units,
        rng.standard_normal(d),
        covariance(rng, d),
    )
