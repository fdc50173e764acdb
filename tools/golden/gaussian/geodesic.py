"""Second definitions of the Bures geometry: matrix roots, and d^2 equations for Lyapunov's."""

from __future__ import annotations

import mpmath
import numpy as np

from tools.golden import SPECTRAL, golden
from tools.golden.gaussian.optimal_map import map_matrix
from tools.golden.gaussian.samples import dense, graded
from tools.golden.gaussian.transport import covariance_pairs, with_means


def _times():
    times = [0.0, 0.25, 0.5, 0.875, 0.7, 0.3]
    return {
        name: (arrays, {"time": np.array(times[i % 6] or 0.125)})
        for i, (name, (arrays, _)) in enumerate(with_means().items())
    }


@golden("displacement_interpolation", _times)
def interpolation(mean_p, cov_p, mean_q, cov_q, time):
    mean = [(1 - time) * a + time * b for a, b in zip(mean_p, mean_q, strict=True)]
    cov_p = mpmath.matrix(cov_p)
    step = (1 - time) * mpmath.eye(len(mean)) + time * map_matrix(cov_p, mpmath.matrix(cov_q))
    return mean, (step * cov_p * step).tolist()


def field(cov, tangent):
    """L with S L + L S = X, by elimination on the d^2 equations."""
    d = cov.rows
    system, right = mpmath.matrix(d * d, d * d), mpmath.matrix(d * d, 1)
    for i in range(d):
        for j in range(d):
            right[i * d + j] = tangent[i, j]
            for k in range(d):
                system[i * d + j, k * d + j] += cov[i, k]
                system[i * d + j, i * d + k] += cov[k, j]
    solution = mpmath.lu_solve(system, right)
    return mpmath.matrix([[solution[i * d + j] for j in range(d)] for i in range(d)])


def _symmetric(rng, d):
    matrix = rng.standard_normal((d, d))
    return matrix + matrix.T


def _tangents():
    rng = np.random.default_rng(2011)
    units = np.geomspace(1, 1e-6, 3)
    return {
        "one_dimension": tuple(map(np.array, ([[4.0]], [[2.0]], [[6.0]]))),
        "dense": (dense(rng, 3, 10.0), _symmetric(rng, 3), _symmetric(rng, 3)),
        "dense_1e6": (dense(rng, 4, 1e6), _symmetric(rng, 4), _symmetric(rng, 4)),
        "graded_1e12": (
            graded(rng, 3, 1e12),
            *(_symmetric(rng, 3) * np.outer(units, units) for _ in range(2)),
        ),
    }


@golden("bures_metric", lambda: {name: (arrays, {}) for name, arrays in _tangents().items()})
def metric(cov, tangent_x, tangent_y):
    found = field(mpmath.matrix(cov), mpmath.matrix(tangent_x))
    indices = range(found.rows)
    return mpmath.fsum(found[i, j] * tangent_y[j][i] for i in indices for j in indices) / 2


@golden(
    "bures_log",
    lambda: {name: (pair, {}) for name, pair in covariance_pairs().items()},
    beyond={
        "unlike_sizes": SPECTRAL,
        "near_equal_1e-8": SPECTRAL,
    },
)
def logarithm(cov_p, cov_q):
    cov_p, cov_q = mpmath.matrix(cov_p), mpmath.matrix(cov_q)
    move = map_matrix(cov_p, cov_q) - mpmath.eye(cov_p.rows)
    return (move * cov_p + cov_p * move).tolist()


def _velocities():
    rng = np.random.default_rng(1997)
    cases = {}
    for name, (cov, _, _) in _tangents().items():
        factor = np.linalg.cholesky(cov)
        size = 0.2 if name == "dense_1e6" else 0.4
        velocity = size * factor @ _symmetric(rng, len(cov)) @ factor.T / len(cov)
        cases[name] = ((cov, (velocity + velocity.T) / 2), {})
    return cases


@golden(
    "bures_exp",
    _velocities,
    beyond={
        "graded_1e12": SPECTRAL,
        "dense_1e6": SPECTRAL,
    },
)
def exponential(cov, tangent):
    cov = mpmath.matrix(cov)
    step = mpmath.eye(cov.rows) + field(cov, mpmath.matrix(tangent))
    return (step * cov * step).tolist()
